# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps that all instances of a package on a node have in common, on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from services.node_executor.generations import MapKey, Point
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import MapMismatchError
from shared.contracts.desired import DesiredProgram
from shared.identifiers import Hook
from tests.kernel.test_map_carry_over import a_flow, opened
from tests.support.executors import Executor, Wire, a_chain, a_wire, send_frames
from tests.support.interfaces import wait_until_gone

pytestmark = pytest.mark.kernel


def _opened(program: DesiredProgram, hook: Hook) -> OpenedPackage:
    """The package of `test_map_carry_over`, which says that its map is common."""
    package = opened(program, hook)
    manifest = msgspec.structs.replace(package.manifest, node_maps=("flows",))
    return OpenedPackage(manifest, package.files, package.publisher)


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor whose packages have a map in common."""
    executor.opened = _opened
    return executor


@pytest.fixture
def other() -> Iterator[Wire]:
    """A second wire."""
    with a_wire() as made:
        yield made


def _run(
    node: Executor, wire: Wire, deployment: str, version: str = "1.0.0", **policies: str
) -> Point:
    """The deployment runs alone on the wire."""
    point = Point(wire.name, "xdp")
    node.settle(a_chain(wire.name, a_flow(deployment, version, **policies)), point, 1)
    return point


def _map(node: Executor, point: Point, deployment: str) -> int:
    return node.kernel.observe(point).map_pins[MapKey(deployment, "flows")]


def _packets(node: Executor, map_id: int) -> int:
    (value,) = node.kernel.read_entries(map_id).values()
    return int.from_bytes(value[:8], "little")


def test_a_second_instance_takes_the_map_of_the_first(
    node: Executor, wire: Wire, other: Wire
) -> None:
    """On another hook point and of another deployment: both count in one map."""
    first, second = _run(node, wire, "one"), _run(node, other, "two")

    send_frames(wire.peer, 3)
    send_frames(other.peer, 4)

    common = _map(node, first, "one")
    assert _map(node, second, "two") == common
    assert _packets(node, common) == 7


def test_the_map_is_there_as_long_as_anybody_has_it(
    node: Executor, wire: Wire, other: Wire
) -> None:
    """Whoever made it may go and come again; with the last one it goes."""
    first, second = _run(node, wire, "one"), _run(node, other, "two")
    common = _map(node, first, "one")
    send_frames(wire.peer, 3)

    node.settle(None, first, 2)
    send_frames(other.peer, 2)
    again = _run(node, wire, "one")

    assert _map(node, again, "one") == common
    assert _packets(node, common) == 5
    for point in (first, second):
        node.settle(None, point, 3)
    wait_until_gone(maps=(common,))


def test_an_upgrade_and_a_restart_keep_it_common(node: Executor, wire: Wire, other: Wire) -> None:
    """One instance gets another version, the executor is started anew, and both still share."""
    first, second = _run(node, wire, "one"), _run(node, other, "two")
    common = _map(node, first, "one")

    _run(node, wire, "one", "1.1.0")
    node.stop()
    node.start()
    _run(node, other, "two", "1.1.0")

    assert {_map(node, first, "one"), _map(node, second, "two")} == {common}


def test_instances_that_follow_to_another_layout_find_each_other(
    node: Executor, wire: Wire, other: Wire
) -> None:
    """The first one begins with a new map, as its package says, and the next one takes that."""
    first, second = _run(node, wire, "one"), _run(node, other, "two")
    old = _map(node, first, "one")

    _run(node, wire, "one", "2.0.0", flows="fresh")
    between = (_map(node, first, "one"), _map(node, second, "two"))
    _run(node, other, "two", "2.0.0")

    assert between[0] != old
    assert between[1] == old
    assert _map(node, second, "two") == _map(node, first, "one") == between[0]


def test_a_layout_that_nobody_has_is_refused_of_a_new_instance(
    node: Executor, wire: Wire, other: Wire
) -> None:
    """It would have a map of its own, which nobody else knows."""
    _run(node, wire, "one")

    with pytest.raises(MapMismatchError) as caught:
        _run(node, other, "two", "2.0.0")

    assert [reason.path for reason in caught.value.reasons] == ["two.maps.flows"]


def test_two_that_begin_in_one_change_are_refused_by_name(node: Executor, wire: Wire) -> None:
    """Each would make the map; one after the other they have it in common."""
    point = Point(wire.name, "xdp")
    one, two = a_flow("one", "1.0.0"), a_flow("two", "1.0.0")

    with pytest.raises(MapMismatchError) as caught:
        node.settle(a_chain(wire.name, one, two), point, 1)
    node.settle(a_chain(wire.name, one), point, 2)
    node.settle(a_chain(wire.name, one, two), point, 3)

    assert [reason.path for reason in caught.value.reasons] == ["two.maps.flows"]
    assert "deploy one after the other" in str(caught.value.reasons[0].rule)
    assert _map(node, point, "one") == _map(node, point, "two")


def test_what_is_not_called_common_is_everybodys_own(
    executor: Executor, wire: Wire, other: Wire
) -> None:
    """The same package without the word: two maps."""
    executor.opened = opened
    first, second = _run(executor, wire, "one"), _run(executor, other, "two")

    assert _map(executor, first, "one") != _map(executor, second, "two")
