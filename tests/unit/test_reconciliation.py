# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What kind of change a hook point needs, and which steps it takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.node_executor.actions import (
    Action,
    AttachLink,
    CopyCounts,
    DetachLink,
    DropDeadLink,
    EntryChange,
    NameMaps,
    PinMap,
    PinProgram,
    ReplaceLinkProgram,
    UnpinMap,
    UnpinProgram,
    WriteMapEntries,
    WriteRecord,
)
from services.node_executor.generation_record import encode_record
from services.node_executor.generations import (
    COUNTERS,
    ChainMemory,
    Generation,
    MapKey,
    MapPin,
    ProgramPin,
    config_digest,
    plan_digest,
)
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.reconciliation import (
    Configure,
    LeaveToOwner,
    LinkAnew,
    PutBack,
    Remove,
    Rest,
    Wait,
    decide,
    plan_attachment,
    plan_entries,
    plan_removal,
    plan_tidying,
)
from shared.contracts.catalog import DsseEnvelope, DsseSignature, SignedPackage
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram

CAUSE = Cause(command_id="command-1")
LIMITS = MapKey("one", "limits")


def a_program(deployment: str = "one", version: str = "1.0.0", **changes: Any) -> DesiredProgram:
    """A program; signatures do not matter here."""
    envelope = DsseEnvelope(
        payloadType="", payload="", signatures=(DsseSignature(keyid="", sig=""),)
    )
    fields: dict[str, Any] = {
        "deployment": deployment,
        "revision": 1,
        "package": "counter",
        "version": version,
        "program": "counts",
        "function": "counts",
        "object": "counter.bpf.o",
        "order": 10,
        "proceed_on": ("pass",),
        "signed": SignedPackage(
            manifest=envelope,
            certificate=envelope,
            archive_sha256=version.replace(".", "").ljust(64, "0"),
        ),
    }
    return DesiredProgram(**{**fields, **changes})


def a_chain(*programs: DesiredProgram) -> DesiredChain:
    """A chain on data0/xdp."""
    return DesiredChain(interface="data0", hook="xdp", programs=programs, cause=CAUSE)


def a_generation(chain: DesiredChain, program_id: int, number: int = 1) -> Generation:
    """What was linked from the chain."""
    maps = tuple(
        HeldMap(deployment=program.deployment, name="limits", map_id=500 + index)
        for index, program in enumerate(chain.programs)
    )
    return Generation(
        number=number,
        pin=number,
        plan_sha256=plan_digest(chain),
        chain=chain,
        program_id=program_id,
        maps=maps,
    )


def a_memory(
    current: DesiredChain | None = None, previous: DesiredChain | None = None, **changes: Any
) -> ChainMemory:
    """Program 11 runs, program 10 ran before."""
    fields: dict[str, Any] = {
        "interface": "data0",
        "hook": "xdp",
        "last_number": 2,
        "current": a_generation(current, 11, 2) if current else None,
        "previous": a_generation(previous, 10, 1) if previous else None,
        "config_sha256": config_digest(current) if current else "",
    }
    return ChainMemory(**{**fields, **changes})


def pinned(program_id: int, **maps: int) -> PinnedGeneration:
    """The pins of one generation; of instance `one` unless others are given."""
    keys = {MapKey(name, "limits"): map_id for name, map_id in (maps or {"one": 500}).items()}
    return PinnedGeneration({0: program_id}, keys)


def a_hook(**changes: Any) -> ObservedHook:
    """Our link runs program 11; both generations are pinned."""
    fields: dict[str, Any] = {
        "interface_index": 3,
        "link_id": 7,
        "link_program_id": 11,
        "generations": {1: pinned(10), 2: pinned(11)},
    }
    return ObservedHook(**{**fields, **changes})


FREE = ObservedHook(interface_index=3)
OLD, NEW = a_chain(a_program()), a_chain(a_program(version="2.0.0"))


@pytest.mark.parametrize("desired", [None, a_chain()])
def test_nothing_desired_and_nothing_there_is_rest(desired: DesiredChain | None) -> None:
    """No record and an empty chain mean the same."""
    assert decide(FREE, a_memory(), desired) == Rest()


