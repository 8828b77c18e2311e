# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Prunes what the rules in force let go of: first the log says what, then it is done.

Whoever ends in between left a `log.prune` that was not carried out; whoever comes next does so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import structlog

from services.auditor.checkpoint import TreeHead, VerifierKey, render_verifier_key
from services.auditor.execution import Emitter
from services.auditor.merkle import Node
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import time_us_of
from services.auditor.retention.adapters.archive_directory import ArchiveDirectory
from services.auditor.retention.holds import HOLD_ACTIONS, KeptHolds, holds_of
from services.auditor.retention.remains import PRUNED, Pruning, prune_event, read_pruning
from services.auditor.retention.rules import ready_rules
from services.auditor.retention.segments import (
    SegmentHead,
    SegmentTile,
    has_records,
    render_segment,
    segment_name,
    tile_path,
)
from services.auditor.retention.selection import Candidates, Gathering, Step, said_of_places
from services.auditor.store import LogStore
from services.auditor.tiles import TILE_WIDTH
from shared.canonical import sha256_hex
from shared.contracts.events import Actor, Audience
from shared.contracts.retention import RetentionRules
from shared.errors import FaultError

RECORDS_AT_ONCE: Final = 1_000
MOST_EXAMINED: Final = 20_000
"""In one call: whoever asked hears of it, and asks again."""

_log = structlog.get_logger()


class TellingSpaces(Protocol):
    """Who is told what."""

    def audience_now(self, audience: Audience) -> Audience:
        """To whom that is told from now on which was told to `audience` before."""


class SignedHeads(Protocol):
    """The log's signed heads."""

    @property
    def key(self) -> VerifierKey:
        """That signs them."""

    @property
    def chain(self) -> tuple[str, ...]:
        """Statements from the log's first key to it."""

    async def for_proof(self, size: int) -> tuple[TreeHead, str]:
        """A head of at least `size` records and its note."""


class Archive(NamedTuple):
    """Where segments are kept, and what signs them."""

    files: ArchiveDirectory
    heads: SignedHeads


@dataclass(slots=True)
class Pruned:
    """What one call did, or would have done."""

    counts: dict[tuple[str, Audience], int] = field(default_factory=dict)
    """Records by rule and audience."""
    held: Mapping[Audience, int] = field(default_factory=dict)
    examined: int = 0
    tree_size: int = 0
    position: int | None = None
    """Where to go on; None: there is no more."""


async def read_holds(log: LogStore) -> KeptHolds:
    """The holds that the log speaks of; what it has recorded holds."""
    return holds_of(await log.of_actions(HOLD_ACTIONS, emitter="auditor"))


