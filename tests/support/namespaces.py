# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces and interfaces of every kind for one test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyroute2 import IPRoute, NetNS, netns

from services.node_executor.adapters.network_namespaces import FOLDER, inside


@contextmanager
def a_namespace() -> Iterator[str]:
    """An empty namespace with a name of its own, gone afterwards."""
    name = f"t{uuid.uuid4().hex[:8]}"
    netns.create(name)
    try:
        yield name
    finally:
        if (FOLDER / name).exists():
            netns.remove(name)


def move(interface: str, to: str, *, out_of: str = "") -> None:
    """The interface is in the namespace `to`, and up."""
    with inside(out_of), IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname=interface)[0], net_ns_fd=to)
    with NetNS(to) as there:
        there.link("set", index=there.link_lookup(ifname=interface)[0], state="up")


def delete(interface: str, *, within: str = "") -> None:
    """There is no such interface."""
    with inside(within), IPRoute() as route, suppress(IndexError):
        route.link("del", index=route.link_lookup(ifname=interface)[0])


def rename(interface: str, to: str) -> None:
    """The interface has another name; some kernels want it down for that."""
    with IPRoute() as route:
        index = route.link_lookup(ifname=interface)[0]
        route.link("set", index=index, state="down")
        route.link("set", index=index, ifname=to)
        route.link("set", index=index, state="up")
