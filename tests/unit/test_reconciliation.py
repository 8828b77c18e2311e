# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What kind of change a hook point needs, and which steps it takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.node_executor.actions import (
    AttachLink,
    DetachLink,
    DropDeadLink,
    EntryChange,
    PinMap,
    PinProgram,
    ReplaceLinkProgram,
    UnpinMap,
    UnpinProgram,
    WriteMapEntries,
)
from services.node_executor.generations import (
    ChainMemory,
    Generation,
    HeldMap,
    MapKey,
    Pending,
    carried_maps,
    config_digest,
    configured_maps,
    plan_digest,
)
from services.node_executor.reconciliation import (
    Configure,
    LeaveToOwner,
    LinkAnew,
    ObservedHook,
    PutBack,
    Remove,
    Rest,
    Wait,
    abandoned,
    confirmed,
    decide,
    plan_attachment,
    plan_entries,
    plan_removal,
    plan_tidying,
    recover,
)
from shared.contracts.catalog import DsseEnvelope, SignedPackage
from shared.contracts.node import Cause, DesiredChain, DesiredProgram

CAUSE = Cause(command_id="command-1")
LIMITS = MapKey("one", "limits")


def a_program(deployment: str = "one", version: str = "1.0.0", **changes: Any) -> DesiredProgram:
    """A program; signatures do not matter here."""
    envelope = DsseEnvelope(payloadType="", payload="", signatures=())
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
            manifest=envelope, certificate=envelope, archive_sha256=version.replace(".", "") * 10
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


def a_hook(**changes: Any) -> ObservedHook:
    """Our link runs program 11; both generations are pinned."""
    fields: dict[str, Any] = {
        "interface_index": 3,
        "link_id": 7,
        "link_program_id": 11,
        "program_pins": {1: 10, 2: 11},
        "map_pins": {LIMITS: 500},
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
        ObservedHook(interface_index=3, program_pins={1: 10}),
        ObservedHook(interface_index=None, map_pins={LIMITS: 5}),
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
    assert decide(a_hook(program_pins={2: 11}), a_memory(NEW, OLD), OLD) == LinkAnew()


def test_a_chain_that_somebody_took_off_is_put_back() -> None:
    """The running generation is pinned, so nothing has to be linked."""
    hook = a_hook(link_id=0, link_program_id=0)

    assert decide(hook, a_memory(OLD), OLD) == PutBack(a_generation(OLD, 11, 2))


def test_a_new_program_is_ready_before_it_is_on_the_hook() -> None:
    """Pins, then entries, then the link; on a hook that runs, one replacement."""
    writes = WriteMapEntries(500, (EntryChange(b"k", None, b"v"),))

    plan = plan_attachment(
        a_hook(), pin=3, program_id=12, maps={LIMITS: 501}, writes=[writes, WriteMapEntries(9, ())]
    )

    assert plan == [
        PinProgram(3, 12),
        UnpinMap(LIMITS, 500),
        PinMap(LIMITS, 501),
        writes,
        ReplaceLinkProgram(expected_program_id=11, program_id=12),
    ]


def test_a_free_hook_gets_a_link() -> None:
    """The last step attaches."""
    plan = plan_attachment(FREE, pin=1, program_id=12, maps={}, writes=[])

    assert plan == [PinProgram(1, 12), AttachLink(3, 12)]


def test_a_dead_link_makes_room_first() -> None:
    """Its pin has the name that the new link needs."""
    hook = a_hook(link_program_id=0, program_pins={2: 11})

    plan = plan_attachment(hook, pin=2, program_id=11, maps={LIMITS: 500}, writes=[])

    assert plan == [DropDeadLink(), AttachLink(3, 11)]


def test_removal_detaches_what_is_alive_and_drops_what_is_dead() -> None:
    """Pins are let go afterwards."""
    assert plan_removal(a_hook()) == [DetachLink(3, 11)]
    assert plan_removal(a_hook(link_program_id=0)) == [DropDeadLink()]
    assert plan_removal(FREE) == []


def test_tidying_keeps_two_generations_and_their_maps() -> None:
    """Everything else is let go."""
    hook = a_hook(
        program_pins={0: 9, 1: 10, 2: 11}, map_pins={LIMITS: 500, MapKey("gone", "limits"): 400}
    )

    assert plan_tidying(hook, a_memory(NEW, OLD)) == [
        UnpinProgram(0, 9),
        UnpinMap(MapKey("gone", "limits"), 400),
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
