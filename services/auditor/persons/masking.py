# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Messages with tokens in the place of persons' words, as the store keeps them.

Pure.  What a message becomes depends on it and on the keys alone: it can be made again to compare.

Rule: `tokens.opened` gives the message back to the last byte, for each token is one of ours: texts
that hold the marker of tokens by themselves are sealed too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from services.auditor.admission import Record
from services.auditor.inventory import StoredSighting
from services.auditor.persons.fields import NOBODY, has_parts, marked_strings, parts_of, with_keys
from services.auditor.persons.tokens import MARKER, literal_of, text_of
from services.auditor.persons.vault import Seals, Vault
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import try_event
from shared.canonical import canonical_bytes
from shared.contracts.events import Event

EVERY: Final = 2**62
"""As `log.masked` has it once nobody's words are in the records: there is no such record."""
BODY_AT: Final = 8
ACTOR_AT: Final = 9
"""Places of `log_rows.record_row`."""


class Speaker(NamedTuple):
    """Who asked, in everything that they asked for."""

    field: bytes
    """Their key with its field, as messages come with it."""
    spelled: bytes
    """The same as it is kept."""
    column: str | None
    """As a column has it; None: the key itself, for nobody new can come to be known."""


class Masking:
    """What becomes of the messages of one batch; nobody may be forgotten while it is made.

    What is the same in all that one person asked for is made once.
    """

    def __init__(self, vault: Vault, seals: Seals) -> None:
        """Begin a batch.

        Args:
            vault: Who is known.
            seals: What is kept beside the messages is put in here.
        """
        self._vault: Final = vault
        self._seals: Final = seals
        self._speakers: Final[dict[str, Speaker]] = {}

    def row(self, record: Record, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The row of a record as it is kept."""
        draft = record.draft
        event = draft.event
        values = list(row)
        values[BODY_AT] = self.message(draft.message.data, event, is_believed=not draft.problem)
        values[ACTOR_AT] = self.actor(event, row[ACTOR_AT])
        return tuple(values)

    def message(self, data: bytes, event: Event | None, *, is_believed: bool) -> bytes:
        """The message as it is kept.

        Args:
            data: As it came.
            event: What it says, or claims to; None: it is no event.
            is_believed: Else all of it is sealed.
        """
        actor = event.data.actor if event is not None else None
        name = actor.key if actor is not None else NOBODY
        if event is None or not is_believed:
            token = self._vault.token(name, data, self._seals)
            return data if token is None else literal_of(token)
        if MARKER in data:
            for string in marked_strings(data):
                data = data.replace(string, self._spelled(string, name))
        if name:
            speaker = self._speaker(name)
            data = data.replace(speaker.field, speaker.spelled)
        if has_parts(event):
            for part in parts_of(event):
                tokens = [self._spelled(word, subject) for word, subject in part.words]
                data = data.replace(
                    part.spelled([word for word, _ in part.words]), part.spelled(tokens)
                )
        return with_keys(data, lambda word: self._spelled(word, word[1:-1].decode()))

    def actor(self, event: Event | None, column: str) -> str:
        """Who asked, as a column has it, which has `column` if nobody is known by it."""
        if event is None or event.data.actor is None or not event.data.actor.key:
            return column
        kept = self._speaker(event.data.actor.key).column
        return column if kept is None else kept

    def _speaker(self, name: str) -> Speaker:
        speaker = self._speakers.get(name)
        if speaker is None:
            word = canonical_bytes(name)
            token = self._vault.token(name, word, self._seals)
            spelled = word if token is None else literal_of(token)
            column = None if token is None else text_of(token)
            speaker = Speaker(b'"key":' + word, b'"key":' + spelled, column)
            self._speakers[name] = speaker
        return speaker

    def _spelled(self, word: bytes, subject: str) -> bytes:
        """The token of a word; the word, if whose it is cannot come to be known."""
        token = self._vault.token(subject, word, self._seals)
        return word if token is None else literal_of(token)


def masked_kept(
    body: bytes | None, actor: str, *, is_believed: bool, vault: Vault, seals: Seals
) -> tuple[bytes | None, str]:
    """Body and actor of a record that an earlier release kept, as they are kept now."""
    if body is None:
        return body, actor
    event, masking = try_event(body), Masking(vault, seals)
    changed = masking.message(body, event, is_believed=is_believed)
    return changed, masking.actor(event, actor)


def masked(
    data: bytes, event: Event | None, *, is_believed: bool, vault: Vault, seals: Seals
) -> bytes:
    """One message as it is kept (`Masking.message`)."""
    return Masking(vault, seals).message(data, event, is_believed=is_believed)


def asked_in_tokens(query: RecordQuery, vault: Vault) -> RecordQuery:
    """The question as it is put to the rows: for the token of whoever it is about."""
    equal = dict(query.equal)
    name = equal.get("actor")
    if name is None:
        return query
    token = vault.known_token(name, canonical_bytes(name))
    if token is not None:
        equal["actor"] = text_of(token)
    return replace(query, equal=tuple(equal.items()))


def with_messages(
    found: Sequence[StoredSighting], bodies: Sequence[tuple[bytes | None, bool]]
) -> list[StoredSighting]:
    """Sightings with these messages."""
    return [one._replace(body=body) for one, (body, _) in zip(found, bodies, strict=True)]


def with_bodies(
    stored: Sequence[StoredRecord], bodies: Sequence[tuple[bytes | None, bool]]
) -> list[StoredRecord]:
    """The records with these bodies, and whether something of each was erased."""
    return [
        one
        if body is one.body
        else StoredRecord(
            one.index,
            one.leaf,
            body,
            one.received_us,
            one.stream_sequence,
            one.problem,
            one.leaf_hash,
            one.pruned_by,
            one.note,
            is_erased,
        )
        for one, (body, is_erased) in zip(stored, bodies, strict=True)
    ]
