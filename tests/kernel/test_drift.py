# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody else changes what a node runs: each kind is found at the next look, and said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from services.node_executor.adapters import pins
from services.node_executor.adapters.chain import link_chain
from services.node_executor.attachment import ForeignOwnerError
from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy
from shared.contracts.link_options import LinkOptions
from tests.support.chain_reference import a_source
from tests.support.drifting import (
    PROGRAMS,
    Node,
    array_unpinned,
    counters_replaced,
    detached,
    emptied,
    entry_added,
    entry_changed,
    entry_removed,
    exchanged,
    head_unpinned,
    limits,
    map_unpinned,
    misdirected,
    record_unpinned,
    segment_unpinned,
    segments_unloaded,
    set_limit,
    shell,
    unlinked,
)
from tests.support.executors import Executor, Wire, a_chain, a_program, pins_below, send_frames


@pytest.fixture
def node(executor: Executor, wire: Wire, base: PurePosixPath) -> Node:
    """The chain runs."""
    executor.opened = PROGRAMS.opened
    made = Node(executor, wire, base)
    made.settle()
    assert made.passes() == 5
    return made


CASES: list[tuple[Callable[[Node], None], list[str]]] = [
    (detached, ["link-detached"]),
    (unlinked, ["link-gone"]),
    (exchanged, ["program-replaced"]),
    (head_unpinned, ["pin-gone"]),
    (segment_unpinned, ["pin-gone"]),
    (array_unpinned, ["pin-gone", "segment-replaced", "segment-replaced"]),
    (segments_unloaded, ["program-unloaded", "segment-replaced"]),
    (record_unpinned, ["pin-gone"]),
    (map_unpinned, ["pin-gone"]),
    (counters_replaced, ["pin-replaced"]),
    (emptied, ["segment-replaced"]),
    (misdirected, ["segment-replaced"]),
    (entry_changed, ["map-changed"]),
    (entry_added, ["map-changed"]),
    (entry_removed, ["map-changed"]),
]


