# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What survives the executor: its event journal and what each hook point's program is made of.

SQLite, write-ahead log, synchronous FULL: a transaction that returned is on the disk.  One thread
uses it (the executor's kernel thread).

Rules:
 * An event is journaled in the same transaction as the memory it reports, before it is published.
 * An event id is journaled once, whatever is asked; sequences have no gaps for each audience.
 * A store that was made anew counts on from where the bus says that this node stopped: until then
   its events have sequences that nobody has seen, and get their own before the first is published.
 * A disk that takes nothing is a fault of the one call; once it takes something, that is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from services.node_executor.adapters.state_file import (
    JournalUnwritableError,
    Opened,
    StateStoreError,
    cannot_write,
    make_tables,
    mark_made,
    open_state,
    opening_failed,
)
from services.node_executor.events import rebuilt_body, resumed_body, sight_event_id
from services.node_executor.generations import ChainMemory, Point
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Audience, Event, EventBody, draft_event

KEPT_PUBLISHED_EVENTS: Final = 10_000
"""Published events that are kept, so that their ids stay known."""

MAX_BYTES: Final = 256 * 1024 * 1024

_NUMBERING: Final = "numbering"
"""Setting: highest sequence that was published for certain, while the rest is not known."""
_SALVAGED: Final = "salvaged"
"""Setting: up to this position events are of the file before, with the sequences that they had."""


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
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._connection = connection
        self._emitter = emitter
        self._now = now
        self._new_salt = new_salt
        self._on_event = on_event
        self._decoder = msgspec.json.Decoder(ChainMemory)
        self._unwritable_since = ""
        self._unwritable_because = ""
        self._is_together = False
        self._told_later: list[Event] = []
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page_bytes, 16)}")

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        emitter: str,
        now: Callable[[], str],
        new_salt: Callable[[], bytes],
        on_event: Callable[[Event], object],
        max_bytes: int = MAX_BYTES,
    ) -> StateStore:
        """The store in this file, made if it is not there, and made anew if it is damaged.

        Args:
            path: The database file; its folder is made too, readable by the owner alone.
            emitter: Who says the events, as `node/<node>`.
            now: RFC 3339 UTC with microseconds.
            new_salt: 16 random bytes.
            on_event: Told of every new event once it is on the disk, in the thread that wrote it.
            max_bytes: What the file may take; SQLite's log beside it takes some more.
        """
        opened = open_state(path, now=now())
        try:
            store = cls(
                opened.connection,
                emitter=emitter,
                now=now,
                new_salt=new_salt,
                on_event=on_event,
                max_bytes=max_bytes,
            )
        except sqlite3.Error as error:
            raise opening_failed(path, error) from error
        if opened.is_new:
            store._begin(path, opened)
        return store

    def close(self) -> None:
        """Nothing is lost: every transaction is on the disk already."""
        self._connection.close()

    def journal(
        self, entries: Iterable[tuple[str, EventBody]], memory: ChainMemory | None = None
    ) -> None:
        """Events and memory are on the disk together; ids that are there already change nothing.

        Raises:
            JournalUnwritableError: The disk takes nothing now; nothing of it was written.
            StateStoreError: The state file cannot be used any more.
        """
        listed = list(entries)
        try:
            journaled = self._write(listed, memory)
        except JournalUnwritableError:
            if self._is_together:
                raise
            self._make_room()
            journaled = self._write(listed, memory)
        self._unwritable_since = ""
        self._tell([event for event in journaled if event is not None])

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is journaled within the block is on the disk when it is left, in one go.

        Raises:
            JournalUnwritableError: Nothing of it is.
        """
        try:
            with self._transaction():
                self._is_together = True
                try:
                    yield
                finally:
                    self._is_together = False
        except JournalUnwritableError as error:
            self._note_unwritable(error)
            self._make_room()
            raise
        finally:
            events, self._told_later = self._told_later, []
        self._tell(events)

    def _tell(self, events: list[Event]) -> None:
        if self._is_together:
            self._told_later += events
            return
        for event in events:
            self._on_event(event)

    def has_published(self, event_id: str) -> bool:
        """Whether the bus acknowledged the event."""
        with self._transaction() as connection:
            found = connection.execute("SELECT published FROM event WHERE id = ?", (event_id,))
            row = found.fetchone()
        return row is not None and bool(row[0])

    def setting(self, name: str) -> str:
        """A setting that was kept; empty: none."""
        with self._transaction() as connection:
            return _setting(connection, name)

    def keep_setting(
        self,
        name: str,
        value: str,
        entries: Iterable[tuple[str, EventBody]],
        *,
        audience: Audience = PUBLIC,
    ) -> None:
        """The setting, and what is to be said of it to an audience, are on the disk together."""
        with self._transaction() as connection:
            _set(connection, name, value)
            journaled = [self._journal(connection, one, body, audience) for one, body in entries]
        self._tell([event for event in journaled if event is not None])

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
            _mark_published(connection, event_ids)
            _forget(connection, KEPT_PUBLISHED_EVENTS)

    def is_numbered(self) -> bool:
        """Whether it is known which sequence comes next."""
        return self.setting(_NUMBERING) == ""

    def number(self, last_published: int) -> list[Event]:
        """The sequences go on behind those that the bus has; what nobody was told yet, in order.

        Args:
            last_published: Highest sequence of this node that the bus has; 0: it has none.
        """
        with self._transaction() as connection:
            known = int(_setting(connection, _NUMBERING) or 0)
            salvaged = int(_setting(connection, _SALVAGED) or 0)
            rows = connection.execute(
                "SELECT position, bytes FROM event WHERE published = 0 ORDER BY position"
            ).fetchall()
            connection.execute("DELETE FROM event WHERE published = 0")
            sequence = max(last_published, known)
            numbered: list[Event] = []
            for position, data in rows:
                event = msgspec.json.decode(data, type=Event)
                if position <= salvaged and event.sequence <= last_published:
                    _insert(connection, event, position)
                    _mark_published(connection, [event.id])  # the bus has it
                    continue
                sequence += 1
                event = msgspec.structs.replace(event, sequence=sequence)
                _insert(connection, event, position)
                numbered.append(event)
            _set_head(connection, PUBLIC, sequence)
            _set(connection, _NUMBERING, "")
        return numbered

    def _begin(self, path: Path, opened: Opened) -> None:
        """The tables are there, with what could be salvaged, and it is said what happened."""
        salvage = opened.salvage
        with self._transaction() as connection:
            make_tables(connection)
            for name, value in salvage.settings:
                _set(connection, name, value)
            for _, memory in salvage.memories:
                _remember(connection, self._decoder.decode(memory))
            # Below all that is journaled from now on, and in their order.
            for position, data in enumerate(salvage.events, 1):
                _insert(connection, msgspec.json.decode(data, type=Event), position)
            _set(connection, _SALVAGED, str(len(salvage.events)))
            _set(connection, _NUMBERING, str(salvage.published_to))
            (highest,) = connection.execute("SELECT max(sequence) FROM event").fetchone()
            _set_head(connection, PUBLIC, max(highest or 0, salvage.published_to))
            if opened.problem:
                body = rebuilt_body(
                    node=self._emitter.partition("/")[2],
                    problem=opened.problem,
                    set_aside=opened.set_aside,
                    hook_points=len(salvage.memories),
                    events=len(salvage.events),
                )
                occasion = self._new_salt().hex()
                event_id = sight_event_id(self._emitter, "state", body.action, occasion=occasion)
                self._journal(connection, event_id, body, PUBLIC)
        mark_made(path)

    def _write(
        self, entries: list[tuple[str, EventBody]], memory: ChainMemory | None
    ) -> list[Event | None]:
        """One transaction; the first after a time without any says so."""
        if self._unwritable_since:
            body = resumed_body(
                node=self._emitter.partition("/")[2],
                since=self._unwritable_since,
                problem=self._unwritable_because,
            )
            occasion = self._unwritable_since
            event_id = sight_event_id(self._emitter, "journal", body.action, occasion=occasion)
            entries = [(event_id, body), *entries]
        try:
            with self._transaction() as connection:
                journaled = [
                    self._journal(connection, event_id, body, PUBLIC) for event_id, body in entries
                ]
                if memory is not None:
                    _remember(connection, memory)
        except JournalUnwritableError as error:
            self._note_unwritable(error)
            raise
        return journaled

    def _note_unwritable(self, error: JournalUnwritableError) -> None:
        self._unwritable_since = self._unwritable_since or self._now()
        self._unwritable_because = error.message

    def _make_room(self) -> None:
        """The older half of the published events is forgotten, if that can be written."""
        with suppress(JournalUnwritableError), self._transaction() as connection:
            count = "SELECT (count(*) + 1) / 2 FROM event WHERE published = 1"
            connection.execute(
                "DELETE FROM event WHERE position IN (SELECT position FROM event"  # noqa: S608
                f" WHERE published = 1 ORDER BY position LIMIT ({count}))"
            )

    def _journal(
        self, connection: sqlite3.Connection, event_id: str, body: EventBody, audience: Audience
    ) -> Event | None:
        """The new event; None if its id was there before."""
        known = connection.execute("SELECT 1 FROM event WHERE id = ?", (event_id,))
        if known.fetchone() is not None:
            return None
        last = connection.execute("SELECT sequence FROM head WHERE audience = ?", (audience,))
        sequence = (last.fetchone() or (0,))[0] + 1
        event = draft_event(
            body,
            event_id=event_id,
            emitter=self._emitter,
            sequence=sequence,
            time=self._now(),
            salt=self._new_salt(),
            audience=audience,
        )
        _set_head(connection, audience, sequence)
        _insert(connection, event, None)
        return event

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; on the disk when the outermost block is left."""
        connection = self._connection
        if self._is_together:
            yield connection
            return
        try:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.rollback()
            if cannot_write(error):
                raise JournalUnwritableError(f"nothing can be journaled: {error}") from error
            raise StateStoreError(f"the state store failed: {error}") from error


