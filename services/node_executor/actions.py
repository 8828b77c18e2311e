# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The steps that change the kernel, as data, and what undoes each.

Pure.  `execution.run` performs them.  Programs and maps are named by their kernel ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from services.node_executor.generations import MapPin, ProgramPin
from services.node_executor.map_types import MapOfMaps
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice
from shared.contracts.probes import ProbeTarget


@dataclass(frozen=True, slots=True)
class PinProgram:
    """The program stays loaded without the executor."""

    pin: ProgramPin
    program_id: int


@dataclass(frozen=True, slots=True)
class UnpinProgram:
    """The program goes when nothing else holds it."""

    pin: ProgramPin
    program_id: int


@dataclass(frozen=True, slots=True)
class PinMap:
    """The map outlives the programs that use it."""

    pin: MapPin
    map_id: int


@dataclass(frozen=True, slots=True)
class UnpinMap:
    """The map goes when nothing else holds it."""

    pin: MapPin
    map_id: int


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """What a generation is made of is written beside its pins; empty: there is no such record."""

    generation: int
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class NameMaps:
    """The path of the hook point's maps leads to those of a generation; 0: to none."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class CopyCounts:
    """Counters that nothing counts in yet go on where those of the running generation are.

    Slots in `new` belong to instances that were not there, so they begin at zero.
    """

    source_id: int
    map_id: int
    new: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """One map entry; None: no such entry."""

    key: bytes
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class WriteMapEntries:
    """The map has these entries."""

    map_id: int
    changes: tuple[EntryChange, ...]
    of_maps: MapOfMaps | None = None
    """Of a map of maps, whose entries are flat (shared.configuration.entries)."""


@dataclass(frozen=True, slots=True)
class BytesChange:
    """Some bytes of a section of global variables."""

    offset_bytes: int
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class WriteVariables:
    """Global variables have these values; what lies beside them is not touched."""

    map_id: int
    changes: tuple[BytesChange, ...]


@dataclass(frozen=True, slots=True)
class PutSegment:
    """A place in the array of a chain's segments holds the program again."""

    map_id: int
    place: int
    program_id: int


@dataclass(frozen=True, slots=True)
class AttachLink:
    """The program is on a hook that was free and stays there without the executor."""

    interface_index: int
    program_id: int
    choice: AttachChoice = "auto"
    """The way; what `auto` comes to is read back afterwards."""
    position: str = DEFAULT_POSITION
    """Among the programs of other owners on a TCX hook."""
    target: ProbeTarget | None = None
    """What a probe is attached to."""


@dataclass(frozen=True, slots=True)
class DetachLink:
    """Nothing of ours is on the hook; another owner's program that we displaced is back."""

    interface_index: int
    program_id: int
    choice: AttachChoice = "auto"
    """How it is attached now, so that it can be attached in the same way again."""
    displaced_program_id: int = 0
    """What comes back; 0: nothing."""
    position: str = DEFAULT_POSITION
    target: ProbeTarget | None = None
    """What a probe is attached to now."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The program is where another owner's was, in one step; that one is kept to be put back."""

    interface_index: int
    foreign_program_id: int
    program_id: int


@dataclass(frozen=True, slots=True)
class ReplaceLinkProgram:
    """The hook goes from one program to the other between two packets (BPF_F_REPLACE).

    Of most probes both run for a moment: the new one is attached before the other goes.
    """

    expected_program_id: int
    program_id: int
    target: ProbeTarget | None = None
    """What a probe is attached to from now on."""
    target_before: ProbeTarget | None = None


@dataclass(frozen=True, slots=True)
class DropDeadLink:
    """The pin of a link whose interface is gone is removed; it held nothing."""


Action: TypeAlias = (
    PinProgram
    | UnpinProgram
    | PinMap
    | UnpinMap
    | WriteRecord
    | NameMaps
    | CopyCounts
    | WriteMapEntries
    | WriteVariables
    | PutSegment
    | AttachLink
    | DetachLink
    | TakeOver
    | ReplaceLinkProgram
    | DropDeadLink
)


def undo(  # noqa: C901, PLR0911, PLR0912 because each has its inverse
    action: Action,
) -> Action | None:
    """The action that takes back `action`; None if there is nothing to take back."""
    match action:
        case PinProgram(pin, program_id):
            return UnpinProgram(pin, program_id)
        case UnpinProgram(pin, program_id):
            return PinProgram(pin, program_id)
        case PinMap(pin, map_id):
            return UnpinMap(pin, map_id)
        case UnpinMap(pin, map_id):
            return PinMap(pin, map_id)
        case WriteRecord(generation, before, after):
            return WriteRecord(generation, before=after, after=before)
        case NameMaps(before, after):
            return NameMaps(before=after, after=before)
        case WriteMapEntries(map_id, changes, of_maps):
            return WriteMapEntries(
                map_id,
                tuple(
                    EntryChange(key=change.key, before=change.after, after=change.before)
                    for change in reversed(changes)
                ),
                of_maps,
            )
        case WriteVariables(map_id, variables):
            return WriteVariables(
                map_id,
                tuple(
                    BytesChange(one.offset_bytes, before=one.after, after=one.before)
                    for one in reversed(variables)
                ),
            )
        case AttachLink(interface_index, program_id, choice, position, target):
            return DetachLink(interface_index, program_id, choice, 0, position, target)
        case DetachLink(interface_index, program_id, choice, 0, position, target):
            return AttachLink(interface_index, program_id, choice, position, target)
        case DetachLink(interface_index, program_id, _, displaced):
            return TakeOver(interface_index, displaced, program_id)
        case TakeOver(interface_index, foreign, program_id):
            return DetachLink(interface_index, program_id, displaced_program_id=foreign)
        case ReplaceLinkProgram(expected, program_id, target, before):
            return ReplaceLinkProgram(program_id, expected, before, target)
        case DropDeadLink() | CopyCounts() | PutSegment():
            return None