@pytest.mark.parametrize(("happens", "kinds"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_repair_puts_back_what_was_there(
    node: Node, happens: Callable[[Node], None], kinds: list[str]
) -> None:
    """At the next look, said once; the whole chain sees every frame again, and counts go on."""
    counted = node.counted()
    happens(node)

    node.settle()
    found = node.drifts()
    node.settle()

    assert [one["kind"] for one in found] == kinds
    assert {one["done"] for one in found} == {"repair"}
    assert node.drifts() == found
    assert node.seen().drift == ()
    assert node.passes() == 5
    assert node.counted() == counted + 5
    assert limits(node) == {80: 5}
    names = {path.name for path in node.pinned.iterdir()}
    expected = {"head", "segment-1", "segment-2", "l3af_segments", "l3af_slots", "l3af_plan"}
    assert names == {*expected, "maps"}


@pytest.mark.parametrize("happens", [happens for happens, _ in CASES])
def test_a_chain_that_somebody_changed_does_not_rest(
    node: Node, happens: Callable[[Node], None]
) -> None:
    """Until then it does, and the same look is not judged anew; and again once it was repaired."""

    def rests() -> bool:
        return node.executor.rests(node.chain(), node.point, 1)

    before = rests(), rests()
    happens(node)
    disturbed = rests()
    node.settle()
    node.settle()

    assert before == (True, True)
    assert not disturbed
    is_whole = happens is not segments_unloaded
    assert rests() == is_whole, "a lost program of the generation before cannot be pinned again"


@pytest.mark.parametrize(("happens", "kinds"), CASES, ids=lambda one: getattr(one, "__name__", ""))
def test_alarm_leaves_what_was_found_until_somebody_decides(
    node: Node, happens: Callable[[Node], None], kinds: list[str]
) -> None:
    """The kernel is as somebody left it, and the node says so; `repair` is such a decision."""
    node.settle("alarm")
    happens(node)
    before = node.executor.kernel.observe(node.point), limits(node)

    for _ in range(2):
        node.settle("alarm")
    left, reported = node.drifts(), node.seen()
    after = node.executor.kernel.observe(node.point), limits(node)
    node.settle("repair")

    assert after == before
    assert [(one["kind"], one["done"]) for one in left] == [(kind, "left") for kind in kinds]
    assert [one.kind for one in reported.drift] == kinds
    assert reported.state == ("failed" if happens in (detached, unlinked) else "attached")
    assert node.drifts() == left
    assert node.seen().drift == ()
    assert node.passes() == 5


def test_a_new_wish_is_done_whatever_the_policy(node: Node) -> None:
    """What is deployed anew is somebody's decision."""
    node.settle("alarm")
    detached(node)
    node.settle("alarm")
    is_off = not node.executor.kernel.observe(node.point).link_is_live

    node.settle("alarm", limit=9)

    assert is_off
    assert (limits(node), node.passes(), node.seen().drift) == ({80: 9}, 5, ())


def test_adopted_entries_are_the_base_from_then_on(node: Node) -> None:
    """Not drift any more, kept by an upgrade, put back by `repair`; gone with other entries."""
    node.settle("adopt")
    entry_changed(node)
    entry_added(node)
    for _ in range(2):
        node.settle("adopt")
    adopted = limits(node)
    reported = node.seen().drift

    node.settle("repair")
    kept = limits(node)
    entry_removed(node)
    node.settle("repair")
    put_back = limits(node)
    chain = node.chain()
    upgraded = msgspec.structs.replace(
        chain, programs=(chain.programs[0], PROGRAMS.program("last", "4.0.0", order=30))
    )
    node.executor.settle(upgraded, node.point, 2)
    carried = limits(node)
    node.executor.settle(node.chain(limit=9), node.point, 3)

    assert adopted == kept == put_back == carried == {80: 7, 443: 1}
    assert [(one.kind, one.done, one.found) for one in reported] == [
        ("map-changed", "adopted", {"entries": 2})
    ]
    assert [(one["kind"], one["done"]) for one in node.drifts()] == [
        ("map-changed", "adopted"),
        ("map-changed", "repair"),
    ]
    assert limits(node) == {80: 9}
    assert node.seen().drift == ()


def test_an_adopted_absence_stays(node: Node) -> None:
    """The hook stays free, and that is no failure; `repair` ends it."""
    node.settle("adopt")
    detached(node)
    for _ in range(2):
        node.settle("adopt")
    left = node.seen()
    node.settle("repair")

    assert (left.state, [one.done for one in left.drift]) == ("absent", ["adopted"])
    assert len(node.drifts()) == 1
    assert node.passes() == 5


def test_each_occurrence_is_said_and_a_restart_says_none_again(node: Node) -> None:
    """The same thing twice is two events with two ids, over a restart of the executor too."""
    node.settle("alarm")
    entry_changed(node)
    node.settle("alarm")
    node.executor.stop()
    node.executor.start()
    node.settle("alarm")
    first = len(node.drifts())
    set_limit(node, "50 00", "05 00 00 00")
    node.settle("alarm")
    calm = node.seen().drift
    entry_changed(node)
    node.settle("alarm")

    ids = [one.id for one in node.executor.events() if one.data.action == "chain.drift"]
    assert (first, calm) == (1, ())
    assert len(ids) == len(set(ids)) == 2
    assert node.seen().drift[0].event_id == ids[1]


def test_what_the_program_writes_itself_is_no_drift(executor: Executor, wire: Wire) -> None:
    """Its counters change with every frame; a map that it only reads is compared."""
    point = Point(wire.name, "xdp")
    chain = a_chain(wire.name, a_program("one", config={"limits": {"80": 1}, "settings": {}}))
    executor.settle(chain, point, 1)
    send_frames(wire.peer, 5)
    executor.settle(chain, point, 1)
    current = executor.points.memory(point).current
    assert current is not None

    assert "chain.drift" not in executor.actions()
    watched = {held.name for held in current.maps if held.is_watched}
    assert watched == {"limits", "settings"}


def test_a_generation_that_cannot_be_gone_back_to_any_more_is_said(node: Node) -> None:
    """Its name is gone, so the kernel let it go; what runs is not concerned."""
    chain = node.chain()
    upgraded = msgspec.structs.replace(chain, programs=chain.programs[:1])
    older = node.pinned
    node.executor.settle(upgraded, node.point, 2)
    (older / "head").unlink()
    for _ in range(2):
        node.executor.settle(upgraded, node.point, 2)

    (found,) = node.drifts()
    assert (found["kind"], found["done"]) == ("program-unloaded", "forgotten")
    assert node.executor.points.memory(node.point).previous is None
    assert not older.exists()


def test_an_executor_without_memory_finds_what_differs_from_the_pins(
    node: Node, tmp_path: Path
) -> None:
    """The record beside the pins says what was left; neighbours and interface are learned anew."""
    node.executor.stop()
    entry_changed(node)
    emptied(node)
    other = Executor(node.executor.kernel, tmp_path / "other" / "state.sqlite")
    other.opened = PROGRAMS.opened
    other.start()
    for _ in range(2):
        other.settle(node.chain(), node.point, 1)

    events = [event.data for event in other.events() if event.data.action == "chain.drift"]
    assert [one.details["kind"] for one in events] == ["segment-replaced", "map-changed"]
    assert limits(node) == {80: 5}
    other.stop()
    node.executor.start()


def _taken(node: Node) -> None:
    """`ip link set xdp` in the place of our program."""
    detached(node)
    words = ("xdp", "pinned", f"{node.base}-theirs/program")
    shell("ip", "link", "set", node.wire.name, *words)


@pytest.mark.parametrize(
    ("options", "state", "done"),
    [
        (LinkOptions(), "failed", "left-to-owner"),
        (LinkOptions(take_over=True), "attached", "repair"),
        (LinkOptions(drift="alarm"), "failed", "left"),
        (LinkOptions(drift="adopt"), "absent", "adopted"),
    ],
)
def test_a_hook_that_somebody_took_is_not_taken_back_unasked(
    node: Node, options: LinkOptions, state: str, done: str
) -> None:
    """The event names the program, where it is pinned and who holds it; `take_over` replaces it."""
    wanted = msgspec.structs.replace(node.chain(), link=options)
    node.executor.settle(wanted, node.point, 2)
    theirs_path = PurePosixPath(f"{node.base}-theirs")
    pins.prepare_pin_directory(theirs_path)
    with link_chain([a_source("passes")], "xdp", name="theirs") as theirs:
        pins.pin(theirs.program, theirs_path / "program")
        try:
            _taken(node)
            for _ in range(2):
                try:
                    node.executor.settle(wanted, node.point, 2)
                except ForeignOwnerError as error:
                    node.executor.points.refuse(
                        node.point, wanted, desired_generation=2, error=error
                    )
            seen = node.executor.points.describe(node.point, wanted, desired_generation=2)
            (found,) = node.drifts()
            assert (seen.state, found["kind"], found["done"]) == (state, "hook-taken", done)
            assert (seen.refusal is not None) == (done == "left-to-owner")
            assert found["found"]["program_id"] == theirs.info.id
            assert found["found"]["program_name"] == theirs.info.name
            assert found["found"]["pins"] == [f"{theirs_path}/program"]
            assert found["found"]["processes"]
        finally:
            node.executor.settle(None, node.point, 3)
            shell("ip", "link", "set", node.wire.name, "xdp", "off")
            pins.unpin(theirs_path / "program", base=theirs_path)
            Path(theirs_path).rmdir()


class Meddled:
    """A kernel on which somebody else does something right after each swap."""

    def __init__(self, kernel: Any, meddle: Callable[[], None]) -> None:
        self._kernel = kernel
        self._meddle = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def replace(self, point: Point, **options: Any) -> None:
        """The swap, and what comes before it is read back."""
        self._kernel.replace(point, **options)
        self._meddle()


@pytest.mark.parametrize(
    ("policy", "what"),
    [("repair", "packets"), ("repair", "head"), ("repair", "l3af_plan"), ("alarm", "packets")],
)
def test_what_is_taken_between_a_swap_and_its_tidying_is_said(
    executor: Executor, wire: Wire, base: PurePosixPath, policy: DriftPolicy, what: str
) -> None:
    """However short the moment is; and the next round has nothing to add."""
    point = Point(wire.name, "xdp")
    link = LinkOptions(drift=policy)

    def wanted(version: str) -> DesiredChain:
        chain = a_chain(wire.name, a_program("one", version))
        return msgspec.structs.replace(chain, link=link)

    def meddle() -> None:
        newest = max(executor.kernel.observe(point).generations)
        found = (one for one in pins_below(base) if f"/generations/{newest}/" in one)
        Path(base, next(one for one in found if one.endswith(what))).unlink()

    executor.settle(wanted("1.0.0"), point, 1)
    executor.stop()
    executor.kernel = Meddled(executor.kernel, meddle)
    executor.start()
    executor.settle(wanted("2.0.0"), point, 2)
    told = [one.data for one in executor.events() if one.data.action == "chain.drift"]
    executor.settle(wanted("2.0.0"), point, 2)

    assert len(told) == 1
    assert executor.actions().count("chain.drift") == 1
