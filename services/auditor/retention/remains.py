# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What remains of a record that was pruned, and the word of the log by which it was.

Pure.

Rules:
 * Of the leaf four things remain: audience, emitter, id and sequence.  So an event that comes again
   is known, and what is missing in a channel can still be told from what was pruned.
 * The hash of the leaf remains in the tree: every proof of every other record stays as it was.
 * The log says which records it prunes, by which rule, and the digest of what will remain of them,
   in a record of its own (`log.prune`), before anything is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import msgspec

from services.auditor.disclosure import audience_of
from services.auditor.merkle import Hash, leaf_hash
from services.auditor.query import StoredRecord
from services.auditor.records import (
    Draft,
    UnbelievableError,
    parse_time_us,
    render_time_us,
    try_event,
)
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.events import Actor, Audience, Envelope, Event, EventBody

PRUNED: Final = "log.prune"
PRUNED_KIND: Final = "l3af-pruned/v1"
_PREFIX: Final = b'{"by":'
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)

Ranges = tuple[tuple[int, int], ...]
"""First and last number of each."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Who said it, to whom, and as which of their events; of a problem its audience alone."""

    audience: Audience
    emitter: str = ""
    id: str = ""
    sequence: int = 0


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the place of a pruned record's leaf."""

    by: int
    """Index of the record that says that it was pruned."""
    kind: str = PRUNED_KIND
    of: Kept


@dataclass(frozen=True, slots=True)
class Pruning:
    """What one `log.prune` says."""

    record: int
    """Its own index; -1: it is not recorded yet."""
    audience: Audience
    """To whom it is told: the one that the pruned records were told to."""
    rule: str
    """By which it is done."""
    ranges: Ranges
    digest: str
    """Of what remains of them: SHA-256 of each canonical `Kept` after its length."""
    through_us: int
    """The newest of their times, by their emitters' clocks: what is asked about times up to then
    may be missing them."""
    ran_before_us: int
    """What ran before then is not known without them; 0: none of them speaks of that."""
    at: str = ""
    """When it was said."""
    segment: str = ""
    """Name of the archive that holds them; empty: none does."""
    segment_sha256: str = ""

    @property
    def count(self) -> int:
        """Records that it names."""
        return sum(last - first + 1 for first, last in self.ranges)

    @property
    def indexes(self) -> Iterator[int]:
        """Each of them, in order."""
        for first, last in self.ranges:
            yield from range(first, last + 1)


def kept_of(leaf: bytes) -> Kept:
    """What remains of a record with this leaf; of one that is pruned already, the same."""
    pruned = read_remains(leaf)
    if pruned is not None:
        return pruned.of
    try:
        envelope = msgspec.json.decode(leaf, type=Envelope)
    except _UNREADABLE:
        return Kept(audience=audience_of(leaf))
    return Kept(
        audience=envelope.audience,
        emitter=envelope.emitter,
        id=envelope.id,
        sequence=envelope.sequence,
    )


def remaining_leaf(leaf: bytes, *, by: int) -> bytes:
    """What stands in the place of the leaf."""
    return canonical_bytes(Remains(by=by, of=kept_of(leaf)))


def recorded_leaf(leaf: bytes, drafted: Iterable[bytes], kept: Hash) -> bytes:
    """The leaf that was recorded under an id: of a pruned record the drafted one, if it is that.

    Args:
        leaf: As it is kept.
        drafted: Leaves that come under the same id.
        kept: The hash that the tree has of it.
    """
    if not is_remains(leaf):
        return leaf
    return next((one for one in drafted if leaf_hash(one) == kept), leaf)


def drafted_leaves(drafts: Iterable[Draft], emitter: str, event_id: str) -> list[bytes]:
    """The leaves of those of the drafts that come under this id."""
    return [
        one.leaf
        for one in drafts
        if one.event is not None and (one.event.emitter, one.event.id) == (emitter, event_id)
    ]


