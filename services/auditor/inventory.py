# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran where at a moment, what differs between two, and when a digest ran: from the log alone.

Pure.

Rules:
 * The newest word on a hook point holds, whether a command led to it or it was found so.
 * What was found and agrees with the last change confirms it; since when and by whom stay.
 * What was found and does not agree is believed, and the difference is said.
 * What a node said before it lost its memory does not hold after it, unless it was found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import merge
from itertools import groupby
from typing import Any, Final, NamedTuple

from services.auditor.query import MAX_PAGE_BYTES
from services.auditor.records import parse_time_us, render_time_us, try_event
from services.auditor.sightings import is_newer, place_of, programs_of, readings
from shared.contracts.events import Audience, Event
from shared.contracts.inventory import (
    FindRuns,
    GetInventory,
    HookPlace,
    HookReading,
    HookRun,
    InventoryShown,
    Run,
    RunsFound,
)
from shared.errors import Reason, RefusedError

PAGE_SIGHTINGS: Final = 400
"""Words on hook points, at most two for each, that are read for one page at most."""
PAGE_PLACES: Final = 200
"""Hook points on one page of runs."""


class StoredSighting(NamedTuple):
    """The newest word of one kind on one place, up to the moment that was asked for."""

    place: HookPlace
    audience: Audience
    is_observed: bool
    sequence: int
    record: int
    from_us: int
    """From when on it holds, by the emitter's clock."""
    body: bytes | None
    """The message; None if erased."""


class StoredRun(NamedTuple):
    """One sighting of a digest, and the sighting after it at that place."""

    place: HookPlace
    audience: Audience
    sequence: int
    record: int
    from_us: int
    next: tuple[int, int, int] | None
    """Sequence, record and from when on it holds; None: there is none."""


FoundSightings = tuple[list[StoredSighting], int, bool]
"""By place, the tree's size, and whether there are no more places."""
FoundRuns = tuple[list[StoredRun], int, bool]


def inventory_reading(request: GetInventory | FindRuns) -> dict[str, Any]:
    """What is recorded about a reading."""
    if isinstance(request, GetInventory):
        return {"inventory_at": request.at, **({"node": request.node} if request.node else {})}
    return {"runs_of": request.digest}


def parse_at(request: GetInventory) -> int:
    """The moment, in microseconds since 1970.

    Raises:
        RefusedError: It is no time.
    """
    try:
        return parse_time_us(request.at)
    except RefusedError as error:
        reason = Reason(path="at", rule=error.message, got=request.at, allowed="RFC 3339")
        raise RefusedError("the time cannot be read", [reason]) from error


def hook_runs(stored: Iterable[StoredSighting]) -> list[HookRun]:
    """What ran; places where nothing of ours ran are left out.

    Args:
        stored: By place; a node's word on itself before its hook points.
    """
    found = []
    rebuilt: dict[str, StoredSighting] = {}
    for place, group in groupby(stored, key=lambda one: one.place):
        words = {one.is_observed: one for one in group}
        if not place.hook:
            rebuilt[place.node] = words[True]
            continue
        since = rebuilt.get(place.node)
        run = _run(
            place,
            *(
                word if word and (since is None or is_newer(word, since)) else None
                for word in _both(words)
            ),
        )
        if run is not None:
            found.append(run)
    return found


def inventory_page(found: FoundSightings, *, at_us: int) -> InventoryShown:
    """One page of what ran."""
    stored, tree_size, is_end = found
    if not is_end:  # of the last place there may be more
        stored = [one for one in stored if one.place != stored[-1].place]
    kept: list[StoredSighting] = []
    size_bytes, is_cut = 0, not is_end
    for sighting in stored:
        size_bytes += len(sighting.body or b"")
        if size_bytes > MAX_PAGE_BYTES and kept and kept[-1].place != sighting.place:
            is_cut = True
            break
        kept.append(sighting)
    return InventoryShown(
        at=render_time_us(at_us),
        hook_points=tuple(hook_runs(kept)),
        tree_size=tree_size,
        next=kept[-1].place if is_cut and kept else None,
    )


def runs_page(request: FindRuns, found: FoundRuns, *, known_from_us: int = 0) -> RunsFound:
    """One page of when a digest ran, of whole places.

    Args:
        request: As it came.
        found: What the store has.
        known_from_us: What ended before is not told, because it is not known for certain; 0: all
            is known.
    """
    stored, tree_size, is_end = found
    known_from = render_time_us(known_from_us) if known_from_us else ""
    return RunsFound(
        digest=request.digest,
        runs=tuple(run for run in merged_runs(stored) if not run.until or run.until > known_from),
        pruned_before=known_from,
        tree_size=tree_size,
        next=None if is_end or not stored else stored[-1].place,
    )


