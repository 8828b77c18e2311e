# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What of a record is shown to somebody who sees some audiences and not others.

Pure.

Rules:
 * Of a record of an audience that is not seen, index and leaf hash are shown, where records are
   listed without a filter; elsewhere there is no such record.  The hash tells nothing: the envelope
   holds a salted one.
 * A record's audience is what the server vouched for: the subject that it was published on.
 * A message whose subject names no audience that anybody sees is shown to nobody.
 * That something of a space is missing everybody is told; of which, and how much, its members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from services.auditor.admission import STREAM_EMITTER, Gap, gap_event
from services.auditor.merkle import leaf_hash
from services.auditor.query import StoredRecord
from services.auditor.tile_layout import WITHHELD
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC, Audience, EventBody


class _Leaf(msgspec.Struct, frozen=True):
    """The part of an envelope, or of a problem's leaf, that says to whom it was told."""

    audience: str = ""
    subject: str = ""
    of: _Leaf | None = None
    """Of what remains of a pruned record."""


_LEAF: Final = msgspec.json.Decoder(_Leaf)
_PREFIX: Final = f"{EVENTS}."
RESTRICTED: Final = "restricted"
"""Stands for the name of an audience that not everybody sees."""


def audience_of(leaf: bytes) -> Audience:
    """To whom the event of this leaf was told; empty: its subject does not say."""
    said = _read(leaf)
    return _audience_in(said.of or said)


def is_public(leaf: bytes) -> bool:
    """Whether there is a leaf, and everybody may see it, whatever is known of spaces."""
    said = _read(leaf)
    return said.of is None and _audience_in(said) == PUBLIC


def published_leaves(leaves: Iterable[bytes]) -> list[bytes]:
    """What everybody may have of some leaves: those that everybody may see, and WITHHELD."""
    return [leaf if is_public(leaf) else WITHHELD for leaf in leaves]


def shown(stored: StoredRecord, audiences: frozenset[Audience] | None) -> StoredRecord:
    """The record, or the little of it that those are shown who do not see its audience.

    Args:
        stored: As it is kept.
        audiences: Those that are seen; None: by the log itself, which sees all.
    """
    if audiences is None:
        return stored
    is_seen = audience_of(stored.leaf) in audiences
    if stored.pruned_by is not None:
        by = stored.pruned_by if is_seen else None
        return StoredRecord(
            stored.index, b"", None, 0, 0, "", leaf_hash=stored.leaf_hash, pruned_by=by
        )
    if is_seen:
        return stored
    return StoredRecord(stored.index, b"", None, 0, 0, "", leaf_hash=leaf_hash(stored.leaf))


def is_told_to_all(gap: Gap) -> bool:
    """Whether everybody may know all of a gap: it is the stream's, or of a public channel."""
    return gap.channel.emitter == STREAM_EMITTER or gap.channel.audience == PUBLIC


def gap_events(gap: Gap) -> list[tuple[EventBody, str, Audience]]:
    """What is said about a gap, under which ids, and to whom."""
    body, event_id = gap_event(gap)
    if is_told_to_all(gap):
        return [(body, event_id, PUBLIC)]
    found_at = {"kind": gap.kind, "found_at_index": gap.found_at_index}
    told = EventBody(
        action=body.action,
        outcome=body.outcome,
        details={"audience": RESTRICTED, **found_at},
    )
    # From the id of the whole one its audience could be guessed.
    identity = f"{RESTRICTED}|{gap.kind}|{gap.found_at_index}"
    told_id = f"log-gap-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    return [(told, told_id, PUBLIC), (body, event_id, gap.channel.audience)]


def _read(leaf: bytes) -> _Leaf:
    try:
        return _LEAF.decode(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Leaf()


def _audience_in(said: _Leaf) -> Audience:
    if said.audience:
        return said.audience
    return _subject_audience(said.subject) if said.subject.startswith(_PREFIX) else ""


@lru_cache(maxsize=4096)
def _subject_audience(subject: str) -> Audience:
    return subject.removeprefix(_PREFIX).partition(".")[0]
