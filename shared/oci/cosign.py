# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether cosign signed an image with the key that is demanded.

Pure.  Where signatures lie: cosign's specs/SIGNATURE_SPEC.md (tag `sha256-<digest>.sig`, layers of
a simple signing payload and an annotation), and as referrers (distribution-spec 1.1), with the same
layers or with a Sigstore bundle, whose DSSE envelope holds an in-toto statement (cosign 3).

Rules:
 * The signature is checked before the payload is parsed.
 * The payload must name the image's digest; its `docker-reference` is ignored, as cosign does.
 * No certificate, transparency log or key that a signature brings along counts: the key does alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.dsse import pre_authentication_encoding
from shared.errors import Reason, RefusedError, VerificationError
from shared.oci.documents import Descriptor, ImageManifest

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
BUNDLE: Final = "application/vnd.dev.sigstore.bundle"
"""What types of bundles begin with; the version follows."""
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
IN_TOTO: Final = "application/vnd.in-toto+json"
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 64
"""Of one image, that are looked at."""

_TYPE: Final = "cosign container image signature"

CosignKey: TypeAlias = EllipticCurvePublicKey | Ed25519PublicKey


class ImageSignatureError(VerificationError):
    """The image is not signed with the key that is demanded."""


@dataclass(frozen=True, slots=True)
class FoundSignature:
    """One signature that a registry holds for an image."""

    place: str
    """How refusals call it."""
    media_type: str
    payload: bytes
    """Simple signing, or a bundle."""
    signature: str = ""
    """Base64; a bundle holds its own."""


def parse_key(pem: bytes, *, path: str) -> CosignKey:
    """The public key in a PEM file, as `cosign generate-key-pair` writes it.

    Raises:
        RefusedError: It is none, or neither ECDSA P-256 nor Ed25519.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        reason = Reason(path=path, rule="is no public key in PEM form (cosign.pub)")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    reason = Reason(path=path, rule="is another kind of key", allowed="ECDSA P-256 or Ed25519")
    raise RefusedError(f"{path}: {reason.rule}", [reason])


def signature_tag(digest: str) -> str:
    """The tag below which cosign keeps the signatures of what has this digest."""
    return f"{digest.replace(':', '-')}.sig"


def referrers_tag(digest: str) -> str:
    """The tag of the index of referrers where the registry has no API for them."""
    return digest.replace(":", "-")


def may_hold_signatures(descriptor: Descriptor) -> bool:
    """Whether a referrer is worth being looked at."""
    kinds = (descriptor.artifact_type, descriptor.media_type)
    return SIGNATURE_ARTIFACT in kinds or any(one.startswith(BUNDLE) for one in kinds)


def signed_layers(manifest: ImageManifest) -> Iterator[Descriptor]:
    """The layers of a manifest that are signatures and not too large."""
    for layer in manifest.layers:
        is_simple = layer.media_type == SIMPLE_SIGNING and SIGNATURE_ANNOTATION in layer.annotations
        is_bundle = layer.media_type.startswith(BUNDLE)
        if (is_simple or is_bundle) and 0 <= layer.size <= MAX_PAYLOAD_BYTES:
            yield layer


def check_signed(found: Iterable[FoundSignature], *, digest: str, key: CosignKey) -> str:
    """The place of the first signature that is by the key and over the digest.

    Raises:
        ImageSignatureError: There is none; with why each does not count.
    """
    reasons: list[Reason] = []
    for one in found:
        rule = _problem(one, digest, key)
        if not rule:
            return one.place
        reasons.append(Reason(path=one.place, rule=rule))
    if not reasons:
        reasons = [Reason(path=digest, rule="the registry holds no cosign signature of it")]
    raise ImageSignatureError(f"{digest} is not signed with this key", reasons)


def _problem(found: FoundSignature, digest: str, key: CosignKey) -> str:
    """Why the signature does not count; empty: it does."""
    if found.media_type.startswith(BUNDLE):
        return _bundle_problem(found.payload, digest, key)
    if not _verifies(key, found.signature, found.payload):
        return "is not by this key, or over other bytes"
    critical = _part(_decoded(found.payload), "critical")
    if critical.get("type") != _TYPE:
        return "is of another type than cosign's"
    signed = _part(critical, "image").get("docker-manifest-digest")
    return "" if signed == digest else f"is over another image: {signed}"


def _bundle_problem(bundle: bytes, digest: str, key: CosignKey) -> str:
    envelope = _part(_decoded(bundle), "dsseEnvelope")
    kind, payload = envelope.get("payloadType"), _bytes(envelope.get("payload"))
    signatures = envelope.get("signatures")
    if kind != IN_TOTO or payload is None or not isinstance(signatures, list):
        return "is a bundle without an in-toto statement"
    signed = pre_authentication_encoding(IN_TOTO, payload)
    if not any(
        isinstance(one, dict) and _verifies(key, one.get("sig"), signed) for one in signatures
    ):
        return "is not by this key, or over other bytes"
    statement = _decoded(payload)
    if statement.get("predicateType") != SIGN_PREDICATE:
        return f"states something else than a signature: {statement.get('predicateType')}"
    subjects = statement.get("subject")
    names = [
        f"sha256:{_part(one, 'digest').get('sha256')}"
        for one in (subjects if isinstance(subjects, list) else [])
        if isinstance(one, dict)
    ]
    return "" if digest in names else f"is over another image: {', '.join(names)}"


def _verifies(key: CosignKey, signature: object, signed: bytes) -> bool:
    raw = _bytes(signature)
    if raw is None:
        return False
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, signed)
        else:
            key.verify(raw, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _bytes(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
