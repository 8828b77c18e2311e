# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents: who makes one, which one replaces which, and what cannot be one."""

from __future__ import annotations

import msgspec
import pytest

from shared.contracts.trust import TrustDocument
from shared.dsse import SignatureError, sign_envelope
from shared.trust.documents import (
    TRUST_TYPE,
    OldDocumentError,
    TrustDocumentError,
    is_newer,
    namespace_of,
    open_document,
    sign_document,
)
from tests.package_builders import PUBLISHER_SEED, TRUST_ROOT, TRUST_SEED
from tests.support.trusting import a_key, a_trust_document


def test_what_the_trust_root_signed_opens() -> None:
    """A document comes back as it was signed."""
    document = a_trust_document(a_key(), version=7)

    assert open_document(sign_document(document, seed=TRUST_SEED), trust_root=TRUST_ROOT) == (
        document
    )


def test_nobody_else_makes_a_document() -> None:
    """A publisher cannot say whom to trust."""
    envelope = sign_document(a_trust_document(a_key()), seed=PUBLISHER_SEED)

    with pytest.raises(SignatureError, match="no signature is by a trusted key"):
        open_document(envelope, trust_root=TRUST_ROOT)


def test_a_document_over_other_bytes_is_refused() -> None:
    """The signature binds every key in it."""
    signed = sign_document(a_trust_document(a_key()), seed=TRUST_SEED)
    other = sign_document(a_trust_document(), seed=TRUST_SEED)
    forged = msgspec.structs.replace(signed, payload=other.payload)

    with pytest.raises(SignatureError, match="does not verify"):
        open_document(forged, trust_root=TRUST_ROOT)


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[" * 100,
        b'{"issued_at":"2026-01-01T00:00:00Z","namespace":"public","surprise":1,"version":1}',
        b'{"issued_at":"2026-01-01T00:00:00Z","namespace":"r_0123456789abcdef","version":1}',
        b" " * 300_000,
    ],
)
def test_what_is_no_document_is_refused_although_it_is_signed(payload: bytes) -> None:
    """Unknown fields, depth, size and namespaces that cannot have one are refused."""
    envelope = sign_envelope(TRUST_TYPE, payload, seed=TRUST_SEED)

    with pytest.raises(SignatureError):
        open_document(envelope, trust_root=TRUST_ROOT)


def test_every_moment_that_is_none_is_named() -> None:
    """A document by which nobody could act is refused as a whole, with all its problems."""
    document = a_trust_document(
        a_key(not_after="tomorrow", revoked_at="2026-01-01T00:00:00"),
        a_key(name="twin"),
        a_key(
            name="eve",
            seed=b"e" * 32,
            not_before="2026-02-01T00:00:00Z",
            not_after="2026-01-01T00:00:00Z",
        ),
    )

    with pytest.raises(TrustDocumentError) as caught:
        open_document(sign_document(document, seed=TRUST_SEED), trust_root=TRUST_ROOT)

    assert [(one.path, one.rule) for one in caught.value.reasons] == [
        ("document.payload.keys[0].not_after", "is no moment with a zone"),
        ("document.payload.keys[0].revoked_at", "is no moment with a zone"),
        ("document.payload.keys[1].key", "is there twice"),
        ("document.payload.keys[2].not_after", "is not after not_before"),
    ]


def test_a_document_is_replaced_by_a_newer_one_alone() -> None:
    """An older version, or another document of the same, is refused by name; itself is no news."""
    kept = a_trust_document(version=5)

    assert is_newer(kept, None)
    assert is_newer(a_trust_document(version=6), kept)
    assert not is_newer(a_trust_document(version=5), kept)
    with pytest.raises(OldDocumentError, match="is older than the one that is known"):
        is_newer(a_trust_document(version=4), kept)
    with pytest.raises(OldDocumentError, match="another document of a version that is known"):
        is_newer(a_trust_document(a_key(), version=5), kept)


@pytest.mark.parametrize(
    ("audience", "namespace"),
    [("public", "public"), ("p_acme", "p_acme"), ("r_0123456789abcdef", "public")],
)
def test_an_embargo_is_signed_as_what_is_public(audience: str, namespace: str) -> None:
    """A private space has keys of its own; what will be public needs the public ones."""
    assert namespace_of(audience) == namespace


def test_a_document_takes_as_many_keys_as_it_may_and_still_fits() -> None:
    """The largest document is below the limit of what is read."""
    keys = [
        a_key(name=f"holder-{number}", seed=number.to_bytes(32), not_after="2027-01-01T00:00:00Z")
        for number in range(256)
    ]
    document = a_trust_document(*keys)

    opened = open_document(sign_document(document, seed=TRUST_SEED), trust_root=TRUST_ROOT)

    assert len(opened.keys) == 256
    assert isinstance(opened, TrustDocument)
