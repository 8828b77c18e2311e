# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package import`: packages from registries, folders and archives into the catalog."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.import_sources import NotPrepared, Prepared, Wishes, packages_of
from cli.oci_options import PlainHttpFlag, RegistryCaOption, RegistryLoginsOption
from cli.oci_registry import RegistrySettings
from cli.package_build import BuiltPackage
from cli.package_publish import Publisher, file_beside, load_publisher, write_built
from cli.package_sign import PreparedPublication, write_publication
from cli.package_source import ARCHIVE_SUFFIX, PUBLICATION_SUFFIX
from cli.package_transfer import find_version, is_same, publish_signed, signed_here, take_in
from shared.adapters.bus import Bus
from shared.adapters.identity import Identity
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.base import Message
from shared.contracts.events import PUBLIC
from shared.contracts.package_manifest import SourceLocation
from shared.dsse import publisher_name
from shared.errors import Reason, Refusal, RefusedError
from shared.oci.cosign import CosignKey, parse_key
from shared.package_origins import check_origins
from shared.validation import convert_document

ImportOutcome = Literal["published", "already there", "conflict", "written", "refused"]
_BAD: Final[frozenset[ImportOutcome]] = frozenset({"conflict", "refused"})


class ImportedPackage(Message, frozen=True, kw_only=True):
    """One package of the source, and what became of it."""

    origin: str
    """Where it was, with a digest."""
    outcome: ImportOutcome
    """`conflict`: another package has this name and version here."""
    name: str = ""
    version: str = ""
    archive_sha256: str = ""
    manifest_sha256: str = ""
    published_before: tuple[str, ...] = ()
    """By whom, in other installations, oldest first: publisher and trust root."""
    cosign: str = ""
    """Where the cosign signature is that was demanded."""
    remarks: tuple[Reason, ...] = ()
    """What was left out or assumed."""
    refusal: Refusal | None = None


class PackagesImported(Message, frozen=True, kw_only=True):
    """What was found in the source."""

    packages: tuple[ImportedPackage, ...]


