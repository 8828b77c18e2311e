# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a package is signed as its namespace demands: the one check of catalog and nodes.

Pure.

Rules:
 * Without a trust document the trust root's certificates count, as ever.
 * With the document of a namespace the keys in it count there, and no others.  Once `public` has
   one, a namespace without one trusts nobody.
 * As many different holders must have signed as the threshold says; two keys of one are one.
 * The certificate that a package travels with belongs to a key that counts.
 * Mode `normal` lets pass what is refused otherwise, and says all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.contracts.catalog import PublisherCertificate, SignedPackage
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.trust import KeyRole, PublicationReceipt, TrustDocument, TrustedKey
from shared.contracts.trust_notes import TrustMode, TrustNote
from shared.dsse import (
    MANIFEST_TYPE,
    UNTRUSTED,
    SignatureError,
    envelope_payload,
    key_id,
    publisher_certificate,
    read_document,
    read_signatures,
    signed_manifest,
    verify_signed_package,
)
from shared.errors import Reason
from shared.trust.documents import moment, namespace_of
from shared.trust.keys import Evidence, key_problems, present
from shared.trust.receipts import PATH as RECEIPT_PATH
from shared.trust.receipts import read_receipt

_PATH: Final = "signed.manifest"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe."""

    root: bytes
    """The installation's Ed25519 public key, 32 raw bytes."""
    documents: Mapping[Audience, TrustDocument] = field(default_factory=dict)
    """By namespace; none: the trust root's certificates count."""
    mode: TrustMode = "trusted"


@dataclass(frozen=True, slots=True)
class CheckedPackage:
    """A package, and who stands behind it."""

    manifest: PackageManifest
    publisher: str
    """Whom the certificate names."""
    is_foreign: bool
    """Whether none of those who signed is a principal here."""
    note: TrustNote


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures of one envelope count."""

    keys: tuple[TrustedKey, ...]
    problems: tuple[Reason, ...]
    """Why the others' do not."""

    @property
    def names(self) -> tuple[str, ...]:
        """Each holder once, ascending."""
        return tuple(sorted({key.name for key in self.keys}))


def check_package(
    signed: SignedPackage, trust: Trust, *, now: datetime, audience: Audience | None = None
) -> CheckedPackage:
    """Manifest and signers, once the package is signed as its namespace demands.

    The archive is not looked at: `package_archive.read_archive` compares it with the manifest.

    Args:
        signed: As it came.
        trust: Whom to believe.
        now: Aware.
        audience: The space that it is being published in, now.  None: what its receipt says, and
            without one `public`.

    Raises:
        SignatureError: It is not, and the mode is `trusted`; or it has no readable manifest.
    """
    namespace = namespace_of(_stated_audience(signed) if audience is None else audience)
    try:
        return _checked(signed, trust, namespace, now=now, is_new=audience is not None)
    except SignatureError as error:
        if trust.mode != "normal":
            raise
        note = TrustNote(
            mode="normal",
            namespace=namespace,
            document=_version(trust, namespace),
            problems=error.reasons,
        )
        certificate = publisher_certificate(signed)
        manifest = signed_manifest(signed)
        return CheckedPackage(manifest, certificate.publisher, is_foreign=False, note=note)


def keys_of(document: TrustDocument) -> dict[str, bytes]:
    """Key id to raw public key: what signatures are looked for by."""
    raw = (bytes.fromhex(key.key) for key in document.keys)
    return {key_id(key): key for key in raw}


def judge_signers(
    signed_by: Mapping[str, int],
    document: TrustDocument,
    evidence: Evidence,
    *,
    role: KeyRole,
    package: str,
    now: datetime,
    path: str,
) -> Signers:
    """Whose signatures count in the document's namespace.

    Args:
        signed_by: Key id to place in the envelope, of signatures that verify.
        document: Of the namespace.
        evidence: When they signed.
        role: What they signed.
        package: Name of the package that they signed about.
        now: Aware.
        path: Of the envelope.
    """
    keys = {key_id(bytes.fromhex(key.key)): key for key in document.keys}
    counted: list[TrustedKey] = []
    problems: list[Reason] = []
    for one, index in signed_by.items():
        found = key_problems(
            keys[one],
            evidence,
            role=role,
            package=package,
            now=present(document, now),
            path=f"{path}.signatures[{index}]",
        )
        before = len(problems)
        problems += found
        if len(problems) == before:
            counted.append(keys[one])
    return Signers(tuple(counted), tuple(problems))


