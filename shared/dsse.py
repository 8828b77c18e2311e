# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Signed envelopes: who stands behind these bytes.

Pure.  DSSE v1 (secure-systems-lab/dsse, protocol.md) with Ed25519 (RFC 8032).  The catalog checks
with it at publication and the node again before every load, from the same values.

Rules:
 * The signature covers type and payload (PAE), so a payload cannot be passed off as another type.
 * `keyid` only selects the key; the keys that count are the caller's.
 * A signature under a known key that does not verify is refused, even if another one would do.
 * One key signs once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.catalog import (
    DsseEnvelope,
    DsseSignature,
    PublisherCertificate,
    SignedPackage,
)
from shared.contracts.package_manifest import PackageManifest
from shared.errors import Reason, RefusedError, VerificationError
from shared.validation import decode_document

MANIFEST_TYPE: Final = "application/vnd.l3af.package-manifest.v1+json"
CERTIFICATE_TYPE: Final = "application/vnd.l3af.publisher-certificate.v1+json"
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
UNTRUSTED: Final = "no signature is by a trusted key"

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)


class SignatureError(VerificationError):
    """An envelope is not signed by a key that counts, or is not what it claims to be."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE v1 PAE of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(public_key: bytes) -> str:
    """The name of a public key: SHA-256 of its 32 raw bytes, hexadecimal."""
    return sha256_hex(public_key)


def public_key_of(seed: bytes) -> bytes:
    """The 32 raw bytes of the Ed25519 public key that belongs to a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign_envelope(payload_type: str, payload: bytes, *, seed: bytes) -> DsseEnvelope:
    """An envelope with one signature by the Ed25519 key of `seed` (32 bytes).

    Ed25519 is deterministic: the same arguments give the same envelope.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key.sign(pre_authentication_encoding(payload_type, payload))
    return DsseEnvelope(
        payloadType=payload_type,
        payload=base64.b64encode(payload).decode(),
        signatures=(
            DsseSignature(
                keyid=key_id(key.public_key().public_bytes_raw()),
                sig=base64.b64encode(signature).decode(),
            ),
        ),
    )


def open_envelope(
    envelope: DsseEnvelope, *, payload_type: str, public_keys: Mapping[str, bytes], path: str = ""
) -> bytes:
    """The payload, once a key in `public_keys` is known to have signed it as `payload_type`.

    Args:
        envelope: As it came; nothing in it is trusted before this returns.
        payload_type: The only type accepted.
        public_keys: Key id to raw public key (32 bytes): the keys that count.
        path: Where the envelope stands in the caller's request, for the reasons.

    Raises:
        SignatureError: The type differs, the base64 is malformed, no signature is by a key that
            counts, or one of those does not verify or is there twice.
    """
    payload, signed_by = read_signatures(
        envelope, payload_type=payload_type, public_keys=public_keys, path=path
    )
    if not signed_by:
        raise _refused(
            path,
            "signatures",
            UNTRUSTED,
            [signature.keyid for signature in envelope.signatures],
            sorted(public_keys),
        )
    return payload


def read_signatures(
    envelope: DsseEnvelope, *, payload_type: str, public_keys: Mapping[str, bytes], path: str = ""
) -> tuple[bytes, dict[str, int]]:
    """The payload, and which keys in `public_keys` signed it: key id to place in the envelope.

    Args:
        envelope: As it came.
        payload_type: The only type accepted.
        public_keys: As for `open_envelope`.
        path: As for `open_envelope`.

    Raises:
        SignatureError: The type differs, the base64 is malformed, or a signature by a key that
            counts does not verify or is there twice.
    """
    if envelope.payloadType != payload_type:
        raise _refused(
            path, "payloadType", "the payload has another type", envelope.payloadType, payload_type
        )
    payload = _decoded(envelope.payload, path=_join(path, "payload"))
    signed = pre_authentication_encoding(payload_type, payload)
    seen: dict[str, int] = {}
    for index, signature in enumerate(envelope.signatures):
        if signature.keyid not in public_keys:
            continue
        place = f"signatures[{index}]"
        if signature.keyid in seen:
            rule = "this key's signature is there twice"
            raise _refused(path, place, rule, signature.keyid, None)
        seen[signature.keyid] = index
        raw = _decoded(signature.sig, path=_join(path, f"{place}.sig"))
        key = public_keys[signature.keyid]
        if key_id(key) != signature.keyid or not _verifies(key, raw, signed):
            raise _refused(path, place, "the signature does not verify", signature.keyid, None)
    return payload, seen


def sign_certificate(certificate: PublisherCertificate, *, seed: bytes) -> DsseEnvelope:
    """The installation's word that a key may sign packages; `seed` is that of the trust root."""
    return sign_envelope(CERTIFICATE_TYPE, canonical_bytes(certificate), seed=seed)


