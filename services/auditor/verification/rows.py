# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Does one row say what its message says?  Every column is derived anew from the message's bytes.

Pure.  Three things must agree: the leaf, the hash that the tree holds at the row's index, and the
message.  If one of them differs from the other two, that one was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.admission import GAP_ACTION, Channel, EventKey, Record
from services.auditor.checkpoint import CHECKPOINT_ACTION
from services.auditor.log_keys import KEY_ACTION
from services.auditor.merkle import HASH_BYTES, Hash, leaf_hash
from services.auditor.receipts import ReceiptHead
from services.auditor.records import (
    PROBLEM_KIND,
    Draft,
    ProblemLeaf,
    StreamMessage,
    as_problem,
    read_erased,
    read_kept,
    read_message,
)
from services.auditor.retention.remains import (
    Pruning,
    event_pruning,
    is_remains,
    read_remains,
)
from services.auditor.verification.problems import Problem, shown
from services.auditor.verification.receipts import Mark
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.events import Envelope, Event, EventBody
from shared.contracts.persons import ERASE_ACTION

Columns = Callable[[Record, int], tuple[Any, ...]]
"""The row that a store writes of a record, given when it was received."""

PrunedColumns = Callable[[int, bytes, int, int], tuple[Any, ...]]
"""The row of what remains of a record: by index, that leaf, receipt, place in the stream."""

KeptHash = Callable[[int], Hash | None]
"""What the tile holds at an index; None if the tile is not there."""

_PROBLEM_LEAF: Final = f'{{"kind":"{PROBLEM_KIND}",'
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_OF_ENVELOPE: Final = (("emitter", "emitter"), ("audience", "audience"), ("event_id", "id"))
"""Columns that the leaf alone decides, and its fields: for a row whose message was changed."""


class CheckedRow(NamedTuple):
    """What one row comes to."""

    hash: Hash
    """Of the leaf that the row stands for."""
    problems: list[Problem]
    """Why the row cannot be believed as it stands."""
    channel: Channel | None
    """Whose sequence it continues; None if the message was not believed."""
    sequence: int
    key: EventKey | None
    """Whose id it uses up; None if the message was not believed."""
    head: str = ""
    """The signed head that it says; empty if it is not the auditor's word about one."""
    key_change: str = ""
    """The statement about the log's key that it says, likewise."""
    mark: Mark | None = None
    """What it says of receipts, beside a head."""
    gap: str = ""
    """Its id, if it is the auditor's word about a gap."""
    draft: Draft | None = None
    """The message, if it was believed."""
    time_us: int = 0
    """When it happened, as the message has it."""
    pruning: Pruning | None = None
    """What it says was pruned, if it is the auditor's word about that."""
    pruned_by: int | None = None
    """By whose word there is no more than this of the record."""
    erased: tuple[str, ...] = ()
    """Persons whose words were erased from it."""
    kept_sha256: bytes = b""
    """Of what is left of the message, if something was erased."""
    erasure: EventBody | None = None
    """The auditor's word that somebody was erased."""


class OpenedBody(NamedTuple):
    """The message of a row, with persons' words in the place of tokens."""

    body: bytes | None
    """None: there is none, or all of it was erased."""
    erased: tuple[str, ...] = ()
    """Persons whose keys are gone, and with them words of the message; sorted."""
    missing: bool = False
    """Whether words are gone whose key is there."""


