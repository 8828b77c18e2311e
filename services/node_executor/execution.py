# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The one place where plans are performed: step by step, undone in reverse when a step fails.

Everything here blocks and runs in the executor's one kernel thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, assert_never

import structlog

from services.node_executor.actions import (
    Action,
    AttachLink,
    BytesChange,
    CopyCounts,
    DetachLink,
    DropDeadLink,
    EntryChange,
    NameMaps,
    PinMap,
    PinProgram,
    PutSegment,
    ReplaceLinkProgram,
    TakeOver,
    UnpinMap,
    UnpinProgram,
    WriteMapEntries,
    WriteRecord,
    WriteVariables,
    undo,
)
from services.node_executor.generations import MapPin, Point, ProgramPin
from services.node_executor.hook_access import HookReader
from services.node_executor.map_types import MapOfMaps
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice
from shared.contracts.probes import ProbeTarget
from shared.errors import FaultError, RefusedError

log = structlog.get_logger()


class Kernel(HookReader, Protocol):
    """Hook points, pins and map entries.  Programs and maps are named by their ids."""

    def pin_program(self, point: Point, pin: ProgramPin, program_id: int) -> None:
        """The pin names the program."""

    def unpin_program(self, point: Point, pin: ProgramPin) -> None:
        """The pin is free; fine if it was."""

    def pin_map(self, point: Point, pin: MapPin, map_id: int) -> None:
        """The pin names the map."""

    def unpin_map(self, point: Point, pin: MapPin) -> None:
        """The pin is free; fine if it was."""

    def write_record(self, point: Point, generation: int, record: bytes) -> None:
        """The generation has this record beside its pins; with nothing: it has none."""

    def name_maps(self, point: Point, generation: int) -> None:
        """The path of the point's maps leads to those of the generation; 0: there is no path."""

    def copy_counts(self, point: Point, source_id: int, map_id: int, *, new: Sequence[int]) -> None:
        """The second counter map, which nothing counts in, has the counts of the first.

        Slots in `new` hold zeros.
        """

    def put_segment(self, map_id: int, place: int, program_id: int) -> None:
        """The place in the array of segments holds the program."""

    def attach(
        self,
        point: Point,
        *,
        interface_index: int,
        program_id: int,
        choice: AttachChoice = "auto",
        position: str = DEFAULT_POSITION,
        target: ProbeTarget | None = None,
    ) -> None:
        """The program is on the hook and stays without us, or nothing happened."""

    def detach(self, point: Point) -> None:
        """Nothing of ours is on the hook; another owner's program that we displaced is back."""

    def replace(
        self,
        point: Point,
        *,
        expected_program_id: int,
        program_id: int,
        target: ProbeTarget | None = None,
    ) -> None:
        """The hook runs the program now; refused if it ran another than expected."""

    def take_over(
        self, point: Point, *, interface_index: int, foreign_program_id: int, program_id: int
    ) -> None:
        """The program replaced another owner's in one step, and that one is kept."""

    def drop_dead_link(self, point: Point) -> None:
        """The pins of what runs nothing of ours any more are removed."""

    def write_entries(
        self, map_id: int, changes: Sequence[EntryChange], of_maps: MapOfMaps | None = None
    ) -> None:
        """Each entry is as `after` says; of a map of maps they are flat."""

    def write_variables(self, map_id: int, changes: Sequence[BytesChange]) -> None:
        """The bytes of each are as `after` says, and no others change."""


class Steps:
    """Performs plans on one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def run(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is performed; or what was done is undone and the first failure raised."""
        done: list[Action] = []
        try:
            for action in actions:
                if isinstance(action, WriteMapEntries | WriteVariables):
                    done.append(action)  # some of its entries may be written when it fails
                    self._perform(action, point)
                else:
                    self._perform(action, point)
                    done.append(action)
        except (RefusedError, FaultError):
            backwards = [back for action in reversed(done) if (back := undo(action))]
            self.try_each([one for back in backwards for one in _each_entry(back)], point)
            raise

    def try_each(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is tried; failures are logged, and what is left is seen next time."""
        for action in actions:
            try:
                self._perform(action, point)
            except (RefusedError, FaultError) as error:
                log.warning(
                    "step_failed",
                    interface=point.interface,
                    netns=point.netns,
                    hook=point.hook,
                    step=type(action).__name__,
                    error=str(error),
                )

    def _perform(  # noqa: C901, PLR0912 because it is one switch
        self, action: Action, point: Point
    ) -> None:
        """The one switch from actions to the kernel."""
        kernel = self._kernel
        match action:
            case PinProgram(pin, program_id):
                kernel.pin_program(point, pin, program_id)
            case UnpinProgram(pin):
                kernel.unpin_program(point, pin)
            case PinMap(pin, map_id):
                kernel.pin_map(point, pin, map_id)
            case UnpinMap(pin):
                kernel.unpin_map(point, pin)
            case WriteRecord(generation, _, record):
                kernel.write_record(point, generation, record)
            case NameMaps(_, generation):
                kernel.name_maps(point, generation)
            case CopyCounts(source_id, map_id, new):
                kernel.copy_counts(point, source_id, map_id, new=new)
            case WriteMapEntries(map_id, changes, of_maps):
                kernel.write_entries(map_id, changes, of_maps)
            case WriteVariables(map_id, variables):
                kernel.write_variables(map_id, variables)
            case PutSegment(map_id, place, program_id):
                kernel.put_segment(map_id, place, program_id)
            case AttachLink(interface_index, program_id, choice, position, target):
                kernel.attach(
                    point,
                    interface_index=interface_index,
                    program_id=program_id,
                    choice=choice,
                    position=position,
                    target=target,
                )
            case TakeOver(interface_index, foreign, program_id):
                kernel.take_over(
                    point,
                    interface_index=interface_index,
                    foreign_program_id=foreign,
                    program_id=program_id,
                )
            case DetachLink():
                kernel.detach(point)
            case ReplaceLinkProgram(expected, program_id, target):
                kernel.replace(
                    point, expected_program_id=expected, program_id=program_id, target=target
                )
            case DropDeadLink():
                kernel.drop_dead_link(point)
            case _:
                assert_never(action)


def _each_entry(action: Action) -> Iterator[Action]:
    """Entries one by one: what was refused cannot be taken back, and all the others can."""
    if isinstance(action, WriteMapEntries):
        for change in action.changes:
            yield WriteMapEntries(action.map_id, (change,), action.of_maps)
    else:
        yield action
