# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel as changes see it: hook points with their pins, programs and maps by id.

Nothing is held between calls: every call opens what it needs and lets it go again, so that only
pins and links decide what lives.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import PurePosixPath
from typing import Any

from services.node_executor.adapters import (
    cls_bpf,
    drift_reading,
    kernel_info,
    pins,
    slot_counters,
)
from services.node_executor.adapters.attachments import Attachments
from services.node_executor.adapters.configured_maps import ConfiguredMaps
from services.node_executor.adapters.hook_lock import LockHeldError, exclusively
from services.node_executor.adapters.hook_pins import HookPins, Pins
from services.node_executor.adapters.kernel_errors import InterfaceGoneError
from services.node_executor.adapters.network_namespaces import (
    NamespaceGoneError,
    inside,
    names,
)
from services.node_executor.adapters.pin_tree import PinTree
from services.node_executor.adapters.probe_attachments import NO_INTERFACE, ProbeAttachments
from services.node_executor.attachment import Surroundings
from services.node_executor.following import Stray
from services.node_executor.generations import HEAD, MapPin, Point, ProgramPin
from services.node_executor.kernel_types import ProgramInfo
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.pin_paths import namespace_path
from services.node_executor.preparation import GenerationConflictError
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.probes import ProbeTarget
from shared.errors import RefusedError
from shared.identifiers import is_probe