def sign_manifest(manifest: PackageManifest, *, seed: bytes) -> DsseEnvelope:
    """The publisher's word that a package is what the manifest says; `seed` is the publisher's."""
    return sign_envelope(MANIFEST_TYPE, canonical_bytes(manifest), seed=seed)


def verify_certificate(envelope: DsseEnvelope, *, trust_root: bytes) -> PublisherCertificate:
    """The certificate, once the trust root (32 raw bytes) is known to have signed it.

    Raises:
        SignatureError: It was not signed by the trust root, or its payload is not a certificate.
    """
    path = "signed.certificate"
    keys = {key_id(trust_root): trust_root}
    payload = open_envelope(envelope, payload_type=CERTIFICATE_TYPE, public_keys=keys, path=path)
    certificate = read_document(payload, PublisherCertificate, path=path)
    if len(certificate.key) != 2 * KEY_BYTES or not _is_hexadecimal(certificate.key):
        raise _refused(path, "payload.key", "must be 64 hexadecimal digits", certificate.key, None)
    return certificate


def verify_signed_package(
    signed: SignedPackage, *, trust_root: bytes
) -> tuple[PackageManifest, PublisherCertificate]:
    """Manifest and certificate, once the chain trust root, certificate, manifest holds.

    The archive is not looked at: `package_archive.read_archive` compares it with the manifest.

    Args:
        signed: As it came.
        trust_root: The installation's Ed25519 public key, 32 raw bytes.

    Raises:
        SignatureError: A signature or payload is wrong, or the certificate does not let its key
            sign for this package name.
    """
    certificate = verify_certificate(signed.certificate, trust_root=trust_root)
    path = "signed.manifest"
    key = bytes.fromhex(certificate.key)
    payload = open_envelope(
        signed.manifest, payload_type=MANIFEST_TYPE, public_keys={key_id(key): key}, path=path
    )
    manifest = read_document(payload, PackageManifest, path=path)
    if not any(fnmatchcase(manifest.name, glob) for glob in certificate.packages):
        raise _refused(
            path,
            "payload.name",
            f"publisher {certificate.publisher} may not sign for this package name",
            manifest.name,
            list(certificate.packages),
        )
    return manifest, certificate


def read_document(payload: bytes, kind: type[DocumentT], *, path: str) -> DocumentT:
    """The document in a payload whose signatures were looked at before.

    Raises:
        SignatureError: It is none, or not in canonical form; with every problem.
    """
    place = _join(path, "payload")
    try:
        document = decode_document(payload, kind, what=place)
    except RefusedError as error:
        reasons = [
            msgspec.structs.replace(reason, path=f"{place}.{reason.path}" if reason.path else place)
            for reason in error.reasons
        ]
        raise SignatureError(f"{place}: is not a {kind.__name__}", reasons) from error
    if canonical_bytes(document) != payload:
        raise _refused(path, "payload", "is not in canonical form", None, None)
    return document


def envelope_payload(envelope: DsseEnvelope, *, path: str) -> bytes:
    """What an envelope holds, whoever signed it.

    Raises:
        SignatureError: It is not base64.
    """
    return _decoded(envelope.payload, path=f"{path}.payload")


def publisher_certificate(signed: SignedPackage) -> PublisherCertificate:
    """What the certificate of a package says, whoever signed it.

    Raises:
        SignatureError: It was never verified, and is none.
    """
    path = "signed.certificate"
    return read_document(
        envelope_payload(signed.certificate, path=path), PublisherCertificate, path=path
    )


def publisher_name(signed: SignedPackage) -> str:
    """Whose certificate a verified package travels with.

    Raises:
        SignatureError: It was never verified, and has no such certificate.
    """
    return publisher_certificate(signed).publisher


def signed_manifest(signed: SignedPackage) -> PackageManifest:
    """The manifest of a package that was verified before.

    Raises:
        SignatureError: It was never verified, and is none.
    """
    path = "signed.manifest"
    return read_document(envelope_payload(signed.manifest, path=path), PackageManifest, path=path)


def manifest_digest(signed: SignedPackage) -> str:
    """SHA-256 of the manifest's signed bytes, hexadecimal; the name of what was signed.

    Raises:
        SignatureError: The payload is not base64.
    """
    return sha256_hex(_decoded(signed.manifest.payload, path="signed.manifest.payload"))


def _verifies(key: bytes, signature: bytes, signed: bytes) -> bool:
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _decoded(text: str, *, path: str) -> bytes:
    """`text` from standard base64; only the one canonical spelling of the bytes is accepted."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("", path, "is not base64", None, None) from error
    if base64.b64encode(data).decode() != text:
        raise _refused("", path, "is not canonical base64", None, None)
    return data


def _is_hexadecimal(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)


def _join(path: str, rest: str) -> str:
    return f"{path}.{rest}" if path else rest


def _refused(path: str, rest: str, rule: str, got: object, allowed: object) -> SignatureError:
    reason = Reason(path=_join(path, rest), rule=rule, got=got, allowed=allowed)
    return SignatureError(f"{reason.path}: {rule}", [reason])