class Pruner:
    """Prunes one log."""

    def __init__(
        self,
        *,
        log: LogStore,
        emitter: Emitter,
        spaces: TellingSpaces,
        recorded: Callable[[], Awaitable[None]],
        archive: Archive | None = None,
        most_examined: int = MOST_EXAMINED,
    ) -> None:
        """Nothing is pruned yet.

        Args:
            log: Whose records are pruned.
            emitter: Says it.
            spaces: To whom it is said.
            recorded: Returns when everything that the stream holds by now is in the log.
            archive: Where rules that archive what they prune have it kept.
            most_examined: Records that one call looks at.
        """
        self._archive: Final = archive
        self._log: Final = log
        self._emitter: Final = emitter
        self._spaces: Final = spaces
        self._recorded: Final = recorded
        self._most_examined: Final = most_examined
        self._turn: Final = asyncio.Lock()

    @property
    def has_archive(self) -> bool:
        """Whether there is a place for what rules archive."""
        return self._archive is not None

    async def finish(self) -> int:
        """What the log says is pruned is pruned, whoever said so and ended; how many records.

        Raises:
            FaultError: It cannot be known or done now.
        """
        async with self._turn:
            done = await self._log.carried_out()
            count = 0
            for record in await self._log.of_actions((PRUNED,), emitter="auditor"):
                if record.index not in done:
                    count += await self._carry_out(record.index)
            return count

    async def archived(self, audiences: frozenset[Audience], *, after: int = -1) -> list[Pruning]:
        """What was pruned and archived, of these audiences, said behind a record; oldest first."""
        said = await self._log.of_actions((PRUNED,), emitter="auditor", first=after + 1)
        every = [read_pruning(one.body, record=one.index) for one in said]
        return [one for one in every if one and one.segment and one.audience in audiences]

    async def segment_problem(self, pruning: Pruning) -> str:
        """Why a segment is not the one that the log speaks of; empty: it is."""
        if self._archive is None:
            return "AUDITOR_ARCHIVE_DIR is not set"
        data = await self._archive.files.read(pruning.segment)
        if data is None:
            return "it is not there"
        is_same = await asyncio.to_thread(sha256_hex, data) == pruning.segment_sha256
        return "" if is_same else "it is another one than the log speaks of"

    async def prune(
        self,
        retention: RetentionRules,
        *,
        now: datetime,
        position: int = 0,
        dry_run: bool = False,
        actor: Actor | None = None,
        reason: str = "",
    ) -> Pruned:
        """The next records that the rules let go of are pruned, as far as one call goes.

        Args:
            retention: In force.
            now: What ages are counted from.
            position: Records before this one were looked at.
            dry_run: Say what would be pruned, and prune nothing.
            actor: Who asked for it; None: nobody did.
            reason: Why.

        Raises:
            FaultError: It is not certain what was done; call again.
        """
        rules = ready_rules(retention)
        done = Pruned()
        await self._recorded()
        async with self._turn:
            gathering = Gathering(
                rules,
                await read_holds(self._log),
                now_us=time_us_of(now),
                size=self._log.size,
            )
            is_over = gathering.newest_us is None
            while not is_over and done.examined < self._most_examined:
                page, size, more = await self._log.page(_next_records(position))
                is_over = not more or page[-1].received_us >= (gathering.newest_us or 0)
                done.examined += len(page)
                position = page[-1].index + 1 if page else size
                for step in await self._gather(gathering, page):
                    await self._do(step, done, dry_run=dry_run, actor=actor, reason=reason)
            for step in gathering.finish():
                await self._do(step, done, dry_run=dry_run, actor=actor, reason=reason)
        done.held, done.tree_size = Counter(gathering.held), self._log.size
        done.position = None if is_over else position
        return done

    async def _gather(self, gathering: Gathering, page: list[StoredRecord]) -> list[Step]:
        """The steps that are full with the next records."""
        found = await asyncio.to_thread(gathering.candidates, page)
        needed = await self._needed(gathering, found)
        steps = (
            gathering.take(record, found.rules[record.index])
            for record in found.records
            if record.index not in needed
        )
        return [step for step in steps if step is not None]

    async def _needed(self, gathering: Gathering, found: Candidates) -> frozenset[int]:
        """Those without which it would not be known what runs."""
        said = [
            (one, gathering.cut_us(found.rules[one.record]))
            for one in await asyncio.to_thread(said_of_places, found.records)
        ]
        return await self._log.standing(said) if said else frozenset()

    async def _do(
        self, step: Step, done: Pruned, *, dry_run: bool, actor: Actor | None, reason: str
    ) -> None:
        key = (step.rule, step.audience)
        if dry_run:
            done.counts[key] = done.counts.get(key, 0) + len(step.records)
            return
        segment = await self._archived(step) if step.is_archived else ("", "")
        audience = self._spaces.audience_now(step.audience)
        pruning = step.pruning(audience=audience, segment=segment)
        count = await self._carry_out(await self._say(pruning, actor=actor, reason=reason))
        done.counts[key] = done.counts.get(key, 0) + count

    async def _archived(self, step: Step) -> tuple[str, str]:
        """Name and digest of the segment that has the records, complete and on disk."""
        if self._archive is None:
            raise FaultError("a rule archives what it prunes, and AUDITOR_ARCHIVE_DIR is not set")
        indexes = [one.index for one in step.records]
        offsets = sorted({index // TILE_WIDTH for index in indexes})
        size = (offsets[-1] + 1) * TILE_WIDTH
        head, note = await self._archive.heads.for_proof(size)
        tiles = []
        for offset in offsets:
            first = offset * TILE_WIDTH
            hashes = await self._log.hashes([Node(0, first + at) for at in range(TILE_WIDTH)])
            path = tile_path(await self._log.inclusion(first, head.size))
            tiles.append(SegmentTile(offset=offset, hashes=b"".join(hashes), path=path))
        said = SegmentHead(
            audience=step.audience,
            rule=step.rule,
            records=len(indexes),
            first=indexes[0],
            last=indexes[-1],
            checkpoint=note,
            verifier_key=render_verifier_key(self._archive.heads.key),
            key_chain=self._archive.heads.chain,
            tiles=tuple(tiles),
        )
        records = await self._log.kept(indexes)
        name = segment_name(indexes[0], indexes[-1], step.digest)
        key = self._archive.heads.key
        there = await self._archive.files.read(name)
        if there is not None and await asyncio.to_thread(has_records, there, records, key=key):
            return name, sha256_hex(there)  # kept by somebody who ended before the log said so
        data = await asyncio.to_thread(render_segment, said, records)
        return name, await self._archive.files.keep(name, data)

    async def _say(self, pruning: Pruning, *, actor: Actor | None, reason: str) -> int:
        """The record that says it."""
        body, event_id = prune_event(pruning, actor=actor, reason=reason)
        await self._emitter.emit(body, event_id=event_id, audience=pruning.audience)
        await self._recorded()
        page, _, _ = await self._log.page(_event(event_id))
        said = [one.index for one in page if not one.problem]
        if not said:
            raise FaultError("what is to be pruned was said and is not in the log")
        return said[0]

    async def _carry_out(self, record: int) -> int:
        try:
            count = await self._log.prune(record)
        except LookupError:
            _log.warning("nothing_pruned", record=record, why="it cannot be read")
            return 0
        _log.info("records_pruned", said_by=record, records=count)
        return count


def _event(event_id: str) -> RecordQuery:
    return _asked(equal=(("event_id", event_id),), above=-1, limit=1)


def _next_records(position: int) -> RecordQuery:
    return _asked(equal=(), above=position - 1, limit=RECORDS_AT_ONCE)


def _asked(*, equal: tuple[tuple[str, str], ...], above: int, limit: int) -> RecordQuery:
    return RecordQuery(
        audiences=None,
        since_us=None,
        until_us=None,
        equal=equal,
        action="",
        above=above,
        below=None,
        limit=limit,
        is_ascending=True,
    )