class RowChecker:
    """Checks rows of one table."""

    def __init__(
        self,
        names: Sequence[str],
        columns: Columns,
        plain: Columns,
        pruned_columns: PrunedColumns,
    ) -> None:
        """Begin.

        Args:
            names: Of the table's columns.
            columns: What the store writes.
            plain: The same with every word as the message has it.
            pruned_columns: What the store leaves of a pruned record.
        """
        self.names: Final = tuple(names)
        self._columns: Final = columns
        self._plain: Final = plain
        self._pruned_columns: Final = pruned_columns
        self._index: Final = self.names.index("idx")
        self._leaf: Final = self.names.index("leaf")
        self._body: Final = self.names.index("body")
        self._received: Final = self.names.index("received_us")
        self._stream: Final = self.names.index("stream_sequence")
        self._time: Final = self.names.index("time_us")

    def check(self, row: Sequence[Any], message: OpenedBody, kept_hash: KeptHash) -> CheckedRow:
        """The row, measured against its message and the hash that the tree holds for it.

        Args:
            row: All columns.
            message: As it was received.
            kept_hash: Asked only if leaf and message differ.
        """
        index: int = row[self._index]
        leaf: str = row[self._leaf]
        data = leaf.encode("utf-8", "surrogateescape")
        own = leaf_hash(data)
        if row[self._body] is None and is_remains(data):
            return self._pruned(row, data, kept_hash(index))
        if message.erased or message.missing:
            return self._erased(row, own, data, message)
        body = message.body
        if body is None:
            why = "it is gone, and nothing says that it was erased"
            return self._unbelieved(row, own, Problem("record", str(index), "body", why))
        draft, why = derive_draft(leaf, body, row[self._stream])
        if draft is not None and draft.leaf == data:
            return self._believed(row, own, draft, [])
        kept = kept_hash(index)
        if draft is not None:
            why = _difference(leaf, draft.leaf)
            if kept is not None and leaf_hash(draft.leaf) == kept:
                problem = Problem("record", str(index), "leaf", why)
                return self._believed(row, kept, draft, [problem])
        field = "body" if own == kept else "leaf and body"
        return self._unbelieved(row, own, Problem("record", str(index), field, why))

    def _erased(
        self, row: Sequence[Any], own: Hash, leaf: bytes, message: OpenedBody
    ) -> CheckedRow:
        """The row by its leaf, and what is left of the body by what the erasure said of it."""
        if message.missing:
            why = "words are gone whose key is there, or they are not those that were sealed"
            return self._unbelieved(row, own, Problem("record", str(row[self._index]), "body", why))
        kept = row[self._body]
        draft = read_erased(kept, leaf, sequence=row[self._stream])
        if draft is not None:
            checked = self._believed(row, own, draft, [], self._plain)
        elif message.body is None:
            checked = self._by_leaf(row, own, [])
        else:
            why = "what is left of it and the leaf are not of one event"
            checked = self._unbelieved(row, own, Problem("record", str(row[self._index]), "", why))
        return checked._replace(erased=message.erased, kept_sha256=sha256(kept).digest())

    def _believed(
        self,
        row: Sequence[Any],
        own: Hash,
        draft: Draft,
        problems: list[Problem],
        columns: Columns | None = None,
    ) -> CheckedRow:
        index, received_us = row[self._index], row[self._received]
        expected = (columns or self._columns)(Record(index, draft), received_us)
        if len(expected) != len(row):
            why = f"it has {len(row)} columns where {len(expected)} are known"
            problems.append(Problem("record", str(index), "", why))
        elif row != expected:
            problems += [
                Problem(
                    "record",
                    str(index),
                    name,
                    f"it is {shown(got)} where the event says {shown(wanted)}",
                )
                for name, got, wanted in zip(self.names, row, expected, strict=True)
                if got != wanted and name not in {"leaf", "body"}
            ]
        event = draft.event
        time_us = draft.time_us or received_us
        if draft.problem or event is None:
            return CheckedRow(own, problems, None, 0, None, time_us=time_us)
        channel = Channel(event.emitter, event.audience)
        key = EventKey(event.emitter, event.id)
        said = CheckedRow(own, problems, channel, event.sequence, key, draft=draft, time_us=time_us)
        if event.emitter != "auditor":
            return said
        return said._replace(
            head=_detail(event, CHECKPOINT_ACTION, "checkpoint"),
            key_change=_detail(event, KEY_ACTION, "statement"),
            mark=_mark(event, index) if event.data.action == CHECKPOINT_ACTION else None,
            gap=event.id if event.data.action == GAP_ACTION else "",
            erasure=event.data if event.data.action == ERASE_ACTION else None,
            pruning=event_pruning(event, record=index),
        )

    def _pruned(self, row: Sequence[Any], data: bytes, kept: Hash | None) -> CheckedRow:
        """What remains of a record: all else of it is as if it said nothing."""
        index, received_us = row[self._index], row[self._received]
        own = kept or Hash(bytes(HASH_BYTES))
        remains = read_remains(data)
        if remains is None or canonical_bytes(remains) != data:
            why = "what remains of it cannot be read"
            problem = Problem("record", str(index), "leaf", why)
            return CheckedRow(own, [problem], None, 0, None, time_us=received_us)
        expected = self._pruned_columns(index, data, received_us, row[self._stream])
        problems = [
            Problem(
                "record",
                str(index),
                name,
                f"it is {shown(got)} where {shown(wanted)} remains of a pruned record",
            )
            for name, got, wanted in zip(self.names, row, expected, strict=True)
            if got != wanted
        ]
        of = remains.of
        channel = Channel(of.emitter, of.audience) if of.emitter else None
        key = EventKey(of.emitter, of.id) if of.emitter else None
        return CheckedRow(
            own, problems, channel, of.sequence, key, time_us=received_us, pruned_by=remains.by
        )

    def _unbelieved(self, row: Sequence[Any], own: Hash, problem: Problem) -> CheckedRow:
        """The row by its leaf alone, for its message says something else or nothing."""
        if "body" in problem.field and problem.field != "body":
            return CheckedRow(own, [problem], None, 0, None, time_us=row[self._time])
        return self._by_leaf(row, own, [problem])

    def _by_leaf(self, row: Sequence[Any], own: Hash, problems: list[Problem]) -> CheckedRow:
        try:
            leaf = msgspec.json.decode(row[self._leaf], type=Envelope)
        except _UNREADABLE:
            return CheckedRow(own, problems, None, 0, None, time_us=row[self._time])
        for column, field in _OF_ENVELOPE:
            got, wanted = row[self.names.index(column)], getattr(leaf, field)
            if got != wanted:
                why = f"it is {shown(got)} where the leaf says {shown(wanted)}"
                problems.append(Problem("record", str(row[self._index]), column, why))
        channel, key = Channel(leaf.emitter, leaf.audience), EventKey(leaf.emitter, leaf.id)
        return CheckedRow(own, problems, channel, leaf.sequence, key, time_us=row[self._time])


