# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which kernel steps turn what a hook point runs into what is desired there.

Pure: reads nothing, attaches nothing.  `decide` says what kind of change is needed, the shell
gathers what that kind needs (a linked program, current map entries), `plan_*` says the steps.

Rules:
 * A program that runs is replaced by one link update, never detached first.
 * Everything a new program needs is pinned and configured before it is on the hook.
 * What nothing needs any more is let go only after the new program was confirmed.
 * A program that is not ours is never touched.
 * A program that is bound to its device runs on that one alone, not on one that has its name later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

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
    TakeOver,
    UnpinMap,
    UnpinProgram,
    WriteMapEntries,
    WriteRecord,
    WriteVariables,
)
from services.node_executor.attachment import must_attach_anew
from services.node_executor.generation_record import encode_record
from services.node_executor.generations import (
    COUNTERS,
    ChainMemory,
    Generation,
    MapPin,
    ProgramPin,
    config_digest,
    plan_digest,
)
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind
from shared.contracts.probes import ProbeTarget


@dataclass(frozen=True, slots=True)
class Rest:
    """What is desired runs."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The interface does not exist; the chain is put on as soon as it does."""


@dataclass(frozen=True, slots=True)
class LeaveToOwner:
    """Another program holds the hook; it is left alone."""

    program_id: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Nothing is desired here and something of ours is left."""


@dataclass(frozen=True, slots=True)
class Configure:
    """The right program runs; map entries or descriptions differ."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """A generation that is still loaded is the desired one: one link update, nothing is linked."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class LinkAnew:
    """A program has to be linked and loaded."""


Write: TypeAlias = WriteMapEntries | WriteVariables
"""What gives a map, or a section of global variables, its configured content."""
Decision: TypeAlias = Rest | Wait | LeaveToOwner | Remove | Configure | PutBack | LinkAnew


def decide(  # noqa: PLR0911 because each decision has its condition
    observed: ObservedHook, memory: ChainMemory, desired: DesiredChain | None
) -> Decision:
    """What kind of change the hook point needs.

    Args:
        observed: Read from the kernel just now.
        memory: What the program that runs was linked from; only trusted where ids agree.
        desired: None and an empty chain mean the same: nothing of ours.
    """
    if desired is None or not desired.programs:
        return Remove() if _something_is_left(observed, memory) else Rest()
    if observed.interface_index is None:
        return Wait()
    is_foreign = _is_foreign(observed.foreign_program_id, memory)
    if not observed.link_is_live and is_foreign and not desired.link.take_over:
        return LeaveToOwner(observed.foreign_program_id)
    current = memory.current
    wanted = plan_digest(desired)
    runs = current is not None and observed.link_program_id == current.program_id
    if current is not None and runs and current.plan_sha256 == wanted:
        if attaches_anew(observed, desired.link, current.chain.link):
            return PutBack(current) if _fits(current, observed) else LinkAnew()
        is_settled = (
            memory.config_sha256 == config_digest(desired)
            and current.chain.programs == desired.programs
            and current.chain.link == desired.link
        )
        return Rest() if is_settled else Configure()
    kept = memory.generation_of(wanted)
    if kept is not None and observed.program_pins.get(kept.pin) == kept.program_id:
        return PutBack(kept) if _fits(kept, observed) else LinkAnew()
    return LinkAnew()


def attaches_anew(observed: ObservedHook, link: LinkOptions, attached_with: LinkOptions) -> bool:
    """Whether what runs would leave the hook for a moment, to be attached in another way."""
    return must_attach_anew(
        observed.attachment,
        link,
        attached_with,
        is_taken_over=observed.displaced_program_id != 0,
        fits_better=observed.fits_better,
    )


