# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as columns of values that have types, for files that keep tables.

Pure.

Rules:
 * A record is one row, whatever it holds; what it does not have, and what its column has no room
   for, is no value.
 * Of a record that is not shown there is its number and the hash of its leaf; of one that was
   pruned also by what.
 * What a message that is not believed claims stands there with the problem, as in NDJSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor, EventBody
from shared.moments import read_time

Kind = Literal["integer", "text", "name", "time", "truth", "json"]
"""Of 64 bits; text; text with few different values; microseconds since 1970, UTC; JSON as text."""
_LARGEST: Final = 2**63 - 1
_NOBODY: Final = Actor(key="", role="", attested=False)
_NOTHING: Final = EventBody(action="", outcome="observed")


class Column(NamedTuple):
    """One column."""

    name: str
    kind: Kind
    value: Callable[[AuditRecord], Any]
    """Of a record; None if it has none."""


def columns_of(records: Sequence[AuditRecord]) -> dict[str, list[Any]]:
    """The values of every column, one for each record."""
    return {column.name: [column.value(one) for one in records] for column in COLUMNS}


def _record(name: str) -> Callable[[AuditRecord], Any]:
    return lambda record: getattr(record, name) or None


def _event(name: str) -> Callable[[AuditRecord], Any]:
    return lambda record: getattr(record.event, name) or None if record.event is not None else None


def _body(name: str) -> Callable[[AuditRecord], Any]:
    def value(record: AuditRecord) -> Any:
        return getattr(record.event.data, name) or None if record.event is not None else None

    return value


def _actor(name: str) -> Callable[[AuditRecord], Any]:
    def value(record: AuditRecord) -> Any:
        body = record.event.data if record.event is not None else _NOTHING
        return getattr(body.actor or _NOBODY, name) or None

    return value


def _attested(record: AuditRecord) -> bool | None:
    actor = record.event.data.actor if record.event is not None else None
    return actor.attested if actor is not None else None


def _number(value: Callable[[AuditRecord], Any]) -> Callable[[AuditRecord], int | None]:
    def number(record: AuditRecord) -> int | None:
        found = value(record)
        return found if found is not None and -_LARGEST <= found <= _LARGEST else None

    return number


def _time(value: Callable[[AuditRecord], str | None]) -> Callable[[AuditRecord], Any]:
    def moment(record: AuditRecord) -> Any:
        try:
            return read_time(value(record) or "")
        except ValueError:
            return None

    return moment


def _json(value: Callable[[AuditRecord], Any]) -> Callable[[AuditRecord], str | None]:
    def text(record: AuditRecord) -> str | None:
        found = value(record)
        return msgspec.json.encode(found).decode() if found else None

    return text


def _contents(record: AuditRecord) -> dict[str, str] | None:
    found = record.event.contents if record.event is not None else None
    return found if isinstance(found, dict) else None


def _columns() -> Iterable[Column]:
    yield Column("record", "integer", lambda record: record.index)
    yield Column("time", "time", _time(_event("time")))
    yield Column("received_at", "time", _time(_record("received_at")))
    yield Column("action", "name", _body("action"))
    yield Column("outcome", "name", _body("outcome"))
    yield Column("actor", "name", _actor("key"))
    yield Column("role", "name", _actor("role"))
    yield Column("attested", "truth", _attested)
    yield Column("address", "name", _actor("address"))
    yield Column("through", "name", _actor("through"))
    for name in ("node", "netns", "interface", "hook", "deployment", "package", "version"):
        yield Column(name, "name", _body(name))
    yield Column("correlation", "text", _body("correlation"))
    yield Column("audience", "name", _event("audience"))
    yield Column("emitter", "name", _event("emitter"))
    yield Column("sequence", "integer", _number(_event("sequence")))
    yield Column("event", "text", _event("id"))
    yield Column("reason", "text", _body("reason"))
    yield Column("before", "text", _body("before"))
    yield Column("after", "text", _body("after"))
    yield Column("reasons", "json", _json(_body("reasons")))
    yield Column("details", "json", _json(_body("details")))
    yield Column("contents", "json", _json(_contents))
    yield Column("problem", "text", _record("problem"))
    yield Column("stream_sequence", "integer", _number(_record("stream_sequence")))
    yield Column("erased", "truth", lambda record: record.erased)
    yield Column("pruned", "json", _json(_record("pruned")))
    yield Column("leaf", "text", _record("leaf"))
    yield Column("leaf_hash", "text", _record("leaf_hash"))


COLUMNS: Final = tuple(_columns())
