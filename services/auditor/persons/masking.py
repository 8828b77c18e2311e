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
from functools import lru_cache
from typing import Any, Final

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
_key_word: Final = lru_cache(maxsize=4096)(canonical_bytes)


def masked_row(record: Record, row: tuple[Any, ...], vault: Vault, seals: Seals) -> tuple[Any, ...]:
    """The row of a record as it is kept; what it needs beside it is put into `seals`."""
    draft = record.draft
    data, event = draft.message.data, draft.event
    body = masked(data, event, is_believed=not draft.problem, vault=vault, seals=seals)
    actor = _masked_actor(event, row[ACTOR_AT], vault, seals)
    return (*row[:BODY_AT], body, actor, *row[ACTOR_AT + 1 :])


def masked_kept(
    body: bytes | None, actor: str, *, is_believed: bool, vault: Vault, seals: Seals
) -> tuple[bytes | None, str]:
    """Body and actor of a record that an earlier release kept, as they are kept now."""
    if body is None:
        return body, actor
    event = try_event(body)
    changed = masked(body, event, is_believed=is_believed, vault=vault, seals=seals)
    return changed, _masked_actor(event, actor, vault, seals)


def masked(
    data: bytes, event: Event | None, *, is_believed: bool, vault: Vault, seals: Seals
) -> bytes:
    """The message as it is kept.

    Args:
        data: As it came.
        event: What it says, or claims to; None: it is no event.
        is_believed: Else all of it is sealed.
        vault: Who is known.
        seals: What is kept beside it is put in here.
    """
    actor = event.data.actor if event is not None else None
    speaker = actor.key if actor is not None else NOBODY
    if event is None or not is_believed:
        token = vault.token(speaker, data, seals)
        return data if token is None else literal_of(token)
    if MARKER in data:
        for string in marked_strings(data):
            data = data.replace(string, _spelled(string, speaker, vault, seals))
    if speaker:
        word = _key_word(speaker)
        data = data.replace(b'"key":' + word, b'"key":' + _spelled(word, speaker, vault, seals))
    for part in parts_of(event) if has_parts(event) else ():
        tokens = [_spelled(word, subject, vault, seals) for word, subject in part.words]
        data = data.replace(part.spelled([word for word, _ in part.words]), part.spelled(tokens))
    return with_keys(data, lambda word: _spelled(word, word[1:-1].decode(), vault, seals))


def asked_in_tokens(query: RecordQuery, vault: Vault) -> RecordQuery:
    """The question as it is put to the rows: for the token of whoever it is about."""
    equal = dict(query.equal)
    name = equal.get("actor")
    if name is None:
        return query
    token = vault.known_token(name, _key_word(name))
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


def _masked_actor(event: Event | None, column: str, vault: Vault, seals: Seals) -> str:
    """Who asked, as a column has it: `column` if nobody did, or nobody new can come to be known."""
    if event is None or event.data.actor is None or not event.data.actor.key:
        return column
    key = event.data.actor.key
    token = vault.token(key, _key_word(key), seals)
    return column if token is None else text_of(token)


def _spelled(word: bytes, subject: str, vault: Vault, seals: Seals) -> bytes:
    """The token of a word; the word, if whose it is cannot come to be known."""
    token = vault.token(subject, word, seals)
    return word if token is None else literal_of(token)
