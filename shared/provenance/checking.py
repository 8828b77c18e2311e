# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a statement of how a package was built is one that counts for it.

Pure.

Rules:
 * It is about the archive: one of its subjects has the archive's SHA-256.
 * Somebody signed it who may: a key of the namespace's trust document in the role `provenance`;
   without a document, the key of the package's certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.contracts.catalog import DsseEnvelope, SignedPackage
from shared.contracts.events import Audience
from shared.dsse import (
    UNTRUSTED,
    SignatureError,
    key_id,
    open_envelope,
    read_signatures,
    signed_manifest,
    verify_certificate,
)
from shared.errors import Reason
from shared.provenance.statement import PAYLOAD_TYPE, Statement, read_statement
from shared.trust.documents import namespace_of
from shared.trust.keys import Evidence
from shared.trust.packages import Trust, judge_signers, keys_of

PATH: Final = "provenance"


@dataclass(frozen=True, slots=True)
class CheckedProvenance:
    """How it was built, and who says so."""

    statement: Statement
    signers: tuple[str, ...]


def check_provenance(
    envelope: DsseEnvelope,
    signed: SignedPackage,
    trust: Trust,
    *,
    audience: Audience,
    evidence: Evidence,
    now: datetime,
) -> CheckedProvenance:
    """The statement, once it is about this package and signed by somebody who may say so.

    Args:
        envelope: As it came.
        signed: The package.
        trust: Whom to believe.
        audience: The space that the package lies in.
        evidence: When it was published.
        now: Aware.

    Raises:
        SignatureError: It is not; with every reason.
    """
    statement = read_statement(envelope, path=PATH)
    if not statement.is_about(signed.archive_sha256):
        reason = Reason(
            path=f"{PATH}.payload.subject",
            rule="is about another archive",
            got=[one.digest for one in statement.subject][:4],
            allowed={"sha256": signed.archive_sha256},
        )
        raise SignatureError(f"{reason.path}: {reason.rule}", [reason])
    document = trust.documents.get(namespace_of(audience))
    if document is None:
        certificate = verify_certificate(signed.certificate, trust_root=trust.root)
        key = bytes.fromhex(certificate.key)
        open_envelope(
            envelope, payload_type=PAYLOAD_TYPE, public_keys={key_id(key): key}, path=PATH
        )
        return CheckedProvenance(statement, (certificate.publisher,))
    _, signed_by = read_signatures(
        envelope, payload_type=PAYLOAD_TYPE, public_keys=keys_of(document), path=PATH
    )
    signers = judge_signers(
        signed_by,
        document,
        evidence,
        role="provenance",
        package=signed_manifest(signed).name,
        now=now,
        path=PATH,
    )
    if not signers.keys:
        given = [one.keyid for one in envelope.signatures]
        reasons = signers.problems or (
            Reason(path=f"{PATH}.signatures", rule=UNTRUSTED, got=given),
        )
        raise SignatureError(f"{reasons[0].path}: {reasons[0].rule}", reasons)
    return CheckedProvenance(statement, signers.names)
