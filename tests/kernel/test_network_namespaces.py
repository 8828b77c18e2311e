# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hook points in named network namespaces, on the kernel that runs the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec
import pytest

from services.node_executor.adapters.netlink import Netlink
from services.node_executor.adapters.network_namespaces import (
    FOLDER,
    NamespaceGoneError,
    inside,
    names,
)
from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.identifiers import Hook
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    pins_below,
    send_frames,
)
from tests.support.namespaces import a_namespace, delete, ip, move, raise_up

pytestmark = pytest.mark.kernel


@pytest.fixture
def blue() -> Iterator[str]:
    """A named namespace."""
    with a_namespace() as name:
        yield name


def here() -> int:
    """The network namespace of this thread."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def chain_in(netns: str, wire: Wire, hook: Hook = "xdp", **link: object) -> DesiredChain:
    """A chain that counts what comes to the wire's first end."""
    chain = a_chain(wire.name, a_program("one", hook=hook), hook=hook)
    return msgspec.structs.replace(chain, netns=netns, link=LinkOptions(**link))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "way", [("xdp", "native"), ("tc-ingress", "tcx"), ("tc-ingress", "cls_bpf")]
)
def test_a_chain_runs_in_a_named_namespace(
    executor: Executor, base: PurePosixPath, wire: Wire, blue: str, way: tuple[Hook, str]
) -> None:
    """It counts packets there, is adopted after a restart, and leaves nothing when it goes."""
    hook, attach = way
    move(wire.name, blue)
    point, chain = Point(wire.name, hook, blue), chain_in(blue, wire, hook, attach=attach)

    executor.settle(chain, point, 1)
    send_frames(wire.peer, 3)
    executor.stop()
    executor.start()
    send_frames(wire.peer, 2)

    seen = executor.points.describe(point, chain, desired_generation=1)
    assert (seen.state, seen.netns) == ("attached", blue)
    assert executor.scalar(point, "one") == 5
    assert {event.data.netns for event in executor.events()} == {blue}
    assert all(path.startswith(f":netns/{blue}/") for path in pins_below(base))
    executor.settle(None, point, 2)
    assert pins_below(base) == []


def test_one_name_in_two_namespaces_is_two_hook_points(
    executor: Executor, wire: Wire, blue: str
) -> None:
    """Neither chain sees the other's packets."""
    move(wire.name, blue)
    ip("link", "add", wire.name, "type", "veth", "peer", "name", f"{wire.peer}x")
    for name in (wire.name, f"{wire.peer}x"):
        raise_up(name)
    own, named = Point(wire.name, "xdp"), Point(wire.name, "xdp", blue)
    executor.settle(a_chain(wire.name, a_program("one")), own, 1)
    executor.settle(chain_in(blue, wire), named, 1)
    before = executor.scalar(own, "one")
    send_frames(f"{wire.peer}x", 2)
    send_frames(wire.peer, 5)

    assert executor.scalar(named, "one") == 5
    assert executor.scalar(own, "one") - before >= 2
    executor.settle(None, own, 2)
    assert executor.scalar(named, "one") == 5
    delete(wire.name)


def test_a_namespace_that_vanished_is_a_state(executor: Executor, wire: Wire, blue: str) -> None:
    """The chain waits for its interface, nothing fails, and it is let go without it."""
    move(wire.name, blue)
    point, chain = Point(wire.name, "xdp", blue), chain_in(blue, wire)
    executor.settle(chain, point, 1)
    home = here()

    ip("netns", "del", blue)
    executor.settle(chain, point, 1)

    seen = executor.points.describe(point, chain, desired_generation=1)
    assert seen.state == "waiting-for-interface"
    assert here() == home
    executor.settle(None, point, 2)
    assert executor.points.describe(point, None, desired_generation=2).state == "absent"


def test_the_way_home_is_always_found(blue: str) -> None:
    """Whatever happens inside, and if there is no such namespace."""
    home = here()

    def fails_there() -> None:
        with inside(blue):
            assert here() != home
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_there()
    with pytest.raises(NamespaceGoneError), inside("no-such-namespace"):
        pass
    assert here() == home


def test_names_without_a_namespace_and_second_names_are_not_listed(blue: str) -> None:
    """A name is made before something is mounted there."""
    empty = FOLDER / f"{blue}x"
    empty.touch()
    try:
        assert blue in names()
        assert empty.name not in names()
        with pytest.raises(NamespaceGoneError), inside(empty.name):
            pass
    finally:
        empty.unlink()


def test_the_inventory_has_the_interfaces_of_named_namespaces(wire: Wire, blue: str) -> None:
    """Each with its namespace, beside those of the executor's own."""
    move(wire.name, blue)
    netlink = Netlink(PurePosixPath("/sys/fs/bpf/l3af"))
    try:
        found = {one.place: one for one in netlink.survey().interfaces}
    finally:
        netlink.close()

    assert wire.peer in found
    assert found[f"{blue}/{wire.name}"].kind == "veth"
    assert found[f"{blue}/{wire.name}"].netns == blue
    assert f"{blue}/lo" not in found
    assert Path("/sys/fs/bpf").is_dir()


def test_the_inventory_says_where_default_routes_leave(wire: Wire, blue: str) -> None:
    """Of each namespace its own, by family, and through each next hop."""
    move(wire.name, blue)
    ip("link", "set", wire.peer, "up")
    netlink = Netlink(PurePosixPath("/sys/fs/bpf/l3af"), named=lambda: (blue,))
    place = f"{blue}/{wire.name}"

    def routes() -> tuple[str, ...] | None:
        netlink.forget(None)
        return {one.place: one.default_routes for one in netlink.survey().interfaces}[place]

    try:
        seen = [routes()]
        ip("address", "add", "198.51.100.2/24", "dev", wire.name, within=blue)
        ip("route", "add", "10.0.0.0/8", "via", "198.51.100.1", within=blue)
        seen.append(routes())
        ip("route", "add", "default", "via", "198.51.100.1", within=blue)
        seen.append(routes())
        ip("-6", "route", "add", "default", "dev", wire.name, within=blue)
        seen.append(routes())
        ip("route", "replace", "blackhole", "default", within=blue)
        seen.append(routes())
    finally:
        netlink.close()

    assert seen == [(), (), ("ipv4",), ("ipv4", "ipv6"), ("ipv6",)]
