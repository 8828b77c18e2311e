# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which parts of a message are a person's, and whose.

Pure.  What is a person's own:
 * who asked: the key and the address of `actor`, and their words, `reason` and `contents`;
 * names and keys of others in `details`, in the fields NAMING, and every public key of a principal
   wherever it stands as a value;
 * all of a message that was not believed, for nobody knows what it holds.

A part is said as bytes that the canonical message has, each with its field before it.  So it is
found without reading the message again, and only where it is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from services.auditor.persons.tokens import MARKER
from shared.canonical import canonical_bytes
from shared.contracts.events import Event

NAMING: Final = frozenset(
    {
        "actor", "approved_by", "asked_by", "author", "granted_by", "members", "owner", "owners",
        "placed_by", "principal", "principals", "released_by", "requested_by", "resolved_by",
        "signer", "waived_by",
    }
)  # fmt: skip
"""Details whose texts are names or keys of principals, one or a list of them."""
_ALSO: Final = {"owners.set": frozenset({"before"})}
"""Of some actions other details are as well."""
_INNER: Final = "filters"
"""The detail that holds what somebody asked the log for."""
_DETAILS: Final = NAMING.union([_INNER], *_ALSO.values())
NOBODY: Final = ""
"""Whose words those are that nobody is known to have said."""
_KEY: Final = re.compile(rb'"U[A-Z2-7]{55}"(?=[,\]}])')
"""Not where it is the name of a field."""
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Part(NamedTuple):
    """Something of persons in a message."""

    field: bytes
    """The name of its field and a colon, as they stand before it."""
    words: tuple[tuple[bytes, str], ...]
    """Each text as JSON, and whose it is: a key or a name."""
    is_list: bool = False

    def spelled(self, words: Sequence[bytes]) -> bytes:
        """The field with these texts in it."""
        value = b",".join(words)
        return self.field + (b"[%b]" % value if self.is_list else value)


def has_parts(event: Event) -> bool:
    """Whether there may be parts; soon said of most events."""
    body, actor = event.data, event.data.actor
    if actor is not None and (body.reason or actor.address or event.contents is not UNSET):
        return True
    return not _DETAILS.isdisjoint(body.details)


def parts_of(event: Event) -> Iterator[Part]:
    """The parts that are named by their field, in any order."""
    body = event.data
    details = body.details
    named = NAMING | _ALSO[body.action] if body.action in _ALSO else NAMING
    if not named.isdisjoint(details):
        yield from _named(details, named)
    inner = details.get(_INNER)
    if isinstance(inner, dict) and not NAMING.isdisjoint(inner):
        yield from _named(inner, NAMING)
    actor = body.actor
    if actor is None or not actor.key:
        return
    if body.reason:
        yield Part(b'"reason":', ((canonical_bytes(body.reason), actor.key),))
    if actor.address:
        yield Part(b'"address":', ((canonical_bytes(actor.address), actor.key),))
    if event.contents is not UNSET:
        for digest, text in event.contents.items():
            yield Part(canonical_bytes(digest) + b":", ((canonical_bytes(text), actor.key),))


def with_keys(data: bytes, spelled: Callable[[bytes], bytes]) -> bytes:
    """The message with every public key of a principal that stands as a value spelled otherwise."""
    if b'"U' not in data:
        return data  # nearly always
    return _KEY.sub(lambda found: spelled(found[0]), data)


def marked_strings(data: bytes) -> set[bytes]:
    """Texts of JSON that hold the marker of tokens."""
    return {found for found in _STRING.findall(data) if MARKER in found}


def _named(details: dict[str, Any], named: frozenset[str]) -> Iterator[Part]:
    for name in sorted(named & details.keys()):
        value = details[name]
        is_list = isinstance(value, list | tuple)
        texts = value if is_list else [value]
        if texts and all(isinstance(text, str) and text for text in texts):
            words = tuple((canonical_bytes(text), text) for text in texts)
            yield Part(canonical_bytes(name) + b":", words, is_list)
