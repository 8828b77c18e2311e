# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains tried on packets beside their hook: linked once more, on copies of their maps.

Touches nothing itself: kernel thread, hook points, preparation and runner are given.

Rules:
 * Nothing that packets see is written to: every map of a trial was made for it.
 * A packet finds the maps as the packet before it left them, the first as they are live.
 * The kernel thread is free between packets, so a long trial holds up no change of a hook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import msgspec

from services.node_executor.actions import BytesChange, EntryChange
from services.node_executor.changes import HookPoints
from services.node_executor.configuration import MapReader, plan_variables, plan_writes
from services.node_executor.drafts import Drafts
from services.node_executor.generations import MapKey, Point, point_of
from services.node_executor.held_maps import HeldMap
from services.node_executor.linking.counters import COUNTERS_MAP_NAME
from services.node_executor.map_types import MapOfMaps
from services.node_executor.packet_tests import (
    MapView,
    Ran,
    WatchedMap,
    describe,
    within_reply,
)
from services.node_executor.preparation import Linked
from services.node_executor.slot_metrics import Counted
from services.node_executor.staging import Preparer, Thread
from shared.contracts.desired import DesiredChain
from shared.contracts.errors import ErrorCode
from shared.contracts.inspection import (
    MAX_PACKETS_BYTES,
    PacketsTried,
    PacketTried,
    TryPackets,
)
from shared.errors import FaultError, Reason, RefusedError

MAX_TRIAL_SECONDS: Final = 30.0
"""Packets that are not reached until then are not run, so that whoever asks gets an answer."""

_VLAN_TYPES: Final = (b"\x81\x00", b"\x88\xa8")
_TAGGED: Final = (
    "VLAN tags are part of the packets here; on a wire the kernel takes the outer one off before TC"
    " sees the packet"
)


class TrialRefusedError(RefusedError):
    """The chain cannot be tried, or there is none."""

    code: ClassVar[ErrorCode] = "not_found"


class DeviceBoundError(RefusedError):
    """A program of the chain runs on its device alone."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


class MapWriter(MapReader, Protocol):
    """Reads and writes entries of maps, by id."""

    def write_entries(
        self,
        map_id: int,
        changes: tuple[EntryChange, ...],
        of_maps: MapOfMaps | None = None,
    ) -> None:
        """Each entry is as `after` says; of a map of maps they are flat."""

    def write_variables(self, map_id: int, changes: tuple[BytesChange, ...]) -> None:
        """The bytes of each are as `after` says, and no others change."""


class Runner(Protocol):
    """Runs loaded programs over packets, and copies and reads maps; all by id."""

    def copy_map(self, live_id: int, fresh_id: int, *, name: str) -> str:
        """The fresh map holds what the live one holds; or why not, in one sentence."""

    def watched(self, map_id: int, *, deployment: str, name: str) -> WatchedMap | str:
        """How changes of the map are read; or why they are not, in one sentence, or nothing."""

    def contents(self, map_id: int) -> MapView:
        """Everything in the map."""

    def clear_counters(self, map_id: int) -> None:
        """Every counter is zero."""

    def read_counters(self, map_id: int) -> tuple[bytes, ...]:
        """The counter map's value on each processor."""

    def run(self, program_id: int, packet: bytes, point: Point) -> Ran:
        """What the program does to the packet, as if it had come through the point's interface."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A chain that is linked and has its maps."""

    point: Point
    program_id: int
    programs: tuple[Counted, ...]
    counters_id: int
    watched: tuple[tuple[WatchedMap, int], ...]
    """Maps whose changes are listed, by id."""


