# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What one version is made of, from its manifest, its archive and what was found out about it.

Pure, and the same for the same version.  The manifest names every file and the archive holds no
other, so a bill is complete.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from shared.contracts.catalog import PackageVersion
from shared.contracts.licences import LicenceElection
from shared.contracts.package_manifest import PackageFile, PackageManifest
from shared.contracts.sbom import BilledFile, BuildTool, FileKind, LicenceText, PackageBill
from shared.dsse import manifest_digest, publisher_name
from shared.identifiers import HOOKS
from shared.licensing.expressions import licences_named, text_path
from shared.licensing.notices import copyright_lines
from shared.licensing.obligations import sources_of
from shared.licensing.package import LicensedPackage

MAX_TEXT_CHARACTERS: Final = 64 * 1024
_SOURCES: Final = (".c", ".h")
_NUMBER: Final = re.compile(r"\b(?P<name>[A-Za-z][\w.+-]*) version (?P<version>[0-9][\w.+~:-]*)")
_OWN: Final = "LicenseRef-"


def package_bill(
    version: PackageVersion,
    package: LicensedPackage,
    files: Mapping[str, bytes],
    elections: Sequence[LicenceElection],
) -> PackageBill:
    """The bill.

    Args:
        version: As it was published.
        package: The same, with its licences.
        files: All of its archive.
        elections: Under which choice each object is taken.
    """
    manifest = version.manifest
    billed = tuple(_files(package, files, elections))
    build = manifest.build
    hooks = {hook for program in manifest.programs for hook in program.hooks}
    return PackageBill(
        name=manifest.name,
        version=version.version,
        summary=manifest.summary,
        publisher=publisher_name(version.signed),
        owners=manifest.owners,
        published_at=version.published_at,
        manifest_sha256=manifest_digest(version.signed),
        archive_sha256=version.signed.archive_sha256,
        declared=all_of(package.expressions.values()),
        concluded=all_of(one.concluded for one in billed) if billed else package.declared,
        platforms=manifest.platforms,
        hooks=tuple(hook for hook in HOOKS if hook in hooks),
        kernels=manifest.needs.kernel,
        features=manifest.node_features,
        shared_maps=tuple(
            sorted(
                {one.name for facts in version.elf for one in facts.maps if one.is_pinned_by_name}
            )
        ),
        files=billed,
        tools=tuple(_tools(manifest)),
        arguments=build.arguments if build else (),
        headers_sha256=build.headers_sha256 if build else "",
        source=manifest.source,
        texts=tuple(_texts(billed, files)),
    )


def all_of(expressions: Iterable[str]) -> str:
    """One expression for parts that come together, each once.

    >>> all_of(["MIT", "GPL-2.0-only OR BSD-2-Clause", "MIT"])
    'MIT AND (GPL-2.0-only OR BSD-2-Clause)'
    """
    parts = list(dict.fromkeys(expressions))
    if len(parts) == 1:
        return parts[0]
    return " AND ".join(f"({one})" if " OR " in one.upper() else one for one in parts)


def _files(
    package: LicensedPackage, files: Mapping[str, bytes], elections: Sequence[LicenceElection]
) -> Iterator[BilledFile]:
    elected = {one.file: one.elected for one in elections}
    manifest = package.manifest
    paths = sorted(file.path for file in manifest.files)
    copyrights: dict[str, list[str]] = {}
    for line in copyright_lines(files):
        for path in line.files:
            copyrights.setdefault(path, []).append(line.text)
    kinds = stated_kinds(manifest)
    for file in sorted(manifest.files, key=lambda one: one.path):
        group = package.group_of(file.path)
        declared = package.expressions.get(group, package.declared)
        tag = package.source_licences.get(file.path, "")
        kind = kinds.get(file.path) or _kind_by_suffix(file, group)
        yield BilledFile(
            path=file.path,
            sha256=file.sha256,
            sha1=hashlib.sha1(files[file.path], usedforsecurity=False).hexdigest(),
            size_bytes=file.size_bytes,
            kind=kind,
            group=group,
            declared=declared,
            concluded=elected.get(file.path) or tag or declared,
            tag=tag,
            copyrights=tuple(copyrights.get(file.path, ())),
            sources=tuple(sources_of(file.path, paths)) if kind == "object" else (),
        )


def stated_kinds(manifest: PackageManifest) -> dict[str, FileKind]:
    """What the manifest says that files are, of those that it says something of."""
    found: dict[str, FileKind] = {}
    for program in manifest.programs:
        kind: FileKind = "source" if program.compiler else "object"
        found |= dict.fromkeys(program.all_objects, kind)
    for companion in manifest.companions.values():
        found |= dict.fromkeys(companion.executables.values(), "executable")
    return found


def _kind_by_suffix(file: PackageFile, group: str) -> FileKind:
    if file.path.endswith(_SOURCES):
        return "source"
    return "documentation" if group == "docs" else "other"


def _tools(manifest: PackageManifest) -> Iterator[BuildTool]:
    if manifest.build is not None:
        yield _tool(manifest.build.compiler, "compiler")
        yield _tool(manifest.build.stripper, "stripper")
    for compiler in sorted({one.compiler for one in manifest.programs if one.compiler}):
        yield BuildTool(name=compiler)


def _tool(said: str, otherwise: str) -> BuildTool:
    """As `Debian clang version 14.0.6`; what says it otherwise has no version of its own."""
    match = _NUMBER.search(said)
    if match is None:
        return BuildTool(name=otherwise, said=said)
    return BuildTool(name=match["name"], version=match["version"], said=said)


def _texts(billed: Sequence[BilledFile], files: Mapping[str, bytes]) -> Iterator[LicenceText]:
    expressions = {text for one in billed for text in (one.declared, one.concluded, one.tag)}
    named = {name for text in expressions for name in licences_named(text)}
    for licence in sorted(name for name in named if name.startswith(_OWN)):
        if text_path(licence) in files:
            text = files[text_path(licence)].decode(errors="replace")
            yield LicenceText(licence=licence, text=text[:MAX_TEXT_CHARACTERS])