@pytest.mark.parametrize(
    "hook",
    [
        a_hook(),
        a_hook(link_id=7, link_program_id=0),
        ObservedHook(interface_index=3, generations={1: pinned(10)}),
        ObservedHook(interface_index=None, generations={1: PinnedGeneration(maps={LIMITS: 5})}),
    ],
)
def test_whatever_is_left_of_an_unwanted_chain_is_removed(hook: ObservedHook) -> None:
    """A link, dead or alive, or only a pin."""
    assert decide(hook, a_memory(), None) == Remove()


def test_a_chain_without_its_interface_waits() -> None:
    """Nothing is loaded for an interface that is away."""
    assert decide(ObservedHook(interface_index=None), a_memory(), OLD) == Wait()


def test_a_stranger_keeps_the_hook() -> None:
    """A program that is not ours is named and left alone."""
    hook = ObservedHook(interface_index=3, foreign_program_id=99)

    assert decide(hook, a_memory(), OLD) == LeaveToOwner(99)


def test_the_desired_chain_running_is_rest() -> None:
    """Same plan, same entries, same revisions."""
    assert decide(a_hook(), a_memory(OLD), OLD) == Rest()


@pytest.mark.parametrize(
    "change",
    [{"config": {"limits": {"80": 1}}}, {"revision": 2}, {"order": 20}],
)
def test_what_does_not_shape_the_program_links_nothing(change: dict[str, Any]) -> None:
    """New entries, a new revision or another order number leave the program as it is."""
    assert decide(a_hook(), a_memory(OLD), a_chain(a_program(**change))) == Configure()


def test_an_unknown_configuration_is_written_again() -> None:
    """After an interrupted change nobody knows what the maps hold."""
    assert decide(a_hook(), a_memory(OLD, config_sha256=""), OLD) == Configure()


@pytest.mark.parametrize(
    "desired",
    [
        NEW,
        a_chain(a_program(), a_program("two")),
        a_chain(a_program(proceed_on=("pass", "drop"))),
    ],
)
def test_what_shapes_the_program_links_it_anew(desired: DesiredChain) -> None:
    """Another version, another member, other verdicts to proceed on."""
    assert decide(a_hook(), a_memory(OLD), desired) == LinkAnew()


def test_the_previous_generation_comes_back_without_linking() -> None:
    """It is still loaded and pinned."""
    memory = a_memory(NEW, OLD)

    assert decide(a_hook(), memory, OLD) == PutBack(a_generation(OLD, 10, 1))


def test_a_previous_generation_that_lost_its_pin_is_linked_anew() -> None:
    """Only what the kernel still has can come back."""
    assert decide(a_hook(generations={2: pinned(11)}), a_memory(NEW, OLD), OLD) == LinkAnew()


def test_a_chain_that_somebody_took_off_is_put_back() -> None:
    """The running generation is pinned, so nothing has to be linked."""
    hook = a_hook(link_id=0, link_program_id=0)

    assert decide(hook, a_memory(OLD), OLD) == PutBack(a_generation(OLD, 11, 2))


def test_a_new_program_is_ready_before_it_is_on_the_hook() -> None:
    """Pins, then entries, then the record, then the link; on a hook that runs, one replacement."""
    writes = WriteMapEntries(500, (EntryChange(b"k", None, b"v"),))
    generation = msgspec.structs.replace(a_generation(NEW, 12, 3), segments=(13,))
    hook = a_hook(generations={**a_hook().generations, 3: pinned(9, one=501)})

    plan = plan_attachment(hook, generation, writes=[writes, WriteMapEntries(9, ())])

    assert plan == [
        UnpinProgram(ProgramPin(3), 9),
        PinProgram(ProgramPin(3), 12),
        PinProgram(ProgramPin(3, 1), 13),
        UnpinMap(MapPin(3, LIMITS), 501),
        PinMap(MapPin(3, LIMITS), 500),
        writes,
        WriteRecord(3, b"", encode_record(generation)),
        ReplaceLinkProgram(expected_program_id=11, program_id=12),
    ]


