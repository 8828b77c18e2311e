# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Fakes that keep state and can be told to fail.

A fake may only behave as the real thing was seen to behave: `test_fakes_match_reality.py` runs one
suite against both.  Change that suite first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from services.node_executor.actions import BytesChange, EntryChange
from services.node_executor.attachment import (
    AttachmentRefusedError,
    ForeignOwnerError,
    Surroundings,
    ways,
)
from services.node_executor.generations import MapPin, Point, ProgramPin
from services.node_executor.kernel_types import HookOccupant, ProgramInfo
from services.node_executor.map_types import MapOfMaps
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from shared.configuration.entries import UNDECLARED
from shared.contracts.configuration import VariableEntry
from shared.contracts.desired import MapConfig
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.metrics import MetricSource
from shared.contracts.node import AttachmentKind
from shared.contracts.package_manifest import MapEntry
from shared.contracts.probes import ProbeTarget
from shared.errors import FaultError, Reason, RefusedError


class FakeFaultError(FaultError):
    """A failure that the test ordered, or that the real kernel would give too."""


@dataclass
class _Link:
    link_id: int
    interface_index: int
    program_id: int
    kind: AttachmentKind
    position: str


@dataclass
class FakeKernel:
    """Interfaces, links, pins and maps in memory."""

    interfaces: dict[str, int] = field(default_factory=dict)
    programs: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Program to the maps it uses."""
    maps: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    arrays: set[int] = field(default_factory=set)
    arrays_of_programs: dict[int, dict[int, int]] = field(default_factory=dict)
    """Map to place to program."""
    foreign: dict[Point, int] = field(default_factory=dict)
    displaced: dict[Point, int] = field(default_factory=dict)
    fails_at: int | None = None
    """Number of the changing call, from 0, that raises; later ones work again."""
    calls: int = 0
    unreadable: set[Point] = field(default_factory=set)
    """Hook points whose look fails."""
    _links: dict[Point, _Link] = field(default_factory=dict)
    copied: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    """Counters that were copied: from which map to which, and the slots that were left out."""
    _program_pins: dict[Point, dict[ProgramPin, int]] = field(default_factory=dict)
    _map_pins: dict[Point, dict[MapPin, int]] = field(default_factory=dict)
    _records: dict[Point, dict[int, bytes]] = field(default_factory=dict)
    _named: dict[Point, int] = field(default_factory=dict)
    _ids: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    def add_interface(self, name: str) -> None:
        """There is an interface of that name now."""
        self.interfaces[name] = self._ids()

    def remove_interface(self, name: str) -> None:
        """Its links run nothing any more; their pins stay."""
        del self.interfaces[name]

    def add_map(self, entries: dict[bytes, bytes] | None = None, *, is_array: bool = False) -> int:
        """A new map's id."""
        map_id = self._ids()
        self.maps[map_id] = dict(entries or {})
        if is_array:
            self.arrays.add(map_id)
        return map_id

    def add_program(self, *map_ids: int) -> int:
        """A new program's id."""
        program_id = self._ids()
        self.programs[program_id] = map_ids
        return program_id

    def observe(self, point: Point) -> ObservedHook:
        """As bpffs and links are."""
        if point in self.unreadable:
            raise FakeFaultError("the pins cannot be read")
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
            name="fake",
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
        return {"program_name": "fake", "program_tag": f"{program_id:016x}"}

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
        assert target is None, "the fake has interfaces alone"
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
        assert target is None
        self._step()
        self._exists(program_id, self.programs)
        if self.interfaces.get(point.interface) != interface_index:
            raise FakeFaultError("there is no such interface")
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
        assert target is None
        self._step()
        self._exists(program_id, self.programs)
        link = self._links.get(point)
        if link is None:
            raise FakeFaultError("there is no link")
        if not self.observe(point).link_is_live:
            raise FakeFaultError("the interface is gone")
        if link.program_id != expected_program_id:
            raise RefusedError("the link runs another program", code="conflict")
        link.program_id = program_id

    def drop_dead_link(self, point: Point) -> None:
        """Fine if there was none."""
        self._step()
        self._links.pop(point, None)
        self.displaced.pop(point, None)

    def write_entries(
        self, map_id: int, changes: Sequence[EntryChange], _of_maps: MapOfMaps | None = None
    ) -> None:
        """A failure comes after half of the entries."""
        self._exists(map_id, self.maps)
        entries = self.maps[map_id]
        for number, change in enumerate(changes):
            if number == len(changes) // 2:
                self._step()
            if change.after is None:
                entries.pop(change.key, None)
            else:
                entries[change.key] = change.after

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """A copy."""
        self._exists(map_id, self.maps)
        return dict(self.maps[map_id])

    def stored_value(self, _map_id: int, value: bytes) -> bytes:
        """There are no per-CPU maps here."""
        return value

    def blank_value(self, map_id: int) -> bytes | None:
        """Four zeros for arrays."""
        return bytes(4) if map_id in self.arrays else None

    def capacity(self, _map_id: int) -> int:
        """Not known."""
        return 0

    def encode_variables(
        self, map_id: int, values: Mapping[str, Any], _entries: Mapping[str, VariableEntry]
    ) -> tuple[dict[str, tuple[int, bytes]], tuple[Reason, ...]]:
        """Every section has one variable, `a`, of four bytes."""
        self._exists(map_id, self.maps)
        return {"a": (0, values["a"].to_bytes(4, "little"))} if "a" in values else {}, ()

    def read_section(self, map_id: int) -> bytes:
        """What is under the only key."""
        self._exists(map_id, self.maps)
        return self.maps[map_id].get(bytes(4), bytes(8))

    def write_variables(self, map_id: int, changes: Sequence[BytesChange]) -> None:
        """A failure comes before the first."""
        self._step()
        held = bytearray(self.read_section(map_id))
        for change in changes:
            held[change.offset_bytes : change.offset_bytes + len(change.after)] = change.after
        self.maps[map_id][bytes(4)] = bytes(held)

    def makes_room(self, _map_id: int) -> bool:
        """Never."""
        return False

    def encode_entries(
        self,
        _map_id: int,
        _name: str,
        config: MapConfig,
        _entry: MapEntry = UNDECLARED,
        _of_maps: MapOfMaps | None = None,
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """Keys of two bytes, values of four."""
        return {
            int(key).to_bytes(2, "little"): int(value).to_bytes(4, "little")
            for key, value in config.items()
        }, ()

    def read_series(self, map_id: int, source: MetricSource, _: Any = None) -> dict[str, int]:
        """Little-endian keys and numbers; of keys, one or all."""
        entries = self.read_entries(map_id).items()
        numbers = {str(int.from_bytes(key, "little")): value for key, value in entries}
        wanted = numbers if source.key == "*" else {source.key} & numbers.keys()
        return {key: int.from_bytes(numbers[key], "little") for key in wanted}

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

    def _step(self) -> None:
        number, self.calls = self.calls, self.calls + 1
        if number == self.fails_at:
            raise FakeFaultError(f"call {number} fails")

    def _exists(self, number: int, known: dict[int, Any]) -> None:
        if number not in known:
            raise FakeFaultError(f"there is no object {number}")