class Trials:
    """Tries chains of one node."""

    def __init__(
        self,
        *,
        node: str,
        points: HookPoints,
        preparer: Preparer,
        kernel: MapWriter,
        runner: Runner,
        drafts: Drafts,
        thread: Thread,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is linked; `clock` counts seconds and never goes back."""
        self._node = node
        self._points = points
        self._preparer = preparer
        self._kernel = kernel
        self._runner = runner
        self._drafts = drafts
        self._thread = thread
        self._clock = clock

    def chain(self, request: TryPackets) -> DesiredChain:
        """What is asked about; its archives must be on the disk before it is tried.

        Raises:
            RefusedError: There is no such chain, or the packets are too much.
        """
        refuse_too_much(request.packets)
        return self._chain(Point(request.interface, request.hook, request.netns), request.draft)

    async def try_packets(self, request: TryPackets) -> PacketsTried:
        """What the chain does to each packet; nothing of the hook was touched.

        Raises:
            RefusedError: There is no such chain, it cannot be tried, or the packets are too much.
            FaultError: The catalog or the kernel failed.
        """
        chain = self.chain(request)
        point = Point(request.interface, request.hook, request.netns)
        counting = msgspec.structs.replace(chain.link, counters=True, time_sample_period=0)
        linkable = msgspec.structs.replace(chain, link=counting)
        needs = await self._thread(self._points.trial_needs, point, linkable)
        ready = await self._preparer.link(point, linkable, needs)
        try:
            is_draft = request.draft is not None
            trial, notes = await self._thread(
                self._prepare, point, linkable, ready.linked, needs.carried, writes=is_draft
            )
            until = self._clock() + MAX_TRIAL_SECONDS
            packets = [
                await self._thread(self._try_one, trial, packet, until=until)
                for packet in request.packets
            ]
        finally:
            await self._thread(ready.linked.close)
        current = self._points.memory(point).current
        return PacketsTried(
            node=self._node,
            interface=point.interface,
            hook=point.hook,
            netns=point.netns,
            source="draft" if is_draft else "running",
            generation=current.number if current is not None and not is_draft else 0,
            programs=tuple(program.deployment for program in chain.programs),
            packets=_bounded(packets),
            notes=tuple(dict.fromkeys((*notes, *_packet_notes(request)))),
        )

    def _chain(self, point: Point, draft: str | None) -> DesiredChain:
        place = str(point)
        if draft is not None:
            chain = self._drafts.get(draft, now=self._clock()).chain
            if point_of(chain) != point:
                reason = Reason(path="draft", rule=f"is not a chain of {place}", got=draft)
                raise TrialRefusedError(f"the draft is not a chain of {place}", [reason])
            return chain
        current = self._points.memory(point).current
        if current is None or not current.chain.programs:
            reason = Reason(path="interface", rule="has no chain on this hook", got=place)
            raise TrialRefusedError(f"{place} runs no chain of ours", [reason])
        return current.chain

    def _prepare(
        self,
        point: Point,
        chain: DesiredChain,
        linked: Linked,
        live: Mapping[MapKey, int],
        *,
        writes: bool,
    ) -> tuple[_Trial, list[str]]:
        """The maps are filled; `writes`: as a change to this chain would write its entries."""
        _refuse_device_bound(linked, point)
        notes = self._copy_maps(linked, live)
        if writes:
            memory = self._points.memory(point)
            for write in plan_writes(self._kernel, memory, chain, linked.maps):
                self._kernel.write_entries(write.map_id, write.changes, write.of_maps)
            for variables in plan_variables(self._kernel, chain, linked.maps):
                self._kernel.write_variables(variables.map_id, variables.changes)
        watched = []
        for held in linked.maps:
            if not held.deployment or not held.is_pinned:
                continue
            one = self._runner.watched(held.map_id, deployment=held.deployment, name=held.name)
            if isinstance(one, WatchedMap):
                watched.append((one, held.map_id))
            elif one:
                notes.append(one)
        slots = {program.deployment: program.slot for program in linked.programs}
        trial = _Trial(
            point=point,
            program_id=linked.program_id,
            programs=tuple(
                Counted(program.deployment, slots[program.deployment], program.proceed_on)
                for program in chain.programs
            ),
            counters_id=_counters_id(linked.maps),
            watched=tuple(watched),
        )
        return trial, notes

    def _copy_maps(self, linked: Linked, live: Mapping[MapKey, int]) -> list[str]:
        notes = []
        for held in linked.maps:
            key = MapKey(held.deployment, held.name)
            if not held.is_pinned or not held.deployment:
                continue
            name = f"{held.deployment}.{held.name}"
            source = linked.taken.get(key)
            if source is not None and source in live:
                notes.append(self._runner.copy_map(live[source], held.map_id, name=name))
            elif key in live:
                notes.append(f"{name} starts empty: its layout is another than before")
        return [note for note in notes if note]

    def _try_one(self, trial: _Trial, packet: bytes, *, until: float) -> PacketTried:
        if self._clock() > until:
            problem = f"the trial took longer than {MAX_TRIAL_SECONDS:.0f} seconds"
            return PacketTried(length_before=len(packet), problem=problem)
        runner = self._runner
        before = [runner.contents(map_id) for _, map_id in trial.watched]
        runner.clear_counters(trial.counters_id)
        try:
            left = runner.run(trial.program_id, packet, trial.point)
        except FaultError as error:
            return PacketTried(length_before=len(packet), problem=error.message)
        after = [runner.contents(map_id) for _, map_id in trial.watched]
        maps = zip((one for one, _ in trial.watched), before, after, strict=True)
        return describe(
            packet,
            left,
            runner.read_counters(trial.counters_id),
            hook=trial.point.hook,
            programs=trial.programs,
            maps=list(maps),
        )


def refuse_too_much(packets: tuple[bytes, ...]) -> None:
    """Nothing, if the packets fit into one trial.

    Raises:
        TrialRefusedError: They do not; with how much there is and may be.
    """
    total_bytes = sum(len(packet) for packet in packets)
    if total_bytes > MAX_PACKETS_BYTES:
        rule = "all packets of a trial together are limited"
        reason = Reason(path="packets", rule=rule, got=total_bytes, allowed=MAX_PACKETS_BYTES)
        raise TrialRefusedError(f"{rule} to {MAX_PACKETS_BYTES} bytes", [reason], code="too_large")


def _refuse_device_bound(linked: Linked, point: Point) -> None:
    explanation = linked.explanation
    segments = explanation.segments if explanation is not None else ()
    bound = [", ".join(one.deployments) for one in segments if one.is_device_bound]
    if bound:
        rule = (
            "the kernel program with it reads metadata of its device, and the kernel runs such"
            " programs on the device alone"
        )
        raise DeviceBoundError(
            f"{point} cannot be tried: {bound[0]}: {rule}",
            [Reason(path=names, rule=rule) for names in bound],
        )


def _counters_id(maps: tuple[HeldMap, ...]) -> int:
    found = [one.map_id for one in maps if not one.deployment and one.name == COUNTERS_MAP_NAME]
    if not found:
        raise AssertionError("unreachable: a trial is linked with counters")
    return found[0]


def _bounded(packets: list[PacketTried]) -> tuple[PacketTried, ...]:
    """The packets, those that would not fit into a reply without their lists of changes."""
    whole = within_reply(packets, [len(msgspec.json.encode(packet)) for packet in packets])
    cut = (
        msgspec.structs.replace(packet, changes=(), map_changes=()) for packet in packets[whole:]
    )
    return (*packets[:whole], *cut)


def _packet_notes(request: TryPackets) -> list[str]:
    is_tagged = any(packet[12:14] in _VLAN_TYPES for packet in request.packets)
    if request.hook != "xdp" and is_tagged:
        return [_TAGGED]
    return []
