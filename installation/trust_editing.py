# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a trust document when a key comes, ends or is revoked.

Pure: keys and moments are arguments.

Rules:
 * Every change is the next version; no key is ever taken out, so that what it signed can be judged.
 * A name that holds several keys is rotated or revoked by naming the key.
 * No threshold is set that those who hold keys could not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import msgspec

from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.trust import OlderSignatures, TrustDocument, TrustedKey
from shared.errors import Reason, RefusedError
from shared.moments import render_time
from shared.trust.documents import check_document


class UnknownKeyError(RefusedError):
    """The document has no such key."""

    code: ClassVar[ErrorCode] = "not_found"


class KeyKnownError(RefusedError):
    """The document has the key already."""

    code: ClassVar[ErrorCode] = "conflict"


class ThresholdError(RefusedError):
    """Fewer hold keys than would have to sign."""


def new_document(
    namespace: Audience, *, keys: Sequence[TrustedKey], clocks: Sequence[str], now: datetime
) -> TrustDocument:
    """The first version.

    Raises:
        RefusedError: With everything in it that nobody could act by.
    """
    document = TrustDocument(
        namespace=namespace,
        version=1,
        issued_at=render_time(now),
        keys=tuple(keys),
        clocks=tuple(clocks),
    )
    check_document(document)
    return document


def with_key(document: TrustDocument, key: TrustedKey, *, now: datetime) -> TrustDocument:
    """The next version, in which the key counts.

    Raises:
        KeyKnownError: It is there already.
        RefusedError: A moment of it is none.
    """
    for index, known in enumerate(document.keys):
        if known.key == key.key:
            rule = f"is known as {known.name}'s"
            reason = Reason(path=f"keys[{index}].key", rule=rule, got=key.key)
            raise KeyKnownError(f"the key {rule}", [reason])
    return _next(document, now=now, keys=(*document.keys, key))


def with_clocks(document: TrustDocument, clocks: Sequence[str]) -> TrustDocument:
    """The document with these clocks beside its own; the version is the same."""
    return msgspec.structs.replace(
        document, clocks=tuple(dict.fromkeys((*document.clocks, *clocks)))
    )


def rotated(
    document: TrustDocument, name: str, new: str, *, old: str = "", at: str, now: datetime
) -> TrustDocument:
    """The next version: a key of `name` ends at a moment, and another one begins then.

    What was published before stays signed.

    Args:
        document: Of now.
        name: Whose.
        new: The new public key, hexadecimal.
        old: Which key ends; empty: the one that `name` holds.
        at: RFC 3339.
        now: Aware.

    Raises:
        UnknownKeyError: The name holds no such key, or several.
        KeyKnownError: The new key is there already.
    """
    ended = _held(document, name, old)
    begun = msgspec.structs.replace(ended, key=new, not_before=at, not_after="")
    document = _with(document, msgspec.structs.replace(ended, not_after=at))
    return with_key(document, begun, now=now)


def revoked(
    document: TrustDocument,
    name: str,
    *,
    key: str = "",
    at: str,
    older: OlderSignatures,
    now: datetime,
) -> TrustDocument:
    """The next version: a key of `name` signs nothing from a moment on.

    Args:
        document: Of now.
        name: Whose.
        key: Which; empty: the one that `name` holds.
        at: RFC 3339.
        older: Whether what was published before stays signed.
        now: Aware.

    Raises:
        UnknownKeyError: The name holds no such key, or several.
    """
    found = _held(document, name, key)
    ended = msgspec.structs.replace(found, revoked_at=at, older_signatures=older)
    return _next(_with(document, ended), now=now)


def with_threshold(document: TrustDocument, threshold: int, *, now: datetime) -> TrustDocument:
    """The next version, in which so many holders must have signed.

    Raises:
        ThresholdError: Fewer hold keys.
    """
    holders = {key.name for key in document.keys if "package" in key.roles and not key.revoked_at}
    if threshold > len(holders):
        rule = "more must sign than hold keys for packages"
        reason = Reason(path="threshold", rule=rule, got=threshold, allowed=sorted(holders))
        raise ThresholdError(f"threshold: {rule}", [reason])
    return _next(document, now=now, threshold=threshold)


def _held(document: TrustDocument, name: str, key: str) -> TrustedKey:
    """The one key of `name` that is meant: that one, or the only one that is not over."""
    held = [one for one in document.keys if one.name == name and (not key or one.key == key)]
    if not key:
        held = [one for one in held if not one.revoked_at and not one.not_after] or held[-1:]
    if len(held) == 1:
        return held[0]
    rule = "holds several keys: name one with --key" if held else "holds no such key"
    reason = Reason(
        path="name",
        rule=rule,
        got=name,
        allowed=[one.key for one in held] or sorted({one.name for one in document.keys}),
    )
    raise UnknownKeyError(f"{name} {rule}", [reason])


def _with(document: TrustDocument, key: TrustedKey) -> TrustDocument:
    keys = tuple(key if one.key == key.key else one for one in document.keys)
    return msgspec.structs.replace(document, keys=keys)


def _next(document: TrustDocument, *, now: datetime, **changes: object) -> TrustDocument:
    following = msgspec.structs.replace(
        document, version=document.version + 1, issued_at=render_time(now), **changes
    )
    check_document(following)
    return following