def _detail(event: Event, action: str, name: str) -> str:
    """A text that an event of this action says; empty if it is of another."""
    found = event.data.details.get(name) if event.data.action == action else None
    return found if isinstance(found, str) else ""


def _mark(event: Event, index: int) -> Mark | None:
    """What an event about a head says of receipts; None if nothing that can be read."""
    details = event.data.details
    said = details.get("receipts")
    try:
        receipts = ReceiptHead(int(said["number"]), bytes.fromhex(said["sha256"]))  # type: ignore[index]
        return Mark(receipts, int(details["tree_size"]), f"record {index}")
    except (KeyError, TypeError, ValueError):
        return None


def derive_draft(leaf: str, body: bytes, stream_sequence: int) -> tuple[Draft | None, str]:
    """The message as it would be recorded; None, and why, if it cannot be the one of the leaf."""
    if leaf.startswith(_PROBLEM_LEAF):
        return _derive_problem(leaf, body)
    draft = read_kept(body, sequence=stream_sequence)
    if draft is None:
        return None, "it is no event"
    return (None, draft.problem) if draft.problem else (draft, "")


def _derive_problem(leaf: str, body: bytes) -> tuple[Draft | None, str]:
    try:
        said = msgspec.json.decode(leaf, type=ProblemLeaf)
    except _UNREADABLE:
        return None, "the leaf is neither an envelope nor a problem"
    if sha256_hex(body) != said.sha256:
        return None, "its SHA-256 is not the one in the leaf"
    message = StreamMessage(said.stream_sequence, said.subject, "", body)
    draft = as_problem(read_message(message), said.problem)
    return draft, ""


def _difference(leaf: str, derived: bytes) -> str:
    """In which fields a leaf is not the one that its message has."""
    try:
        mine = msgspec.json.decode(leaf)
        theirs = msgspec.json.decode(derived)
        named = {**theirs, **mine}
    except (*_UNREADABLE, TypeError):
        return "the leaf is not the one that the message has"
    names = sorted(name for name in named if mine.get(name, "") != theirs.get(name, ""))
    if not names or canonical_bytes(mine) != leaf.encode("utf-8", "surrogateescape"):
        names.append("its spelling")
    return f"leaf and message differ in {', '.join(names)}"
