# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package`: build, publish and list; other verbs have modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Group, RenderableType

from cli import console, session
from cli.console import CredentialsOption, JsonFlag
from cli.package_build import BuiltPackage
from cli.package_check import report_check
from cli.package_listing import render_list
from cli.package_provenance import built_with_statement, write_statement
from cli.package_publish import publish_seconds, upload, write_built
from cli.package_review import release_facts, space_facts
from cli.package_show import elf_table
from cli.package_sign import PreparedPublication, prepare
from cli.package_source import ARCHIVE_SUFFIX
from cli.package_statements import fact_table, statement_facts
from cli.package_verify import (
    TimeoutOption,
    WatchFlag,
    show_decided,
    wait_for_kernels,
    waiting_facts,
)
from cli.rollout import chosen_id
from cli.trust_view import warning_facts
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.base import Message
from shared.contracts.catalog import (
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    ListPackages,
    PackageList,
    PackagePublished,
    PublishPackage,
)
from shared.contracts.events import PUBLIC
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest

app = cyclopts.App(name="package", help="Write, build, test, publish, list and show packages.")
app.command(
    "cli.package_test:try_package",
    name="test",
    help="Run a package's tests through this machine's kernel.",
)
app.command("cli.package_new:new", help="Write a package that works, to begin from.")
app.command("cli.package_lint:lint", help="Check a package as publication would, and more.")
app.command("cli.package_analyse:analyse", help="Say what a package uses and where it could run.")
app.command("cli.package_show:show", help="Show one version of a package.")
app.command("cli.package_verify:verify", help="Have a version verified on nodes' kernels.")
app.command("cli.package_matrix:matrix", help="Show what kernels said of a version.")
app.command("cli.package_diff:diff", help="Compare two packages, and what an upgrade keeps.")
app.command(
    "cli.package_licence:licence", help="Check licences against the kernel's rules and a policy."
)
app.command("cli.package_export:export", help="Put a version into a registry or a folder, as OCI.")
app.command(
    "cli.package_import:import_",
    name="import",
    help="Take packages from registries, l3afd repositories and archives.",
)
app.command("cli.package_sign:sign", help="Add your signature to what several sign.")
app.command("cli.package_provenance:provenance", help="Show how a version was built, verified.")
app.command("cli.package_mirror:mirror", help="Copy versions from one installation to another.")
app.command("cli.package_notice:notice", help="What has to be handed on with a package.")
app.command("cli.package_search:search", help="Find packages by words and facets.")
app.command("cli.package_rating:rate", help="Say what you think of a version.")
app.command("cli.package_rating:unrate", help="Remove your rating of a version.")
app.command("cli.package_rating:ratings", help="Show what was said of a version.")
app.command("cli.package_sbom:sbom", help="What a package is made of, as CycloneDX or SPDX.")
app.command("cli.package_users:users", help="Show who runs a package, and where.")
app.command("cli.package_users:impact", help="Show what revoking a version would do.")
app.command("cli.package_users:sharing", help="Show who declares the same shared maps.")
app.command("cli.package_review:submit", help="Ask for reviews for a channel.")
app.command("cli.package_review:review", help="Say that you look at a version.")
app.command("cli.package_review:approve", help="Approve exactly these bytes, as a code owner.")
app.command("cli.package_review:promote", help="Release a version to a channel.")
app.command("cli.package_review:deprecate", help="Say that a version should not be chosen.")
app.command("cli.package_review:yank", help="Hide a version from all who do not name it.")
app.command("cli.package_review:revoke", help="Forbid a version.")
app.command("cli.package_review:standing", help="Show what a version waits for.")
app.command("cli.package_owners:app", name="owners", help="Who owns which files of which packages.")


class PackageBuilt(Message, frozen=True, kw_only=True):
    """What `build` made."""

    name: str
    version: str
    archive: str
    """Path of the file."""
    archive_sha256: str
    manifest_sha256: str
    size_bytes: int
    manifest: PackageManifest
    elf: tuple[ElfFacts, ...]
    provenance: str = ""
    """Path of the file that says how it was built."""