def plan_attachment(
    observed: ObservedHook,
    generation: Generation,
    *,
    writes: Iterable[Write] = (),
    new_slots: Sequence[int] = (),
    attached_with: LinkOptions = LinkOptions(),  # noqa: B008 because it is frozen
    attached_to: ProbeTarget | None = None,
) -> list[Action]:
    """Put a loaded generation on the hook: pins, entries and record first, then one link operation.

    Args:
        observed: Has an interface, and no foreign program unless our own link is live or that
            program is to be taken over.
        generation: Its pins are free or already its own; its chain says how it is attached.
        writes: Entries of its maps.
        new_slots: Those of instances that were in no kept generation.
        attached_with: What was asked for when that which runs was attached.
        attached_to: What the probe that runs was attached to.
    """
    assert observed.interface_index is not None
    actions: list[Action] = []
    number = generation.pin
    pinned = observed.generations.get(number, PinnedGeneration())
    for segment, program_id in generation.pinned_programs.items():
        actions += _program_pinned(ProgramPin(number, segment), program_id, pinned)
    for key, map_id in sorted(generation.pinned_maps.items()):
        actions += _map_pinned(MapPin(number, key), map_id, pinned)
    actions += _needed(writes)
    actions += _recorded(observed, generation)
    present, counters = observed.map_pins.get(COUNTERS), generation.pinned_maps.get(COUNTERS)
    if present and counters and present != counters:
        # Right before the swap: what is counted between the two is counted nowhere.
        actions.append(CopyCounts(present, counters, tuple(new_slots)))
    program_id, link = generation.program_id, generation.chain.link
    index = observed.interface_index
    target = generation.chain.target
    attached = AttachLink(index, program_id, link.attach, link.position, target)
    if observed.link_is_live:
        if attaches_anew(observed, link, attached_with):
            actions += [*plan_removal(observed, position=attached_with.position), attached]
        elif observed.link_program_id != program_id:
            expected = observed.link_program_id
            actions.append(ReplaceLinkProgram(expected, program_id, target, attached_to))
        return actions
    if observed.link_is_dead:
        actions.append(DropDeadLink())
    foreign = observed.foreign_program_id
    # A program of ours whose link just ended is on the hook for a moment, and is nobody else's.
    is_taken = link.take_over and foreign not in (0, *observed.program_pins.values())
    actions.append(TakeOver(index, foreign, program_id) if is_taken else attached)
    return actions


def plan_configuration(
    observed: ObservedHook, generation: Generation, writes: Iterable[Write]
) -> list[Action]:
    """Write entries into maps of the program that runs, and then what it is made of now."""
    return [*_needed(writes), *_recorded(observed, generation)]


def plan_removal(observed: ObservedHook, *, position: str = DEFAULT_POSITION) -> list[Action]:
    """Take the chain off the hook.  The rest is let go by `plan_tidying` once that is confirmed."""
    if observed.link_is_live:
        return [
            DetachLink(
                observed.interface_index or 0,
                observed.link_program_id,
                _CHOICES.get(observed.attachment, "auto"),
                observed.displaced_program_id,
                position,
            )
        ]
    return [DropDeadLink()] if observed.link_is_dead else []


def plan_tidying(observed: ObservedHook, memory: ChainMemory) -> list[Action]:
    """Let go of every pin that no kept generation needs, and pin again what a kept one lacks.

    Nothing is let go while our link runs a program that is not remembered: its maps hold state.
    """
    known = {generation.program_id for generation in memory.kept}
    if observed.link_is_live and observed.link_program_id not in known:
        return []
    kept = {generation.pin: generation for generation in memory.kept}
    is_there = observed.link_is_live or observed.link_is_dead
    runs = memory.current if is_there else None
    actions: list[Action] = []
    if observed.named != (runs.pin if runs else 0):
        actions.append(NameMaps(observed.named, runs.pin if runs else 0))
    for number, pinned in sorted(observed.generations.items()):
        if number in kept:
            actions += _mended(observed, kept[number], pinned)
        else:
            actions += _let_go(number, pinned)
    return actions


def plan_mending(
    observed: ObservedHook, generation: Generation, *, lost: Collection[int] = ()
) -> list[Action]:
    """Pin again what a running generation lacks; programs in `lost` are not there to be pinned."""
    pinned = observed.generations.get(generation.pin, PinnedGeneration())
    return [
        action
        for action in _mended(observed, generation, pinned)
        if not isinstance(action, PinProgram) or action.program_id not in lost
    ]


def _let_go(number: int, pinned: PinnedGeneration) -> Iterator[Action]:
    """Its record first: where one is, all else is."""
    if pinned.record:
        yield WriteRecord(number, before=pinned.record, after=b"")
    for key, map_id in sorted(pinned.maps.items()):
        yield UnpinMap(MapPin(number, key), map_id)
    for segment, program_id in sorted(pinned.programs.items(), reverse=True):
        yield UnpinProgram(ProgramPin(number, segment), program_id)


