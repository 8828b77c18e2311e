# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a state file, each with its checksum; whoever calls holds a transaction.

Sequences count for each audience.  Of an audience that this file never had an event for it is not
known which one comes next: the bus may have events of a file before.  Until the bus was asked, what
is journaled for it has sequences that nobody has seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

import msgspec

from services.node_executor.generations import ChainMemory
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Audience, Event

_NUMBERING: Final = "numbering"
"""Setting, for another audience than `public` with its name behind: highest sequence that was
published for certain, while the rest is not known."""
_SALVAGED: Final = "salvaged"
"""Setting: up to this position events are of the file before, with the sequences that they had."""


def insert(connection: sqlite3.Connection, event: Event, position: int | None) -> None:
    """The event is there, unpublished."""
    values = (event.id, event.audience, event.sequence, canonical_bytes(event))
    connection.execute(
        "INSERT INTO event (position, id, audience, sequence, bytes, checksum)"
        " VALUES (?, ?, ?, ?, ?, checksum('event', ?, ?, ?, ?, 0))",
        (position, *values, *values),
    )


def is_known(connection: sqlite3.Connection, event_id: str) -> bool:
    """Whether an event with this id is there."""
    found = connection.execute("SELECT 1 FROM event WHERE id = ?", (event_id,))
    return found.fetchone() is not None


def mark_published(connection: sqlite3.Connection, event_ids: Iterable[str]) -> None:
    """The bus has these."""
    statement = (
        "UPDATE event SET published = 1,"
        " checksum = checksum('event', id, audience, sequence, bytes, 1) WHERE id = ?"
    )
    connection.executemany(statement, [(one,) for one in event_ids])


def forget_published(connection: sqlite3.Connection, *, kept: int) -> None:
    """Of those that the bus has, the newest are left."""
    connection.execute(
        "DELETE FROM event WHERE published = 1 AND position <="
        " (SELECT max(position) FROM event) - ?",
        (kept,),
    )


def forget_half(connection: sqlite3.Connection) -> None:
    """The older half of those that the bus has is gone."""
    count = "SELECT (count(*) + 1) / 2 FROM event WHERE published = 1"
    connection.execute(
        "DELETE FROM event WHERE position IN (SELECT position FROM event"  # noqa: S608
        f" WHERE published = 1 ORDER BY position LIMIT ({count}))"
    )


def remember(connection: sqlite3.Connection, memory: ChainMemory) -> None:
    """What is known of a hook point."""
    values = (str(memory.point), msgspec.json.encode(memory))
    connection.execute(
        "INSERT OR REPLACE INTO chain VALUES (?, ?, checksum('chain', ?, ?))", values * 2
    )


def put_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """The setting has this value."""
    connection.execute(
        "INSERT OR REPLACE INTO setting VALUES (?, ?, checksum('setting', ?, ?))",
        (name, value) * 2,
    )


def get_setting(connection: sqlite3.Connection, name: str) -> str:
    """The setting's value; empty: there is none."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def next_sequence(connection: sqlite3.Connection, audience: Audience) -> int:
    """The number of the event that is journaled now."""
    last = connection.execute("SELECT sequence FROM head WHERE audience = ?", (audience,))
    row = last.fetchone()
    if row is None and audience != PUBLIC:
        put_setting(connection, _numbering(audience), "0")
    sequence = (row or (0,))[0] + 1
    _put_head(connection, audience, sequence)
    return int(sequence)


def begin_numbers(connection: sqlite3.Connection, published: dict[Audience, int]) -> None:
    """In a new file: what was salvaged is all there is, and the bus is asked where it goes on.

    Args:
        connection: Holds the salvaged events.
        published: Highest sequence of each audience that was published for certain.
    """
    rows = connection.execute("SELECT audience, max(sequence), count(*) FROM event GROUP BY 1")
    found = {audience: (highest, count) for audience, highest, count in rows.fetchall()}
    for audience in sorted({PUBLIC, *published, *found}):
        certain = published.get(audience, 0)
        put_setting(connection, _numbering(audience), str(certain))
        _put_head(connection, audience, max(found.get(audience, (0, 0))[0], certain))
    put_setting(connection, _SALVAGED, str(sum(count for _, count in found.values())))


def unnumbered(connection: sqlite3.Connection) -> frozenset[Audience]:
    """The audiences of which it is not known which sequence comes next."""
    rows = connection.execute("SELECT name FROM setting WHERE value != ''").fetchall()
    names = (name for (name,) in rows)
    return frozenset(
        name.partition(".")[2] or PUBLIC
        for name in names
        if name == _NUMBERING or name.startswith(f"{_NUMBERING}.")
    )


def number(connection: sqlite3.Connection, audience: Audience, last_published: int) -> None:
    """The sequences of the audience go on behind those that the bus has."""
    known = int(get_setting(connection, _numbering(audience)) or 0)
    salvaged = int(get_setting(connection, _SALVAGED) or 0)
    unpublished = "FROM event WHERE published = 0 AND audience = ?"
    rows = connection.execute(
        f"SELECT position, bytes {unpublished} ORDER BY position",
        (audience,),
    ).fetchall()
    connection.execute(f"DELETE {unpublished}", (audience,))
    sequence = max(last_published, known)
    for position, data in rows:
        event = msgspec.json.decode(data, type=Event)
        if position <= salvaged and event.sequence <= last_published:
            insert(connection, event, position)
            mark_published(connection, [event.id])  # the bus has it
            continue
        sequence += 1
        insert(connection, msgspec.structs.replace(event, sequence=sequence), position)
    _put_head(connection, audience, sequence)
    put_setting(connection, _numbering(audience), "")


def _numbering(audience: Audience) -> str:
    return _NUMBERING if audience == PUBLIC else f"{_NUMBERING}.{audience}"


def _put_head(connection: sqlite3.Connection, audience: Audience, sequence: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO head VALUES (?, ?, checksum('head', ?, ?))",
        (audience, sequence) * 2,
    )