@app.command
def build(
    folder: Path,
    *,
    out: Path | None = None,
    out_dir: Path = Path(),
    check: Annotated[bool, Parameter(negative=())] = False,
    against: str = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Compile a package and write its archive; beside it its manifest, and how it was built.

    The same sources give the same archive, byte for byte, wherever the folder lies.

    Parameters
    ----------
    folder
        Where `package.toml` is.
    out
        The archive's path; left out: `<name>-<version>.l3afpkg` in --out-dir.
    out_dir
        Where the archive goes when --out is left out.
    check
        Write nothing: build twice, on two paths, compare, and say what differs, if it does with
        exit status 2.  An archive that lies where it would be written is compared too.
    against
        With --check, compare with this instead: another folder, an archive, or NAME@VERSION.
    """
    if check or against:
        report_check(folder, out or out_dir, against, credentials, json=json)
        return
    with console.refusing(json=json), console.progress(f"building {folder.name}"):
        built, statement = built_with_statement(folder)
        manifest = built.manifest
        path = out or out_dir / f"{manifest.name}-{manifest.version}{ARCHIVE_SUFFIX}"
        write_built(built, path)
        provenance = write_statement(statement, path)
    made = PackageBuilt(
        name=manifest.name,
        version=manifest.version,
        archive=str(path),
        archive_sha256=sha256_hex(built.archive),
        manifest_sha256=canonical_digest(manifest),
        size_bytes=len(built.archive),
        manifest=manifest,
        elf=built.elf,
        provenance=str(provenance),
    )
    console.emit(made, _render_built, json=json)


@app.command
def publish(
    path: Path,
    *,
    channel: Annotated[tuple[str, ...], Parameter(negative=())] = ("stable",),
    space: str = PUBLIC,
    unsigned: Annotated[bool, Parameter(negative=())] = False,
    watch: WatchFlag = False,
    timeout: TimeoutOption = 600,
    reason: str = "",
    command_id: str = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Sign a package with your publisher's key, upload it and publish it.

    Signatures that `sign` put beside the archive are published with yours.

    A channel that demands verification takes the version once enough kernels have passed it; with
    --watch that is waited for.  Exit status 2 then: it is published, but a channel did not take it.

    Parameters
    ----------
    path
        A package's folder, which is built first, or an archive that `build` wrote.
    channel
        Where the version is released to.
    space
        Whose members alone see the version, as `space list` shows it.
    unsigned
        Sign nothing: taken by a catalog in trust mode `normal` alone, with a warning everywhere.
    reason
        Why; goes into the audit log.
    command_id
        8 to 64 letters, digits, _ and -: a repeat with the same one has no second effect.
    """
    with console.refusing(json=json), console.progress(f"reading {path.name}"):
        built, prepared = prepare(path, credentials, is_signed=not unsigned)
    published = console.run(
        _publish(
            built,
            prepared,
            credentials=credentials,
            channels=channel,
            space=space,
            reason=reason,
            command_id=chosen_id(command_id),
        ),
        json=json,
    )
    if not (watch and published.awaits):
        console.emit(published, _render_published, json=json)
        return
    console.say(_render_published(published), json=json)
    show_decided(
        console.run(
            wait_for_kernels(credentials, published, seconds=timeout, json=json),
            json=json,
        ),
        json=json,
    )


@app.command(name="list")
def list_(
    name: str = "*", *, credentials: CredentialsOption = None, json: JsonFlag = False
) -> None:
    """List packages and their versions.

    Parameters
    ----------
    name
        Glob that the names must match.
    """

    async def listed() -> PackageList:
        pages: list[PackageList] = []
        async with session.connected(credentials) as bus:
            while not pages or pages[-1].next:
                request = ListPackages(name=name, after=pages[-1].next if pages else "")
                pages.append(await bus.request(LIST_PACKAGES, request))
        return PackageList(packages=tuple(one for page in pages for one in page.packages))

    console.emit(console.run(listed(), json=json), render_list, json=json)


async def _publish(
    built: BuiltPackage,
    prepared: PreparedPublication,
    *,
    credentials: Path | None,
    channels: tuple[str, ...],
    space: str,
    reason: str,
    command_id: str,
) -> PackagePublished:
    async with session.connected(credentials) as bus:
        with console.progress("uploading", total=len(built.archive)) as show_progress:
            await upload(bus, built.archive, show_progress=show_progress)
        with console.progress("publishing"):
            return await bus.request(
                PUBLISH_PACKAGE,
                PublishPackage(
                    command_id=command_id,
                    reason=reason,
                    signed=prepared.signed,
                    channels=channels,
                    space=space,
                    provenance=prepared.provenance,
                ),
                timeout_seconds=publish_seconds(len(built.archive)),
            )


def _render_built(made: PackageBuilt) -> RenderableType:
    return Group(
        fact_table(
            {
                "package": f"{made.name} {made.version}",
                "archive": f"{made.archive} ({made.size_bytes} bytes)",
                "archive sha256": made.archive_sha256,
                "provenance": made.provenance,
                "manifest sha256": made.manifest_sha256,
                **statement_facts(made.manifest),
            }
        ),
        elf_table(made.elf),
    )


def _render_published(published: PackagePublished) -> RenderableType:
    return fact_table(
        {
            "published": f"{published.name} {published.version}",
            **space_facts(published.space),
            "archive sha256": published.archive_sha256,
            "manifest sha256": published.manifest_sha256,
            "command": published.command_id,
            **warning_facts(published),
            **waiting_facts(published),
            **release_facts(published),
        }
    )
