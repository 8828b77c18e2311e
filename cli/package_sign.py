# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package sign`: packages that several sign, one after the other, before one publishes them.

The signatures lie in a file beside the archive, which is handed on with it.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

import msgspec
from rich.console import RenderableType

from cli import console, session
from cli.console import CredentialsOption, JsonFlag
from cli.package_build import BuiltPackage
from cli.package_provenance import built_with_statement, stored_statement
from cli.package_publish import Publisher, file_beside, load_publisher, read_built
from cli.package_source import PUBLICATION_SUFFIX
from cli.package_statements import fact_table
from shared.adapters.identity import Identity
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.base import Document, Message
from shared.contracts.catalog import (
    DsseEnvelope,
    DsseSignature,
    PublisherCertificate,
    SignedPackage,
)
from shared.dsse import CERTIFICATE_TYPE, MANIFEST_TYPE, key_id, public_key_of, sign_manifest
from shared.errors import Reason, RefusedError
from shared.provenance.statement import Statement, sign_statement
from shared.validation import decode_document

MAX_SIGNATURES: Final = 8


class PreparedPublication(Document, frozen=True, kw_only=True):
    """The file beside an archive: what is published with it."""

    signed: SignedPackage
    provenance: DsseEnvelope | None = None


class SignaturesShown(Message, frozen=True, kw_only=True):
    """What `sign` made."""

    publication: str
    """Path of the file."""
    archive_sha256: str
    signers: tuple[str, ...]
    """Key ids, in the order in which they signed."""
    has_provenance: bool


class OtherPackageError(RefusedError):
    """The signatures beside an archive are another one's."""


def sign(path: Path, *, credentials: CredentialsOption = None, json: JsonFlag = False) -> None:
    """Add your signature to a package that others sign too.

    Writes `<archive>.publication.json` beside the archive, or adds to it.  Hand archive, manifest
    and that file on to whoever signs next; the last one publishes: `l3af package publish ARCHIVE`.

    Parameters
    ----------
    path
        An archive that `build` wrote.
    """
    with console.refusing(json=json):
        built = read_built(path)
        publisher = load_publisher(session.credentials_dir(credentials))
        prepared = with_signature(stored_publication(path, built), built, publisher)
        prepared = with_statement(prepared, stored_statement(path), publisher)
        file = file_beside(path, PUBLICATION_SUFFIX)
        write_publication(prepared, file)
    shown = SignaturesShown(
        publication=str(file),
        archive_sha256=prepared.signed.archive_sha256,
        signers=tuple(one.keyid for one in prepared.signed.manifest.signatures),
        has_provenance=prepared.provenance is not None,
    )
    console.emit(shown, _render, json=json)


def prepare(
    path: Path, credentials: Path | None, *, is_signed: bool = True
) -> tuple[BuiltPackage, PreparedPublication]:
    """The package in a folder, which is built, or in an archive file, signed by whoever asks.

    Signatures that lie beside the archive are kept.

    Args:
        path: Folder or archive.
        credentials: Whom to sign as.
        is_signed: Whether it is signed at all.

    Raises:
        RefusedError: It cannot be built, read or signed.
    """
    directory = session.credentials_dir(credentials)
    if path.is_dir():
        built, known = built_with_statement(path)
        statement: Statement | None = known
        earlier = None
    else:
        built, statement = read_built(path), stored_statement(path)
        earlier = stored_publication(path, built)
    if not is_signed:
        return built, unsigned(built, Identity(directory, role=None).name)
    publisher = load_publisher(directory)
    prepared = with_signature(earlier, built, publisher)
    return built, with_statement(prepared, statement, publisher)


def with_signature(
    earlier: PreparedPublication | None, built: BuiltPackage, publisher: Publisher
) -> PreparedPublication:
    """The publication with this publisher's signature, once.

    Raises:
        RefusedError: It has as many as it can have.
    """
    if earlier is None:
        return PreparedPublication(signed=publisher.sign(built))
    envelope = earlier.signed.manifest
    own = key_id(public_key_of(publisher.seed))
    if any(one.keyid == own for one in envelope.signatures):
        return earlier
    if len(envelope.signatures) >= MAX_SIGNATURES:
        raise RefusedError(f"the package has {MAX_SIGNATURES} signatures, and can have no more")
    added: tuple[DsseSignature, ...] = sign_manifest(built.manifest, seed=publisher.seed).signatures
    manifest = msgspec.structs.replace(envelope, signatures=(*envelope.signatures, *added))
    signed = msgspec.structs.replace(earlier.signed, manifest=manifest)
    return msgspec.structs.replace(earlier, signed=signed)


def with_statement(
    prepared: PreparedPublication, statement: Statement | None, publisher: Publisher
) -> PreparedPublication:
    """The publication with how it was built, if that is known and nobody signed it before."""
    if statement is None or prepared.provenance is not None:
        return prepared
    envelope = sign_statement(statement, seed=publisher.seed)
    return msgspec.structs.replace(prepared, provenance=envelope)


def unsigned(built: BuiltPackage, name: str) -> PreparedPublication:
    """The publication without any signature, which trust mode `normal` alone takes.

    Args:
        built: The package.
        name: Of whoever publishes it.
    """
    certificate = PublisherCertificate(key="", publisher=name, issued_at="")
    return PreparedPublication(
        signed=SignedPackage(
            manifest=_bare(MANIFEST_TYPE, canonical_bytes(built.manifest)),
            certificate=_bare(CERTIFICATE_TYPE, canonical_bytes(certificate)),
            archive_sha256=sha256_hex(built.archive),
        )
    )


def stored_publication(archive: Path, built: BuiltPackage) -> PreparedPublication | None:
    """The signatures that lie beside an archive; None: there are none.

    Raises:
        OtherPackageError: They are another package's.
    """
    path = file_beside(archive, PUBLICATION_SUFFIX)
    if not path.is_file():
        return None
    prepared = decode_document(path.read_bytes(), PreparedPublication, what=str(path))
    payload = base64.b64encode(canonical_bytes(built.manifest)).decode()
    for field, got, allowed in (
        ("archive_sha256", prepared.signed.archive_sha256, sha256_hex(built.archive)),
        ("manifest.payload", prepared.signed.manifest.payload, payload),
    ):
        if got != allowed:
            rule = "is another package's: remove the file, and have it signed anew"
            reason = Reason(path=f"{path}: signed.{field}", rule=rule)
            raise OtherPackageError(f"{path}: signed.{field} {rule}", [reason])
    return prepared


def write_publication(prepared: PreparedPublication, path: Path) -> None:
    """The file holds the signatures.

    Raises:
        RefusedError: It cannot be written.
    """
    data = msgspec.json.format(msgspec.json.encode(prepared), indent=2) + b"\n"
    try:
        path.write_bytes(data)
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}") from error


def _bare(kind: str, payload: bytes) -> DsseEnvelope:
    return DsseEnvelope(payloadType=kind, payload=base64.b64encode(payload).decode(), signatures=())


def _render(shown: SignaturesShown) -> RenderableType:
    return fact_table(
        {
            "signatures": shown.publication,
            "archive sha256": shown.archive_sha256,
            "signed by": ", ".join(shown.signers),
            "provenance": "signed" if shown.has_provenance else "not known",
        }
    )
