# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents: whose signatures count, in which namespace, since when and until when.

One document a namespace, signed by the installation's trust root.  Its version only ever goes up.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.catalog import DsseEnvelope
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.trust_notes import TrustMode
from shared.identifiers import DigestText, Token

NAMESPACE_PATTERN: Final = r"^(public|p_[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)(?!\n)$"
MAX_KEYS: Final = 256
MAX_SIGNERS: Final = 8
MAX_REMARK: Final = 500

NamespaceText = Annotated[str, Meta(pattern=NAMESPACE_PATTERN)]
"""`public`, or a private space.  What lies under embargo is signed as what is public."""
KeyText = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]
"""An Ed25519 public key, hexadecimal."""
Moment = Annotated[str, Meta(max_length=64)]
"""RFC 3339 with a zone; empty: none."""
KeyRole = Literal["package", "provenance"]
"""What a key may sign: manifests of packages; how packages were built."""
OlderSignatures = Literal["keep", "reject"]


class TrustedKey(Document, frozen=True, kw_only=True):
    """One key, and how far it is trusted."""

    key: KeyText
    name: Token
    """Who holds it.  Several keys of one name count once towards a threshold."""
    roles: Annotated[tuple[KeyRole, ...], Meta(min_length=1, max_length=2)] = (
        "package",
        "provenance",
    )
    packages: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...],
        Meta(min_length=1, max_length=64),
    ] = ("*",)
    """Globs over the names of packages that it may sign."""
    is_foreign: bool = False
    """Whether its holder is no principal here, so that others publish what it signed."""
    not_before: Moment = ""
    not_after: Moment = ""
    """From then on it signs nothing new; what was published before stays signed."""
    revoked_at: Moment = ""
    older_signatures: OlderSignatures = "keep"
    """Whether what was published before the key was revoked stays signed."""


class TrustDocument(Document, frozen=True, kw_only=True):
    """The payload of a DSSE envelope that the trust root signed."""

    namespace: NamespaceText
    version: Annotated[int, Meta(ge=1, le=2**53)]
    issued_at: Moment
    threshold: Annotated[int, Meta(ge=1, le=MAX_SIGNERS)] = 1
    """How many different holders must have signed a package."""
    keys: Annotated[tuple[TrustedKey, ...], Meta(max_length=MAX_KEYS)] = ()
    clocks: Annotated[tuple[KeyText, ...], Meta(max_length=16)] = ()
    """Keys of the catalog, whose receipts say when a package was published."""


class PublicationReceipt(Document, frozen=True, kw_only=True):
    """The catalog's word when, and in which namespace, it took a package; signed by a clock."""

    manifest_sha256: DigestText
    archive_sha256: DigestText
    namespace: NamespaceText
    published_at: Moment
    unverified: Annotated[str, Meta(max_length=MAX_REMARK)] = ""
    """What trust mode `normal` let pass when it was handed out; empty: its signatures hold."""


class TrustRecord(Message, frozen=True, kw_only=True):
    """KV `trust`, key = namespace.  Nodes read and follow it, and may do nothing else with it."""

    document: DsseEnvelope
    command_id: str = ""
    """The command that wrote this revision."""


TRUST: Final = Bucket("trust", TrustRecord)


class SetTrust(Command, frozen=True, kw_only=True):
    """From now on signatures count as this document says."""

    document: DsseEnvelope


class TrustSet(Accepted, frozen=True, kw_only=True):
    """It is in force here, and on each node as soon as the node hears of it."""

    namespace: Audience
    version: int
    sha256: str
    """Of the signed bytes."""


class GetTrust(Request, frozen=True, kw_only=True):
    """The document of one namespace that the caller sees."""

    namespace: NamespaceText = PUBLIC


class TrustShown(Message, frozen=True, kw_only=True):
    """The document, which the caller can verify, and what the catalog does about it."""

    document: DsseEnvelope
    mode: TrustMode
    clock: str = ""
    """The key that its receipts are signed by; the document should name it."""


SET_TRUST: Final = Endpoint(f"{API}.catalog.trust.set", SetTrust, TrustSet)
GET_TRUST: Final = Endpoint(f"{API}.catalog.trust.get", GetTrust, TrustShown)
