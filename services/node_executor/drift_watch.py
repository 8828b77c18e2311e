# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at a hook point for what others changed, says it, and puts right what no change would.

Touches nothing itself: kernel, steps and journal are given.  What is on the hook is put right by
the ordinary change that follows; pins, places in the array of segments and map entries are put
right here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.node_executor.actions import (
    Action,
    PinMap,
    PinProgram,
    PutSegment,
    WriteMapEntries,
    WriteRecord,
)
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.drift import (
    Drift,
    Judged,
    Look,
    base_entries,
    detect,
    judge,
    policy_of,
)
from services.node_executor.drift_record import DriftRecord, KnownDrift
from services.node_executor.generations import (
    HEAD,
    SEGMENTS,
    ChainMemory,
    Generation,
    MapKey,
    Point,
    config_digest,
    map_configs,
)
from services.node_executor.held_maps import HeldMap
from services.node_executor.hook_access import HookReader, Steps
from services.node_executor.map_plans import plan_map
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.reconciliation import (
    Configure,
    Decision,
    LinkAnew,
    PutBack,
    Rest,
    decide,
    plan_mending,
)
from services.node_executor.stated_rules import map_entry
from shared.contracts.desired import DesiredChain, MapConfig
from shared.contracts.node import ObservedChain
from shared.contracts.package_manifest import MapEntry
from shared.errors import FaultError, RefusedError

