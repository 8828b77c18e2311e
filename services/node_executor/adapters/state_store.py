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

from services.node_executor.adapters import state_rows
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
from services.node_executor.event_audiences import Entry, Said
from services.node_executor.events import rebuilt_body, resumed_body, sight_event_id
from services.node_executor.generations import ChainMemory, Point
from shared.contracts.events import PUBLIC, Audience, Event, draft_event

KEPT_PUBLISHED_EVENTS: Final = 10_000
"""Published events that are kept, so that their ids stay known."""

MAX_BYTES: Final = 256 * 1024 * 1024


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
            store._begin(opened)
            mark_made(path)
        return store

    @classmethod
    def in_memory(
        cls,
        connection: sqlite3.Connection,
        *,
        emitter: str,
        now: Callable[[], str],
        new_salt: Callable[[], bytes],
        on_event: Callable[[Event], object],
    ) -> StateStore:
        """A store over what `open_in_memory` gave, with all that an earlier one wrote there.

        The other arguments are those of `open`.
        """
        store = cls(connection, emitter=emitter, now=now, new_salt=new_salt, on_event=on_event)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version:
            store._begin(Opened(connection, is_new=True))
        return store

    def close(self) -> None:
        """Nothing is lost: every transaction is on the disk already."""
        self._connection.close()

    def journal(self, entries: Iterable[Entry], memory: ChainMemory | None = None) -> None:
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
            return state_rows.get_setting(connection, name)

    def keep_setting(
        self, name: str, value: str, entries: Iterable[Entry], *, audience: Audience = PUBLIC
    ) -> None:
        """The setting, and what is to be said of it to an audience, are on the disk together."""
        with self._transaction() as connection:
            state_rows.put_setting(connection, name, value)
            journaled = [self._journal(connection, entry, audience) for entry in entries]
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
            state_rows.mark_published(connection, event_ids)
            state_rows.forget_published(connection, kept=KEPT_PUBLISHED_EVENTS)

    def unnumbered(self) -> frozenset[Audience]:
        """The audiences of which it is not known which sequence comes next."""
        with self._transaction() as connection:
            return state_rows.unnumbered(connection)

    def number(self, audience: Audience, last_published: int) -> list[Event]:
        """The sequences go on behind those that the bus has; what nobody was told yet, in order.

        Args:
            audience: Whose events are numbered.
            last_published: Highest sequence of this node that the bus has; 0: it has none.
        """
        with self._transaction() as connection:
            state_rows.number(connection, audience, last_published)
        return self.unpublished()

    def _begin(self, opened: Opened) -> None:
        """The tables are there, with what could be salvaged, and it is said what happened."""
        salvage = opened.salvage
        with self._transaction() as connection:
            make_tables(connection)
            for name, value in salvage.settings:
                state_rows.put_setting(connection, name, value)
            for _, memory in salvage.memories:
                state_rows.remember(connection, self._decoder.decode(memory))
            # Below all that is journaled from now on, and in their order.
            for position, data in enumerate(salvage.events, 1):
                state_rows.insert(connection, msgspec.json.decode(data, type=Event), position)
            state_rows.begin_numbers(connection, salvage.published_to)
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
                self._journal(connection, (event_id, body))

    def _write(self, entries: list[Entry], memory: ChainMemory | None) -> list[Event | None]:
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
                journaled = [self._journal(connection, entry) for entry in entries]
                if memory is not None:
                    state_rows.remember(connection, memory)
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
            state_rows.forget_half(connection)

    def _journal(
        self, connection: sqlite3.Connection, entry: Entry, audience: Audience = PUBLIC
    ) -> Event | None:
        """The new event, for `audience` unless it says itself for whom; None: its id is known."""
        event_id, body = entry[:2]
        audience = entry.audience if isinstance(entry, Said) else audience
        if state_rows.is_known(connection, event_id):
            return None
        event = draft_event(
            body,
            event_id=event_id,
            emitter=self._emitter,
            sequence=state_rows.next_sequence(connection, audience),
            time=self._now(),
            salt=self._new_salt(),
            audience=audience,
        )
        state_rows.insert(connection, event, None)
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
