# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package that was published elsewhere: signed anew, with the earlier signatures kept.

Pure.  The manifest's bytes stay the same, so archive and manifest keep their digests and the
earlier signatures still hold over them.  They say who published it where, and open nothing by
themselves: what counts is the signature of somebody whom this installation certified or, where it
has a trust document, of the keys that this names, and those may be foreign ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from shared.contracts.catalog import (
    DsseEnvelope,
    PackageOrigin,
    PublisherCertificate,
    SignedPackage,
)
from shared.dsse import (
    MANIFEST_TYPE,
    SignatureError,
    key_id,
    open_envelope,
    sign_manifest,
    verify_signed_package,
)
from shared.errors import Reason
from shared.provenance.statement import PAYLOAD_TYPE, read_statement

MAX_SIGNATURES: Final = 8
"""Of one envelope."""


def check_origins(signed: SignedPackage) -> tuple[PublisherCertificate, ...]:
    """The certificate of each origin, once each is what it claims to be.

    Raises:
        SignatureError: An origin's certificate is not its trust root's, its signature is not over
            this manifest, or it is there twice; with every reason.
    """
    reasons = list(_twice(signed))
    certificates = []
    for index, origin in enumerate(signed.origins):
        try:
            certificates.append(_certificate(signed, origin))
        except SignatureError as error:
            reasons += [
                msgspec.structs.replace(
                    reason, path=f"signed.origins[{index}].{reason.path.removeprefix('signed.')}"
                )
                for reason in error.reasons
            ]
    if reasons:
        raise SignatureError(f"{reasons[0].path}: {reasons[0].rule}", reasons)
    return tuple(certificates)


def signed_anew(
    signed: SignedPackage,
    *,
    trust_root: str,
    seed: bytes,
    certificate: DsseEnvelope,
    provenance: DsseEnvelope | None = None,
) -> SignedPackage:
    """The same package in the words of another publisher, with where it came from.

    Args:
        signed: As it was published.
        trust_root: Of the installation where that was, 64 hexadecimal digits.
        seed: Of the key that signs now.
        certificate: Of that key.
        provenance: What was said there of how it was built; kept if the same key says so.

    Raises:
        SignatureError: The package was not signed as it says, there or where it was before.
    """
    manifest, there = verify_signed_package(signed, trust_root=bytes.fromhex(trust_root))
    check_origins(signed)
    kept_provenance: DsseEnvelope | None = None
    if provenance is not None:
        with suppress(SignatureError):
            _check_provenance(provenance, signed.archive_sha256, bytes.fromhex(there.key))
            kept_provenance = provenance
    origin = PackageOrigin(
        trust_root=trust_root,
        certificate=signed.certificate,
        signatures=signed.manifest.signatures,
        provenance=kept_provenance,
    )
    kept = tuple(one for one in signed.origins if _name(one) != _name(origin))
    own = sign_manifest(manifest, seed=seed)
    names = {one.keyid for one in own.signatures}
    others = (one for one in signed.manifest.signatures if one.keyid not in names)
    return SignedPackage(
        manifest=msgspec.structs.replace(
            own, signatures=(*own.signatures, *others)[:MAX_SIGNATURES]
        ),
        certificate=certificate,
        archive_sha256=signed.archive_sha256,
        origins=(*kept, origin),
    )


def _certificate(signed: SignedPackage, origin: PackageOrigin) -> PublisherCertificate:
    there = SignedPackage(
        manifest=DsseEnvelope(
            payloadType=MANIFEST_TYPE,
            payload=signed.manifest.payload,
            signatures=origin.signatures,
        ),
        certificate=origin.certificate,
        archive_sha256=signed.archive_sha256,
    )
    certificate = verify_signed_package(there, trust_root=bytes.fromhex(origin.trust_root))[1]
    if origin.provenance is not None:
        _check_provenance(origin.provenance, signed.archive_sha256, bytes.fromhex(certificate.key))
    return certificate


def _check_provenance(envelope: DsseEnvelope, archive_sha256: str, key: bytes) -> None:
    path = "signed.provenance"
    open_envelope(envelope, payload_type=PAYLOAD_TYPE, public_keys={key_id(key): key}, path=path)
    if not read_statement(envelope, path=path).is_about(archive_sha256):
        reason = Reason(path=f"{path}.payload.subject", rule="is about another archive")
        raise SignatureError(f"{reason.path}: {reason.rule}", [reason])


def _twice(signed: SignedPackage) -> Iterator[Reason]:
    seen: dict[tuple[str, str], int] = {}
    for index, origin in enumerate(signed.origins):
        if (earlier := seen.setdefault(_name(origin), index)) != index:
            rule = f"is origins[{earlier}] once more"
            yield Reason(path=f"signed.origins[{index}]", rule=rule, got=origin.trust_root)


def _name(origin: PackageOrigin) -> tuple[str, str]:
    """Whose word it is."""
    return origin.trust_root, origin.certificate.payload