def _mended(
    observed: ObservedHook, generation: Generation, pinned: PinnedGeneration
) -> Iterator[Action]:
    """What a generation's pins lack, and what is among them that is not its own."""
    number = generation.pin
    programs, maps = generation.pinned_programs, generation.pinned_maps
    for segment, program_id in programs.items():
        yield from _program_pinned(ProgramPin(number, segment), program_id, pinned)
    for key, map_id in sorted(maps.items()):
        yield from _map_pinned(MapPin(number, key), map_id, pinned)
    for key, map_id in sorted(pinned.maps.items()):
        if key not in maps:
            yield UnpinMap(MapPin(number, key), map_id)
    for segment, program_id in sorted(pinned.programs.items()):
        if segment not in programs:
            yield UnpinProgram(ProgramPin(number, segment), program_id)
    if not pinned.record:
        yield from _recorded(observed, generation)


def _program_pinned(pin: ProgramPin, program_id: int, pinned: PinnedGeneration) -> Iterator[Action]:
    held = pinned.programs.get(pin.segment)
    if held != program_id:
        if held is not None:
            yield UnpinProgram(pin, held)
        yield PinProgram(pin, program_id)


def _map_pinned(pin: MapPin, map_id: int, pinned: PinnedGeneration) -> Iterator[Action]:
    held = pinned.maps.get(pin.key)
    if held != map_id:
        if held is not None:
            yield UnpinMap(pin, held)
        yield PinMap(pin, map_id)


def _recorded(observed: ObservedHook, generation: Generation) -> Iterator[Action]:
    pinned = observed.generations.get(generation.pin)
    before, after = pinned.record if pinned else b"", encode_record(generation)
    if before != after:
        yield WriteRecord(generation.pin, before, after)


def plan_entries(
    map_id: int,
    *,
    present: Mapping[bytes, bytes],
    wanted: Mapping[bytes, bytes],
    blank: bytes | None,
    capacity: int = 0,
    owned: Collection[bytes] | None = None,
) -> WriteMapEntries:
    """The writes that give a map exactly the wanted entries.

    An entry that is not wanted becomes `blank` in a map whose entries cannot be deleted (arrays:
    zeros); with None it is deleted.  New entries come before old ones go, unless the map would be
    too full for that.

    Args:
        map_id: The map.
        present: What it holds.
        wanted: What it shall hold.
        blank: For arrays.
        capacity: How many entries it holds at most; 0: not known.
        owned: Keys of entries that may be removed; None: all.
    """
    changed = [
        EntryChange(key=key, before=present[key], after=value)
        for key, value in sorted(wanted.items())
        if key in present and present[key] != value
    ]
    added = [
        EntryChange(key=key, before=None, after=value)
        for key, value in sorted(wanted.items())
        if key not in present
    ]
    removed = [
        EntryChange(key=key, before=value, after=blank)
        for key, value in sorted(present.items())
        if key not in wanted and value != blank and (owned is None or key in owned)
    ]
    is_tight = len(present) + len(added) > capacity > 0
    following = (*removed, *added) if is_tight else (*added, *removed)
    return WriteMapEntries(map_id, (*changed, *following))


_CHOICES: dict[AttachmentKind, AttachChoice] = {
    "": "auto",
    "xdp-native": "native",
    "xdp-generic": "generic",
    "xdp-offload": "offload",
    "tcx": "tcx",
    "cls_bpf": "cls_bpf",
}


def _fits(generation: Generation, observed: ObservedHook) -> bool:
    """Whether the interface is the one that the generation's programs are bound to, if they are.

    A link that ended did so with its interface, whatever number the next one has.
    """
    segments = generation.explanation.segments if generation.explanation else ()
    if not any(segment.is_device_bound for segment in segments):
        return True
    return generation.interface_index == observed.interface_index and not observed.link_is_dead


def _is_foreign(program_id: int, memory: ChainMemory) -> bool:
    """Whether it is another's; ours stays for a moment after its link was taken away."""
    ours = memory.current.program_id if memory.current else 0
    return program_id not in (0, ours)


def _something_is_left(observed: ObservedHook, memory: ChainMemory) -> bool:
    return bool(
        observed.link_id or observed.displaced_program_id or observed.generations or memory.current
    )


def _needed(writes: Iterable[Write]) -> list[Write]:
    return [write for write in writes if write.changes]
