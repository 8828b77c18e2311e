# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What happened, until the executor has it; and what was wanted last.

One SQLite file that one supervisor at a time holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from shared.contracts.companions import (
    MAX_EVENTS,
    ApplyCompanions,
    CompanionEvent,
)
from shared.errors import FaultError

LOCK_SECONDS: Final = 1.0
"""How long a start waits for the supervisor before it to be gone."""
MAX_UNWRITTEN: Final = 10_000
"""Events that are kept in memory while the disk takes none."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
_KEPT_PART: Final = 4
"""One part in so many makes room when there is none."""

log = structlog.get_logger()


class EventStoreError(FaultError):
    """The state directory cannot be used."""


class EventStore:
    """Events by number, oldest first."""

    def __init__(self, folder: Path, *, max_bytes: int, first_number: Callable[[], int]) -> None:
        """Opens the file, or makes it.

        Args:
            folder: For root alone; made too.
            max_bytes: Of all events together.
            first_number: Above every number that an earlier file of this node gave.

        Raises:
            EventStoreError: Another supervisor has it, or the disk fails.
        """
        self._max_bytes: Final = max_bytes
        self._unwritten: Final[list[CompanionEvent]] = []
        path = folder / "companions.sqlite"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file: Final = _open(path)
            highest = self._fact("highest")
            self._highest = int(highest) if highest else first_number()
            total = self._file.execute("SELECT coalesce(sum(length(bytes)), 0) FROM event")
            self._bytes: int = total.fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise EventStoreError(f"{path}: {error}") from error

    def close(self) -> None:
        """The file is free for the next one."""
        self._flush()
        self._file.close()

    def add(self, events: Iterable[CompanionEvent]) -> None:
        """Each gets its number; they are on the disk unless that fails now."""
        for event in events:
            self._highest += 1
            self._unwritten.append(msgspec.structs.replace(event, number=self._highest))
        self._flush()

    def _flush(self) -> None:
        if not self._unwritten:
            return
        rows = [(event.number, msgspec.json.encode(event)) for event in self._unwritten]
        try:
            with self._file:
                self._file.executemany("INSERT INTO event VALUES (?, ?)", rows)
                self._keep_fact("highest", str(self._highest).encode())
        except sqlite3.Error as error:
            log.warning("event_not_stored", why=str(error), waiting=len(rows))
            del self._unwritten[:-MAX_UNWRITTEN]
            return
        self._unwritten.clear()
        self._bytes += sum(len(data) for _, data in rows)
        if self._bytes > self._max_bytes:
            self._make_room()

    def _make_room(self) -> None:
        with suppress(sqlite3.Error), self._file:
            rows = self._file.execute("SELECT number, bytes FROM event ORDER BY number").fetchall()
            gone = rows[: max(2, len(rows) // _KEPT_PART)]
            events = [msgspec.json.decode(data, type=CompanionEvent) for _, data in gone]
            lost = CompanionEvent(
                number=events[-1].number,
                time=events[-1].time,
                id="",
                kind="lost",
                count=sum(event.count if event.kind == "lost" else 1 for event in events),
            )
            self._file.execute("DELETE FROM event WHERE number <= ?", (lost.number,))
            self._file.execute(
                "INSERT INTO event VALUES (?, ?)", (lost.number, msgspec.json.encode(lost))
            )
            self._count()

    def _count(self) -> None:
        total = self._file.execute("SELECT coalesce(sum(length(bytes)), 0) FROM event")
        self._bytes = total.fetchone()[0]

    def after(self, number: int) -> tuple[CompanionEvent, ...]:
        """Those with higher numbers, at most MAX_EVENTS; those up to it are forgotten.

        Whoever knows higher numbers than this file gave gets still higher ones from now on.
        """
        self._flush()
        self._highest = max(self._highest, number)
        try:
            with self._file:
                gone = self._file.execute("DELETE FROM event WHERE number <= ?", (number,))
                if gone.rowcount:
                    self._count()
            rows = self._file.execute(
                "SELECT bytes FROM event WHERE number > ? ORDER BY number LIMIT ?",
                (number, MAX_EVENTS),
            ).fetchall()
        except sqlite3.Error as error:
            raise EventStoreError(f"events: {error}") from error
        return tuple(msgspec.json.decode(data, type=CompanionEvent) for (data,) in rows)

    def remember(self, wanted: ApplyCompanions, *, boot_id: str) -> None:
        """What is wanted, for the next start.

        Raises:
            EventStoreError: The disk does not take it.
        """
        try:
            with self._file:
                self._keep_fact("wanted", msgspec.json.encode(wanted))
                self._keep_fact("boot", boot_id.encode())
        except sqlite3.Error as error:
            raise EventStoreError(f"wanted companions: {error}") from error

    def remembered(self, *, boot_id: str) -> tuple[ApplyCompanions, bool]:
        """What was wanted last, and whether since the kernel started, so that map ids still count.

        A document of another release that cannot be read counts as nothing.
        """
        data = self._fact("wanted")
        if data is None:
            return ApplyCompanions(instances=()), False
        try:
            wanted = msgspec.json.decode(data, type=ApplyCompanions)
        except msgspec.MsgspecError:
            return ApplyCompanions(instances=()), False
        return wanted, self._fact("boot") == boot_id.encode()

    def _fact(self, name: str) -> bytes | None:
        row = self._file.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def _keep_fact(self, name: str, value: bytes) -> None:
        self._file.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=LOCK_SECONDS)
    try:
        # Held until the process ends, however it ends.
        file.execute("PRAGMA locking_mode = EXCLUSIVE")
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        with file:
            file.execute("BEGIN EXCLUSIVE")
        file.executescript(_SCHEMA)
        with file:
            file.execute("INSERT OR REPLACE INTO fact VALUES ('opened', x'01')")
    except sqlite3.Error:
        file.close()
        raise
    return file
