# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What others changed at a hook point, and what follows from it.

Pure: `detect` compares what was read with what is remembered, `judge` applies the policy.

Rules:
 * Each occurrence is said once, for as long as it is there; when it comes again it is another one.
 * What ended with the kernel or the interface is nobody's doing.
 * A policy other than `repair` holds for what was confirmed; whatever is desired anew is done.
 * Another owner's program is never touched: it is left, unless the chain may take over.
 * Entries are compared in maps that the programs themselves never write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.drift_record import AdoptedMap, DriftRecord, KnownDrift
from services.node_executor.generation_record import RECORD_NAME, record_number
from services.node_executor.generations import (
    HEAD,
    ChainMemory,
    Generation,
    MapKey,
    map_configs,
)
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.pin_paths import render_segment
from shared.canonical import canonical_digest
from shared.contracts.desired import DesiredChain, MapConfig
from shared.contracts.drift import DriftDone, DriftKind, DriftPolicy, ObservedDrift

MAX_NAMED: Final = 16
"""Pins, places and entries of one drift that are named; all are counted."""
_HOLDS_NOTHING: Final = frozenset({"neighbour-came"})
"""What stands beside the chain; the chain itself is as it was left."""


@dataclass(frozen=True, slots=True)
class Look:
    """One hook point as it was read."""

    hook: ObservedHook
    lost: frozenset[int] = frozenset()
    """Programs of kept generations that the kernel has no more."""
    segments: Mapping[int, int] | None = None
    """Place in the array of segments to the program there; None: it was not read."""
    writes: Mapping[MapKey, WriteMapEntries] = field(default_factory=dict)
    """For maps whose entries are compared: what would make them as they shall be."""
    neighbours: tuple[int, ...] = ()
    """Programs of other owners beside ours."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it was left."""

    kind: DriftKind
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """What was expected and what is there; another value is another occurrence."""
    is_lost: bool = False
    """Whether it cannot be put back."""

    @property
    def identity(self) -> str:
        """Tells occurrences apart."""
        return canonical_digest(self.details)


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows from a look."""

    record: DriftRecord
    """To be remembered."""
    news: tuple[KnownDrift, ...]
    """To be said; each is in the record or was adopted."""
    holds: bool
    """Whether nothing of the hook point may be touched."""


def detect(look: Look, memory: ChainMemory) -> tuple[Drift, ...]:
    """What is not as it was left.

    Args:
        look: Read just now.
        memory: Of this run of the kernel.
    """
    current, hook = memory.current, look.hook
    if current is None or memory.pending is not None or hook.interface_index is None:
        return ()
    put_on = memory.drift.interface_index
    runs = hook.link_program_id == current.program_id
    if put_on not in (0, hook.interface_index) and not runs:
        return ()  # the interface went and came back, and the chain follows it
    on_hook = list(_link(hook, current, is_known=put_on != 0))
    if current.program_id in look.lost:  # so its link and its pins are gone too
        on_hook = [one for one in on_hook if one.kind in ("program-replaced", "hook-taken")]
    found = [*on_hook, *_pins(look, current)]
    if memory.previous is not None:
        found += _previous(look, memory.previous)
    if runs:
        found += _segments(look, current)
        found += _entries(look)
        found += _neighbours(look, memory.drift.neighbours)
    return tuple(found)


def judge(
    drifts: Iterable[Drift],
    look: Look,
    memory: ChainMemory,
    desired: DesiredChain | None,
    *,
    event_id: Callable[[Drift, int], str],
) -> Judged:
    """What is said, what is accepted, and whether the hook point is left as it is.

    Args:
        drifts: What was detected.
        look: From which.
        memory: Of the hook point.
        desired: What shall run.
        event_id: Of a drift and its number at this hook point.
    """
    before = memory.drift
    policy = policy_of(memory, desired)
    takes_over = desired is not None and desired.link.take_over
    known: list[KnownDrift] = []
    news: list[KnownDrift] = []
    adopted = {(one.deployment, one.name): one for one in before.adopted}
    accepted: set[int] = set()
    count = before.count
    for drift in drifts:
        done = _done(drift, policy, takes_over=takes_over)
        said = before.has(drift.kind, drift.subject, drift.identity)
        if said is None:
            count += 1
            said = _said(drift, done, event_id(drift, count))
            news.append(said)
        elif said.seen.done != done:
            seen = msgspec.structs.replace(said.seen, done=done)
            said = msgspec.structs.replace(said, seen=seen)
        if done == "adopted" and drift.kind == "neighbour-came":
            accepted.add(drift.details["program_id"])
        elif done == "adopted" and drift.kind == "map-changed":
            one = _adopted(drift, look, memory, said.seen.event_id)
            adopted[one.deployment, one.name] = one
        else:
            known.append(said)
    current, hook = memory.current, look.hook
    runs = current is not None and hook.link_program_id == current.program_id
    belong = before.neighbours
    if belong is None and runs:
        belong = look.neighbours
    record = DriftRecord(
        known=tuple(known),
        count=count,
        adopted=tuple(one for _, one in sorted(adopted.items())),
        neighbours=None if belong is None else tuple(sorted({*belong, *accepted})),
        interface_index=(runs and hook.interface_index) or before.interface_index,
    )
    return Judged(record, tuple(news), holds=policy != "repair" and _is_held(known))


def policy_of(memory: ChainMemory, desired: DesiredChain | None) -> DriftPolicy:
    """What happens to drift: `repair` if something is desired that was not confirmed yet."""
    if memory.current is None or desired is None or not desired.programs:
        return "repair"
    confirmed = memory.current.chain
    link = msgspec.structs.replace(confirmed.link, drift=desired.link.drift)
    is_same = confirmed.programs == desired.programs and link == desired.link
    return desired.link.drift if is_same else "repair"


def base_entries(
    record: DriftRecord,
    key: MapKey,
    *,
    map_id: int,
    config: MapConfig,
    entries: Mapping[bytes, bytes],
) -> dict[bytes, bytes]:
    """The entries that a map shall have: as configured, with what was accepted.

    Args:
        record: Of the hook point.
        key: The map's name.
        map_id: The map that the instance has now.
        config: Its configuration.
        entries: The same as the kernel stores it.
    """
    base = dict(entries)
    for one in record.adopted:
        if (one.deployment, one.name, one.map_id) == (*key, map_id) and (
            one.config_sha256 == canonical_digest(config)
        ):
            for name, value in one.entries.items():
                if value is None:
                    base.pop(bytes.fromhex(name), None)
                else:
                    base[bytes.fromhex(name)] = bytes.fromhex(value)
    return base


def still_adopted(record: DriftRecord, generation: Generation) -> DriftRecord:
    """The record without what ended with a change of configuration or of maps."""
    configs, maps = map_configs(generation.chain), generation.pinned_maps
    adopted = tuple(
        one
        for one in record.adopted
        if maps.get(MapKey(one.deployment, one.name)) == one.map_id
        and one.config_sha256 == canonical_digest(configs.get(MapKey(one.deployment, one.name), {}))
    )
    return msgspec.structs.replace(record, adopted=adopted)


def _link(hook: ObservedHook, current: Generation, *, is_known: bool) -> Iterator[Drift]:
    """The hook runs our program, through our link."""
    expected = {"expected_program_id": current.program_id}
    found = hook.foreign_program_id
    if hook.link_is_live:
        if hook.link_program_id != current.program_id:
            details = {**expected, "program_id": hook.link_program_id, "link_id": hook.link_id}
            yield Drift("program-replaced", "the hook's program", details)
    elif found not in (0, current.program_id):
        yield Drift("hook-taken", "the hook", {**expected, "program_id": found})
    elif hook.link_is_dead:
        if is_known:  # else the interface may be another one of that name
            yield Drift("link-detached", "the link", {**expected, "link_id": hook.link_id})
    else:
        yield Drift("link-gone", "the link", expected)


def _pins(look: Look, current: Generation) -> Iterator[Drift]:
    """Every pin names what it was made for; what is not loaded any more has none."""
    folder = f"generations/{current.pin}"
    programs = current.pinned_programs.items()
    lost = [render_segment(segment) for segment, one in programs if one in look.lost]
    if lost:
        details = {"expected_program_id": current.program_id, **_listed("programs", lost)}
        yield Drift("program-unloaded", folder, details)
    if current.program_id in look.lost:
        return
    wrong = dict(_wrong_pins(look, current))
    gone = [name for name, is_there in wrong.items() if not is_there]
    replaced = [name for name, is_there in wrong.items() if is_there]
    if gone:
        yield Drift("pin-gone", folder, _listed("pins", gone))
    if replaced:
        yield Drift("pin-replaced", folder, _listed("pins", replaced))


def _wrong_pins(look: Look, current: Generation) -> Iterator[tuple[str, bool]]:
    """Names, and whether something else is pinned there."""
    pinned = look.hook.generations.get(current.pin, PinnedGeneration())
    for segment, program_id in current.pinned_programs.items():
        if program_id not in look.lost and pinned.programs.get(segment) != program_id:
            yield render_segment(segment), segment in pinned.programs
    for key, map_id in sorted(current.pinned_maps.items()):
        if pinned.maps.get(key) != map_id:
            name = f"maps/{key.deployment}/{key.name}" if key.deployment else key.name
            yield name, key in pinned.maps
    if not record_number(pinned.record):
        yield RECORD_NAME, bool(pinned.record)


def _previous(look: Look, previous: Generation) -> Iterator[Drift]:
    """The generation before, which can be gone back to while it is loaded."""
    pinned = look.hook.generations.get(previous.pin, PinnedGeneration())
    if pinned.programs.get(HEAD) != previous.program_id:
        details = {"expected_program_id": previous.program_id, "generation": previous.number}
        subject = f"generations/{previous.pin}"
        yield Drift("program-unloaded", subject, details, is_lost=True)


def _segments(look: Look, current: Generation) -> Iterator[Drift]:
    if look.segments is None:
        return
    for place, expected in enumerate(current.segments, start=1):
        found = look.segments.get(place, 0)
        if found != expected:
            details = {"expected_program_id": expected, "program_id": found}
            yield Drift("segment-replaced", f"l3af_segments[{place}]", details)


def _entries(look: Look) -> Iterator[Drift]:
    for key, write in sorted(look.writes.items()):
        if write.changes:
            every = {one.key.hex(): _hex(one.before) for one in write.changes}
            named = [_entry(one) for one in write.changes[:MAX_NAMED]]
            details = {
                "map_id": write.map_id,
                "entries": len(every),
                "named": named,
                "entries_sha256": canonical_digest(every),
            }
            yield Drift("map-changed", f"{key.deployment}/{key.name}", details)


def _neighbours(look: Look, known: tuple[int, ...] | None) -> Iterator[Drift]:
    if known is None:
        return
    for program_id in look.neighbours:
        if program_id not in known:
            details = {"program_id": program_id}
            yield Drift("neighbour-came", f"program {program_id}", details)


def _done(drift: Drift, policy: DriftPolicy, *, takes_over: bool) -> DriftDone:
    if drift.is_lost:
        return "forgotten"
    if policy != "repair":
        return "adopted" if policy == "adopt" else "left"
    if drift.kind == "neighbour-came" or (drift.kind == "hook-taken" and not takes_over):
        return "left-to-owner"
    return "repair"


def _is_held(known: Iterable[KnownDrift]) -> bool:
    return any(
        one.seen.kind not in _HOLDS_NOTHING and one.seen.done in ("left", "adopted")
        for one in known
    )


def _said(drift: Drift, done: DriftDone, event_id: str) -> KnownDrift:
    seen = ObservedDrift(
        kind=drift.kind,
        subject=drift.subject,
        done=done,
        found=dict(drift.details),
        event_id=event_id,
    )
    return KnownDrift(identity=drift.identity, seen=seen)


def _adopted(drift: Drift, look: Look, memory: ChainMemory, event_id: str) -> AdoptedMap:
    """What differs from the configuration now, what was accepted before included."""
    key = next(key for key in look.writes if f"{key.deployment}/{key.name}" == drift.subject)
    write = look.writes[key]
    assert memory.current is not None
    config_sha256 = canonical_digest(map_configs(memory.current.chain).get(key, {}))
    entries = {
        name: value
        for one in memory.drift.adopted
        if (one.deployment, one.name, one.map_id) == (*key, write.map_id)
        and one.config_sha256 == config_sha256
        for name, value in one.entries.items()
    }
    entries |= {one.key.hex(): _hex(one.before) for one in write.changes}
    return AdoptedMap(
        deployment=key.deployment,
        name=key.name,
        map_id=write.map_id,
        config_sha256=config_sha256,
        entries=entries,
        event_id=event_id,
    )


def _entry(change: EntryChange) -> dict[str, str | None]:
    return {
        "key": change.key.hex(),
        "expected": _hex(change.after),
        "found": _hex(change.before),
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _listed(what: str, names: list[str]) -> dict[str, Any]:
    return {what: names[:MAX_NAMED], "count": len(names)}
