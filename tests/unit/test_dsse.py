# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Signatures: what is believed, and what is refused by name."""

from __future__ import annotations

import base64

import msgspec
import pytest

from shared.contracts.catalog import DsseEnvelope, DsseSignature, SignedPackage
from shared.dsse import (
    CERTIFICATE_TYPE,
    MANIFEST_TYPE,
    SignatureError,
    key_id,
    manifest_digest,
    open_envelope,
    pre_authentication_encoding,
    public_key_of,
    sign_envelope,
    verify_signed_package,
)
from tests.package_builders import (
    PUBLISHER_SEED,
    STRANGER_SEED,
    TRUST_ROOT,
    a_certificate,
    a_manifest,
    sign,
)

PUBLIC = public_key_of(PUBLISHER_SEED)
KEYS = {key_id(PUBLIC): PUBLIC}


def refused(signed: SignedPackage) -> tuple[str, str]:
    """Path and rule of the one reason why a signed package is refused."""
    with pytest.raises(SignatureError) as caught:
        verify_signed_package(signed, trust_root=TRUST_ROOT)
    assert caught.value.refusal().code == "verification_failed"
    (reason,) = caught.value.reasons
    return reason.path, reason.rule


def test_the_encoding_is_the_one_that_the_protocol_shows() -> None:
    """PAE of the example in DSSE's protocol.md is byte for byte the published one."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")

    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_was_signed_comes_back() -> None:
    """An envelope opens to exactly the bytes that were signed."""
    envelope = sign_envelope("text/plain", b"\x00payload\xff", seed=PUBLISHER_SEED)

    assert open_envelope(envelope, payload_type="text/plain", public_keys=KEYS) == (
        b"\x00payload\xff"
    )


def test_a_certified_publisher_is_believed() -> None:
    """Trust root, certificate and manifest form a chain that gives both documents back."""
    manifest, certificate = a_manifest(), a_certificate()

    verified = verify_signed_package(sign(manifest), trust_root=TRUST_ROOT)

    assert verified == (manifest, certificate)


def test_a_certificate_that_the_trust_root_did_not_sign_is_refused() -> None:
    """An unknown publisher cannot certify itself."""
    signed = sign(
        a_manifest(),
        seed=STRANGER_SEED,
        certificate=a_certificate(STRANGER_SEED),
        trust_seed=STRANGER_SEED,
    )

    assert refused(signed) == (
        "signed.certificate.signatures",
        "no signature is by a trusted key",
    )


def test_a_manifest_that_another_key_signed_is_refused() -> None:
    """The certificate lets one key sign, and no other."""
    signed = sign(a_manifest(), seed=STRANGER_SEED)

    assert refused(signed) == ("signed.manifest.signatures", "no signature is by a trusted key")


def test_a_key_id_is_only_a_hint() -> None:
    """A signature under a stolen key id does not verify."""
    signed = sign(a_manifest(), seed=STRANGER_SEED)
    stolen = DsseSignature(keyid=key_id(PUBLIC), sig=signed.manifest.signatures[0].sig)
    envelope = msgspec.structs.replace(signed.manifest, signatures=(stolen,))

    assert refused(msgspec.structs.replace(signed, manifest=envelope)) == (
        "signed.manifest.signatures[0]",
        "the signature does not verify",
    )


def test_another_payload_under_a_good_signature_is_refused() -> None:
    """The signature binds the payload."""
    signed = sign(a_manifest())
    other = sign(a_manifest(version="9.9.9"))
    envelope = msgspec.structs.replace(signed.manifest, payload=other.manifest.payload)

    assert refused(msgspec.structs.replace(signed, manifest=envelope))[1] == (
        "the signature does not verify"
    )


def test_a_certificate_is_no_manifest() -> None:
    """The signature binds the type, so one document cannot be passed off as another."""
    signed = sign(a_manifest())
    swapped = msgspec.structs.replace(signed, manifest=signed.certificate)
    relabelled = msgspec.structs.replace(
        signed, manifest=msgspec.structs.replace(signed.manifest, payloadType=CERTIFICATE_TYPE)
    )

    assert refused(swapped) == ("signed.manifest.payloadType", "the payload has another type")
    assert refused(relabelled) == ("signed.manifest.payloadType", "the payload has another type")


def test_a_package_name_outside_the_certificate_is_refused() -> None:
    """A publisher signs only for the names the installation gave it."""
    signed = sign(a_manifest(), certificate=a_certificate(packages=("edge-*", "core")))

    assert refused(signed) == (
        "signed.manifest.payload.name",
        "publisher acme may not sign for this package name",
    )


@pytest.mark.parametrize("payload", [b'{"name":"one"}', b"not json", b'{ "files": [] }', b""])
def test_a_signed_payload_that_is_no_manifest_is_refused(payload: bytes) -> None:
    """A signature does not make nonsense a manifest."""
    envelope = sign_envelope(MANIFEST_TYPE, payload, seed=PUBLISHER_SEED)
    signed = msgspec.structs.replace(sign(a_manifest()), manifest=envelope)

    with pytest.raises(SignatureError, match="is not a PackageManifest") as caught:
        verify_signed_package(signed, trust_root=TRUST_ROOT)
    assert caught.value.reasons[0].path.startswith("signed.manifest.payload")


def test_every_problem_of_a_signed_manifest_is_named() -> None:
    """An unknown field and a wrong value are both reported, at their places in the payload."""
    manifest = {**msgspec.to_builtins(a_manifest()), "surprise": 1, "summary": ""}
    payload = msgspec.json.encode(manifest, order="sorted")
    envelope = sign_envelope(MANIFEST_TYPE, payload, seed=PUBLISHER_SEED)
    signed = msgspec.structs.replace(sign(a_manifest()), manifest=envelope)

    with pytest.raises(SignatureError) as caught:
        verify_signed_package(signed, trust_root=TRUST_ROOT)

    assert {reason.path for reason in caught.value.reasons} == {
        "signed.manifest.payload.surprise",
        "signed.manifest.payload.summary",
    }


def test_a_manifest_has_one_spelling() -> None:
    """A signed manifest that is not in canonical bytes is refused: one content, one digest."""
    payload = msgspec.json.format(msgspec.json.encode(a_manifest(), order="sorted"))
    envelope = sign_envelope(MANIFEST_TYPE, payload, seed=PUBLISHER_SEED)
    signed = msgspec.structs.replace(sign(a_manifest()), manifest=envelope)

    assert refused(signed) == ("signed.manifest.payload", "is not in canonical form")


@pytest.mark.parametrize("text", ["!", "YQ", "YR==", "YQ==\n", "é", "_-8="])
def test_base64_has_one_spelling(text: str) -> None:
    """Signatures and payloads that are not canonical standard base64 are refused."""
    envelope = DsseEnvelope(
        payloadType="t", payload=text, signatures=(DsseSignature(keyid="k", sig=""),)
    )

    with pytest.raises(SignatureError, match="base64"):
        open_envelope(envelope, payload_type="t", public_keys=KEYS)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_refused(size: int) -> None:
    """Only 64 bytes can be an Ed25519 signature."""
    envelope = sign_envelope("t", b"x", seed=PUBLISHER_SEED)
    short = DsseSignature(
        keyid=envelope.signatures[0].keyid, sig=base64.b64encode(bytes(size)).decode()
    )

    with pytest.raises(SignatureError, match="does not verify"):
        open_envelope(
            msgspec.structs.replace(envelope, signatures=(short,)),
            payload_type="t",
            public_keys=KEYS,
        )


def test_the_manifest_digest_names_the_signed_bytes() -> None:
    """Two manifests have one digest only if their signed bytes are equal."""
    one, same, other = sign(a_manifest()), sign(a_manifest()), sign(a_manifest(version="1.0.1"))

    assert manifest_digest(one) == manifest_digest(same) != manifest_digest(other)
