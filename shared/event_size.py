# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What of an event's body is said when all of it does not fit into the audit log.

Rules:
 * A body that fits is said as it is.
 * Of one that does not, texts longer than LONGEST_TEXT_BYTES are said by their digests alone, the
   longest first.
 * If that is not enough, what happened, where and by whom stays; then the details, up to half of
   the room, and the first broken rules.
 * What is left out is counted under the detail LEFT_OUT, beside the digest of the whole: who kept
   the whole elsewhere can show that it was this.
"""

from __future__ import annotations

import operator
from itertools import takewhile
from typing import Any, Final

import msgspec

from shared.canonical import canonical_bytes, canonical_digest
from shared.contracts.events import (
    LONGEST_TEXT_BYTES,
    MAX_EVENT_BYTES,
    Actor,
    EventBody,
    digest_mark,
    map_texts,
)
from shared.errors import Reason

LEFT_OUT: Final = "left_out"
"""The detail that counts what did not fit: `texts` that are said by their digests alone, `reasons`
and `details` that are missing, `values` of reasons (what was found, what is allowed) and
`characters` of texts.  `sha256` is of the whole body in canonical JSON.
"""
FRAME_BYTES: Final = 3072
"""What an event needs at most beside its body, for names as long as the contract allows, and for
the digests of texts that stand beside it."""
MAX_TEXT_CHARACTERS: Final = 256
MAX_WHY_CHARACTERS: Final = 1000
MAX_REASON_BYTES: Final = 4096
_MARK_BYTES: Final = 100
"""What stands in the place of a text."""
_COUNTS_BYTES: Final = 256
"""What LEFT_OUT itself takes at most."""
_TEXTS: Final = (
    "correlation",
    "node",
    "interface",
    "netns",
    "hook",
    "deployment",
    "package",
    "version",
    "before",
    "after",
)


def fit_event_body(body: EventBody, *, event_limit_bytes: int = MAX_EVENT_BYTES) -> EventBody:
    """`body`, or as much of it as fits into an event.

    Args:
        body: Its action as the contract says: two tokens of at most 63 characters each.
        event_limit_bytes: Of the whole event in canonical bytes; at least 32 KiB for any body.
    """
    limit = event_limit_bytes - FRAME_BYTES
    whole = body
    excess = _size(body) - limit
    if excess <= 0:
        return body
    body, texts = _without_longest(body, excess + _COUNTS_BYTES)
    if texts and _size(body) + _COUNTS_BYTES <= limit:
        left_out = {"texts": texts, "sha256": canonical_digest(whole)}
        return msgspec.structs.replace(body, details={**body.details, LEFT_OUT: left_out})
    short = _with_short_texts(body)
    reasons = tuple(map(short_reason, body.reasons))
    bare = msgspec.structs.replace(short, reasons=(), details={})
    room = limit - _size(bare) - len('"details":{},"reasons":[],') - _COUNTS_BYTES
    for_details = _Room(room // 2)
    details = {
        name: value
        for name, value in body.details.items()
        if name != LEFT_OUT and for_details.takes({name: value})
    }
    for_reasons = _Room(room - room // 2 + for_details.left_bytes)
    kept_reasons = tuple(takewhile(for_reasons.takes, reasons))
    counts = {
        "reasons": len(reasons) - len(kept_reasons),
        "details": len(body.details.keys() - {LEFT_OUT}) - len(details),
        "characters": _characters(body) - _characters(short),
        "values": sum(map(operator.is_not, body.reasons, reasons)),
        "texts": texts,
    }
    counted: dict[str, int | str] = {name: count for name, count in counts.items() if count}
    counted["sha256"] = canonical_digest(whole)
    return msgspec.structs.replace(
        short, reasons=kept_reasons, details={**details, LEFT_OUT: counted}
    )


def _without_longest(body: EventBody, excess_bytes: int) -> tuple[EventBody, int]:
    """As many of the longest texts of the details said by digest as make up for so many bytes.

    Returns:
        The body, and how many different texts.
    """
    sizes: dict[str, int] = {}

    def measure(text: str) -> str:
        if len(text.encode()) > LONGEST_TEXT_BYTES:
            sizes[text] = sizes.get(text, 0) + _size(text)
        return text

    plain = msgspec.to_builtins(body.details)
    map_texts(plain, measure)
    chosen: set[str] = set()
    for text, size_bytes in sorted(sizes.items(), key=lambda one: -one[1]):
        if excess_bytes <= 0:
            break
        chosen.add(text)
        excess_bytes -= size_bytes - _MARK_BYTES
    if not chosen:
        return body, 0
    said = map_texts(plain, lambda text: digest_mark(text.encode()) if text in chosen else text)
    return msgspec.structs.replace(body, details=said), len(chosen)


class _Room:
    """Bytes that can be taken until they are used up."""

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes

    def takes(self, item: Any) -> bool:
        """Whether the item, with a comma, had room; if so it has it now."""
        size_bytes = _size(item) + 1
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True


def _size(item: Any) -> int:
    return len(canonical_bytes(item))


def _with_short_texts(body: EventBody) -> EventBody:
    texts = {name: getattr(body, name)[:MAX_TEXT_CHARACTERS] for name in _TEXTS}
    return msgspec.structs.replace(
        body, reason=body.reason[:MAX_WHY_CHARACTERS], actor=_short_actor(body.actor), **texts
    )


def _short_actor(actor: Actor | None) -> Actor | None:
    if actor is None:
        return None
    return Actor(
        key=actor.key[:MAX_TEXT_CHARACTERS],
        role=actor.role[:MAX_TEXT_CHARACTERS],
        attested=actor.attested,
        address=actor.address[:MAX_TEXT_CHARACTERS],
        through=actor.through[:MAX_TEXT_CHARACTERS],
    )


def short_reason(reason: Reason) -> Reason:
    """The reason, or its place and rule alone if it is large."""
    if _size(reason) <= MAX_REASON_BYTES:
        return reason
    return Reason(path=reason.path[:MAX_TEXT_CHARACTERS], rule=reason.rule[:MAX_TEXT_CHARACTERS])


def _characters(body: EventBody) -> int:
    actor = body.actor
    by_whom = 0 if actor is None else len(actor.key + actor.role + actor.address + actor.through)
    return by_whom + len(body.reason) + sum(len(getattr(body, name)) for name in _TEXTS)
