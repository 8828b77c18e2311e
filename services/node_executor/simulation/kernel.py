# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A kernel in memory: interfaces, links, pins and maps, which can be told to fail.

It may only behave as the real one was seen to behave: `tests/kernel/test_fakes_match_reality.py`
runs one suite against both.  There are no probes and no device-bound programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from services.node_executor.attachment import (
    AttachmentRefusedError,
    ForeignOwnerError,
    Surroundings,
    ways,
)
from services.node_executor.following import Stray
from services.node_executor.generations import MapPin, Point, ProgramPin
from services.node_executor.kernel_types import HookOccupant, ProgramInfo
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.simulation.maps import (
    NotSimulatedError,
    SimulatedFaultError,
    SimulatedMaps,
)
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind
from shared.contracts.probes import ProbeTarget
from shared.errors import RefusedError


@dataclass
class _Link:
    link_id: int
    interface_index: int
    program_id: int
    kind: AttachmentKind
    position: str


@dataclass
class SimulatedKernel(SimulatedMaps):
    """Interfaces, links, pins and maps in memory."""

    interfaces: dict[str, int] = field(default_factory=dict)
    programs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Program to the maps it uses."""
    arrays_of_programs: dict[int, dict[int, int]] = field(default_factory=dict)
    """Map to place to program."""
    foreign: dict[Point, int] = field(default_factory=dict)
    displaced: dict[Point, int] = field(default_factory=dict)
    unreadable: set[Point] = field(default_factory=set)
    """Hook points whose look fails."""
    _links: dict[Point, _Link] = field(default_factory=dict)
    copied: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    """Counters that were copied: from which map to which, and the slots that were left out."""
    _program_pins: dict[Point, dict[ProgramPin, int]] = field(default_factory=dict)
    _map_pins: dict[Point, dict[MapPin, int]] = field(default_factory=dict)
    _records: dict[Point, dict[int, bytes]] = field(default_factory=dict)
    _named: dict[Point, int] = field(default_factory=dict)

    def add_interface(self, name: str) -> None:
        """There is an interface of that name now."""
        self.interfaces[name] = self._ids()

    def remove_interface(self, name: str) -> None:
        """Its links run nothing any more; their pins stay."""
        del self.interfaces[name]

    def add_program(self, *map_ids: int) -> int:
        """A new program's id."""
        program_id = self._ids()
        self.programs[program_id] = map_ids
        return program_id

    def let_go(self, program_id: int) -> None:
        """The program is gone, unless it is pinned or on a hook."""
        pinned = (one for pins in self._program_pins.values() for one in pins.values())
        attached = (link.program_id for link in self._links.values())
        if program_id not in {*pinned, *attached}:
            self.programs.pop(program_id, None)

    def observe(self, point: Point) -> ObservedHook:
        """As bpffs and links are."""
        if point in self.unreadable:
            raise SimulatedFaultError("the pins cannot be read")
        index = self.interfaces.get(point.interface)
        link = self._links.get(point)
        runs = link is not None and link.interface_index == index
        return ObservedHook(
            interface_index=index,
            link_id=link.link_id if link else 0,
            link_program_id=link.program_id if link and runs else 0,
            foreign_program_id=0 if runs or index is None else self.foreign.get(point, 0),
            attachment=link.kind if link and runs else "",
            displaced_program_id=self.displaced.get(point, 0),
            generations=self._generations(point),
            named=self._named.get(point, 0),
        )

    def points(self) -> set[Point]:
        """Those that have anything pinned."""
        pinned = (self._links, self._program_pins, self._map_pins, self._records, self._named)
        return {point for one in pinned for point, found in one.items() if found}

    @contextmanager
    def exclusively(self, _point: Point) -> Iterator[None]:
        """There is one executor."""
        yield

    def program(self, program_id: int) -> ProgramInfo:
        """Plausible facts."""
        self._exists(program_id, self.programs)
        return ProgramInfo(
            id=program_id,
            name="simulated",
            tag=f"{program_id:016x}",
            gpl_compatible=True,
            instructions_verified=10,
            xlated_bytes=80,
            jited_bytes=100,
            map_ids=self.programs[program_id],
        )

    def is_loaded(self, program_id: int) -> bool:
        """Whether it was added."""
        return program_id in self.programs

    def wait(self, seconds: float) -> None:
        """No worker does anything later."""

    def segments(self, map_id: int, count: int) -> dict[int, int]:
        """What was put there; nothing of a map that is gone."""
        places = self.arrays_of_programs.get(map_id, {})
        return {place: one for place, one in places.items() if 1 <= place <= count}

    def holders(self, program_id: int) -> dict[str, Any]:
        """Plausible facts."""
        return {"program_name": "simulated", "program_tag": f"{program_id:016x}"}

    def put_segment(self, map_id: int, place: int, program_id: int) -> None:
        """The place holds the program."""
        self._step()
        self._exists(program_id, self.programs)
        self.arrays_of_programs.setdefault(map_id, {})[place] = program_id

    def surroundings(self, point: Point) -> Surroundings:
        """Nobody else is there, but for whom we displaced."""
        displaced = self.displaced.get(point)
        if displaced is None:
            return Surroundings("")
        return Surroundings("taken over", displaced=HookOccupant(displaced, "other", "", 0))

    def owner(self, _point: Point, program_id: int, *, hint: str = "") -> RefusedError:
        """Named by the program."""
        return ForeignOwnerError(f"held by program {program_id}; {hint}")

    def check(self, point: Point, options: LinkOptions, target: ProbeTarget | None = None) -> None:
        """Hardware does nothing here."""
        if target is not None:
            raise NotSimulatedError("a simulated kernel has no probes")
        ways(point.hook, options.attach, has_tcx=True)
        if options.attach == "offload":
            raise AttachmentRefusedError("no XDP in hardware")

    def pin_program(self, point: Point, pin: ProgramPin, program_id: int) -> None:
        """The pin names the program, instead of what it named before."""
        self._step()
        self._exists(program_id, self.programs)
        self._program_pins.setdefault(point, {})[pin] = program_id

    def unpin_program(self, point: Point, pin: ProgramPin) -> None:
        """Fine if it was free."""
        self._step()
        self._program_pins.get(point, {}).pop(pin, None)

    def pin_map(self, point: Point, pin: MapPin, map_id: int) -> None:
        """The pin names the map, instead of what it named before."""
        self._step()
        self._exists(map_id, self.maps)
        self._map_pins.setdefault(point, {})[pin] = map_id

    def unpin_map(self, point: Point, pin: MapPin) -> None:
        """Fine if it was free."""
        self._step()
        self._map_pins.get(point, {}).pop(pin, None)

    def write_record(self, point: Point, generation: int, record: bytes) -> None:
        """Instead of the one that was there."""
        self._step()
        self._records.setdefault(point, {}).pop(generation, None)
        if record:
            self._records[point][generation] = record

    def name_maps(self, point: Point, generation: int) -> None:
        """Fine if nothing is pinned there."""
        self._step()
        self._named[point] = generation

    def copy_counts(
        self, _point: Point, source_id: int, map_id: int, *, new: Sequence[int]
    ) -> None:
        """Noted."""
        self._step()
        self._exists(source_id, self.maps)
        self._exists(map_id, self.maps)
        self.copied.append((source_id, map_id, tuple(new)))

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
        """A new pinned link, if the hook is free."""
        if target is not None:
            raise NotSimulatedError("a simulated kernel has no probes")
        self._step()
        self._exists(program_id, self.programs)
        if self.interfaces.get(point.interface) != interface_index:
            raise SimulatedFaultError("there is no such interface")
        if self.foreign.get(point) or self.observe(point).link_is_live:
            raise RefusedError("the hook is held", code="hook_owned")
        kind = ways(point.hook, choice, has_tcx=True)[0]
        self._links[point] = _Link(self._ids(), interface_index, program_id, kind, position)

    def detach(self, point: Point) -> None:
        """Fine if there was no link; whom we displaced is back."""
        self._step()
        self._links.pop(point, None)
        if point in self.displaced:
            self.foreign[point] = self.displaced.pop(point)

    def take_over(
        self, point: Point, *, interface_index: int, foreign_program_id: int, program_id: int
    ) -> None:
        """Refused if another program than expected is there."""
        self._step()
        self._exists(program_id, self.programs)
        if self.foreign.get(point) != foreign_program_id:
            raise ForeignOwnerError("the hook holds another program")
        self.displaced[point] = self.foreign.pop(point)
        kind: AttachmentKind = "xdp-native"
        self._links[point] = _Link(self._ids(), interface_index, program_id, kind, "last")

    def replace(
        self,
        point: Point,
        *,
        expected_program_id: int,
        program_id: int,
        target: ProbeTarget | None = None,
    ) -> None:
        """Refused if the link runs another program than expected."""
        if target is not None:
            raise NotSimulatedError("a simulated kernel has no probes")
        self._step()
        self._exists(program_id, self.programs)
        link = self._links.get(point)
        if link is None:
            raise SimulatedFaultError("there is no link")
        if not self.observe(point).link_is_live:
            raise SimulatedFaultError("the interface is gone")
        if link.program_id != expected_program_id:
            raise RefusedError("the link runs another program", code="conflict")
        link.program_id = program_id

    def drop_dead_link(self, point: Point) -> None:
        """Fine if there was none."""
        self._step()
        self._links.pop(point, None)
        self.displaced.pop(point, None)

    def _generations(self, point: Point) -> dict[int, PinnedGeneration]:
        programs = self._program_pins.get(point, {})
        maps = self._map_pins.get(point, {})
        records = self._records.get(point, {})
        numbers = {pin.generation for pin in programs} | {pin.generation for pin in maps}
        numbers |= set(records)
        return {
            number: PinnedGeneration(
                {pin.segment: one for pin, one in programs.items() if pin.generation == number},
                {pin.key: one for pin, one in maps.items() if pin.generation == number},
                records.get(number, b""),
            )
            for number in sorted(numbers)
        }

    def stray(self, _point: Point) -> Stray | None:
        """Interfaces keep their names."""
        return None

    def move_pins(self, _point: Point, _to: Point) -> None:
        """Nothing goes astray."""

    def drop_stray(self, _point: Point, _stray: Stray) -> None:
        """Nothing goes astray."""
