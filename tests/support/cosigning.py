# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Signatures as cosign makes them (sigstore/cosign, specs/SIGNATURE_SPEC.md)."""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.dsse import pre_authentication_encoding
from shared.oci.cosign import (
    IN_TOTO,
    SIGN_PREDICATE,
    SIGNATURE_ANNOTATION,
    SIGNATURE_ARTIFACT,
    SIMPLE_SIGNING,
)
from shared.oci.documents import (
    EMPTY_CONFIG,
    EMPTY_JSON,
    IMAGE_CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    ImageIndex,
    ImageManifest,
    OciContent,
    describe,
    encode,
)

SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def new_key(kind: Literal["ecdsa", "ed25519"] = "ecdsa") -> SigningKey:
    """A key nobody had before."""
    return generate_private_key(SECP256R1()) if kind == "ecdsa" else Ed25519PrivateKey.generate()


def public_pem(key: SigningKey) -> bytes:
    """What `cosign.pub` holds."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(key: SigningKey, data: bytes) -> str:
    """Base64 of the signature."""
    if isinstance(key, Ed25519PrivateKey):
        return base64.b64encode(key.sign(data)).decode()
    return base64.b64encode(key.sign(data, ECDSA(SHA256()))).decode()


def simple_payload(digest: str, **critical: Any) -> bytes:
    """The simple signing payload of an image."""
    parts = {
        "identity": {"docker-reference": "registry.test/anything"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": {**parts, **critical}, "optional": None}).encode()


def signature_content(digest: str, key: SigningKey) -> OciContent:
    """What lies under the tag `sha256-<digest>.sig`."""
    signed = simple_payload(digest)
    layer = describe(SIMPLE_SIGNING, signed, annotations={SIGNATURE_ANNOTATION: sign(key, signed)})
    config = b"{}"
    manifest = encode(
        ImageManifest(
            schema_version=2,
            media_type=MANIFEST,
            config=describe(IMAGE_CONFIG, config),
            layers=(layer,),
        )
    )
    root = describe(MANIFEST, manifest)
    blobs = {layer.digest: signed, describe(IMAGE_CONFIG, config).digest: config}
    return OciContent(root, {root.digest: (MANIFEST, manifest)}, blobs)


def bundle(digest: str, key: SigningKey, *, predicate: str = SIGN_PREDICATE) -> bytes:
    """A Sigstore bundle whose in-toto statement has the image as its subject."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": predicate,
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    signature = sign(key, pre_authentication_encoding(IN_TOTO, payload))
    return json.dumps(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": signature}],
            },
        }
    ).encode()


def referring_content(
    subject: Descriptor, key: SigningKey, *, is_bundle: bool = False
) -> OciContent:
    """A signature as a referrer, and the index that stands for the referrers' API."""
    if is_bundle:
        payload, kind = bundle(subject.digest, key), BUNDLE_TYPE
        layer = describe(BUNDLE_TYPE, payload)
    else:
        payload, kind = simple_payload(subject.digest), SIGNATURE_ARTIFACT
        annotations = {SIGNATURE_ANNOTATION: sign(key, payload)}
        layer = describe(SIMPLE_SIGNING, payload, annotations=annotations)
    manifest = encode(
        ImageManifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=kind,
            config=describe(EMPTY_CONFIG, EMPTY_JSON),
            layers=(layer,),
            subject=subject,
        )
    )
    referrer = describe(MANIFEST, manifest, artifact_type=kind)
    index = encode(ImageIndex(schema_version=2, media_type=INDEX, manifests=(referrer,)))
    root = describe(INDEX, index)
    return OciContent(
        root,
        {referrer.digest: (MANIFEST, manifest), root.digest: (INDEX, index)},
        {layer.digest: payload, describe(EMPTY_CONFIG, EMPTY_JSON).digest: EMPTY_JSON},
    )
