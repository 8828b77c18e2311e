# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Cosign's signatures: which count, and why the others do not."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.errors import RefusedError
from shared.oci.cosign import (
    SIMPLE_SIGNING,
    FoundSignature,
    ImageSignatureError,
    check_signed,
    parse_key,
)
from shared.oci.documents import digest_of
from tests.support.cosigning import BUNDLE_TYPE, bundle, new_key, public_pem, sign, simple_payload

DIGEST, OTHER = digest_of(b"image"), digest_of(b"another")
KEY = new_key()
PUBLIC = parse_key(public_pem(KEY), path="cosign.pub")


def simple(payload: bytes, signature: str = "") -> FoundSignature:
    """As a layer of the tag's manifest."""
    return FoundSignature("tag", SIMPLE_SIGNING, payload, signature or sign(KEY, payload))


def bundled(data: bytes) -> FoundSignature:
    """As a referrer's layer."""
    return FoundSignature("bundle", BUNDLE_TYPE, data)


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_what_the_key_signed_counts(kind: Literal["ecdsa", "ed25519"]) -> None:
    """In both forms, also beside signatures that do not count."""
    key = new_key(kind)
    public = parse_key(public_pem(key), path="cosign.pub")
    payload = simple_payload(DIGEST)
    good = FoundSignature("good", SIMPLE_SIGNING, payload, sign(key, payload))
    strange = simple(payload)

    assert check_signed([strange, good], digest=DIGEST, key=public) == "good"
    assert check_signed([bundled(bundle(DIGEST, key))], digest=DIGEST, key=public) == "bundle"


def _bundle_with(**changes: Any) -> FoundSignature:
    document = json.loads(bundle(DIGEST, KEY))
    document["dsseEnvelope"] |= changes
    return bundled(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (simple(simple_payload(OTHER)), f"is over another image: {OTHER}"),
        (simple(simple_payload(DIGEST), sign(new_key(), simple_payload(DIGEST))), "by this key"),
        (simple(simple_payload(DIGEST), sign(KEY, simple_payload(OTHER))), "over other bytes"),
        (simple(simple_payload(DIGEST), "not base64!"), "by this key"),
        (simple(simple_payload(DIGEST, type="atomic container signature")), "another type"),
        (simple(simple_payload(DIGEST, image={})), "is over another image: None"),
        (simple(b"[]"), "another type"),
        (simple(b"not JSON"), "another type"),
        (bundled(bundle(OTHER, KEY)), f"is over another image: {OTHER}"),
        (bundled(bundle(DIGEST, new_key())), "by this key"),
        (bundled(bundle(DIGEST, KEY, predicate="https://slsa.dev/provenance/v1")), "else than"),
        (_bundle_with(payloadType="text/plain"), "without an in-toto statement"),
        (_bundle_with(payload="AAAA"), "over other bytes"),
        (_bundle_with(signatures=[]), "by this key"),
        (_bundle_with(signatures=["x", {}]), "by this key"),
        (bundled(b"{}"), "without an in-toto statement"),
    ],
)
def test_what_does_not_count_is_named(found: FoundSignature, rule: str) -> None:
    """Over another image, by another key, of another kind, or no signature at all."""
    with pytest.raises(ImageSignatureError) as caught:
        check_signed([found], digest=DIGEST, key=PUBLIC)

    assert rule in caught.value.reasons[0].rule


def test_an_image_without_signatures_is_not_signed() -> None:
    """And that is what is said."""
    with pytest.raises(ImageSignatureError) as caught:
        check_signed([], digest=DIGEST, key=PUBLIC)

    assert caught.value.reasons[0].rule == "the registry holds no cosign signature of it"


def test_only_the_two_kinds_of_keys_are_read() -> None:
    """What cosign makes by default, and Ed25519; a private key or another curve is refused."""
    other = generate_private_key(SECP384R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    for data, rule in ((pem, "another kind of key"), (b"nothing", "no public key in PEM")):
        with pytest.raises(RefusedError, match=rule):
            parse_key(data, path="cosign.pub")
