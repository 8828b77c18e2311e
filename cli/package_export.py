# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package export`: a published version into a registry or a folder, as OCI content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import RenderableType

from cli import console, session
from cli.console import CredentialsOption, JsonFlag
from cli.oci_layout import Layout
from cli.oci_options import PlainHttpFlag, RegistryCaOption, RegistryLoginsOption
from cli.oci_registry import Registry, RegistrySettings
from cli.package_statements import fact_table
from cli.package_transfer import carry_out, find_version
from cli.rollout import SpaceOption
from shared.bytecode.elf import read_elf_facts
from shared.contracts.base import Message
from shared.contracts.distribution import MAX_DESTINATION
from shared.dsse import manifest_digest
from shared.errors import Reason, RefusedError
from shared.oci.bpfman import bytecode_content
from shared.oci.documents import OciContent
from shared.oci.packages import CarriedPackage, package_content
from shared.oci.references import parse_reference
from shared.package_archive import read_archive

Format = Literal["l3af", "bpfman"]


class PackageExported(Message, frozen=True, kw_only=True):
    """Where the version is now."""

    name: str
    version: str
    place: str
    """Reference with digest, or the folder and the tag."""
    format: Format
    digest: str
    """Of the OCI manifest or index."""
    archive_sha256: str
    manifest_sha256: str
    """Of the package's own manifest."""


def export(
    name: str,
    version: str = "",
    *,
    oci: str = "",
    layout: Path | None = None,
    tag: str = "",
    format: Annotated[Format, Parameter(name="--format")] = "l3af",  # noqa: A002
    program: str = "",
    space: SpaceOption = "",
    plain_http: PlainHttpFlag = False,
    registry_ca: RegistryCaOption = None,
    registry_logins: RegistryLoginsOption = None,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Put a published version into a registry, or into a folder in OCI layout.

    Archive, manifest and signatures stay byte for byte what the catalog holds; `import` gives them
    back.  The same version always makes the same OCI digest.

    Parameters
    ----------
    version
        Left out: the newest release.
    oci
        The registry: oci://HOST[:PORT]/REPOSITORY[:TAG]; without a tag it is the version.
    layout
        The folder.
    tag
        In the folder; left out: NAME-VERSION.
    format
        `bpfman`: an image that bpfman loads, with one object and no signature of ours.
    program
        With `--format bpfman`, whose object it is, if the package has several.
    """
    settings = RegistrySettings(plain_http, registry_ca, registry_logins)
    with console.refusing(json=json):
        if bool(oci) == (layout is not None):
            rule = "name one place: --oci oci://HOST/REPOSITORY:TAG, or --layout FOLDER"
            raise RefusedError(rule, [Reason(path="oci", rule=rule)])
        if oci:
            parse_reference(oci)
    goes_to = "a folder in OCI layout" if layout is not None else oci[:MAX_DESTINATION]
    package = console.run(_fetched(name, version, space, goes_to, credentials), json=json)
    with console.refusing(json=json):
        content = _content(package, format, program)
        total = sum(map(len, content.blobs.values()))
        with console.progress("exporting", total=total) as show_progress:
            if layout is not None:
                chosen = tag or f"{package.manifest.name}-{package.manifest.version}"
                Layout(layout).push(content, chosen, show_progress)
                place = f"{layout}:{chosen}"
            else:
                place = _push(oci, package, content, settings, show_progress)
    exported = PackageExported(
        name=package.manifest.name,
        version=package.manifest.version,
        place=place,
        format=format,
        digest=content.root.digest,
        archive_sha256=package.signed.archive_sha256,
        manifest_sha256=manifest_digest(package.signed),
    )
    console.emit(exported, _render, json=json)


async def _fetched(
    name: str, version: str, space: str, destination: str, credentials: Path | None
) -> CarriedPackage:
    async with session.connected(credentials) as bus:
        found = await find_version(bus, name, version, space=space)
        if found is None:
            wanted = f"{name} {version}".rstrip()
            rule = "is not published"
            raise RefusedError(f"{wanted} {rule}", [Reason(path=wanted, rule=rule)])
        size_bytes = sum(one.size_bytes for one in found.manifest.files)
        with console.progress("fetching", total=size_bytes) as show_progress:
            return await carry_out(
                bus,
                found,
                trust_root=bus.facts.trust_root,
                destination=destination,
                show_progress=show_progress,
            )


def _content(package: CarriedPackage, form: Format, program: str) -> OciContent:
    if form == "l3af":
        return package_content(package)
    files = read_archive(package.archive, package.manifest)
    objects = {
        path for one in package.manifest.programs if not one.compiler for path in one.all_objects
    }
    facts = {path: read_elf_facts(files[path], path) for path in sorted(objects)}
    return bytecode_content(package.manifest, files, facts, program=program)


def _push(
    oci: str,
    package: CarriedPackage,
    content: OciContent,
    settings: RegistrySettings,
    show_progress: Callable[[int], object],
) -> str:
    reference = parse_reference(oci)
    # Tags have no `+`, which begins build metadata (distribution-spec, "Pulling manifests").
    tag = reference.tag or package.manifest.version.replace("+", "_")
    with Registry(reference, settings) as registry:
        registry.push(content, tag, show_progress)
    return str(reference.tagged(tag).at(content.root.digest))


def _render(exported: PackageExported) -> RenderableType:
    return fact_table(
        {
            "package": f"{exported.name} {exported.version}",
            "exported to": exported.place,
            "format": exported.format,
            "digest": exported.digest,
            "archive sha256": exported.archive_sha256,
            "manifest sha256": exported.manifest_sha256,
        }
    )
