# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How far a sink was fed, and what it gets next.

Pure.

Rules:
 * A batch is named before it is sent, and until it was received it is the same one: whoever died
   in between sends the very records again under the very key.
 * What was received is noted; records between two batches that match nothing are passed over.
 * What a sink says that it does not hold is sent again, whatever it said before; what it says that
   it holds counts if it was sent.  A file is looked into by ourselves, and what it holds is so.
 * A state belongs to one sink, one form and one question; with another it is refused, since what it
   says would be about other records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec

from cli.audit_forms import Form, LineFormName
from cli.raw_records import number_of
from shared.canonical import canonical_digest
from shared.contracts.audit import StreamRecords
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 1024 * 1024
KIND: Final = "l3af-forward/v1"
_KEY_DIGITS: Final = 16
_ASKED: Final = frozenset({"after_index", "before_index", "limit", "scan_limit", "order"})
"""Fields of a question that say where it goes on, and not what is asked."""


class OtherStateError(RefusedError):
    """The state is about something else."""

    code: ClassVar[ErrorCode] = "conflict"


class Sending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A batch that may have been received."""

    first: int
    last: int
    """Numbers of its first and last record; what matches between them is in it."""


class ForwardState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept beside a sink."""

    kind: str = KIND
    sink: str
    form: LineFormName
    question: str
    """Digest of the filters."""
    after: int
    """Every matching record up to this one was received."""
    begun_after: int = -1
    """Records up to this one were never to be sent."""
    sending: Sending | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What a sink gets at once."""

    first: int
    last: int
    lines: tuple[bytes, ...]
    """One a record, their ends included."""

    @property
    def body(self) -> bytes:
        """All of them."""
        return b"".join(self.lines)


def question_digest(question: StreamRecords) -> str:
    """Of what is asked, wherever it goes on."""
    asked = {
        name: value for name, value in msgspec.to_builtins(question).items() if name not in _ASKED
    }
    return canonical_digest(asked)


def check_state(state: ForwardState, *, sink: str, form: LineFormName, question: str) -> None:
    """Nothing, if the state is about this.

    Raises:
        OtherStateError: It is not, with everything that differs.
    """
    wanted = {"kind": KIND, "sink": sink, "form": form, "question": question}
    problems = [
        Reason(path=name, rule="is another one", got=getattr(state, name), allowed=value)
        for name, value in wanted.items()
        if getattr(state, name) != value
    ]
    if problems:
        raise OtherStateError(
            "the state is of another sink, form or question; take another file for this one",
            problems,
        )


def next_question(state: ForwardState, question: StreamRecords) -> StreamRecords:
    """What to ask the log for: the batch that may have been received, or what comes next."""
    sending = state.sending
    if sending is not None:
        return msgspec.structs.replace(
            question,
            order="oldest",
            after_index=sending.first - 1,
            before_index=sending.last + 1,
            limit=BATCH_RECORDS,
        )
    return msgspec.structs.replace(
        question, order="oldest", after_index=state.after, limit=BATCH_RECORDS
    )


def next_batch(records: Sequence[bytes], form: Form, *, is_again: bool) -> Batch | None:
    """As many of the records as make a batch; None if there are none.

    Args:
        records: In JSON, ascending.
        form: How they are written.
        is_again: Whether they are a batch already, so that none may be left out.
    """
    lines: list[bytes] = []
    size_bytes = 0
    for line in form.lines(records):
        if lines and not is_again and size_bytes + len(line) > BATCH_BYTES:
            break
        lines.append(line)
        size_bytes += len(line)
    if not lines:
        return None
    first, last = number_of(records[0]), number_of(records[len(lines) - 1])
    return Batch(first, last, tuple(lines))


def named(state: ForwardState, batch: Batch) -> ForwardState:
    """The state once the batch is named."""
    return msgspec.structs.replace(state, sending=Sending(first=batch.first, last=batch.last))


def received(state: ForwardState, *, last: int) -> ForwardState:
    """The state once everything up to a record was received."""
    return msgspec.structs.replace(state, after=max(state.after, last), sending=None)


def as_found(state: ForwardState, *, last: int) -> ForwardState:
    """The state once it was seen that a sink holds everything up to a record, and nothing else."""
    return msgspec.structs.replace(state, after=max(last, state.begun_after), sending=None)


def as_said(state: ForwardState, *, last: int) -> ForwardState:
    """The state once a sink said, before anything was sent, up to which record it holds them.

    What it never was sent it does not hold, so then its word is worth nothing.
    """
    sent = state.after if state.sending is None else state.sending.last
    return state if last > sent else as_found(state, last=last)


def batch_key(state: ForwardState, batch: Batch) -> str:
    """The same for the same batch, and for no other one of this log and question."""
    digest = canonical_digest([state.question, state.form, batch.first, batch.last])
    return f"{batch.first}-{batch.last}-{digest[:_KEY_DIGITS]}"
