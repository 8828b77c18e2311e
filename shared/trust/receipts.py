# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Receipts: the catalog's word when, and in which namespace, it took a package.

Pure.  A publisher chooses every byte of what it signs, any date in it too, so that no date of a
publisher's says that a signature is older than the key's revocation.  The catalog's clock does: its
receipt is signed by a key that no publisher has and that the trust document names (`clocks`).

The key is derived (HKDF, RFC 5869) from the seed of the catalog's own credentials, so nothing has
to be kept; whoever holds the installation's directory can derive its public half.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.canonical import canonical_bytes
from shared.contracts.catalog import DsseEnvelope, SignedPackage
from shared.contracts.trust import MAX_REMARK, PublicationReceipt, TrustDocument
from shared.dsse import (
    KEY_BYTES,
    SignatureError,
    key_id,
    manifest_digest,
    open_envelope,
    read_document,
    sign_envelope,
)
from shared.errors import Reason, RefusedError
from shared.trust.documents import namespace_of
from shared.validation import decode_document

RECEIPT_TYPE: Final = "application/vnd.l3af.publication-receipt.v1+json"
MAX_RECEIPT_BYTES: Final = 4096
PATH: Final = "signed.receipt"
_KEPT: Final = 1024
_PURPOSE: Final = b"l3af catalog publication receipt v1"


def derive_clock_seed(seed: bytes) -> bytes:
    """The Ed25519 seed of receipts that belongs to the seed of the catalog's credentials."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=_PURPOSE).derive(seed)


def issue_receipt(
    signed: SignedPackage, *, audience: str, published_at: str, seed: bytes, unverified: str = ""
) -> DsseEnvelope:
    """The receipt of a package that was published; the same arguments give the same one.

    Args:
        signed: As it was published.
        audience: The space that it lies in.
        published_at: By the catalog's clock.
        seed: `derive_clock_seed`'s.
        unverified: What trust mode `normal` let pass; empty: nothing.
    """
    receipt = PublicationReceipt(
        manifest_sha256=manifest_digest(signed),
        archive_sha256=signed.archive_sha256,
        namespace=namespace_of(audience),
        published_at=published_at,
        unverified=unverified[:MAX_REMARK],
    )
    return sign_envelope(RECEIPT_TYPE, canonical_bytes(receipt), seed=seed)


def read_receipt(
    signed: SignedPackage, envelope: DsseEnvelope, document: TrustDocument
) -> PublicationReceipt:
    """What the receipt says, once a clock of the document is known to have signed it.

    Raises:
        SignatureError: None did, or it is about another package or namespace.
    """
    if len(envelope.payload) > MAX_RECEIPT_BYTES:
        raise _refused("payload", "is too large", len(envelope.payload), MAX_RECEIPT_BYTES)
    clocks = [bytes.fromhex(clock) for clock in document.clocks]
    payload = open_envelope(
        envelope,
        payload_type=RECEIPT_TYPE,
        public_keys={key_id(clock): clock for clock in clocks},
        path=PATH,
    )
    receipt = read_document(payload, PublicationReceipt, path=PATH)
    for field, got, allowed in (
        ("manifest_sha256", receipt.manifest_sha256, manifest_digest(signed)),
        ("archive_sha256", receipt.archive_sha256, signed.archive_sha256),
        ("namespace", receipt.namespace, document.namespace),
    ):
        if got != allowed:
            raise _refused(f"payload.{field}", "is another package's receipt", got, allowed)
    return receipt


def unverified(signed: SignedPackage) -> str:
    """What the catalog says that it let pass; empty: nothing, or there is no readable receipt.

    For events and warnings: nothing is decided by it, and its signature is not looked at.
    """
    return "" if signed.receipt is None else _remark(signed.receipt.payload)


@lru_cache(maxsize=_KEPT)
def _remark(payload: str) -> str:
    try:
        decoded = base64.b64decode(payload, validate=True)
        return decode_document(decoded, PublicationReceipt, what="receipt").unverified
    except (binascii.Error, ValueError, RefusedError):
        return ""


def _refused(path: str, rule: str, got: object, allowed: object) -> SignatureError:
    reason = Reason(path=f"{PATH}.{path}", rule=rule, got=got, allowed=allowed)
    return SignatureError(f"{reason.path}: {rule}", [reason])
