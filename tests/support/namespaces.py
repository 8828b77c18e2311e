# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces and interfaces for one test, by ip(8): it works inside an event loop."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.node_executor.adapters.network_namespaces import names
from tests.support.executors import Wire

CONNECTED_SECONDS = 30.0


def ip(*words: str, within: str = "", check: bool = True) -> str:
    """What `ip` says; its error output, if it failed and may."""
    command = ["ip", *(("-n", within) if within else ()), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        assert not check, f"{command}: {done.stderr}"
        return done.stderr
    return done.stdout


@contextmanager
def a_namespace() -> Iterator[str]:
    """An empty namespace with a name of its own, gone afterwards."""
    name = f"t{uuid.uuid4().hex[:8]}"
    ip("netns", "add", name)
    try:
        yield name
    finally:
        if name in names():
            ip("netns", "del", name)


@contextmanager
def a_pair(stem: str = "") -> Iterator[Wire]:
    """A silent veth pair in this network namespace, gone afterwards whatever became of it."""
    used = stem or f"w{uuid.uuid4().hex[:8]}"
    name, peer = f"{used}a", f"{used}b"
    ip("link", "add", name, "type", "veth", "peer", "name", peer)
    try:
        for one in (name, peer):
            raise_up(one)
        yield Wire(name, peer)
    finally:
        for one in (name, peer):
            ip("link", "del", one, check=False)


def raise_up(interface: str, *, within: str = "") -> None:
    """The interface is up, and says nothing by itself."""
    ip("link", "set", interface, "addrgenmode", "none", within=within, check=False)
    ip("link", "set", interface, "up", within=within)


def move(interface: str, to: str, *, out_of: str = "") -> None:
    """The interface is in the namespace `to`, and up."""
    ip("link", "set", interface, "netns", to, within=out_of)
    raise_up(interface, within=to)


def delete(interface: str, *, within: str = "") -> None:
    """There is no such interface."""
    ip("link", "del", interface, within=within, check=False)


def rename(interface: str, to: str) -> None:
    """The interface has another name; some kernels want it down for that."""
    ip("link", "set", interface, "down")
    ip("link", "set", interface, "name", to)
    raise_up(to)
    _wait_until_connected(to)


def _wait_until_connected(interface: str) -> None:
    """Both ends of the pair know it; until then what is sent is dropped."""
    links = Path("/sys/class/net")
    other = (links / interface / "iflink").read_text()
    ends = [one for one in links.iterdir() if one.name == interface or _index(one) == other]
    deadline = time.monotonic() + CONNECTED_SECONDS
    while any((end / "operstate").read_text().strip() != "up" for end in ends):
        assert time.monotonic() < deadline, f"{interface} is not connected"
        time.sleep(0.001)


def _index(link: Path) -> str:
    try:
        return (link / "ifindex").read_text()
    except OSError:  # an interface of others that just went
        return ""
