# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is pinned of a generation, how long, and that a process without memory knows it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters import kernel_info, pins, slot_counters
from services.node_executor.adapters.bpf_syscall import PROGRAM_NEXT_ID, ids
from services.node_executor.generations import COUNTERS, SEGMENTS, MapKey, Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.generation_programs import StampedPrograms
from tests.support.interfaces import program_exists, wait_until_gone

PROGRAMS = StampedPrograms()
a_part = PROGRAMS.program


@pytest.fixture
def stamped(executor: Executor) -> Executor:
    """An executor whose packages have few maps."""
    executor.opened = PROGRAMS.opened
    return executor


@pytest.fixture
def forgetful(base: PurePosixPath, tmp_path: Path) -> Iterator[Executor]:
    """Another executor on the same pins, not started, with nothing in its state directory."""
    made = Executor(real_kernel(base), tmp_path / "empty" / "state.sqlite")
    made.opened = PROGRAMS.opened
    yield made
    made.stop()


def three_segments(interface: str) -> DesiredChain:
    """Licences that may not be together, three times."""
    return a_chain(
        interface,
        a_part("open", "4.0.0", order=10),
        a_part("closed", "3.0.0", order=20),
        a_part("last", "4.0.0", order=30),
    )


def seen(executor: Executor, point: Point, chain: DesiredChain) -> ObservedChain:
    """As it is reported."""
    return executor.points.describe(point, chain, desired_generation=1)


def counted(executor: Executor, point: Point, deployment: str) -> int:
    """Packets that the running generation's program counted."""
    return executor.scalar(point, deployment, PROGRAMS.packets)


def steps(executor: Executor) -> list[str]:
    """Of the newest change."""
    requests = [event.data for event in executor.events() if event.data.action == "chain.request"]
    named: list[str] = requests[-1].details["steps"]
    return named


