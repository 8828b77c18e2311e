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
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from services.node_executor.actions import (
    Action,
    AttachLink,
    DetachLink,
    DropDeadLink,
    EntryChange,
    PinMap,
    PinProgram,
    ReplaceLinkProgram,
    TakeOver,
    UnpinMap,
    UnpinProgram,
    WriteMapEntries,
)
from services.node_executor.attachment import must_attach_anew
from services.node_executor.generations import (
    ChainMemory,
    Generation,
    MapKey,
    config_digest,
    map_configs,
    plan_digest,
)
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind, DesiredChain


@dataclass(frozen=True, slots=True)
class ObservedHook:
    """One hook point as kernel and bpffs have it."""

    interface_index: int | None
    """None: there is no such interface now."""
    link_id: int = 0
    """Of our pinned link; 0: none."""
    link_program_id: int = 0
    """What our link runs; 0: none, or the link's interface is gone."""
    foreign_program_id: int = 0
    """A program on the hook that leaves no room for ours; 0: none."""
    program_pins: Mapping[int, int] = field(default_factory=dict)
    """Pin to program id."""
    map_pins: Mapping[MapKey, int] = field(default_factory=dict)
    attachment: AttachmentKind = ""
    """How our program is attached; empty: it is not."""
    displaced_program_id: int = 0
    """Another owner's program that was taken over and is kept to be put back; 0: none."""

    @property
    def link_is_live(self) -> bool:
        """Whether our link is on an interface that exists."""
        return self.link_program_id != 0

    @property
    def link_is_dead(self) -> bool:
        """Whether a pin is left of what runs nothing of ours any more."""
        return bool(self.link_id or self.displaced_program_id) and self.link_program_id == 0


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
        if _must_attach_anew(observed, desired.link, current.chain.link):
            return PutBack(current)
        is_settled = (
            memory.config_sha256 == config_digest(desired)
            and current.chain.programs == desired.programs
            and current.chain.link == desired.link
        )
        return Rest() if is_settled else Configure()
    kept = memory.generation_of(wanted)
    if kept is not None and observed.program_pins.get(kept.pin) == kept.program_id:
        return PutBack(kept)
    return LinkAnew()


def plan_attachment(
    observed: ObservedHook,
    *,
    pin: int,
    program_id: int,
    maps: Mapping[MapKey, int],
    writes: Iterable[WriteMapEntries],
    link: LinkOptions = LinkOptions(),  # noqa: B008 because it is frozen
    attached_with: LinkOptions = LinkOptions(),  # noqa: B008 because it is frozen
) -> list[Action]:
    """Put a loaded program on the hook: pins and entries first, then one link operation.

    Args:
        observed: Has an interface, and no foreign program unless our own link is live or that
            program is to be taken over.
        pin: Free, or already the program's own.
        program_id: What shall run.
        maps: Those that outlive the program.
        writes: Entries of its maps.
        link: How it shall be attached.
        attached_with: What was asked for when that which runs was attached.
    """
    assert observed.interface_index is not None
    actions: list[Action] = []
    pinned = observed.program_pins.get(pin)
    if pinned != program_id:
        if pinned is not None:
            actions.append(UnpinProgram(pin, pinned))
        actions.append(PinProgram(pin, program_id))
    for key, map_id in sorted(maps.items()):
        held = observed.map_pins.get(key)
        if held == map_id:
            continue
        if held is not None:
            actions.append(UnpinMap(key, held))
        actions.append(PinMap(key, map_id))
    actions += _needed(writes)
    index = observed.interface_index
    attached = AttachLink(index, program_id, link.attach, link.position)
    if observed.link_is_live:
        if _must_attach_anew(observed, link, attached_with):
            actions += [*plan_removal(observed, position=attached_with.position), attached]
        elif observed.link_program_id != program_id:
            actions.append(ReplaceLinkProgram(observed.link_program_id, program_id))
        return actions
    if observed.link_is_dead:
        actions.append(DropDeadLink())
    foreign = observed.foreign_program_id
    actions.append(TakeOver(index, foreign, program_id) if foreign and link.take_over else attached)
    return actions


def plan_configuration(writes: Iterable[WriteMapEntries]) -> list[Action]:
    """Write entries into maps of the program that runs."""
    return list(_needed(writes))


def plan_removal(observed: ObservedHook, *, position: str = DEFAULT_POSITION) -> list[Action]:
    """Take the chain off the hook.  The rest is let go by `plan_tidying` once that is confirmed."""
    if observed.link_is_live:
        return [
            DetachLink(
                observed.interface_index or 0,
                observed.link_program_id,
                _CHOICES[observed.attachment],
                observed.displaced_program_id,
                position,
            )
        ]
    return [DropDeadLink()] if observed.link_is_dead else []


