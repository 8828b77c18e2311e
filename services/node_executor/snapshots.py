# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What all hook points run, read back and said from time to time, whether it changed or not.

Touches nothing itself: hook points and store are given.

Rules:
 * If anything is not as it was when it was said last, it is said after CHANGED_SECONDS at the
   earliest; otherwise every UNCHANGED_SECONDS.  Single changes have events of their own.
 * It is read anew and journaled in one go, so no change comes between.
 * A hook point that cannot be read is named, and nothing is claimed of it.
 * Each audience is told of the hook points that are told to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from services.node_executor.event_audiences import Entry, Said, audience_of
from services.node_executor.events import running_programs, sight_event_id
from services.node_executor.generations import ChainMemory, Point
from shared.canonical import canonical_bytes, canonical_digest
from shared.contracts.base import Message
from shared.contracts.desired import DesiredChain
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.inventory import SNAPSHOT, HookReading
from shared.contracts.node import ObservedChain
from shared.errors import FaultError, RefusedError

CHANGED_SECONDS: Final = 15 * 60
UNCHANGED_SECONDS: Final = 24 * 60 * 60
PART_BYTES: Final = 40 * 1024
"""Of hook points in one event; a chain of 64 programs has room."""
_SETTING: Final = "snapshot"


class LastSnapshot(Message, frozen=True, kw_only=True):
    """What was said last."""

    at: datetime
    sha256: str = ""
    """Of what ran; empty: nothing was said yet."""


class Points(Protocol):
    """Hook points."""

    def memories(self) -> list[ChainMemory]:
        """What is remembered of every hook point."""

    def describe(
        self, point: Point, desired: DesiredChain | None, *, desired_generation: int
    ) -> ObservedChain:
        """The hook point, read from the kernel now."""


class Store(Protocol):
    """The journal."""

    def setting(self, name: str) -> str:
        """A setting that was kept; empty: none."""

    def keep_setting(self, name: str, value: str, entries: Iterable[Entry]) -> None:
        """The setting, and what is to be said of it, are on the disk together."""


class Snapshots:
    """Says what runs."""

    def __init__(
        self,
        *,
        node: str,
        points: Points,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is read yet; `now` is aware."""
        self._node: Final = node
        self._points: Final = points
        self._store: Final = store
        self._now: Final = now
        self._last: LastSnapshot | None = None
        self._begun_at: Final = now()

    def take_if_due(self, looked: Sequence[ObservedChain]) -> None:
        """What runs was read and journaled, if it was time.

        Args:
            looked: What ran a moment ago.

        Raises:
            FaultError: It cannot be journaled now.
        """
        now, last = self._now(), self._remembered()
        if not is_due(last, looked, now=now):
            return
        read, unreadable = self._read()
        entries = []
        for audience in sorted({PUBLIC, *read}):
            is_public = audience == PUBLIC
            nameless = unreadable if is_public else ()
            bodies = snapshot_bodies(self._node, read.get(audience, ()), nameless)
            for part, body in enumerate(bodies):
                occasion = f"{now.isoformat()}|{part}" + ("" if is_public else f"|{audience}")
                event_id = sight_event_id(self._node, "", SNAPSHOT, occasion=occasion)
                entries.append(Said(event_id, body, audience))
        said = LastSnapshot(at=now, sha256=running_digest(looked))
        self._store.keep_setting(_SETTING, msgspec.json.encode(said).decode(), entries)
        self._last = said

    def _remembered(self) -> LastSnapshot:
        if self._last is None:
            try:
                kept = self._store.setting(_SETTING)
                self._last = msgspec.json.decode(kept, type=LastSnapshot)
            except msgspec.DecodeError:  # nothing was kept
                self._last = LastSnapshot(at=self._begun_at)
        return self._last

    def _read(self) -> tuple[dict[Audience, list[ObservedChain]], list[str]]:
        """What each audience is told of, and what cannot be read."""
        read: dict[Audience, list[ObservedChain]] = {}
        unreadable: list[str] = []
        for memory in self._points.memories():
            chain = memory.current.chain if memory.current else None
            try:
                generation = memory.desired_generation
                seen = self._points.describe(memory.point, chain, desired_generation=generation)
            except (RefusedError, FaultError):
                unreadable.append(str(memory.point))
            else:
                read.setdefault(audience_of(chain), []).append(seen)
        return read, unreadable


def is_due(last: LastSnapshot, looked: Sequence[ObservedChain], *, now: datetime) -> bool:
    """Whether it is time to say what runs; a clock that was set back makes it so."""
    passed = now - last.at
    if passed < timedelta() or passed >= timedelta(seconds=UNCHANGED_SECONDS):
        return True
    is_long_enough = passed >= timedelta(seconds=CHANGED_SECONDS)
    return is_long_enough and running_digest(looked) != last.sha256


def running_digest(looked: Iterable[ObservedChain]) -> str:
    """Of what runs, whatever else is said of it."""
    return canonical_digest([reading_of(one) for one in looked if one.program_id])


def snapshot_bodies(
    node: str, read: Iterable[ObservedChain], unreadable: Sequence[str]
) -> list[EventBody]:
    """What is said: all hook points, in as many events as it takes."""
    parts: list[list[HookReading]] = [[]]
    size_bytes = 0
    for chain in read:
        reading = reading_of(chain)
        size_bytes += len(canonical_bytes(reading)) + 1
        if size_bytes > PART_BYTES and parts[-1]:
            parts.append([])
            size_bytes = len(canonical_bytes(reading)) + 1
        parts[-1].append(reading)
    return [
        EventBody(
            action=SNAPSHOT,
            outcome="observed",
            node=node,
            details={
                "hook_points": [msgspec.to_builtins(one) for one in part],
                "part": number,
                "parts": len(parts),
                **({"unreadable": list(unreadable)} if unreadable else {}),
            },
        )
        for number, part in enumerate(parts, start=1)
    ]


def reading_of(chain: ObservedChain) -> HookReading:
    """What was read back of one hook point."""
    return HookReading(
        interface=chain.interface,
        netns=chain.netns,
        hook=chain.hook,
        generation=chain.generation,
        program_id=chain.program_id,
        program_tag=chain.program_tag,
        attachment=chain.attachment,
        gpl_compatible=chain.gpl_compatible,
        plan_sha256=chain.plan_sha256,
        running=running_programs(chain),
    )
