# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains on interfaces of every kind that the kernel has: they attach, and packets pass through."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from services.node_executor.generations import Point
from shared.identifiers import Hook
from tests.support.executors import Executor, a_chain, a_program
from tests.support.namespaces import a_pair, delete, ip, raise_up
from tests.support.softirqs import wait_until_received

pytestmark = pytest.mark.kernel

FRAME: Final = bytes.fromhex("ffffffffffff020000000001")
PAYLOAD: Final = b"\x88\xb5" + bytes(50)
VLAN: Final = 7
_UNKNOWN: Final = ("Unknown device type", "Operation not supported", "No such device")
"""What the kernel says of a type that it does not have."""


@dataclass(frozen=True, slots=True)
class Made:
    """An interface, and how a packet is made to come in through it."""

    name: str
    receive: Callable[[], None]


class KindMissingError(Exception):
    """The kernel has no such type of interface."""


def sends(interface: str, *, tag: bytes = b"") -> Callable[[], None]:
    """Sends one frame out of the interface."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((interface, 0))
            sender.send(FRAME + tag + PAYLOAD)
        wait_until_received()

    return send


def add(*words: str) -> None:
    """The interface is there, or the kernel has no such type."""
    said = ip("link", "add", *words, check=False)
    if said:
        assert any(one in said for one in _UNKNOWN), said
        raise KindMissingError(said.strip())


@contextmanager
def gone_afterwards(name: str) -> Iterator[str]:
    """A name for an interface that is removed."""
    try:
        yield name
    finally:
        delete(name)


@contextmanager
def a_veth() -> Iterator[Made]:
    """One end of a pair."""
    with a_pair() as wire:
        yield Made(wire.name, sends(wire.peer))


@contextmanager
def a_vlan() -> Iterator[Made]:
    """Tagged frames of one number, on top of a veth."""
    with a_pair() as wire, gone_afterwards(f"{wire.name}.{VLAN}") as name:
        add("link", wire.name, "name", name, "type", "vlan", "id", str(VLAN))
        raise_up(name)
        yield Made(name, sends(wire.peer, tag=struct.pack(">HH", 0x8100, VLAN)))


@contextmanager
def a_master(kind: str, *options: str) -> Iterator[Made]:
    """A bond or a bridge with a veth in it."""
    with a_pair() as wire, gone_afterwards(f"{wire.name}m") as name:
        add(name, "type", kind, *options)
        ip("link", "set", wire.name, "down")
        ip("link", "set", wire.name, "master", name)
        raise_up(wire.name)
        raise_up(name)
        yield Made(name, sends(wire.peer))


@contextmanager
def a_bond() -> Iterator[Made]:
    """Of one veth."""
    with a_master("bond", "mode", "active-backup", "miimon", "100") as made:
        yield made


@contextmanager
def a_bridge() -> Iterator[Made]:
    """Of one veth; broadcasts are for it, too."""
    with a_master("bridge") as made:
        yield made


@contextmanager
def a_tap() -> Iterator[Made]:
    """What is written to its file comes in."""
    set_interface, tap, no_information = 0x400454CA, 0x0002, 0x1000
    name = f"tap{os.getpid()}"
    try:
        opened = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        raise KindMissingError(f"/dev/net/tun: {error.strerror}") from error
    with ExitStack() as held:
        held.callback(os.close, opened)
        request = struct.pack("16sH22x", name.encode(), tap | no_information)
        fcntl.ioctl(opened, set_interface, request)
        raise_up(name)

        def write() -> None:
            os.write(opened, FRAME + PAYLOAD)

        yield Made(name, write)


KINDS: Final = {"veth": a_veth, "vlan": a_vlan, "bond": a_bond, "bridge": a_bridge, "tun": a_tap}


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chain_runs_on_every_kind_of_interface(
    executor: Executor, kind: str, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    """It sees every packet, in the best way that the driver offers."""
    said = ""
    try:
        with KINDS[kind]() as made:
            point = Point(made.name, hook)
            chain = a_chain(made.name, a_program("one", hook=hook), hook=hook)
            executor.settle(chain, point, 1)
            before = executor.scalar(point, "one")
            for _ in range(5):
                made.receive()
            seen = executor.points.describe(point, chain, desired_generation=1)
            said = f"{kind} {hook}: {seen.attachment}"
            counted = executor.scalar(point, "one") - before
            executor.settle(None, point, 2)

            assert seen.state == "attached"
            assert counted >= 5
    except KindMissingError as error:
        said = f"{kind} {hook}: this kernel has no such interface: {error}"
        assert ip("link", "show", "type", kind, check=False) == ""
    with capsys.disabled():
        sys.stdout.write(f"\n{said}\n")
