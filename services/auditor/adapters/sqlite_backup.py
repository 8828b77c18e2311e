# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A copy of the log's file while the auditor writes it: of one moment, and checked.

SQLite's own backup, page by page, within one read transaction: the writer goes on beside it, and
what it writes meanwhile is not in the copy.  Without the transaction every commit of the auditor
would make the backup begin anew, and under load it would never end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from services.auditor.adapters import sqlite_rows as rows
from services.auditor.adapters.durable_files import sync_directory
from services.auditor.adapters.sqlite_database import check_file, snapshot, translated
from services.auditor.merkle import Hash, read_frontier
from services.auditor.persons.adapters.sqlite_persons import (
    PERSONS_FILE,
    copy_beside,
    copy_persons,
)
from services.auditor.store import check_parts
from services.auditor.tiles import hash_reader
from shared.errors import Reason, RefusedError

PAGES_AT_ONCE: Final = 256
"""1 MiB between two signs of progress."""


class LogCopy(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy holds."""

    file: str
    file_bytes: int
    origin: str
    tree_size: int
    root: str
    """In hexadecimal: a signed head of this size must have the same."""


def back_up(directory: Path, target: Path, *, progress: Callable[[int, int], None]) -> LogCopy:
    """A copy of the log in `directory` is in `target`, which was not there before.

    Beside it are the keys of persons, in a file that the log's copy does without.

    Args:
        directory: The auditor's state directory; the auditor may run.
        target: Becomes the copy once it is whole, checked and on disk.
        progress: Told pages done and pages in all, again and again.

    Raises:
        RefusedError: There is no log, or there is a file of that name already.
        StoreFaultError: A disk failed; nothing is left in `target`.
        DamagedLogError: What was copied is damaged, and so is the log.
    """
    source = directory / "log.db"
    if not source.is_file():
        reason = Reason(path="state directory", rule="holds no log.db", got=str(directory))
        raise RefusedError(
            f"{directory} holds no log; one in PostgreSQL is backed up with pg_dump", [reason]
        )
    if target.exists():
        reason = Reason(path="file", rule="is there already and is not replaced", got=str(target))
        raise RefusedError(f"{target} exists", [reason])
    parts = [target.with_name(f".{target.name}.{name}") for name in ("part", "persons.part")]
    for part in parts:
        part.unlink(missing_ok=True)
    with translated():
        try:
            return _copy(source, parts, target, progress)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)


def _copy(
    source: Path, parts: Sequence[Path], target: Path, progress: Callable[[int, int], None]
) -> LogCopy:
    part, persons_part = parts
    for file in parts:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as log,
        closing(sqlite3.connect(part)) as copy,
    ):
        log.isolation_level = copy.isolation_level = None
        with snapshot(log):
            log.execute("SELECT size FROM log").fetchone()  # from here on, of this moment
            copy_persons(source.with_name(PERSONS_FILE), persons_part)
            log.backup(
                copy,
                pages=PAGES_AT_ONCE,
                progress=lambda _, left, total: progress(total - left, total),
            )
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("PRAGMA synchronous = FULL")
        found = _checked(copy, target)
    persons_part.rename(copy_beside(target))
    part.rename(target)
    sync_directory(target.parent)
    return msgspec.structs.replace(found, file_bytes=target.stat().st_size)


def _checked(copy: sqlite3.Connection, target: Path) -> LogCopy:
    check_file(copy)
    origin, size, root, _ = rows.read_state(copy)
    count, last = copy.execute("SELECT count(*), max(idx) FROM records").fetchone()
    frontier = read_frontier(size, hash_reader(lambda tiles: rows.read_tiles(copy, tiles)))
    check_parts(size=size, root=Hash(root), count=count, last=last, frontier=frontier)
    return LogCopy(
        file=str(target), file_bytes=0, origin=origin, tree_size=size, root=bytes(root).hex()
    )
