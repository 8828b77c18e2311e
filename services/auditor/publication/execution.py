# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Shows each head to witnesses, the bus and the tile directory; a fault is waited out.

Nodes bring the head that they know, and take the newest one home.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec
import structlog

from services.auditor.adapters.tile_directory import TileDirectory
from services.auditor.adapters.witness_client import WitnessClient
from services.auditor.checkpoint import (
    LONGEST_INTERVAL,
    CheckpointError,
    TreeHead,
    render_verifier_key,
    with_signatures,
)
from services.auditor.conflicts import (
    Conflict,
    ConflictError,
    conflict_event,
    find_conflict,
)
from services.auditor.cosignature import Cosignature, check_witnessed
from services.auditor.disclosure import published_leaves
from services.auditor.execution import Emitter, Heads
from services.auditor.log_keys import KEY_ACTION, key_event
from services.auditor.records import render_time_us
from services.auditor.retention.remains import own_pruning
from services.auditor.store import DamagedLogError, LogStore
from services.auditor.tile_layout import ENTRIES, changed_files, render_entries
from services.auditor.tiles import TILE_WIDTH
from services.auditor.witness.exchange import CONFLICT, OK, AddCheckpoint
from shared.adapters.callers import Caller
from shared.adapters.exception_groups import beside
from shared.contracts.log_heads import CompareHead, HeadCompared, WitnessSeen
from shared.errors import FaultError, Reason, RefusedError

PAUSE_SECONDS: Final = 1.0
"""Between two attempts after a fault, and between two heads shown to the same place."""
LONGEST_PAUSE_SECONDS: Final = 15.0
"""Between two attempts at a witness that stays silent."""
LONGEST_SECONDS: Final = LONGEST_INTERVAL.total_seconds()
ATTEMPTS: Final = 3
"""A witness may need to be asked again for its size, and another copy of it may be moving."""
SAYING_SECONDS: Final = 10.0
"""How long the last words of a log that cannot go on may take."""
THE_BUS: Final = "the bus"
THE_FILES: Final = "the tile directory"

_log = structlog.get_logger()


class HeadMemory(Protocol):
    """Remembers one signed head, whatever becomes of the log."""

    async def read(self) -> str | None:
        """The note that was written last; None if none ever was."""

    async def replace(self, note: str, *, size: int) -> None:
        """The note takes the place of the one that was read last.

        Raises:
            FaultError: Somebody else wrote meanwhile.
        """


@dataclass(frozen=True, slots=True)
class WitnessStanding:
    """How far one witness has followed the log."""

    client: WitnessClient
    size: int | None = None
    """Of the newest head that it cosigned since the start; None: none."""
    time: int = 0
    """When it did, by its own clock, seconds since 1970."""
    problem: str = ""
    """Why it did not cosign when it was asked last; empty: it did."""


