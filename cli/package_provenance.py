# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package provenance`: how a published version was built, verified here."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_build import BuiltPackage, build_package
from cli.package_publish import file_beside
from cli.package_source import PROVENANCE_SUFFIX
from cli.package_statements import fact_table
from cli.rollout import SpaceOption
from shared.adapters.bus import Bus
from shared.canonical import sha256_hex
from shared.contracts.base import Message
from shared.contracts.catalog import GET_PACKAGE, GetPackage, PackageVersion
from shared.contracts.events import Audience
from shared.contracts.trust import GET_TRUST, GetTrust, TrustDocument
from shared.errors import Reason, RefusedError
from shared.moments import render_time
from shared.provenance.building import build_statement
from shared.provenance.checking import check_provenance
from shared.provenance.statement import Statement, parse_statement, statement_bytes
from shared.trust.documents import moment, namespace_of, open_document
from shared.trust.keys import Evidence
from shared.trust.packages import Trust
from shared.version import VERSION

_NOT_FOUND = "not_found"


class ProvenanceShown(Message, frozen=True, kw_only=True):
    """What `--json` prints; every signature was verified here."""

    name: str
    version: str
    archive_sha256: str
    signers: tuple[str, ...]
    statement: Statement


class NoProvenanceError(RefusedError):
    """Nobody said how the version was built."""

    code = "not_found"


def provenance(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    against: Path | None = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show how a version was built, once its signature is verified here.

    Parameters
    ----------
    name
        Of the package.
    version
        Left out: the newest release.
    against
        An archive that must be the one the statement is about.
    """
    wanted = GetPackage(name=name, version=version, space=space)
    shown = console.run(_shown(wanted, against, credentials), json=json)
    console.emit(shown, _render, json=json)


def built_with_statement(folder: Path) -> tuple[BuiltPackage, Statement]:
    """The package whose sources are in `folder`, and how it was built.

    Raises:
        RefusedError: As `build_package`.
        FaultError: As `build_package`.
    """
    started = datetime.now(UTC)
    built = build_package(folder)
    statement = build_statement(
        built.manifest,
        sha256_hex(built.archive),
        version=VERSION,
        invocation=secrets.token_hex(16),
        started_at=render_time(started),
        finished_at=render_time(datetime.now(UTC)),
    )
    return built, statement


def write_statement(statement: Statement, archive: Path) -> Path:
    """The statement lies beside the archive; where.

    Raises:
        RefusedError: It cannot be written there.
    """
    path = file_beside(archive, PROVENANCE_SUFFIX)
    try:
        path.write_bytes(statement_bytes(statement))
    except OSError as error:
        raise RefusedError(f"{path} cannot be written: {error.strerror}") from error
    return path


def stored_statement(archive: Path) -> Statement | None:
    """The statement beside an archive; None: there is none.

    Raises:
        SignatureError: It is no statement of SLSA provenance.
    """
    path = file_beside(archive, PROVENANCE_SUFFIX)
    return parse_statement(path.read_bytes(), path=str(path)) if path.is_file() else None


async def _shown(
    wanted: GetPackage, against: Path | None, credentials: Path | None
) -> ProvenanceShown:
    async with session.connected(credentials) as bus:
        package = (await bus.request(GET_PACKAGE, wanted)).package
        if package.provenance is None:
            reason = Reason(path="version", rule="has no provenance", got=package.version)
            raise NoProvenanceError(f"{wanted.name} {package.version} has no provenance", [reason])
        trust = await _trust(bus, package.space)
    _check_archive(package, against)
    checked = check_provenance(
        package.provenance,
        package.signed,
        trust,
        audience=package.space,
        evidence=Evidence(moment(package.published_at), is_proven=True),
        now=datetime.now(UTC),
    )
    return ProvenanceShown(
        name=wanted.name,
        version=package.version,
        archive_sha256=package.signed.archive_sha256,
        signers=checked.signers,
        statement=checked.statement,
    )


async def _trust(bus: Bus, audience: Audience) -> Trust:
    """Whom to believe: the trust root, and its document for the namespace if there is one."""
    root = bytes.fromhex(bus.facts.trust_root)
    namespace = namespace_of(audience)
    documents: dict[Audience, TrustDocument] = {}
    try:
        shown = await bus.request(GET_TRUST, GetTrust(namespace=namespace))
    except RefusedError as error:
        if error.refusal_code != _NOT_FOUND:
            raise
    else:
        documents[namespace] = open_document(shown.document, trust_root=root)
    return Trust(root=root, documents=documents)


def _check_archive(package: PackageVersion, against: Path | None) -> None:
    if against is None:
        return
    try:
        digest = sha256_hex(against.read_bytes())
    except OSError as error:
        raise RefusedError(f"{against} cannot be read: {error.strerror}") from error
    if digest != package.signed.archive_sha256:
        rule = "is not the archive that was published"
        reason = Reason(
            path=str(against), rule=rule, got=digest, allowed=package.signed.archive_sha256
        )
        raise RefusedError(f"{against} {rule}", [reason])


def _render(shown: ProvenanceShown) -> RenderableType:
    build, run = shown.statement.predicate.buildDefinition, shown.statement.predicate.runDetails
    facts = fact_table(
        {
            "package": f"{shown.name} {shown.version}",
            "verified": "signed by " + ", ".join(shown.signers),
            "archive sha256": shown.archive_sha256,
            "built by": f"{run.builder.id} {_pairs(run.builder.version)}",
            "build type": build.buildType,
            "asked for": _pairs(build.externalParameters),
            "with": _pairs(build.internalParameters),
            "run": run.metadata.invocationId,
            "from": run.metadata.startedOn,
            "to": run.metadata.finishedOn,
        }
    )
    table = Table("made from", "what", Column("digest", overflow="fold"), box=None)
    for one in build.resolvedDependencies:
        what = str(one.annotations.get("version", "")) or one.uri
        table.add_row(plain(one.name), plain(what), plain(_pairs(one.digest)))
    return Group(facts, table)


def _pairs(values: dict[str, Any]) -> str:
    return plain(
        " ".join(
            f"{key}={' '.join(value) if isinstance(value, list) else value}"
            for key, value in values.items()
        )
    )