def merged_runs(stored: Iterable[StoredRun]) -> list[Run]:
    """Runs without a break; sightings that follow one another are one run."""
    runs = []
    for place, group in groupby(stored, key=lambda one: one.place):
        sights = _in_order(group)
        begun = sights[0]
        for sight, after in zip(sights, [*sights[1:], None], strict=True):
            if (
                after is not None
                and sight.next
                and sight.next[:2] == (after.sequence, after.record)
            ):
                continue
            runs.append(
                Run(
                    place=place,
                    since=render_time_us(begun.from_us),
                    until=render_time_us(sight.next[2]) if sight.next else "",
                    record=begun.record,
                    until_record=sight.next[1] if sight.next else None,
                )
            )
            begun = after or begun
    return runs


def identity(reading: HookReading) -> tuple[Any, ...]:
    """What makes two readings of one hook point the same chain."""
    if not reading.program_id:
        return ()
    chain = tuple(
        (one.deployment, one.package, one.version, one.program, one.archive_sha256)
        for one in programs_of(reading)
    )
    return (chain, reading.program_tag)


def differing(
    before: Iterable[HookRun], after: Iterable[HookRun]
) -> list[tuple[HookRun | None, HookRun | None]]:
    """The places where something else ran: what ran before and after; None: nothing of ours."""
    olds, news = _by_place(before), _by_place(after)
    pairs = [(olds.get(place), news.get(place)) for place in sorted({*olds, *news})]
    return [
        (old, new)
        for old, new in pairs
        if old is None or new is None or identity(old.reading) != identity(new.reading)
    ]


def _both(
    words: Mapping[bool, StoredSighting],
) -> tuple[StoredSighting | None, StoredSighting | None]:
    return words.get(False), words.get(True)


def _run(
    place: HookPlace, change: StoredSighting | None, observation: StoredSighting | None
) -> HookRun | None:
    made, found = _said(place, change), _said(place, observation)
    if observation is None or found is None or is_newer(change, observation):
        return _made(place, change, made) if change and made else None
    if change is None or made is None or identity(made[1]) != identity(found[1]):
        why = "" if change is None else _difference(made[1] if made else None, found[1])
        return _found(place, observation, found[1], difference=why)
    run = _made(place, change, made)
    if run is None:
        return None
    return HookRun(
        **{name: getattr(run, name) for name in _KEPT},
        confirmed_at=render_time_us(observation.from_us),
        confirmed_record=observation.record,
    )


_KEPT: Final = (
    "place",
    "source",
    "since",
    "record",
    "actor_key",
    "actor_role",
    "correlation",
    "reading",
)


def _in_order(sights: Iterable[StoredRun]) -> list[StoredRun]:
    """One place's, as they came: each audience's by sequence, between them by the clock."""
    told: dict[Audience, list[StoredRun]] = {}
    for one in sorted(sights, key=lambda one: (one.sequence, one.record)):
        told.setdefault(one.audience, []).append(one)
    return list(merge(*told.values(), key=lambda one: (one.from_us, one.audience)))


def _said(place: HookPlace, sighting: StoredSighting | None) -> tuple[Event, HookReading] | None:
    event = try_event(sighting.body) if sighting and sighting.body is not None else None
    if event is None:
        return None
    for reading in readings(event.data):
        if place_of(place.node, reading) == place:
            return event, reading
    return None


def _made(
    place: HookPlace, change: StoredSighting, said: tuple[Event, HookReading]
) -> HookRun | None:
    event, reading = said
    if not reading.program_id:
        return None
    actor = event.data.actor
    return HookRun(
        place=place,
        since=render_time_us(change.from_us),
        record=change.record,
        actor_key=actor.key if actor else "",
        actor_role=actor.role if actor else "",
        correlation=event.data.correlation,
        reading=reading,
    )


def _found(
    place: HookPlace, observation: StoredSighting, reading: HookReading, *, difference: str
) -> HookRun | None:
    if not reading.program_id:
        return None
    return HookRun(
        place=place,
        source="observation",
        since=render_time_us(observation.from_us),
        record=observation.record,
        reading=reading,
        difference=difference,
    )


def _difference(made: HookReading | None, found: HookReading) -> str:
    if made is None:
        return "the record of the last change cannot be read"
    if not made.program_id:
        return "the last change took everything off"
    if not programs_of(found):
        return "a program runs that the node has no memory of"
    return "the last change put another chain there"


def _by_place(runs: Iterable[HookRun]) -> dict[tuple[str, str, str, str], HookRun]:
    return {
        (run.place.node, run.place.netns, run.place.interface, run.place.hook): run for run in runs
    }