def _insert(connection: sqlite3.Connection, event: Event, position: int | None) -> None:
    values = (event.id, event.audience, event.sequence, canonical_bytes(event))
    connection.execute(
        "INSERT INTO event (position, id, audience, sequence, bytes, checksum)"
        " VALUES (?, ?, ?, ?, ?, checksum('event', ?, ?, ?, ?, 0))",
        (position, *values, *values),
    )


def _mark_published(connection: sqlite3.Connection, event_ids: Iterable[str]) -> None:
    statement = (
        "UPDATE event SET published = 1,"
        " checksum = checksum('event', id, audience, sequence, bytes, 1) WHERE id = ?"
    )
    connection.executemany(statement, [(one,) for one in event_ids])


def _remember(connection: sqlite3.Connection, memory: ChainMemory) -> None:
    values = (str(memory.point), msgspec.json.encode(memory))
    connection.execute(
        "INSERT OR REPLACE INTO chain VALUES (?, ?, checksum('chain', ?, ?))", values * 2
    )


def _set_head(connection: sqlite3.Connection, audience: Audience, sequence: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO head VALUES (?, ?, checksum('head', ?, ?))",
        (audience, sequence) * 2,
    )


def _set(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO setting VALUES (?, ?, checksum('setting', ?, ?))",
        (name, value) * 2,
    )


def _setting(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _forget(connection: sqlite3.Connection, kept: int) -> None:
    connection.execute(
        "DELETE FROM event WHERE published = 1 AND position <="
        " (SELECT max(position) FROM event) - ?",
        (kept,),
    )