_MAX_ENCODED: Final = 1024
"""Maps whose configuration is kept as the kernel stores it."""
_EMPTYING_SECONDS: Final = 0.1
"""How late the kernel's worker is expected at most; what it does later, the next look finds."""
_EMPTYING_LOOKS: Final = 10


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A map's configuration as the kernel stores it; encoding reads the map's types."""

    config: MapConfig
    entry: MapEntry
    entries: Mapping[bytes, bytes]
    blank: bytes | None
    capacity: int


class DriftWatch:
    """Of all hook points of one node."""

    def __init__(self, *, kernel: HookReader, steps: Steps, journal: ChainJournal) -> None:
        """Nothing is read yet."""
        self._kernel = kernel
        self._steps = steps
        self._journal = journal
        self._encoded: dict[int, _Encoded] = {}

    def holds(self, point: Point, hook: ObservedHook, desired: DesiredChain | None) -> bool:
        """Whether the point is left as it was found; nothing is said."""
        memory = self._journal.memory(point)
        if policy_of(memory, desired) == "repair" or self._journal.is_of_earlier_boot(point):
            return False
        return self._judge(point, self.look(point, hook, memory), memory, desired).holds

    def settle(
        self,
        point: Point,
        hook: ObservedHook,
        desired: DesiredChain | None,
        *,
        seen: Callable[[], ObservedChain],
    ) -> ObservedHook | None:
        """What is new is said, and what no change puts right is put right; the point as it is then.

        None: nothing of it may be touched.

        Args:
            point: Which is not changed by anybody else meanwhile.
            hook: Read just now.
            desired: What shall run there.
            seen: The hook point as it is reported.

        Raises:
            FaultError: The kernel failed; it is tried again.
        """
        if self._journal.is_of_earlier_boot(point):
            return hook
        memory = self._journal.memory(point)
        look = self.look(point, hook, memory)
        judged = self._judge(point, look, memory, desired)
        self._say(point, judged, memory, desired, seen)
        if judged.holds:
            self._forget_refusal(point)
            return None
        if policy_of(memory, desired) == "repair":
            return self._repaired(point, look, memory, desired)
        return hook

    def keeps_off(
        self,
        point: Point,
        changed: ObservedHook,
        desired: DesiredChain | None,
        tidying: Iterable[Action],
        *,
        describe: Callable[[Point, ObservedHook], ObservedChain],
    ) -> bool:
        """Whether the policy wants what others did between a change and now to stay.

        What tidying would pin again was pinned by the change; that somebody took it is said first.
        """
        if not any(map(_pins_again, tidying)):
            return False
        memory = self._journal.memory(point)
        judged = self._judge(point, self.look(point, changed, memory), memory, desired)
        self._say(point, judged, memory, desired, lambda: describe(point, changed))
        return judged.holds

    def rests(
        self, point: Point, look: Look, memory: ChainMemory, desired: DesiredChain | None
    ) -> bool:
        """Whether `settle` would have nothing to say, nothing to keep and nothing to put right.

        What is held, as a policy other than `repair` wants it, does not rest.
        """
        judged = self._judge(point, look, memory, desired)
        if judged.news or judged.holds or judged.record != memory.drift:
            return False
        current = memory.current
        if current is None or look.hook.link_program_id != current.program_id:
            return True
        return not any(_repairs(look, current))

    def decide(
        self, hook: ObservedHook, memory: ChainMemory, desired: DesiredChain | None
    ) -> Decision:
        """What kind of change the point needs; a generation that lost a program is linked anew."""
        decision = decide(hook, memory, desired)
        if desired is None or not desired.programs:
            return decision
        match decision:
            case PutBack(generation) if any(self._lost(hook, generation)):
                return LinkAnew()
            case Rest() | Configure() if memory.current and any(self._lost(hook, memory.current)):
                return LinkAnew()
            case _:
                return decision

    def _forget_refusal(self, point: Point) -> None:
        """Another owner who held the chain up was accepted, or is said as drift."""
        memory = self._journal.memory(point)
        if memory.refusal is not None and memory.refusal.code == "hook_owned":
            self._journal.keep(point, msgspec.structs.replace(memory, refusal=None))

    def _repaired(
        self, point: Point, look: Look, memory: ChainMemory, desired: DesiredChain | None
    ) -> ObservedHook:
        current = memory.current
        is_running = current is not None and look.hook.link_program_id == current.program_id
        if current is None or not is_running or desired is None or not desired.programs:
            return look.hook
        actions = list(_repairs(look, current))
        if not actions:
            return look.hook
        self._steps.run(actions, point)
        memory = self._journal.memory(point)
        again = self.look(point, self._kernel.observe(point), memory)
        if any(isinstance(action, PinMap) and action.pin.key == SEGMENTS for action in actions):
            again = self._filled(point, again, memory, current)
        after = self._judge(point, again, memory, desired)
        self._journal.keep(point, msgspec.structs.replace(memory, drift=after.record))
        return again.hook

    def _filled(self, point: Point, look: Look, memory: ChainMemory, current: Generation) -> Look:
        """The look once the kernel has had the time to empty the array that had no name, again.

        Each descriptor of such an array that is closed, as that of the look before, has a worker
        of the kernel empty it later (kernel/bpf/arraymap.c, prog_array_map_clear).
        """
        for _ in range(_EMPTYING_LOOKS):
            self._kernel.wait(_EMPTYING_SECONDS / _EMPTYING_LOOKS)
            if actions := list(_repairs(look, current)):
                self._steps.run(actions, point)
            look = self.look(point, self._kernel.observe(point), memory)
        return look

    def _judge(
        self, point: Point, look: Look, memory: ChainMemory, desired: DesiredChain | None
    ) -> Judged:
        return judge(
            detect(look, memory),
            look,
            memory,
            desired,
            event_id=lambda drift, number: self._event_id(point, drift, number),
        )

    def _event_id(self, point: Point, drift: Drift, number: int) -> str:
        return self._journal.drift_id(point, f"{drift.kind}|{drift.subject}", number)

    def _say(
        self,
        point: Point,
        judged: Judged,
        memory: ChainMemory,
        desired: DesiredChain | None,
        seen: Callable[[], ObservedChain],
    ) -> None:
        """Record and events are on the disk together."""
        news = {one.seen.event_id: self._with_holders(one) for one in judged.news}
        known = tuple(news.get(one.seen.event_id, one) for one in judged.record.known)
        record = msgspec.structs.replace(judged.record, known=known)
        if not news:
            if record != memory.drift:
                self._journal.keep(point, msgspec.structs.replace(memory, drift=record))
            return
        policy = policy_of(memory, desired)
        told = [one.seen for one in news.values()]
        self._journal.drift(point, record, told, policy=policy, seen=seen())

    def _with_holders(self, one: KnownDrift) -> KnownDrift:
        """What is found, with the name, tag, pins and processes of the program that is there."""
        program_id = one.seen.found.get("program_id")
        if not program_id:
            return one
        found: dict[str, Any] = dict(one.seen.found)
        with suppress(FaultError):
            found |= self._kernel.holders(program_id)
        return msgspec.structs.replace(one, seen=msgspec.structs.replace(one.seen, found=found))

    def look(self, point: Point, hook: ObservedHook, memory: ChainMemory) -> Look:
        """What is compared of a hook point that was observed just now."""
        current = memory.current
        if current is None or hook.interface_index is None:
            return Look(hook)
        lost = frozenset(self._lost(hook, current))
        if hook.link_program_id != current.program_id:
            return Look(hook, lost)
        return Look(
            hook,
            lost,
            segments=self._segments(current),
            writes=dict(self._writes(current, memory)),
            neighbours=self._neighbours(point),
        )

    def _lost(self, hook: ObservedHook, generation: Generation) -> Iterator[int]:
        """A program that its pin names is there; others are asked for."""
        pinned = hook.generations.get(generation.pin, PinnedGeneration())
        for segment, program_id in generation.pinned_programs.items():
            is_on_hook = segment == HEAD and hook.link_program_id == program_id
            if pinned.programs.get(segment) == program_id or is_on_hook:
                continue
            if not self._kernel.is_loaded(program_id):
                yield program_id

    def _segments(self, current: Generation) -> dict[int, int] | None:
        array = current.pinned_maps.get(SEGMENTS)
        if array is None or not current.segments:
            return None
        return self._kernel.segments(array, len(current.segments))

    def _neighbours(self, point: Point) -> tuple[int, ...]:
        if point.hook == "xdp":
            return ()
        around = self._kernel.surroundings(point)
        return tuple(sorted(one.program_id for one in (*around.runs_after, *around.runs_before)))

    def _writes(
        self, current: Generation, memory: ChainMemory
    ) -> Iterator[tuple[MapKey, WriteMapEntries]]:
        """For each map that is watched; while its configuration is not known, none is."""
        watched = {
            MapKey(held.deployment, held.name): held for held in current.maps if held.is_watched
        }
        if not watched or memory.config_sha256 != config_digest(current.chain):
            return
        for key, config in map_configs(current.chain).items():
            if key in watched:
                entry = map_entry(current.chain, key)
                write = self._write(watched[key], config, entry, memory.drift)
                if write is not None:
                    yield key, write

    def _write(
        self, held: HeldMap, config: MapConfig, entry: MapEntry, drift: DriftRecord
    ) -> WriteMapEntries | None:
        """None: there is nothing to compare, since the map is gone, or has another layout."""
        map_id, key = held.map_id, MapKey(held.deployment, held.name)
        try:
            known = self._encoded.get(map_id)
            if known is None or (known.config, known.entry) != (config, entry):
                known = self._encode(held, config, entry)
            present = self._kernel.read_entries(map_id)
        except (FaultError, RefusedError):
            return None
        wanted = base_entries(drift, key, map_id=map_id, config=config, entries=known.entries)
        return plan_map(
            map_id,
            entry,
            held.of_maps,
            present=present,
            wanted=wanted,
            blank=known.blank,
            capacity=known.capacity,
        )

    def _encode(self, held: HeldMap, config: MapConfig, entry: MapEntry) -> _Encoded:
        map_id, kernel = held.map_id, self._kernel
        encoded, problems = kernel.encode_entries(map_id, held.name, config, entry, held.of_maps)
        if problems:
            raise RefusedError("the configuration does not fit the map", problems)
        entries = {key: kernel.stored_value(map_id, one) for key, one in encoded.items()}
        if len(self._encoded) >= _MAX_ENCODED:
            self._encoded.clear()  # most of them are of maps that are gone
        self._encoded[map_id] = _Encoded(
            config, entry, entries, kernel.blank_value(map_id), kernel.capacity(map_id)
        )
        return self._encoded[map_id]


def _repairs(look: Look, current: Generation) -> Iterator[Action]:
    """Pins first: an array of programs whose last pin is gone is emptied by the kernel."""
    yield from plan_mending(look.hook, current, lost=look.lost)
    array = current.pinned_maps.get(SEGMENTS)
    if array is not None and look.segments is not None:
        for place, program_id in enumerate(current.segments, start=1):
            if look.segments.get(place) != program_id and program_id not in look.lost:
                yield PutSegment(array, place, program_id)
    for _, write in sorted(look.writes.items()):
        if write.changes:
            yield write


def _pins_again(action: Action) -> bool:
    is_record = isinstance(action, WriteRecord) and bool(action.after)
    return is_record or isinstance(action, PinMap | PinProgram)