def import_(
    source: str,
    *,
    name: str = "",
    version: str = "",
    licence: str = "",
    summary: str = "",
    repository: str = "",
    revision: str = "",
    package: str = "*",
    platform: str = "",
    tag: str = "",
    cosign_key: Path | None = None,
    trust_root: str = "",
    channel: Annotated[tuple[str, ...], Parameter(negative=())] = ("stable",),
    space: str = PUBLIC,
    out_dir: Path | None = None,
    reason: str = "",
    plain_http: PlainHttpFlag = False,
    registry_ca: RegistryCaOption = None,
    registry_logins: RegistryLoginsOption = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Take packages over from a registry, a folder or an archive, and publish them.

    A package that `export` made keeps its digests and its earlier signatures.  Of bpfman's images,
    of repositories of l3afd and of archives with object files, packages are made: programs and maps
    come from the objects.  Doing it twice changes nothing.  Exit status 2: a package was refused.

    Parameters
    ----------
    source
        oci://HOST/REPOSITORY:TAG, a folder in OCI layout, an l3afd repository
        (NAME/VERSION/PLATFORM/ARTIFACT), or a .tar.gz or .zip with a package's folder or objects.
    name
        Of a package that is made; left out: told by the source.
    version
        The same, by SemVer; in an l3afd repository for versions that are none, as `latest`.
    licence
        SPDX expression of the objects; left out: the usual one for the kernel's licence string.
    summary
        One line.
    repository
        Where the sources of the objects are kept, as git takes it; with --revision.
    revision
        The commit or tag there.
    package
        Glob over the names in an l3afd repository.
    platform
        Of an l3afd repository, as `jammy`, where artifacts of several differ.
    tag
        In a folder in OCI layout that holds several.
    cosign_key
        PEM file (cosign.pub): the image must be signed by this key.
    trust_root
        64 hexadecimal digits: a package must be from the installation with this trust root.
    channel
        Where the versions are released to.
    space
        Whose members alone see the versions, as `space list` shows it.
    out_dir
        Write archives and manifests there instead of publishing; of what was published before also
        the signatures, with your own, so that others can add theirs (`package sign`).
    reason
        Why; goes into the audit log; left out: where it was imported from.
    """
    with console.refusing(json=json):
        wishes = Wishes(
            name=name,
            version=version,
            licence=licence,
            summary=summary,
            source=_location(repository, revision),
            packages=package,
            platform=platform,
            tag=tag,
            key=_key(cosign_key),
            trust_root=trust_root.lower(),
            registry=RegistrySettings(plain_http, registry_ca, registry_logins),
        )
        with console.progress(f"reading {source}"):
            found = list(packages_of(source, wishes))
        written = None
        if out_dir is not None:
            written = [_written(one, out_dir, credentials) for one in found]
    if written is None:
        terms = _Terms(channel, space, reason)
        imported = console.run(_published(found, terms, credentials), json=json)
    else:
        imported = written
    console.emit(PackagesImported(packages=tuple(imported)), _render, json=json)
    if any(one.outcome in _BAD for one in imported):
        sys.exit(console.REFUSED)


@dataclass(frozen=True, slots=True)
class _Terms:
    """On which everything is published."""

    channels: tuple[str, ...]
    space: str
    reason: str


async def _published(
    found: list[Prepared | NotPrepared], terms: _Terms, credentials: Path | None
) -> list[ImportedPackage]:
    publisher = load_publisher(session.credentials_dir(credentials))
    imported = []
    async with session.connected(credentials) as bus:
        for one in found:
            if isinstance(one, NotPrepared):
                imported.append(_refused(one))
                continue
            try:
                outcome = await _publish(bus, one, publisher, terms)
            except RefusedError as error:
                if len(found) == 1:
                    raise
                refusal = error.refusal()
                imported.append(_said(one, "refused", refusal))
            else:
                imported.append(_said(one, outcome))
    return imported


async def _publish(bus: Bus, one: Prepared, publisher: Publisher, terms: _Terms) -> ImportOutcome:
    label = f"publishing {one.manifest.name} {one.manifest.version}"
    reason = terms.reason or f"imported from {one.origin}"[:1000]
    with console.progress(label, total=len(one.archive)) as show_progress:
        if one.carried is not None:
            return await take_in(
                bus,
                one.carried,
                publisher,
                trust_root=bus.facts.trust_root,
                channels=terms.channels,
                space=terms.space,
                reason=reason,
                show_progress=show_progress,
            )
        signed = publisher.sign(BuiltPackage(one.manifest, one.archive, ()))
        name, version = one.manifest.name, one.manifest.version
        there = await find_version(bus, name, version, space=terms.space)
        if there is not None:
            return "already there" if is_same(there.signed, signed) else "conflict"
        await publish_signed(
            bus,
            signed,
            one.archive,
            channels=terms.channels,
            space=terms.space,
            reason=reason,
            show_progress=show_progress,
        )
        return "published"


def _written(
    one: Prepared | NotPrepared, folder: Path, credentials: Path | None
) -> ImportedPackage:
    """Archive and manifest; and of what was published before, the signatures, with one's own."""
    if isinstance(one, NotPrepared):
        return _refused(one)
    file = folder / f"{one.manifest.name}-{one.manifest.version}{ARCHIVE_SUFFIX}"
    prepared = None
    if one.carried is not None:
        directory = session.credentials_dir(credentials)
        root = Identity(directory, role=None).facts.trust_root
        signed = signed_here(one.carried, load_publisher(directory), trust_root=root)
        is_own = signed == one.carried.signed
        prepared = PreparedPublication(
            signed=signed, provenance=one.carried.provenance if is_own else None
        )
    write_built(BuiltPackage(one.manifest, one.archive, ()), file)
    if prepared is not None:
        write_publication(prepared, file_beside(file, PUBLICATION_SUFFIX))
    return _said(one, "written")


def _said(one: Prepared, outcome: ImportOutcome, refusal: Refusal | None = None) -> ImportedPackage:
    before: tuple[str, ...] = ()
    if (carried := one.carried) is not None:
        words = [
            f"{certificate.publisher} ({origin.trust_root})"
            for certificate, origin in zip(
                check_origins(carried.signed), carried.signed.origins, strict=True
            )
        ]
        before = (*words, f"{publisher_name(carried.signed)} ({carried.trust_root})")
    return ImportedPackage(
        origin=one.origin,
        outcome=outcome,
        name=one.manifest.name,
        version=one.manifest.version,
        archive_sha256=sha256_hex(one.archive),
        manifest_sha256=canonical_digest(one.manifest),
        published_before=before,
        cosign=one.cosign,
        remarks=one.remarks,
        refusal=refusal,
    )


def _refused(one: NotPrepared) -> ImportedPackage:
    return ImportedPackage(origin=one.origin, outcome="refused", refusal=one.refusal)


def _location(repository: str, revision: str) -> SourceLocation | None:
    if not repository and not revision:
        return None
    stated = {"repository": repository, "revision": revision}
    return convert_document(stated, SourceLocation, what="source")


def _key(file: Path | None) -> CosignKey | None:
    if file is None:
        return None
    try:
        return parse_key(file.read_bytes(), path=str(file))
    except OSError as error:
        reason = Reason(path=str(file), rule=f"cannot be read: {error.strerror}")
        raise RefusedError(f"{file}: {reason.rule}", [reason]) from error


def _render(imported: PackagesImported) -> RenderableType:
    table = Table("package", "outcome", "archive sha256", "from")
    notes = Table("package", "what", "remark")
    for one in imported.packages:
        label = f"{one.name} {one.version}".strip() or one.origin
        table.add_row(plain(label), one.outcome, one.archive_sha256, plain(one.origin))
        for before in one.published_before:
            notes.add_row(plain(label), "published before", plain(before))
        if one.cosign:
            notes.add_row(plain(label), "cosign", plain(one.cosign))
        for remark in (*one.remarks, *(one.refusal.reasons if one.refusal else ())):
            got = "" if remark.got is None else f" ({msgspec.json.encode(remark.got).decode()})"
            notes.add_row(plain(label), plain(remark.path), plain(f"{remark.rule}{got}"))
    return Group(table, notes) if notes.row_count else table