class Publication:
    """Shows heads, and compares what comes back."""

    def __init__(
        self,
        *,
        log: LogStore,
        heads: Heads,
        witnesses: Sequence[WitnessClient],
        published: HeadMemory,
        tiles: TileDirectory | None,
    ) -> None:
        self._log: Final = log
        self._heads: Final = heads
        self._published: Final = published
        self._tiles: Final = tiles
        self._standings: Final = {client: WitnessStanding(client) for client in witnesses}
        self._withheld: frozenset[int] = frozenset()
        """Records that said prunings, whose records no bundle shows."""
        self._brought: Final[asyncio.Queue[ConflictError]] = asyncio.Queue()

    def seen(self) -> list[WitnessSeen]:
        """The same, as it is told."""
        return [
            WitnessSeen(
                verifier_key=render_verifier_key(one.client.key),
                tree_size=one.size,
                cosigned_at=render_time_us(one.time * 1_000_000) if one.time else "",
                problem=one.problem,
            )
            for one in self.standings
        ]

    @property
    def standings(self) -> list[WitnessStanding]:
        """How far each witness has followed, as of its last answer."""
        return list(self._standings.values())

    async def check(self) -> None:
        """What the bus and the witnesses remember is in the log; to be known before it goes on.

        A witness that cannot be reached is passed over: it is asked again while the log runs.

        Raises:
            ConflictError: The log is smaller, or another one.
            FaultError: The bus does not say what it remembers.
        """
        await self._compare_published()
        head, note = await self._heads.known()
        asked = [self._try_witness(client, head, note) for client in self._standings]
        for failure in await asyncio.gather(*asked, return_exceptions=True):
            if failure is not None:
                raise failure

    async def compare(self, request: CompareHead, caller: Caller) -> HeadCompared:
        """The newest head, for a node whose own one is in the log.

        Raises:
            RefusedError: This log never signed what the node brings; or it did, and is another one
                by now: then it goes on no more.
        """
        if request.checkpoint:
            try:
                brought = self._heads.read(request.checkpoint)
            except CheckpointError as error:
                reason = Reason(path="checkpoint", rule=error.message)
                raise RefusedError("it is no head of this log", [reason]) from error
            try:
                await self._compare(brought, f"node {caller.tokens['node']}")
            except ConflictError as error:
                self._brought.put_nowait(error)
                raise RefusedError(error.message, code="conflict") from error
        head, note, _ = await self._heads.newest()
        return HeadCompared(checkpoint=note, tree_size=head.size)

    def works(self) -> list[Callable[[], Awaitable[None]]]:
        """What goes on while the log runs; each raises ConflictError if the log cannot go on."""

        def watched(client: WitnessClient) -> Callable[[], Awaitable[None]]:
            return lambda: self._watch(client)

        found = [watched(client) for client in self._standings]
        found.append(lambda: self._follow(self._publish))
        found.append(self._until_contradicted)
        if self._tiles is not None:
            found.append(lambda: self._follow(self._write_tiles))
        return found

    async def _follow(self, show: Callable[[TreeHead, str], Awaitable[None]]) -> None:
        """Show each note that is the newest when the one before was dealt with."""
        shown = ""
        while True:
            head, note, _ = await self._heads.wait_for(
                _other_than(shown), wait_seconds=LONGEST_SECONDS
            )
            if note != shown:
                try:
                    await show(head, note)
                    shown = note
                except FaultError as fault:
                    _log.warning("publication_delayed", why=fault.message)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _until_contradicted(self) -> None:
        """Ends with the first node that knows the log otherwise."""
        raise await self._brought.get()

    async def _watch(self, client: WitnessClient) -> None:
        """The witness is shown each head, and the same one again each minute."""
        pause_seconds = PAUSE_SECONDS
        while True:
            standing = self._standings[client]
            size = -1 if standing.size is None or standing.problem else standing.size
            head, note, _ = await self._heads.wait_for(
                _larger_than(size), wait_seconds=LONGEST_SECONDS
            )
            await self._try_witness(client, head, note)
            is_silent = bool(self._standings[client].problem)
            pause_seconds = (
                min(2 * pause_seconds, LONGEST_PAUSE_SECONDS) if is_silent else (PAUSE_SECONDS)
            )
            await asyncio.sleep(pause_seconds)

    async def _try_witness(self, client: WitnessClient, head: TreeHead, note: str) -> None:
        """Asked once; what it says is kept, and why it says nothing as well."""
        standing = self._standings[client]
        try:
            said = await self._ask(client, head, note)
        except FaultError as fault:
            _log.warning("witness_silent", witness=client.key.name, why=fault.message)
            self._standings[client] = replace(standing, problem=fault.message)
            return
        await self._heads.add_cosignatures(head, note, [said.line])
        self._standings[client] = WitnessStanding(client, size=head.size, time=said.time)

    async def _ask(self, client: WitnessClient, head: TreeHead, note: str) -> Cosignature:
        name = client.key.name
        old = self._standings[client].size or 0
        for _ in range(ATTEMPTS):
            proof = await self._log.consistency(old, head.size) if 0 < old < head.size else ()
            answer = await client.add_checkpoint(AddCheckpoint(old, proof, note))
            if answer.status == OK:
                try:
                    cosigned = with_signatures(note, answer.lines)
                    (said,) = check_witnessed(cosigned, witnesses=[client.key], least=1)
                except CheckpointError as error:
                    raise FaultError(f"witness {name}: {error.message}") from error
                return said
            conflict = find_conflict(
                answer.status, by=name, asked_old=old, head=head, known_size=answer.size
            )
            if conflict is not None:
                raise ConflictError(conflict)
            if answer.status != CONFLICT:
                raise FaultError(f"witness {name} answers {answer.status}: {answer.why}")
            if answer.size < 0:
                raise FaultError(f"witness {name} says conflict and not at which size")
            old = answer.size
        raise FaultError(f"witness {name} is moving: another log process shows it heads")

    async def _publish(self, head: TreeHead, note: str) -> None:
        """The bus remembers the head, unless it remembers a larger one."""
        remembered = await self._compare_published()
        if remembered is None or remembered.size < head.size:
            await self._published.replace(note, size=head.size)

    async def _compare_published(self) -> TreeHead | None:
        note = await self._published.read()
        if note is None:
            return None
        head = self._heads.read(note)
        await self._compare(head, THE_BUS)
        return head

    async def _compare(self, head: TreeHead, by: str) -> None:
        """The log holds a head that it signed and that somebody remembers."""
        size = self._log.size
        if head.size > size:
            raise ConflictError(Conflict("shrunken", by, size, head.size))
        try:
            await self._log.check_against(head)
        except DamagedLogError as error:
            raise ConflictError(Conflict("unproved", by, size, head.size)) from error

    async def _write_tiles(self, head: TreeHead, note: str) -> None:
        """The files are those of this head, the signed head last."""
        tiles = self._tiles
        assert tiles is not None
        written = await tiles.note()
        old_size = 0
        if written is not None:
            try:
                old = self._heads.read(written)
            except CheckpointError as error:
                raise FaultError(
                    f"{tiles.path} holds no files of this log: {error.message}"
                ) from error
            await self._compare(old, THE_FILES)
            old_size = old.size
        if old_size > head.size:
            return
        for file in changed_files(old_size, head.size):
            if file.level == ENTRIES:
                first = file.offset << 8
                leaves = await self._log.leaves(first, first + file.width)
                await tiles.write(file, render_entries(published_leaves(leaves)))
            else:
                await tiles.write(file, b"".join(await self._log.hashes(file.nodes)))
        await tiles.write_note(note)
        await self._withhold_pruned(tiles)

    async def _withhold_pruned(self, tiles: TileDirectory) -> None:
        """No bundle shows a leaf that was pruned; after a start each that has one is looked at."""
        carried_out = await self._log.carried_out() - self._withheld
        offsets: set[int] = set()
        for record in sorted(carried_out):
            pruning = own_pruning(await self._log.record(record))
            offsets |= {index // TILE_WIDTH for index in pruning.indexes}
        for offset in sorted(offsets):
            for file in await tiles.bundles(offset):
                first = offset * TILE_WIDTH
                leaves = await self._log.leaves(first, first + file.width)
                await tiles.withhold(file, render_entries(published_leaves(leaves)))
        self._withheld |= carried_out


def _other_than(shown: str) -> Callable[[TreeHead, str], bool]:
    return lambda _, note: note != shown


def _larger_than(size: int) -> Callable[[TreeHead, str], bool]:
    return lambda head, _: head.size > size


@asynccontextmanager
async def published(publication: Publication, emitter: Emitter) -> AsyncIterator[None]:
    """A block during which heads are shown; a conflict is said and ends it."""
    async with beside(*(_said(work, emitter) for work in publication.works())):
        yield


async def say_keys(log: LogStore, chain: Sequence[str], emitter: Emitter) -> None:
    """Each change of key is in the event stream, once; the log must be up to date."""
    recorded = {
        msgspec.json.decode(record.leaf)["id"]
        for record in await log.of_actions((KEY_ACTION,), emitter="auditor")
    }
    for note in chain:
        body, event_id = key_event(note)
        if event_id not in recorded:
            await emitter.emit(body, event_id=event_id)


async def checked(publication: Publication, emitter: Emitter) -> None:
    """As `Publication.check`; a conflict is said before it is raised."""
    await _said(publication.check, emitter)


async def _said(work: Callable[[], Awaitable[None]], emitter: Emitter) -> None:
    """What `work` does; the conflict that it finds is in the event stream before it is raised."""
    try:
        await work()
    except ConflictError as error:
        await _say(error, emitter)
        raise


async def _say(error: ConflictError, emitter: Emitter) -> None:
    body, event_id = conflict_event(error.conflict)
    _log.error("log_conflict", why=error.message, **body.details)
    try:
        async with asyncio.timeout(SAYING_SECONDS):
            await emitter.emit(body, event_id=event_id)
    except (FaultError, TimeoutError):
        _log.error("conflict_not_said", why="the event stream cannot be reached")
