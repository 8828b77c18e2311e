# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog does with trust documents, and with versions that nobody vouches for.

Pure.

Rules:
 * A document takes the place of an older one alone, whoever asks.
 * Who asks to publish signed it, or none of those who did is a principal here.
 * A version that the keys of today do not stand behind is not handed out, unless the mode is
   `normal`; then whoever gets it is told.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Final

import msgspec

from services.catalog.publication import NotOwnSignatureError
from shared.contracts.catalog import (
    DsseEnvelope,
    PackageVersion,
    PublishPackage,
    SignedPackage,
)
from shared.contracts.events import EventBody
from shared.contracts.trust import TRUST, TrustDocument, TrustRecord, TrustSet
from shared.dsse import SignatureError
from shared.errors import Reason, RefusedError
from shared.outbox_records import Change, Decision
from shared.provenance.checking import PATH as PROVENANCE
from shared.provenance.checking import check_provenance
from shared.provenance.statement import read_statement
from shared.trust.documents import document_digest, is_newer
from shared.trust.keys import Evidence
from shared.trust.packages import CheckedPackage, Trust, check_package
from shared.trust.receipts import issue_receipt

ACTION: Final = "trust.set"


def decide_document(
    kept: TrustDocument | None,
    offered: TrustDocument,
    envelope: DsseEnvelope,
    *,
    command_id: str,
    sequence: int,
) -> Decision[TrustSet]:
    """The document is in force.

    Args:
        kept: Of the same namespace; None: there is none.
        offered: What the envelope holds, opened.
        envelope: As it came.
        command_id: Of the command.
        sequence: Of the bucket, when `kept` was read.

    Raises:
        OldDocumentError: It, or a later one, is in force already.
    """
    is_newer(offered, kept)
    digest = document_digest(offered)
    return Decision(
        reply=TrustSet(
            command_id=command_id,
            namespace=offered.namespace,
            version=offered.version,
            sha256=digest,
        ),
        change=Change(
            TRUST,
            offered.namespace,
            TrustRecord(document=envelope, command_id=command_id),
            sequence,
        ),
        events=(_document_event(kept, offered),),
        audience=offered.namespace,
    )


def check_caller(checked: CheckedPackage, caller_name: str) -> None:
    """Who asks to publish is one of those who signed.

    Raises:
        NotOwnSignatureError: Another one did.
    """
    signers = checked.note.signers or (checked.publisher,)
    if checked.is_foreign or caller_name in signers:
        return
    reason = Reason(
        path="signed.certificate.payload.publisher",
        rule="a publisher publishes only what its own key signed",
        got=checked.publisher if len(signers) == 1 else list(signers),
        allowed=caller_name,
    )
    who = ", ".join(signers)
    raise NotOwnSignatureError(
        f"not permitted: {who} signed this package, and {caller_name} asks", [reason]
    )


def check_publication(request: PublishPackage, trust: Trust, *, now: datetime) -> CheckedPackage:
    """Manifest and signers, once the package and how it was built are signed as they must be.

    Raises:
        SignatureError: They are not, and the mode is `trusted`; or one of them cannot be read.
        RefusedError: It brings a receipt along.
    """
    checked = check_package(request.signed, trust, now=now, audience=request.space)
    check_no_receipt(request.signed)
    if request.provenance is None:
        return checked
    try:
        check_provenance(
            request.provenance,
            request.signed,
            trust,
            audience=request.space,
            evidence=Evidence(now, is_proven=True),
            now=now,
        )
    except SignatureError as error:
        if trust.mode != "normal":
            raise
        read_statement(request.provenance, path=PROVENANCE)
        problems = (*checked.note.problems, *error.reasons)
        note = msgspec.structs.replace(checked.note, problems=problems)
        return dataclasses.replace(checked, note=note)
    return checked


def check_no_receipt(signed: SignedPackage) -> None:
    """The package comes without the catalog's own word.

    Raises:
        RefusedError: It brings one along.
    """
    if signed.receipt is not None:
        rule = "is the catalog's to write, when a version is handed out"
        reason = Reason(path="signed.receipt", rule=rule)
        raise RefusedError(f"{reason.path}: {rule}", [reason])


def handed_out(
    version: PackageVersion, trust: Trust, *, clock: bytes, now: datetime
) -> tuple[PackageVersion, tuple[str, ...]]:
    """The version with the catalog's receipt, and what whoever uses it is warned of.

    Args:
        version: As it was published.
        trust: Of today.
        clock: Seed of the catalog's receipts.
        now: Aware.

    Raises:
        SignatureError: The keys of today do not stand behind it, and the mode is `trusted`.
    """
    signed = with_receipt(version, clock=clock)
    note = check_package(signed, trust, now=now).note
    if note.warning:
        signed = with_receipt(version, clock=clock, unverified=note.warning)
    handed = msgspec.structs.replace(version, signed=signed, trust=note, provenance=None)
    return handed, (note.warning,) if note.warning else ()


def with_receipt(version: PackageVersion, *, clock: bytes, unverified: str = "") -> SignedPackage:
    """The package as nodes get it: where it was published before is nothing that they ask for."""
    receipt = issue_receipt(
        version.signed,
        audience=version.space,
        published_at=version.published_at,
        seed=clock,
        unverified=unverified,
    )
    return msgspec.structs.replace(version.signed, receipt=receipt, origins=())


def publication_warnings(version: PackageVersion) -> tuple[str, ...]:
    """What whoever published it is told."""
    note = version.trust
    if note is None or note.mode == "trusted":
        return ()
    return (note.warning or "this catalog runs in trust mode normal: it takes what nobody signed",)


def _document_event(kept: TrustDocument | None, offered: TrustDocument) -> EventBody:
    """`trust.set`.

    `details`: namespace, version, threshold, how many keys there are, and the keys that came, went
    or changed.
    """
    before = {key.key: key for key in (kept.keys if kept else ())}
    after = {key.key: key for key in offered.keys}
    return EventBody(
        action=ACTION,
        outcome="accepted",
        before=document_digest(kept) if kept else "",
        after=document_digest(offered),
        details={
            "namespace": offered.namespace,
            "version": offered.version,
            "threshold": offered.threshold,
            "keys": len(offered.keys),
            "added": sorted(after.keys() - before.keys()),
            "removed": sorted(before.keys() - after.keys()),
            "changed": sorted(
                key for key in after.keys() & before.keys() if after[key] != before[key]
            ),
            "revoked": sorted(key.key for key in offered.keys if key.revoked_at),
        },
    )
