# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in, or brought back of, what trust rests on is noticed."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.catalog import DsseEnvelope
from shared.contracts.trust import TrustDocument
from shared.dsse import SignatureError
from shared.trust.documents import OldDocumentError, is_newer, open_document, sign_document
from shared.trust.receipts import read_receipt
from tests.package_builders import TRUST_ROOT, TRUST_SEED, a_manifest, sign
from tests.support.trusting import a_key, a_trust_document, with_receipt

DOCUMENT = a_trust_document(a_key(), threshold=1)
SIGNED = sign_document(DOCUMENT, seed=TRUST_SEED)
PACKAGE = with_receipt(sign(a_manifest()))

places = st.tuples(st.booleans(), st.integers(0, 1 << 16), st.integers(0, 7))


def flipped(text: str, at: int, bit: int) -> str:
    """Base64 of the same bytes with one bit changed."""
    data = bytearray(base64.b64decode(text))
    data[at % len(data)] ^= 1 << bit
    return base64.b64encode(bytes(data)).decode()


def tampered(envelope: DsseEnvelope, place: tuple[bool, int, int]) -> DsseEnvelope:
    """One bit of the payload or of the signature is another."""
    in_payload, at, bit = place
    if in_payload:
        return msgspec.structs.replace(envelope, payload=flipped(envelope.payload, at, bit))
    (signature,) = envelope.signatures
    other = msgspec.structs.replace(signature, sig=flipped(signature.sig, at, bit))
    return msgspec.structs.replace(envelope, signatures=(other,))


@given(places)
def test_every_changed_bit_of_a_trust_document_is_noticed(place: tuple[bool, int, int]) -> None:
    """Nobody moves a moment, a key or a threshold."""
    with pytest.raises(SignatureError):
        open_document(tampered(SIGNED, place), trust_root=TRUST_ROOT)


@given(places)
def test_every_changed_bit_of_a_receipt_is_noticed(place: tuple[bool, int, int]) -> None:
    """Nobody moves the moment of a publication."""
    assert PACKAGE.receipt is not None

    with pytest.raises(SignatureError):
        read_receipt(PACKAGE, tampered(PACKAGE.receipt, place), DOCUMENT)


offers = st.lists(
    st.builds(
        lambda version, threshold: a_trust_document(version=version, threshold=threshold),
        st.integers(1, 6),
        st.integers(1, 2),
    ),
    max_size=12,
)


@given(offers)
def test_whatever_is_offered_in_whatever_order_nobody_goes_back(
    offered: list[TrustDocument],
) -> None:
    """What is kept is the first document of the highest version that was seen."""
    kept: TrustDocument | None = None
    for document in offered:
        before = kept
        try:
            if is_newer(document, kept):
                kept = document
        except OldDocumentError:
            assert before is not None
            assert document.version <= before.version
        assert before is None or (kept is not None and kept.version >= before.version)

    highest = max((one.version for one in offered), default=0)
    first = next((one for one in offered if one.version == highest), None)
    assert kept == first
