# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Statements of in-toto (github.com/in-toto/attestation, spec/v1) with SLSA provenance v1.

Pure.  Names of fields are the specifications' own (slsa.dev/provenance/v1).

Rules:
 * Consumers ignore fields that they do not know (in-toto, parsing rules), so these types do too.
 * What is read is limited in size and depth, and has exactly the types that are said here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shared.canonical import canonical_bytes
from shared.contracts.base import Message
from shared.contracts.catalog import DsseEnvelope
from shared.dsse import SignatureError, envelope_payload, sign_envelope
from shared.errors import Reason, RefusedError
from shared.validation import decode_document

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_STATEMENT_BYTES: Final = 64 * 1024

Digests = dict[str, str]
"""Algorithm, as `sha256`, to hexadecimal digits."""


class ResourceDescriptor(Message, frozen=True, kw_only=True):
    """Something that is named by what it is; at least one of `uri` and `digest` is there."""

    name: str = ""
    uri: str = ""
    digest: Digests = {}
    annotations: dict[str, Any] = {}


class BuildDefinition(Message, frozen=True, kw_only=True):
    """What was asked for, and what went into it."""

    buildType: str  # noqa: N815 because SLSA names it so, here and below
    externalParameters: dict[str, Any] = {}  # noqa: N815
    """What whoever built it chose."""
    internalParameters: dict[str, Any] = {}  # noqa: N815
    """What the builder chose."""
    resolvedDependencies: tuple[ResourceDescriptor, ...] = ()  # noqa: N815
    """Sources, compilers and headers."""


class Builder(Message, frozen=True, kw_only=True):
    """Who built it, and so is believed."""

    id: str
    version: dict[str, str] = {}


class BuildMetadata(Message, frozen=True, kw_only=True):
    """Of one build."""

    invocationId: str = ""  # noqa: N815
    startedOn: str = ""  # noqa: N815
    """RFC 3339, UTC."""
    finishedOn: str = ""  # noqa: N815


class RunDetails(Message, frozen=True, kw_only=True):
    """How it went."""

    builder: Builder
    metadata: BuildMetadata = BuildMetadata()


class SlsaProvenance(Message, frozen=True, kw_only=True):
    """The predicate."""

    buildDefinition: BuildDefinition  # noqa: N815
    runDetails: RunDetails  # noqa: N815


class Statement(Message, frozen=True, kw_only=True):
    """Which artifacts the predicate is about."""

    type: str = msgspec.field(name="_type")
    subject: Annotated[tuple[ResourceDescriptor, ...], Meta(min_length=1)]
    predicateType: str  # noqa: N815
    predicate: SlsaProvenance

    def is_about(self, sha256: str) -> bool:
        """Whether an artifact of this digest is among its subjects."""
        return any(one.digest.get("sha256") == sha256 for one in self.subject)


def statement_bytes(statement: Statement) -> bytes:
    """As it is written and signed."""
    return canonical_bytes(statement)


def sign_statement(statement: Statement, *, seed: bytes) -> DsseEnvelope:
    """The builder's word; `seed` is its own."""
    return sign_envelope(PAYLOAD_TYPE, statement_bytes(statement), seed=seed)


def parse_statement(data: bytes, *, path: str) -> Statement:
    """What the bytes say.

    Raises:
        SignatureError: They are no statement of SLSA provenance v1; with every problem.
    """
    if len(data) > MAX_STATEMENT_BYTES:
        raise _refused(path, "is too large", len(data), MAX_STATEMENT_BYTES)
    try:
        statement = decode_document(data, Statement, what=path)
    except RefusedError as error:
        reasons = [
            msgspec.structs.replace(one, path=f"{path}.{one.path}" if one.path else path)
            for one in error.reasons
        ]
        raise SignatureError(error.message, reasons) from error
    for field, got, allowed in (
        ("_type", statement.type, STATEMENT_TYPE),
        ("predicateType", statement.predicateType, PREDICATE_TYPE),
    ):
        if got != allowed:
            raise _refused(f"{path}.{field}", "is of another type", got, allowed)
    return statement


def read_statement(envelope: DsseEnvelope, *, path: str) -> Statement:
    """What an envelope holds, whoever signed it.

    Raises:
        SignatureError: It holds no statement of SLSA provenance v1.
    """
    if len(envelope.payload) * 3 // 4 > MAX_STATEMENT_BYTES:
        raise _refused(f"{path}.payload", "is too large", len(envelope.payload), None)
    return parse_statement(envelope_payload(envelope, path=path), path=f"{path}.payload")


def _refused(path: str, rule: str, got: object, allowed: object) -> SignatureError:
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return SignatureError(f"{path}: {rule}", [reason])
