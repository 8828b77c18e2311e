# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known after a crash, after a lost memory and after time has passed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.node_executor.generation_record import (
    MalformedRecordError,
    decode_record,
    encode_record,
    record_number,
)
from services.node_executor.generations import (
    ChainMemory,
    Generation,
    MapKey,
    Pending,
    Point,
    assign_slots,
    carried_maps,
    config_digest,
    configured_maps,
    new_slots,
    plan_digest,
    retired,
    same_code,
)
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.recovery import abandoned, confirmed, damage, learned, recover
from shared.contracts.desired import DesiredChain, DesiredProgram
from tests.unit.test_reconciliation import (
    CAUSE,
    FREE,
    LIMITS,
    NEW,
    OLD,
    a_chain,
    a_generation,
    a_hook,
    a_memory,
    a_program,
)


def a_pending(kind: Any, chain: DesiredChain | None = None) -> Pending:
    """A change towards program 12."""
    generation = a_generation(chain, 12, 3) if chain else None
    return Pending(kind=kind, generation=generation, desired_generation=5, cause=CAUSE)


def test_an_attachment_that_reached_the_kernel_is_confirmed() -> None:
    """The new generation is current, the old one the previous."""
    memory = a_memory(OLD, pending=a_pending("attach", NEW))

    recovered, is_done = recover(a_hook(link_program_id=12), memory)

    assert is_done
    assert recovered == confirmed(memory)
    assert recovered.current == a_generation(NEW, 12, 3)
    assert recovered.previous == a_generation(OLD, 11, 2)
    assert (recovered.last_number, recovered.pending) == (3, None)


def test_an_attachment_that_did_not_is_given_up() -> None:
    """The configuration counts as unknown, and the maps that may be half written are noted."""
    chain = a_chain(a_program(version="2.0.0", config={"limits": {"80": 1}}))
    memory = a_memory(OLD, pending=a_pending("attach", chain))

    recovered, is_done = recover(a_hook(), memory)

    assert not is_done
    assert recovered == abandoned(memory)
    assert (recovered.config_sha256, recovered.touched) == ("", (LIMITS,))
    assert configured_maps(recovered, OLD) == {LIMITS: {}}


@pytest.mark.parametrize(("hook", "is_done"), [(FREE, True), (a_hook(), False)])
def test_a_detachment_is_done_when_nothing_runs(hook: ObservedHook, is_done: bool) -> None:
    """The kernel decides, not the journal."""
    memory = a_memory(OLD, pending=a_pending("detach"))

    assert recover(hook, memory)[1] is is_done


def test_a_configuration_is_always_written_again() -> None:
    """Entries cannot say whether they were all written."""
    memory = a_memory(OLD, pending=a_pending("configure", OLD))

    recovered, is_done = recover(a_hook(), memory)

    assert (is_done, recovered.config_sha256) == (False, "")


def test_configuring_keeps_the_previous_generation() -> None:
    """The program did not change, so what came before it did not either."""
    memory = a_memory(NEW, OLD)
    assert memory.current is not None
    pending = Pending(
        kind="configure", generation=memory.current, desired_generation=5, cause=CAUSE
    )

    after = confirmed(msgspec.structs.replace(memory, pending=pending))

    assert after.previous == memory.previous


def test_an_instance_that_stays_keeps_its_maps_and_one_that_left_does_not() -> None:
    """Maps belong to an instance for as long as it is in the chain."""
    pins = {LIMITS: 500, MapKey("two", "limits"): 501}
    memory = a_memory(OLD)

    carried = carried_maps(pins, memory, a_chain(a_program(version="2.0.0"), a_program("two")))

    assert carried == {LIMITS: 500}


def test_global_data_is_kept_for_the_same_code_only() -> None:
    """Only that code knows its layout."""
    pins = {MapKey("one", ".bss"): 500}

    assert carried_maps(pins, a_memory(OLD), OLD) == pins
    assert carried_maps(pins, a_memory(OLD), NEW) == {}


def test_without_a_memory_every_pinned_map_of_the_chain_is_kept() -> None:
    """A lost state directory does not cost the state in the kernel; global data is not trusted."""
    pins = {LIMITS: 500, MapKey("one", ".bss"): 501, MapKey("two", "limits"): 502}

    assert carried_maps(pins, a_memory(), OLD) == {LIMITS: 500}


def test_a_map_that_is_configured_no_more_is_emptied() -> None:
    """What an earlier chain wrote does not outlive it."""
    before = a_chain(a_program(config={"limits": {"80": 1}}))

    assert configured_maps(a_memory(before), OLD) == {LIMITS: {}}