@pytest.mark.parametrize(
    ("present", "copied"),
    [(600, []), (599, [CopyCounts(599, 600, (1, 4))]), (0, [])],
    ids=["same", "another", "none"],
)
def test_counts_go_on_in_other_counters_from_where_they_are(
    present: int, copied: list[Action]
) -> None:
    """Right before the swap, so that hardly a packet is counted between."""
    counters = HeldMap(deployment="", name="l3af_slots", map_id=600)
    counted = msgspec.structs.replace(a_generation(NEW, 12, 3), maps=(counters,))
    maps = {COUNTERS: present} if present else {}
    hook = a_hook(generations={2: PinnedGeneration({0: 11}, maps)})

    plan = plan_attachment(hook, counted, new_slots=(1, 4))

    assert plan[3:-1] == copied
    assert isinstance(plan[-1], ReplaceLinkProgram)


def test_a_free_hook_gets_a_link() -> None:
    """The last step attaches."""
    plan = plan_attachment(FREE, a_generation(OLD, 12, 1))

    assert [type(action) for action in plan] == [PinProgram, PinMap, WriteRecord, AttachLink]
    assert plan[-1] == AttachLink(3, 12)


def test_a_dead_link_makes_room_first() -> None:
    """Its pin has the name that the new link needs."""
    generation = a_generation(OLD, 11, 2)
    whole = PinnedGeneration({0: 11}, {LIMITS: 500}, encode_record(generation))
    hook = a_hook(link_program_id=0, generations={2: whole})

    assert plan_attachment(hook, generation) == [DropDeadLink(), AttachLink(3, 11)]


def test_removal_detaches_what_is_alive_and_drops_what_is_dead() -> None:
    """Pins are let go afterwards."""
    assert plan_removal(a_hook()) == [DetachLink(3, 11)]
    assert plan_removal(a_hook(link_program_id=0)) == [DropDeadLink()]
    assert plan_removal(FREE) == []


def test_tidying_keeps_two_generations_and_their_maps() -> None:
    """Everything else is let go, records first; the maps that run have a path of their own."""
    older = PinnedGeneration({0: 9, 1: 8}, {MapKey("gone", "limits"): 400}, b"record")
    hook = a_hook(generations={0: older, **a_hook().generations})
    memory = a_memory(NEW, OLD)

    plan = [action for action in plan_tidying(hook, memory) if action_is_not_a_new_record(action)]

    assert plan == [
        NameMaps(0, 2),
        WriteRecord(0, b"record", b""),
        UnpinMap(MapPin(0, MapKey("gone", "limits")), 400),
        UnpinProgram(ProgramPin(0, 1), 8),
        UnpinProgram(ProgramPin(0), 9),
    ]


def action_is_not_a_new_record(action: Action) -> bool:
    """The hooks of these tests are pinned without records, which tidying makes good."""
    return not isinstance(action, WriteRecord) or not action.after


def test_pins_that_a_kept_generation_lacks_come_back() -> None:
    """Whoever took them away; the programs hold what they named."""
    hook = a_hook(generations={2: PinnedGeneration({}, {MapKey("odd", "map"): 7})})
    current = a_generation(OLD, 11, 2)

    assert plan_tidying(hook, a_memory(OLD)) == [
        NameMaps(0, 2),
        PinProgram(ProgramPin(2), 11),
        PinMap(MapPin(2, LIMITS), 500),
        UnpinMap(MapPin(2, MapKey("odd", "map")), 7),
        WriteRecord(2, b"", encode_record(current)),
    ]


def test_nothing_is_let_go_while_an_unknown_program_runs() -> None:
    """A lost memory must not cost the maps of the program that still runs."""
    assert plan_tidying(a_hook(), a_memory()) == []


def test_entries_of_a_hash_are_removed_and_those_of_an_array_zeroed() -> None:
    """Only differences are written."""
    present = {b"a": b"1", b"b": b"2", b"c": b"0"}
    wanted = {b"a": b"1", b"d": b"4"}

    removed = plan_entries(5, present=present, wanted=wanted, blank=None)
    zeroed = plan_entries(5, present=present, wanted=wanted, blank=b"0")

    assert removed.changes == (
        EntryChange(b"d", None, b"4"),
        EntryChange(b"b", b"2", None),
        EntryChange(b"c", b"0", None),
    )
    assert zeroed.changes == (EntryChange(b"d", None, b"4"), EntryChange(b"b", b"2", b"0"))