class HookPointKernel(ConfiguredMaps):
    """Hook points of the network namespace that this process runs in, and of named ones."""

    def __init__(
        self,
        base: PurePosixPath,
        *,
        short_waits: Callable[[], AbstractContextManager[None]] = nullcontext,
        on_pins_restored: Callable[[int], object] = lambda _pins: None,
    ) -> None:
        """Pins lie below `base`, which is made, and bpffs mounted, if need be.

        Whatever makes the kernel wait for packets under way happens within `short_waits`.
        `on_pins_restored` is told how many were brought back after an unmount.
        """
        super().__init__()
        self._tree = PinTree(base, on_pins_restored)
        self._base = base
        self._attachments = Attachments(base, short_waits)
        self._probes = ProbeAttachments(base)
        self._pins = HookPins(base)
        self._sweep()

    def points(self) -> set[Point]:
        """Hook points that have a pin directory."""
        self._tree.ensure()
        return self._pins.points()

    @contextmanager
    def exclusively(self, point: Point) -> Iterator[None]:
        """No other executor changes the hook point within the block.

        Raises:
            GenerationConflictError: Another one changes it for longer than a change takes.
        """
        try:
            with exclusively(self._pins.folder(point), base=self._base):
                yield
        except LockHeldError as error:
            raise GenerationConflictError(point) from error

    def _sweep(self) -> None:
        """What a killed executor had not finished holds nothing that runs; nor do empty folders.

        A hook point that another executor is changing is left to it.
        """
        points = self.points()
        for point in points:
            with suppress(GenerationConflictError), self.exclusively(point):
                self._pins.sweep(point)
        for netns in sorted({"", *(point.netns for point in points)}):
            with suppress(NamespaceGoneError), inside(netns):
                cls_bpf.sweep(namespace_path(self._base, netns))
        pins.remove_empty_directories(self._base)

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""
        self._tree.ensure()
        pinned = self._pins.read(point)
        if is_probe(point.hook):
            index: int | None = NO_INTERFACE
            held = self._probes.observe(point)
        else:
            with _at(point) as index:
                held = self._attachments.observe(point, index, _heads(pinned))
        return ObservedHook(
            interface_index=index,
            link_id=held.link_id,
            link_program_id=held.program_id,
            foreign_program_id=held.foreign_program_id,
            attachment=held.kind,
            displaced_program_id=held.displaced_program_id,
            fits_better=held.fits_better,
            generations=pinned.generations,
            named=pinned.named,
            odd=pinned.odd,
        )

    def stray(self, point: Point) -> Stray | None:
        """Where the point's program is, if it runs and not on the point's interface."""
        if is_probe(point.hook):
            return None
        with _at(point) as index:
            found, is_link = self._attachments.stray_index(point, index)
        if not found:
            return None
        for netns in ("", *names()):
            with suppress(NamespaceGoneError, InterfaceGoneError, OSError), inside(netns):
                name = socket.if_indextoname(found)
                if self._attachments.holds(point, found, is_link=is_link):
                    at = Point(name, point.hook, netns)
                    return None if at == point else Stray(at, index is not None, is_link)
        return Stray(None, index is not None) if is_link else None

    def move_pins(self, point: Point, to: Point) -> None:
        """All that is pinned for the point is pinned for the other, which had nothing."""
        self._pins.move(point, to)

    def drop_stray(self, point: Point, stray: Stray) -> None:
        """The point's program is on no hook; what it needs stays pinned."""
        if stray.is_link:
            self._attachments.drop(point)
        elif stray.at is not None:
            with _at(stray.at) as index:
                if index is not None:
                    self._attachments.drop_filter(point, index)

    def program(self, program_id: int) -> ProgramInfo:
        """What the kernel says about a loaded program."""
        with kernel_info.program_by_id(program_id) as program:
            return kernel_info.program_info(program.fd)

    def is_loaded(self, program_id: int) -> bool:
        """Whether the kernel has the program."""
        return drift_reading.is_loaded(program_id)

    def segments(self, map_id: int, count: int) -> dict[int, int]:
        """Places 1 to `count` of an array of segments, by the id of the program that is there."""
        return drift_reading.segments(map_id, count)

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def holders(self, program_id: int) -> dict[str, Any]:
        """Who holds the program, as far as it can be found."""
        return drift_reading.holders(program_id)

    def put_segment(self, map_id: int, place: int, program_id: int) -> None:
        """The place in the array of segments holds the program."""
        drift_reading.put_segment(map_id, place, program_id)

    def surroundings(self, point: Point) -> Surroundings:
        """What else is to be said of our program on the hook."""
        if is_probe(point.hook):
            return self._probes.surroundings(point)
        with _at(point) as index, suppress(InterfaceGoneError):
            if index is not None:
                return self._attachments.surroundings(point, index)
        return Surroundings()

    def owner(self, point: Point, program_id: int, *, hint: str = "") -> RefusedError:
        """A refusal that names whoever holds the hook with that program."""
        with _at(point) as index:
            return self._attachments.owner(point, index or 0, program_id=program_id, hint=hint)

    def check(self, point: Point, options: LinkOptions, target: ProbeTarget | None = None) -> None:
        """Nothing, if a new attachment with these options is not known to fail."""
        if target is not None:
            self._probes.check(target)
            return
        with _at(point) as index:
            if index is not None:
                self._attachments.check(point, index, options)

    def pin_program(self, point: Point, pin: ProgramPin, program_id: int) -> None:
        """The pin names the program."""
        self._pins.pin_program(point, pin, program_id)

    def unpin_program(self, point: Point, pin: ProgramPin) -> None:
        """The pin is free."""
        self._pins.unpin_program(point, pin)

    def pin_map(self, point: Point, pin: MapPin, map_id: int) -> None:
        """The pin names the map."""
        self._pins.pin_map(point, pin, map_id)

    def unpin_map(self, point: Point, pin: MapPin) -> None:
        """The pin is free."""
        self._pins.unpin_map(point, pin)

    def write_record(self, point: Point, generation: int, record: bytes) -> None:
        """The generation has this record beside its pins; with nothing: it has none."""
        self._pins.write_record(point, generation, record)

    def name_maps(self, point: Point, generation: int) -> None:
        """The path of the point's maps leads to those of the generation; 0: there is no path."""
        self._pins.name_maps(point, generation)

    def copy_counts(self, point: Point, source_id: int, map_id: int, *, new: Sequence[int]) -> None:
        """The second counter map, which nothing counts in, has the counts of the first."""
        with (
            kernel_info.map_by_id(source_id) as source,
            kernel_info.map_by_id(map_id) as target,
        ):
            slot_counters.copy(source, target, point.hook, except_slots=new)

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
        if is_probe(point.hook):
            with kernel_info.program_by_id(program_id) as program:
                self._probes.attach(point, program, target)
            return
        heads = _heads(self._pins.read(point))
        with inside(point.netns), kernel_info.program_by_id(program_id) as program:
            self._attachments.attach(
                point,
                program,
                interface_index=interface_index,
                choice=choice,
                position=position,
                own_programs=heads,
            )

    def detach(self, point: Point) -> None:
        """Nothing of ours is on the hook, whoever else holds our link; a displaced one is back."""
        if is_probe(point.hook):
            self._probes.detach(point)
            return
        heads = _heads(self._pins.read(point))
        with _at(point) as index:
            self._attachments.detach(point, index, heads)

    def replace(
        self,
        point: Point,
        *,
        expected_program_id: int,
        program_id: int,
        target: ProbeTarget | None = None,
    ) -> None:
        """The hook runs the program now; refused if it ran another than expected."""
        if is_probe(point.hook):
            with kernel_info.program_by_id(program_id) as program:
                self._probes.replace(
                    point, program, target, expected_program_id=expected_program_id
                )
            return
        with _at(point) as index, kernel_info.program_by_id(program_id) as program:
            self._attachments.replace(
                point, program, index=index, expected_program_id=expected_program_id
            )

    def take_over(
        self, point: Point, *, interface_index: int, foreign_program_id: int, program_id: int
    ) -> None:
        """The program replaced another owner's in one step, and that one is kept."""
        with inside(point.netns), kernel_info.program_by_id(program_id) as program:
            self._attachments.take_over(
                point,
                program,
                interface_index=interface_index,
                foreign_program_id=foreign_program_id,
            )

    def drop_dead_link(self, point: Point) -> None:
        """The pins of what is not on the point's interface are removed."""
        self._attachments.drop(point)


def _heads(pinned: Pins) -> list[int]:
    """The programs of ours that can be on the hook."""
    return [one.programs[HEAD] for one in pinned.generations.values() if HEAD in one.programs]


@contextmanager
def _at(point: Point) -> Iterator[int | None]:
    """In the point's network namespace, the index of its interface; None: there is none."""
    with ExitStack() as entered:
        index: int | None = None
        with suppress(NamespaceGoneError, OSError):
            entered.enter_context(inside(point.netns))
            index = socket.if_nametoindex(point.interface)
        yield index