def recorded(generation: Generation, **changes: Any) -> PinnedGeneration:
    """All that is pinned of a generation."""
    fields: dict[str, Any] = {
        "programs": generation.pinned_programs,
        "maps": generation.pinned_maps,
        "record": encode_record(generation),
    }
    return PinnedGeneration(**{**fields, **changes})


def told(*generations: Generation, link_program_id: int = 11) -> ObservedHook:
    """A hook point whose pins say what they are."""
    pinned = {one.pin: recorded(one) for one in generations}
    return a_hook(link_program_id=link_program_id, generations=pinned)


FIRST, SECOND = a_generation(OLD, 10, 1), a_generation(NEW, 11, 2)


def test_a_record_is_the_generation_again() -> None:
    """And its number can be read without decoding."""
    generation = msgspec.structs.replace(SECOND, segments=(12, 13), slots={"one": 3})

    record = encode_record(generation)

    assert decode_record(record) == generation
    assert record_number(record) == 2
    assert encode_record(generation) == record


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"x",
        b"foreign bytes that are long enough",
        encode_record(SECOND)[:-20],
        encode_record(SECOND)[:-4] + b"1234",
        encode_record(SECOND).replace(b"L3AF\1", b"L3AF\2"),
        encode_record(msgspec.structs.replace(SECOND, number=0)),
    ],
)
def test_what_is_no_record_is_refused_and_never_crashed_on(record: bytes) -> None:
    """Cut off, changed, of another release, or somebody else's."""
    with pytest.raises(MalformedRecordError):
        decode_record(record)


def test_a_lost_memory_is_told_by_the_pins() -> None:
    """The generation on the hook is current, the one before it the previous."""
    memory = learned(told(FIRST, SECOND), a_memory(last_number=0))

    assert memory is not None
    assert (memory.current, memory.previous) == (SECOND, FIRST)
    assert memory.last_number == 2
    assert memory.config_sha256 == config_digest(NEW)


def test_pins_that_are_not_newer_tell_nothing() -> None:
    """A memory that knows the number has seen more than the pins hold."""
    assert learned(told(FIRST, SECOND), a_memory(NEW, OLD)) is None
    assert learned(told(FIRST, SECOND, link_program_id=10), a_memory(NEW, OLD)) is None


def test_a_memory_from_a_backup_is_overtaken() -> None:
    """Another executor, or this one before its state was put back, went on."""
    third = a_generation(OLD, 12, 3)
    back = msgspec.structs.replace(FIRST, number=4)

    newer = learned(told(SECOND, third, link_program_id=12), a_memory(NEW, OLD))
    rolled_back = learned(told(back, third, link_program_id=10), a_memory(NEW, OLD))

    assert newer is not None
    assert (newer.current, newer.previous) == (third, SECOND)
    assert rolled_back is not None
    assert (rolled_back.current, rolled_back.previous) == (back, third)


def test_a_change_that_was_interrupted_leaves_the_configuration_unknown() -> None:
    """A record with a higher number than what runs: its entries may have been written."""
    config = a_chain(a_program(version="3.0.0", config={"limits": {"80": 1}}))
    unfinished = a_generation(config, 12, 3)

    memory = learned(told(SECOND, unfinished), a_memory(last_number=0))

    assert memory is not None
    assert (memory.current, memory.config_sha256) == (SECOND, "")
    assert memory.touched == (LIMITS,)
    assert memory.last_number == 3


def test_a_chain_that_waits_for_its_interface_is_told_by_its_newest_pins() -> None:
    """A dead link runs nothing; without any link nothing was finished."""
    dead = told(FIRST, SECOND, link_program_id=0)

    memory = learned(dead, a_memory(last_number=0))

    assert memory is not None
    assert memory.current == SECOND
    nothing = ObservedHook(interface_index=3, generations=dead.generations)
    assert learned(nothing, a_memory(last_number=0)) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"record": b""}, "there is no record"),
        ({"record": b"foreign bytes that are long enough"}, "it is no record"),
        ({"programs": {0: 99}}, "the programs are not those of the record"),
        ({"programs": {}}, "the programs are not those of the record"),
        ({"maps": {}}, "the maps are not those of the record"),
        ({"record": encode_record(FIRST)}, "the record is of another generation"),
    ],
)
def test_damaged_pins_are_reported_and_not_believed(changes: dict[str, Any], problem: str) -> None:
    """What runs is then known by what was remembered, or taken the place of."""
    hook = a_hook(generations={2: recorded(SECOND, **changes)})

    (said,) = damage(hook, point=Point("data0", "xdp"))

    assert problem in said
    assert learned(hook, a_memory(last_number=0)) is None


