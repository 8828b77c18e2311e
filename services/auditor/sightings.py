# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which records say what a hook point ran, and where they stand among those that do.

Pure.  A sighting is one record's word on one hook point.  Stores keep an index of them in the
transaction of the rows; it holds nothing that the records do not say, and is made again from them.

Rules:
 * Only believed events of nodes count, and only what a node says of itself.
 * A sighting is its audience's: what is told to one changes nothing of what another is answered.
 * The order is the emitter's own: by sequence, whenever and in whatever order events arrive.
   Sequences run for each audience; between two of them the emitter's clock decides.
 * A sighting holds from the emitter's time on.  If a later one has an earlier time, the clock was
   ahead before it, and the earlier one counts from that time on too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

from services.auditor.admission import Record
from services.auditor.records import try_event
from shared.contracts.base import Message
from shared.contracts.events import Audience, Event, EventBody
from shared.contracts.inventory import SNAPSHOT, HookPlace, HookReading, RunningProgram

CHANGES: Final = frozenset({"chain.attach", "chain.configure", "chain.detach"})
REBUILT: Final = "state.rebuild"
"""The node lost its memory: what was said before does not hold unless it is found again."""
OBSERVATIONS: Final = frozenset({"chain.adopt", "chain.drift", "chain.orphan", SNAPSHOT, REBUILT})
_SAYING: Final = CHANGES | OBSERVATIONS
ACTIONS: Final = tuple(sorted(_SAYING))
MAX_NAME_CHARACTERS: Final = 64
MAX_NETNS_CHARACTERS: Final = 255
_NODE: Final = "node/"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}|[0-9a-f]{16}")


class Sighting(NamedTuple):
    """One record's word on one hook point."""

    place: HookPlace
    """Without a hook: on the whole node."""
    audience: Audience
    is_observed: bool
    """Whether it was found so, and not made so by a command."""
    sequence: int
    record: int
    """Its index in the log."""
    time_us: int
    digests: frozenset[str]
    """Of everything that runs there."""
    reading: HookReading
    """The word itself."""


class Said(Protocol):
    """Where one word stands among all that were said of a place."""

    @property
    def audience(self) -> Audience:
        """To whom it was told."""

    @property
    def sequence(self) -> int:
        """Of its emitter and audience."""

    @property
    def record(self) -> int:
        """Its index in the log."""

    @property
    def from_us(self) -> int:
        """From when on it holds."""


class _OldDetails(Message, frozen=True, kw_only=True):
    """Details of releases that said what the plan was, and not what was read back."""

    programs: tuple[RunningProgram, ...] = ()
    expected_program_id: int | None = None


class _Snapshot(Message, frozen=True, kw_only=True):
    hook_points: tuple[HookReading, ...] = ()


def sightings(records: Iterable[Record]) -> Iterator[Sighting]:
    """What a batch says of hook points, in its order."""
    for record in records:
        draft = record.draft
        event = draft.event
        if event is not None and event.data.action in _SAYING and not draft.problem:
            yield from event_sightings(event, index=record.index, time_us=draft.time_us)


def event_sightings(event: Event, *, index: int, time_us: int) -> Iterator[Sighting]:
    """What one believed event says of hook points."""
    body = event.data
    is_observed = body.action in OBSERVATIONS
    if not (is_observed or body.action in CHANGES):
        return
    if not event.emitter.startswith(_NODE):
        return
    node = event.emitter.removeprefix(_NODE)
    first = {place_of(node, reading): reading for reading in reversed(readings(body))}
    for place, reading in first.items():
        yield Sighting(
            place,
            event.audience,
            is_observed,
            event.sequence,
            index,
            time_us,
            _digests(reading),
            reading,
        )


def kept_sightings(kept: Iterable[tuple[int, int, bytes | None]]) -> list[Sighting]:
    """What believed records say of hook points: by index, time and message."""
    found: list[Sighting] = []
    for index, time_us, message in kept:
        event = try_event(message) if message is not None else None
        if event is not None:
            found += event_sightings(event, index=index, time_us=time_us)
    return found


def is_newer(one: Said | None, other: Said) -> bool:
    """Whether there is the one and it was said after the other."""
    if one is None:
        return False
    if one.audience == other.audience:
        return (one.sequence, one.record) > (other.sequence, other.record)
    return (one.from_us, one.audience) > (other.from_us, other.audience)


def readings(body: EventBody) -> tuple[HookReading, ...]:
    """What an event says was on hook points; nothing of what cannot be read."""
    if body.action == REBUILT:
        return (HookReading(running=()),)
    try:
        if body.action == SNAPSHOT:
            found = msgspec.convert(body.details, _Snapshot).hook_points
        else:
            found = (_chain_reading(body),)
    except msgspec.ValidationError:
        return ()
    return tuple(reading for reading in found if _is_place(reading))


def place_of(node: str, reading: HookReading) -> HookPlace:
    """Where it was read."""
    return HookPlace(node=node, netns=reading.netns, interface=reading.interface, hook=reading.hook)


def programs_of(reading: HookReading) -> tuple[RunningProgram, ...]:
    """What ran there, first to run first."""
    return reading.running or ()


def _chain_reading(body: EventBody) -> HookReading:
    reading = msgspec.convert(body.details, HookReading)
    running = reading.running
    if running is None:
        old = msgspec.convert(body.details, _OldDetails)
        is_ours = reading.program_id and old.expected_program_id in (None, reading.program_id)
        running = old.programs if is_ours else ()
    return msgspec.structs.replace(
        reading,
        interface=body.interface,
        netns=body.netns,
        hook=body.hook,
        plan_sha256=reading.plan_sha256 or (body.after if running else ""),
        running=running,
    )


def _is_place(reading: HookReading) -> bool:
    is_short = (
        max(len(reading.interface), len(reading.hook)) <= MAX_NAME_CHARACTERS
        and len(reading.netns) <= MAX_NETNS_CHARACTERS
    )
    names = (reading.interface, reading.netns, reading.hook)
    return (
        bool(reading.interface and reading.hook) and is_short and all(map(str.isprintable, names))
    )


def _digests(reading: HookReading) -> frozenset[str]:
    if not reading.program_id:
        return frozenset()
    found = {reading.program_tag, reading.plan_sha256}
    for program in programs_of(reading):
        found |= {program.archive_sha256, program.object_sha256}
    return frozenset(one for one in found if _DIGEST.fullmatch(one))