def _checked(
    signed: SignedPackage, trust: Trust, namespace: Audience, *, now: datetime, is_new: bool
) -> CheckedPackage:
    document = trust.documents.get(namespace)
    if document is None:
        if PUBLIC in trust.documents:
            rule = f"namespace {namespace} trusts no key: it has no trust document"
            raise _all_refused([Reason(path=f"{_PATH}.signatures", rule=rule)])
        manifest, certificate = verify_signed_package(signed, trust_root=trust.root)
        note = TrustNote(mode=trust.mode, namespace=namespace, signers=(certificate.publisher,))
        return CheckedPackage(manifest, certificate.publisher, is_foreign=False, note=note)
    payload, signed_by = read_signatures(
        signed.manifest, payload_type=MANIFEST_TYPE, public_keys=keys_of(document), path=_PATH
    )
    if not signed_by:
        raise _all_refused([*_strangers(signed, trust, namespace), *_too_few((), document)])
    manifest = read_document(payload, PackageManifest, path=_PATH)
    doubts: tuple[Reason, ...] = ()
    evidence = Evidence(now, is_proven=True)
    if not is_new:
        evidence, doubts = _evidence(signed, document, now=now)
    signers = judge_signers(
        signed_by,
        document,
        evidence,
        role="package",
        package=manifest.name,
        now=now,
        path=_PATH,
    )
    if len(signers.names) < document.threshold:
        too_few = _too_few(signers.names, document)
        raise _all_refused([*signers.problems, *too_few, *doubts])
    certificate = publisher_certificate(signed)
    _check_certificate(certificate, signers)
    note = TrustNote(
        mode=trust.mode, namespace=namespace, document=document.version, signers=signers.names
    )
    is_foreign = all(key.is_foreign for key in signers.keys)
    return CheckedPackage(manifest, certificate.publisher, is_foreign=is_foreign, note=note)


def _evidence(
    signed: SignedPackage, document: TrustDocument, *, now: datetime
) -> tuple[Evidence, tuple[Reason, ...]]:
    """When it was published, and why a receipt does not say so."""
    unproven = Evidence(present(document, now), is_proven=False)
    if signed.receipt is None:
        return unproven, ()
    try:
        receipt = read_receipt(signed, signed.receipt, document)
        return Evidence(moment(receipt.published_at), is_proven=True), ()
    except SignatureError as error:
        return unproven, error.reasons
    except ValueError:
        reason = Reason(path=f"{RECEIPT_PATH}.payload.published_at", rule="is no moment")
        return unproven, (reason,)


def _stated_audience(signed: SignedPackage) -> Audience:
    """The namespace that the receipt names; whether it may is seen when it is verified."""
    if signed.receipt is None:
        return PUBLIC
    try:
        payload = envelope_payload(signed.receipt, path=RECEIPT_PATH)
        return read_document(payload, PublicationReceipt, path=RECEIPT_PATH).namespace
    except SignatureError:
        return PUBLIC


def _strangers(signed: SignedPackage, trust: Trust, namespace: Audience) -> list[Reason]:
    """Why no signature is by a key of the namespace's document."""
    path, given = f"{_PATH}.signatures", [one.keyid for one in signed.manifest.signatures]
    for other, document in trust.documents.items():
        if other == namespace:
            continue
        try:
            _, signed_by = read_signatures(
                signed.manifest, payload_type=MANIFEST_TYPE, public_keys=keys_of(document)
            )
        except SignatureError:
            continue
        if signed_by:
            rule = f"the key is trusted in another namespace, and not in {namespace}"
            return [Reason(path=path, rule=rule, got=list(signed_by))]
    if not given:
        return [Reason(path=path, rule="the package is not signed")]
    return [Reason(path=path, rule=UNTRUSTED, got=given)]


def _too_few(names: tuple[str, ...], document: TrustDocument) -> list[Reason]:
    """Nothing to say where one is enough: why it does not count is said already."""
    if document.threshold == 1:
        return []
    rule = (
        f"too few signatures: {len(names)} of the {document.threshold} that namespace"
        f" {document.namespace} demands"
    )
    path = f"{_PATH}.signatures"
    return [Reason(path=path, rule=rule, got=list(names), allowed=document.threshold)]


def _check_certificate(certificate: PublisherCertificate, signers: Signers) -> None:
    for key in signers.keys:
        if key.key == certificate.key and (key.is_foreign or key.name == certificate.publisher):
            return
    reason = Reason(
        path="signed.certificate.payload",
        rule="the certificate belongs to none of those whose signatures count",
        got=certificate.publisher,
        allowed=list(signers.names),
    )
    raise _all_refused([reason])


def _version(trust: Trust, namespace: Audience) -> int:
    document = trust.documents.get(namespace)
    return document.version if document else 0


def _all_refused(reasons: list[Reason]) -> SignatureError:
    return SignatureError(f"{reasons[0].path}: {reasons[0].rule}", reasons)
