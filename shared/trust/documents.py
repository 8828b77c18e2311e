# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents: signed, opened, and replaced by newer ones alone.

Pure.

Rules:
 * Only the installation's trust root makes one.
 * The version goes up.  An older document, or another one of the same version, is refused: whoever
   can replay what was said once must not bring a revoked key back.
 * A document that nobody could act by (a moment that is none, a key twice) is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar, Final

from shared.canonical import canonical_bytes, canonical_digest
from shared.contracts.catalog import DsseEnvelope
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.trust import TrustDocument, TrustedKey
from shared.dsse import SignatureError, key_id, open_envelope, read_document, sign_envelope
from shared.errors import Reason, RefusedError
from shared.reason_lists import bounded_reasons

TRUST_TYPE: Final = "application/vnd.l3af.trust-document.v1+json"
MAX_DOCUMENT_BYTES: Final = 192 * 1024
"""Of the signed bytes; the record that holds them in base64 fits its bucket."""
_PRIVATE: Final = "p_"


class TrustDocumentError(RefusedError):
    """Nobody could act by this document."""


class OldDocumentError(RefusedError):
    """A document of this version, or a later one, was seen before."""

    code: ClassVar[ErrorCode] = "conflict"


def sign_document(document: TrustDocument, *, seed: bytes) -> DsseEnvelope:
    """The trust root's word; `seed` is its own."""
    return sign_envelope(TRUST_TYPE, canonical_bytes(document), seed=seed)


def open_document(
    envelope: DsseEnvelope, *, trust_root: bytes, path: str = "document"
) -> TrustDocument:
    """The document, once the trust root (32 raw bytes) is known to have signed it.

    Raises:
        SignatureError: It did not, or what it signed is no trust document.
        TrustDocumentError: With everything in it that nobody could act by.
    """
    size_bytes = len(envelope.payload) * 3 // 4
    if size_bytes > MAX_DOCUMENT_BYTES:
        rule = "is too large"
        reason = Reason(
            path=f"{path}.payload", rule=rule, got=size_bytes, allowed=MAX_DOCUMENT_BYTES
        )
        raise SignatureError(f"{reason.path}: {rule}", [reason])
    keys = {key_id(trust_root): trust_root}
    payload = open_envelope(envelope, payload_type=TRUST_TYPE, public_keys=keys, path=path)
    document = read_document(payload, TrustDocument, path=path)
    check_document(document, path=f"{path}.payload")
    return document


def check_document(document: TrustDocument, *, path: str = "document") -> None:
    """It says what can be acted by.

    Raises:
        TrustDocumentError: With everything that cannot.
    """
    reasons = bounded_reasons(_document_reasons(document, path))
    if reasons:
        raise TrustDocumentError(f"{reasons[0].path}: {reasons[0].rule}", reasons)


def is_newer(offered: TrustDocument, kept: TrustDocument | None) -> bool:
    """Whether `offered` takes the place of `kept`; False: they are the same.

    Raises:
        OldDocumentError: It is older, or another one of the same version.
    """
    if kept is None or offered.version > kept.version:
        return True
    if offered == kept:
        return False
    rule = (
        "is older than the one that is known"
        if offered.version < kept.version
        else "is another document of a version that is known"
    )
    reason = Reason(
        path="document.version", rule=rule, got=offered.version, allowed=f"above {kept.version}"
    )
    raise OldDocumentError(f"trust document of {offered.namespace}: {rule}", [reason])


def document_digest(document: TrustDocument) -> str:
    """SHA-256 of the signed bytes."""
    return canonical_digest(document)


def namespace_of(audience: Audience) -> Audience:
    """Whose keys count for what lies in a space: an embargo's versions become public ones."""
    return audience if audience.startswith(_PRIVATE) else PUBLIC


def moment(text: str) -> datetime:
    """The moment that a field of a checked document, or of a receipt, names."""
    return datetime.fromisoformat(text)


def _document_reasons(document: TrustDocument, path: str) -> Iterator[Reason]:
    yield from _moment_reasons(document.issued_at, f"{path}.issued_at", is_needed=True)
    seen: set[str] = set()
    for index, key in enumerate(document.keys):
        place = f"{path}.keys[{index}]"
        if key.key in seen:
            yield Reason(path=f"{place}.key", rule="is there twice", got=key.key)
        seen.add(key.key)
        yield from _key_reasons(key, place)
    for index, clock in enumerate(document.clocks):
        if clock in seen:
            yield Reason(
                path=f"{path}.clocks[{index}]",
                rule="a key that says when packages were published signs none",
                got=clock,
            )


def _key_reasons(key: TrustedKey, path: str) -> Iterator[Reason]:
    bad = [
        reason
        for field in ("not_before", "not_after", "revoked_at")
        for reason in _moment_reasons(getattr(key, field), f"{path}.{field}")
    ]
    yield from bad
    if bad or not (key.not_before and key.not_after):
        return
    if moment(key.not_after) <= moment(key.not_before):
        yield Reason(
            path=f"{path}.not_after",
            rule="is not after not_before",
            got=key.not_after,
            allowed=f"after {key.not_before}",
        )


def _moment_reasons(text: str, path: str, *, is_needed: bool = False) -> Iterator[Reason]:
    if not text and not is_needed:
        return
    try:
        has_zone = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        has_zone = False
    if not has_zone:
        yield Reason(path=path, rule="is no moment with a zone", got=text, allowed="RFC 3339")