def test_a_generation_is_pinned_as_a_whole(
    stamped: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Programs of all segments, their array, the counters, the maps, and what it was made of."""
    point = Point(wire.name, "xdp")
    stamped.settle(three_segments(wire.name), point, 1)
    send_frames(wire.peer, 5)

    maps = [f"maps/{one}/{PROGRAMS.packets}" for one in ("closed", "last", "open")]
    own = ["head", "l3af_plan", "l3af_segments", "l3af_slots", *maps, "segment-1", "segment-2"]
    folder = f"{wire.name}/xdp"
    expected = [*(f"{folder}/generations/1/{name}" for name in own), f"{folder}/link"]
    assert pins_below(base) == expected
    assert [counted(stamped, point, one) for one in ("open", "closed", "last")] == [5, 5, 5]


def test_maps_have_a_path_that_leads_to_those_that_run(
    stamped: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """For whoever reads them with other tools; it follows every change."""
    point = Point(wire.name, "xdp")
    path = base / wire.name / "xdp" / "maps" / "two" / PROGRAMS.packets
    alone = a_chain(wire.name, a_part("one"))

    found = []
    for generation, chain in enumerate(
        (alone, a_chain(wire.name, a_part("one"), a_part("two", order=20)), alone)
    ):
        stamped.settle(chain, point, generation + 1)
        opened = pins.open_pinned(path)
        found.append(opened is not None)
        if opened is not None:
            opened.close()

    assert found == [False, True, False]


def test_going_back_links_and_loads_nothing(stamped: Executor, wire: Wire) -> None:
    """The record and the link change, and no program is made; slots and counters stay."""
    point = Point(wire.name, "xdp")
    first = a_chain(wire.name, a_part("one"), a_part("two", order=20))
    stamped.settle(first, point, 1)
    send_frames(wire.peer, 1)
    stamped.settle(a_chain(wire.name, a_part("two", "2.0.0", order=20)), point, 2)
    send_frames(wire.peer, 1)
    known = set(ids(PROGRAM_NEXT_ID))

    has_linked = stamped.settle(first, point, 3)
    send_frames(wire.peer, 1)

    made = {one for one in set(ids(PROGRAM_NEXT_ID)) - known if _is_ours(one, wire)}
    assert (has_linked, made) == (False, set())
    assert steps(stamped) == ["WriteRecord", "ReplaceLinkProgram"]
    assert (counted(stamped, point, "one"), counted(stamped, point, "two")) == (2, 4)
    assert [one.slot for one in seen(stamped, point, first).programs] == [0, 1]


def _is_ours(program_id: int, wire: Wire) -> bool:
    return any(f" {program_id}" in one for one in PROGRAMS.in_kernel(wire.name))


def test_the_generation_before_goes_after_its_time(
    stamped: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Kept until `keep_seconds` after the change, then given up by the next look, with its maps."""
    point = Point(wire.name, "xdp")
    keep = LinkOptions(keep_seconds=60)
    old = _with(a_chain(wire.name, a_part("one"), a_part("gone", order=20)), keep)
    new = _with(a_chain(wire.name, a_part("one", "2.0.0")), keep)
    stamped.settle(old, point, 1)
    before = stamped.kernel.observe(point)
    stamped.settle(new, point, 2)

    stamped.now += 59
    stamped.settle(new, point, 2)
    kept = stamped.kernel.observe(point)
    stamped.now += 1
    stamped.settle(new, point, 2)
    left = stamped.kernel.observe(point)

    assert sorted(kept.generations) == [1, 2]
    assert sorted(left.generations) == [2]
    assert left.link_program_id == kept.link_program_id
    wait_until_gone(
        programs=(before.link_program_id,),
        maps=(before.map_pins[MapKey("gone", PROGRAMS.packets)],),
    )
    assert stamped.points.memory(point).previous is None
    assert stamped.settle(old, point, 3), "going back has to link now"
    assert "/1/" not in "".join(pins_below(base))


def _with(chain: DesiredChain, link: LinkOptions) -> DesiredChain:
    return DesiredChain(
        interface=chain.interface,
        hook=chain.hook,
        programs=chain.programs,
        cause=chain.cause,
        link=link,
    )


def test_a_slot_that_is_used_again_begins_at_zero_and_no_other_count_is_lost(
    stamped: Executor, wire: Wire
) -> None:
    """Counters are made anew beside those that packets are counted in, and copied last."""
    point = Point(wire.name, "xdp")
    at_once = LinkOptions(keep_seconds=0)
    both = _with(a_chain(wire.name, a_part("one"), a_part("two", order=20)), at_once)
    alone = _with(a_chain(wire.name, a_part("one")), at_once)
    other = _with(a_chain(wire.name, a_part("new", order=5), a_part("one")), at_once)
    stamped.settle(both, point, 1)
    send_frames(wire.peer, 3)
    stamped.settle(alone, point, 2)
    needs = stamped.points.needs(point, other)
    prepared = stamped.prepare(other, point, needs)
    send_frames(wire.peer, 2)  # after the new counters were made, before they are counted in

    stamped.points.settle(point, other, desired_generation=3, prepared=prepared)
    send_frames(wire.peer, 1)

    assert prepared.linked is not None
    prepared.linked.close()
    assert "CopyCounts" in steps(stamped)
    assert [(one.deployment, one.slot) for one in seen(stamped, point, other).programs] == [
        ("new", 1),
        ("one", 0),
    ]
    with kernel_info.map_by_id(stamped.kernel.observe(point).map_pins[COUNTERS]) as counters:
        table = slot_counters.read(counters, "xdp", (0, 1))
    assert [table.slots[slot].packets for slot in (0, 1)] == [6, 1]


def test_counts_go_on_through_counters_that_grow_and_back(stamped: Executor, wire: Wire) -> None:
    """A chain of 17 needs a larger map; going back to the small one takes the counts along."""
    point = Point(wire.name, "xdp")
    few = a_chain(wire.name, a_part("p0"))
    many = a_chain(wire.name, *(a_part(f"p{number}", order=number) for number in range(17)))
    maps = set()
    for generation, chain in enumerate((few, many, few)):
        stamped.settle(chain, point, generation + 1)
        send_frames(wire.peer, 2)
        maps.add(stamped.kernel.observe(point).map_pins[COUNTERS])

    with kernel_info.map_by_id(stamped.kernel.observe(point).map_pins[COUNTERS]) as counters:
        table = slot_counters.read(counters, "xdp", (0, 15))
    assert len(maps) == 2
    assert [table.slots[slot].packets for slot in (0, 15)] == [6, 2]


def test_an_empty_state_directory_costs_nothing(
    stamped: Executor, forgetful: Executor, wire: Wire
) -> None:
    """Pins alone tell the whole chain; packets pass, and the same plan changes nothing."""
    point = Point(wire.name, "xdp")
    first = a_chain(wire.name, a_part("closed", "3.0.0", order=20))
    chain = three_segments(wire.name)
    stamped.settle(first, point, 1)
    stamped.settle(chain, point, 2)
    send_frames(wire.peer, 3)
    hook, before = stamped.kernel.observe(point), seen(stamped, point, chain)
    stamped.stop()

    forgetful.start()
    send_frames(wire.peer, 3)
    adopted = seen(forgetful, point, chain)
    has_linked = forgetful.settle(chain, point, 2)
    unchanged = forgetful.kernel.observe(point)
    went_back = forgetful.settle(first, point, 3)

    assert adopted == before
    assert [(one.deployment, one.version, one.slot) for one in adopted.programs] == [
        ("open", "4.0.0", 1),
        ("closed", "3.0.0", 0),
        ("last", "4.0.0", 2),
    ]
    assert (has_linked, unchanged) == (False, hook)
    assert forgetful.actions()[0] == "chain.adopt"
    assert "chain.drift" not in forgetful.actions()
    assert not went_back, "the generation before is known too"
    assert seen(forgetful, point, first).generation == 3


def test_a_state_directory_from_a_backup_is_overtaken_by_the_pins(
    stamped: Executor, forgetful: Executor, wire: Wire
) -> None:
    """What was done since the backup is not taken for somebody else's doing."""
    point = Point(wire.name, "xdp")
    old, new = a_chain(wire.name, a_part("one")), a_chain(wire.name, a_part("one", "2.0.0"))
    stamped.settle(old, point, 1)
    forgetful.start()
    stamped.settle(new, point, 2)

    has_linked = forgetful.settle(new, point, 2)

    assert not has_linked
    assert "chain.drift" not in forgetful.actions()
    assert seen(forgetful, point, new).generation == 2


def test_damaged_and_foreign_pins_are_reported(
    stamped: Executor, forgetful: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The chain runs on; who does not know it says why, and takes its place with its counts."""
    point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_part("one"))
    stamped.settle(chain, point, 1)
    send_frames(wire.peer, 2)
    folder = Path(base) / wire.name / "xdp" / "generations"
    hook = stamped.kernel.observe(point)
    with kernel_info.map_by_id(hook.map_pins[COUNTERS]) as foreign:
        pins.pin(foreign, PurePosixPath(folder / "1" / "l3af_plan"))
        pins.pin(foreign, PurePosixPath(folder / "1" / "segment-7"))
        pins.pin(foreign, PurePosixPath(folder / "strange"))
    stamped.stop()

    forgetful.start()
    said = " ".join(seen(forgetful, point, chain).warnings)
    still = forgetful.kernel.observe(point).link_program_id
    forgetful.settle(chain, point, 1)
    send_frames(wire.peer, 2)

    assert still == hook.link_program_id
    assert "generations/strange in the pin directory is not ours" in said
    assert "segment-7" in said
    assert "the pins of generation 1 are damaged" in said
    assert counted(forgetful, point, "one") == 4
    assert program_exists(forgetful.kernel.observe(point).link_program_id)
    forgetful.settle(None, point, 2)
    assert forgetful.kernel.observe(point).link_id == 0
    for left in (folder / "1" / "segment-7", folder / "strange"):
        left.unlink(missing_ok=True)


def test_pins_that_somebody_took_away_come_back(
    stamped: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """At the next look, with the record; the program itself never left."""
    point, chain = Point(wire.name, "xdp"), three_segments(wire.name)
    stamped.settle(chain, point, 1)
    hook, pinned = stamped.kernel.observe(point), pins_below(base)
    for name in ("l3af_plan", "segment-1", f"maps/open/{PROGRAMS.packets}"):
        (Path(base) / wire.name / "xdp" / "generations" / "1" / name).unlink()

    stamped.settle(chain, point, 1)

    assert pins_below(base) == pinned
    assert stamped.kernel.observe(point).map_pins[SEGMENTS] == hook.map_pins[SEGMENTS]


def test_pins_of_the_first_release_are_taken_over(
    stamped: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """One folder for all programs and one for all maps, without a record: nothing is linked."""
    point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_part("one"))
    stamped.settle(chain, point, 1)
    folder = Path(base) / wire.name / "xdp"
    (folder / "maps").unlink()
    (folder / "generations" / "1" / "maps").rename(folder / "maps")
    (folder / "programs").mkdir()
    (folder / "generations" / "1" / "head").rename(folder / "programs" / "1")
    for name in ("l3af_plan", "l3af_slots"):
        (folder / "generations" / "1" / name).unlink()
    hook = stamped.kernel.observe(point)

    stamped.kernel = real_kernel(base)
    stamped.stop()
    stamped.start()
    has_linked = stamped.settle(chain, point, 1)

    assert not has_linked
    assert stamped.kernel.observe(point).link_program_id == hook.link_program_id
    assert not (folder / "programs").exists()
    assert len(pins_below(base)) == 5
    assert stamped.points.describe(point, chain, desired_generation=1).warnings == ()