def is_remains(leaf: bytes) -> bool:
    """Whether this is what remains of a leaf; no leaf begins so."""
    return leaf.startswith(_PREFIX)


def read_remains(leaf: bytes) -> Remains | None:
    """What remains; None: the leaf is there."""
    if not is_remains(leaf):
        return None
    try:
        return msgspec.json.decode(leaf, type=Remains)
    except _UNREADABLE:
        return None


def remains_digest(leaves: Iterable[bytes]) -> str:
    """Of what remains of some records, in order."""
    digest = hashlib.sha256()
    for leaf in leaves:
        kept = canonical_bytes(kept_of(leaf))
        digest.update(len(kept).to_bytes(4, "big"))
        digest.update(kept)
    return digest.hexdigest()


def ranges_of(indexes: Sequence[int]) -> Ranges:
    """The same numbers, ascending, as ranges."""
    found = []
    for _, group in groupby(enumerate(indexes), lambda one: one[1] - one[0]):
        run = [index for _, index in group]
        found.append((run[0], run[-1]))
    return tuple(found)


def ranges_text(ranges: Ranges) -> str:
    """As people and events have them: `3,5-9`."""
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def read_ranges_text(text: str) -> Ranges:
    """The ranges; ascending, and none within another.

    Raises:
        ValueError: They are not so.
    """
    found: list[tuple[int, int]] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        one = (int(first), int(last or first))
        if one[0] < 0 or one[1] < one[0] or (found and one[0] <= found[-1][1]):
            raise ValueError(part)
        found.append(one)
    return tuple(found)


def prune_event(pruning: Pruning, *, actor: Actor | None, reason: str) -> tuple[EventBody, str]:
    """What is said before the records are pruned, and the id under which it is said once."""
    details: dict[str, Any] = {
        "rule": pruning.rule,
        "ranges": ranges_text(pruning.ranges),
        "records": pruning.count,
        "remains": pruning.digest,
        "through": render_time_us(pruning.through_us),
    }
    if pruning.ran_before_us:
        details["ran_before"] = render_time_us(pruning.ran_before_us)
    if pruning.segment:
        details |= {"segment": pruning.segment, "segment_sha256": pruning.segment_sha256}
    body = EventBody(
        action=PRUNED, outcome="succeeded", actor=actor, reason=reason, details=details
    )
    identity = canonical_bytes([pruning.audience, details])
    return body, f"log-prune-{sha256_hex(identity)[:32]}"


def read_pruning(body: bytes | None, *, record: int) -> Pruning | None:
    """What a believed record of the auditor says is pruned; None: nothing that can be read."""
    event = try_event(body) if body is not None else None
    return event_pruning(event, record=record) if event is not None else None


def own_pruning(found: StoredRecord | None) -> Pruning:
    """What a record of the log says is pruned.

    Raises:
        LookupError: It is no `log.prune` of the auditor that was believed.
    """
    pruning = None
    if found is not None and not found.problem and kept_of(found.leaf).emitter == "auditor":
        pruning = read_pruning(found.body, record=found.index)
    if pruning is None:
        raise LookupError("the record does not say that anything is pruned")
    return pruning


def event_pruning(event: Event, *, record: int) -> Pruning | None:
    """The same, of the event."""
    said = event.data.details
    if event.data.action != PRUNED:
        return None
    try:
        return Pruning(
            record=record,
            audience=event.audience,
            rule=str(said["rule"]),
            ranges=read_ranges_text(said["ranges"]),
            digest=str(said["remains"]),
            through_us=parse_time_us(said["through"]),
            ran_before_us=parse_time_us(said["ran_before"]) if "ran_before" in said else 0,
            at=event.time,
            segment=str(said.get("segment", "")),
            segment_sha256=str(said.get("segment_sha256", "")),
        )
    except (KeyError, ValueError, TypeError, AttributeError, UnbelievableError):
        return None