def test_pins_of_another_place_and_strange_names_are_reported() -> None:
    """Whoever put them there."""
    hook = a_hook(generations={2: recorded(SECOND)}, odd=("generations/x",))

    said = damage(hook, point=Point("data1", "xdp"))

    assert "generations/x" in said[0]
    assert "the record is of data0/xdp" in said[1]
    assert damage(a_hook(generations={2: recorded(SECOND)}), point=Point("data0", "xdp")) == ()


@pytest.mark.parametrize(("seconds", "is_kept"), [(0, True), (59, True), (60, False)])
def test_the_generation_before_is_kept_for_so_long(seconds: int, is_kept: bool) -> None:
    """Counted from when the present one was put on the hook; not while a change is under way."""
    current = msgspec.structs.replace(SECOND, put_at_seconds=100.0)
    memory = msgspec.structs.replace(a_memory(NEW, OLD), current=current)
    changing = msgspec.structs.replace(memory, pending=a_pending("attach", OLD))

    after = retired(memory, pinned=(1, 2), keep_seconds=60, now_seconds=100.0 + seconds)
    meanwhile = retired(changing, pinned=(1, 2), keep_seconds=60, now_seconds=100.0 + seconds)

    assert (after.previous is not None) is is_kept
    assert after.current == current
    assert meanwhile == changing


def test_a_generation_that_a_reboot_ended_is_not_kept() -> None:
    """Nothing of it is pinned, so there is no going back to it."""
    memory = a_memory(NEW, OLD)

    assert retired(memory, pinned=(1, 2), keep_seconds=60, now_seconds=0) == memory
    assert retired(memory, pinned=(2,), keep_seconds=60, now_seconds=0).previous is None


def test_an_instance_has_one_slot_for_life_and_a_new_one_the_lowest_free() -> None:
    """Reordering mixes no counts; a slot is free when no kept generation has it."""
    memory = counted_memory(
        previous={"one": 0, "two": 1, "four": 4}, current={"three": 2, "one": 0}
    )

    slots = assign_slots(memory, programs("new", "three", "two", "one", "newer"))

    assert slots == {"new": 3, "three": 2, "two": 1, "one": 0, "newer": 5}
    assert new_slots(memory, slots) == (3, 5)
    forgotten = retired(memory, pinned=(1,), keep_seconds=0, now_seconds=1.0)
    assert assign_slots(forgotten, programs("new", "one")) == {"new": 1, "one": 0}
    assert assign_slots(a_memory(), programs("a", "b")) == {"a": 0, "b": 1}


def test_an_instance_that_comes_again_is_a_new_one() -> None:
    """No slot, map, code or generation of the one that was removed is its own."""
    pins = {LIMITS: 500, MapKey("two", "limits"): 501}
    memory = counted_memory(previous={"one": 0, "two": 1}, current={"one": 0})
    again = a_program("two", instance=3)

    slots = assign_slots(memory, [a_program(), again])

    assert slots == {"one": 0, "two": 2}
    assert new_slots(memory, slots) == (2,)
    anew = a_chain(a_program(instance=3), a_program("two"))
    assert carried_maps(pins, counted_memory(previous={}, current={"one": 0, "two": 1}), anew) == {
        MapKey("two", "limits"): 501
    }
    assert same_code(a_memory(OLD), OLD) == {"one"}
    assert same_code(a_memory(OLD), a_chain(a_program(instance=3))) == set()
    assert plan_digest(a_chain(again)) != plan_digest(a_chain(a_program("two")))


def programs(*deployments: str) -> list[DesiredProgram]:
    """One program of each."""
    return [a_program(deployment) for deployment in deployments]


def counted_memory(*, previous: dict[str, int], current: dict[str, int]) -> ChainMemory:
    """Two kept generations, whose programs are counted there."""
    first, second = (
        msgspec.structs.replace(a_generation(a_chain(*programs(*slots)), 10 + index), slots=slots)
        for index, slots in enumerate((previous, current))
    )
    memory = a_memory(NEW, OLD)
    return msgspec.structs.replace(memory, current=second, previous=first)


def test_a_rollback_is_seen_as_a_change() -> None:
    """The same program on the same link, and yet not where the point stood before."""
    back = msgspec.structs.replace(FIRST, number=3)

    before = told(FIRST, link_program_id=10).standing
    after = told(back, SECOND, link_program_id=10).standing

    assert before.program_id == after.program_id
    assert before != after
