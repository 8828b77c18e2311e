# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What survives the executor: its event journal and what each hook point's program is made of.

SQLite, write-ahead log, synchronous FULL: a transaction that returned is on the disk.  One thread
uses it (the executor's kernel thread).

Rules:
 * An event is journaled in the same transaction as the memory it reports, before it is published.
 * An event id is journaled once, whatever is asked; sequences have no gaps for each audience.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from services.node_executor.generations import ChainMemory, Point
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Audience, Event, EventBody, draft_event
from shared.errors import FaultError

LOCK_SECONDS: Final = 1.0
"""How long a start waits for another process to let go of the state."""
KEPT_PUBLISHED_EVENTS: Final = 10_000
"""Published events that are kept, so that their ids stay known."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    audience TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    UNIQUE (audience, sequence)
) STRICT;
CREATE INDEX IF NOT EXISTS unpublished ON event (position) WHERE published = 0;
CREATE TABLE IF NOT EXISTS head (audience TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS chain (hook_point TEXT PRIMARY KEY, memory BLOB NOT NULL) STRICT;
"""


class StateStoreError(FaultError):
    """The state directory cannot be read or written."""


class StateStore:
    """The journal and the memory of one node."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        emitter: str,
        now: Callable[[], str],
        new_salt: Callable[[], bytes],
        on_event: Callable[[Event], object],
    ) -> None:
        self._connection = connection
        self._emitter = emitter
        self._now = now
        self._new_salt = new_salt
        self._on_event = on_event
        self._decoder = msgspec.json.Decoder(ChainMemory)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        emitter: str,
        now: Callable[[], str],
        new_salt: Callable[[], bytes],
        on_event: Callable[[Event], object],
    ) -> StateStore:
        """The store in this file, made if it is not there.

        Args:
            path: The database file; its folder is made too, readable by the owner alone.
            emitter: Who says the events, as `node/<node>`.
            now: RFC 3339 UTC with microseconds.
            new_salt: 16 random bytes.
            on_event: Told of every new event once it is on the disk, in the thread that wrote it.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(
                path, check_same_thread=False, isolation_level=None, timeout=LOCK_SECONDS
            )
            # A second executor on the same state is refused instead of sharing its sequences.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StateStoreError(f"{path} cannot be opened: {error}") from error
        return cls(connection, emitter=emitter, now=now, new_salt=new_salt, on_event=on_event)

    def close(self) -> None:
        """Nothing is lost: every transaction is on the disk already."""
        self._connection.close()

    def journal(
        self, entries: Iterable[tuple[str, EventBody]], memory: ChainMemory | None = None
    ) -> None:
        """Events and memory are on the disk together; ids that are there already change nothing."""
        with self._transaction() as connection:
            journaled = [
                self._journal(connection, event_id, body, PUBLIC) for event_id, body in entries
            ]
            if memory is not None:
                connection.execute(
                    "INSERT INTO chain VALUES (?, ?) ON CONFLICT (hook_point)"
                    " DO UPDATE SET memory = excluded.memory",
                    (str(memory.point), msgspec.json.encode(memory)),
                )
        for event in journaled:
            if event is not None:
                self._on_event(event)

    def remembered(self) -> dict[Point, ChainMemory]:
        """What is remembered of every hook point that ever had a chain."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT memory FROM chain").fetchall()
        memories = [self._decoder.decode(row[0]) for row in rows]
        return {memory.point: memory for memory in memories}

    def unpublished(self) -> list[Event]:
        """Events that nobody was told yet, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT bytes FROM event WHERE published = 0 ORDER BY position"
            ).fetchall()
        return [msgspec.json.decode(row[0], type=Event) for row in rows]

    def mark_published(self, event_ids: list[str]) -> None:
        """The bus has these events durably; the oldest published ones may be forgotten."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE event SET published = 1 WHERE id = ?", [(one,) for one in event_ids]
            )
            connection.execute(
                "DELETE FROM event WHERE published = 1 AND position <="
                " (SELECT max(position) FROM event) - ?",
                (KEPT_PUBLISHED_EVENTS,),
            )

    def _journal(
        self, connection: sqlite3.Connection, event_id: str, body: EventBody, audience: Audience
    ) -> Event | None:
        """The new event; None if its id was there before."""
        known = connection.execute("SELECT 1 FROM event WHERE id = ?", (event_id,))
        if known.fetchone() is not None:
            return None
        (sequence,) = connection.execute(
            "INSERT INTO head VALUES (?, 1) ON CONFLICT (audience)"
            " DO UPDATE SET sequence = sequence + 1 RETURNING sequence",
            (audience,),
        ).fetchone()
        event = draft_event(
            body,
            event_id=event_id,
            emitter=self._emitter,
            sequence=sequence,
            time=self._now(),
            salt=self._new_salt(),
            audience=audience,
        )
        connection.execute(
            "INSERT INTO event (id, audience, sequence, bytes) VALUES (?, ?, ?, ?)",
            (event_id, audience, sequence, canonical_bytes(event)),
        )
        return event

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when the block is left."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise StateStoreError(f"the state store failed: {error}") from error