def plan_tidying(observed: ObservedHook, memory: ChainMemory) -> list[Action]:
    """Let go of every pin that neither the current nor the previous generation needs.

    Nothing is let go while our link runs a program that is not remembered: its maps hold state.
    """
    kept = [kept for kept in (memory.current, memory.previous) if kept is not None]
    known = {generation.program_id for generation in kept}
    if observed.link_is_live and observed.link_program_id not in known:
        return []
    programs = {generation.pin: generation.program_id for generation in kept}
    maps = {MapKey(held.deployment, held.name) for kept in kept for held in kept.maps}
    actions: list[Action] = [
        UnpinProgram(pin, program_id)
        for pin, program_id in sorted(observed.program_pins.items())
        if programs.get(pin) != program_id
    ]
    actions += [
        UnpinMap(key, map_id)
        for key, map_id in sorted(observed.map_pins.items())
        if key not in maps
    ]
    return actions


def plan_entries(
    map_id: int,
    *,
    present: Mapping[bytes, bytes],
    wanted: Mapping[bytes, bytes],
    blank: bytes | None,
) -> WriteMapEntries:
    """The writes that give a map exactly the wanted entries.

    An entry that is not wanted becomes `blank` in a map whose entries cannot be deleted (arrays:
    zeros); with None it is deleted.
    """
    changes = [
        EntryChange(key=key, before=present.get(key), after=value)
        for key, value in sorted(wanted.items())
        if present.get(key) != value
    ]
    changes += [
        EntryChange(key=key, before=value, after=blank)
        for key, value in sorted(present.items())
        if key not in wanted and value != blank
    ]
    return WriteMapEntries(map_id, tuple(changes))


def recover(observed: ObservedHook, memory: ChainMemory) -> tuple[ChainMemory, bool]:
    """The memory once the kernel has said how far an interrupted change came.

    Returns the memory without a pending change, and whether that change is done in the kernel and
    only its journal entry is missing.  A change that is not done is simply decided anew.
    """
    pending = memory.pending
    if pending is None:
        return memory, False
    match pending.kind:
        case "attach":
            assert pending.generation is not None
            is_done = observed.link_program_id == pending.generation.program_id
        case "detach":
            is_done = not observed.link_is_live
        case _:
            is_done = False
    return (confirmed(memory), True) if is_done else (abandoned(memory), False)


def confirmed(memory: ChainMemory) -> ChainMemory:
    """The memory after the pending change was read back from the kernel."""
    pending = memory.pending
    assert pending is not None
    generation = pending.generation
    if generation is None:
        return ChainMemory(
            interface=memory.interface, hook=memory.hook, last_number=memory.last_number
        )
    is_same = memory.current is not None and memory.current.program_id == generation.program_id
    return ChainMemory(
        interface=memory.interface,
        hook=memory.hook,
        last_number=max(memory.last_number, generation.number),
        current=generation,
        previous=memory.previous if is_same else memory.current,
        config_sha256=config_digest(generation.chain),
    )


def abandoned(memory: ChainMemory) -> ChainMemory:
    """The memory after the pending change did not happen.

    Map entries may have been half written, so the configuration counts as not known.
    """
    pending = memory.pending
    touched = {*memory.touched}
    if pending is not None and pending.generation is not None:
        touched |= set(map_configs(pending.generation.chain))
    return msgspec.structs.replace(
        memory, pending=None, config_sha256="", touched=tuple(sorted(touched))
    )


_CHOICES: dict[AttachmentKind, AttachChoice] = {
    "": "auto",
    "xdp-native": "native",
    "xdp-generic": "generic",
    "xdp-offload": "offload",
    "tcx": "tcx",
    "cls_bpf": "cls_bpf",
}


def _must_attach_anew(
    observed: ObservedHook, link: LinkOptions, attached_with: LinkOptions
) -> bool:
    return must_attach_anew(
        observed.attachment,
        link,
        attached_with,
        is_taken_over=observed.displaced_program_id != 0,
    )


def _is_foreign(program_id: int, memory: ChainMemory) -> bool:
    """Whether it is another's; ours stays for a moment after its link was taken away."""
    ours = memory.current.program_id if memory.current else 0
    return program_id not in (0, ours)


def _something_is_left(observed: ObservedHook, memory: ChainMemory) -> bool:
    return bool(observed.link_id or observed.program_pins or observed.map_pins or memory.current)


def _needed(writes: Iterable[WriteMapEntries]) -> list[WriteMapEntries]:
    return [write for write in writes if write.changes]
