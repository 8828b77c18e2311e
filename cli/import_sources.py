# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `l3af package import` takes packages from: registries, layouts, archives, repositories.

What is a package already stays one; of object files a package is made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Final

from cli.oci_layout import Layout, is_layout
from cli.oci_registry import Registry, RegistrySettings
from cli.oci_source import ReadContent, read_content
from cli.package_build import build_package, visible_files
from cli.package_new import licence_text
from cli.package_source import SOURCE_FILE
from shared.canonical import sha256_hex
from shared.contracts.package_manifest import PackageManifest, SourceLocation
from shared.errors import Reason, Refusal, RefusedError
from shared.foreign.archives import ForeignFile, is_zip
from shared.foreign.l3afd_repository import (
    SUFFIXES,
    WINDOWS,
    ArtifactContent,
    RepositoryEntry,
    artifact_content,
    is_artifact,
    read_artifact,
    repository_entries,
)
from shared.foreign.objects import Objects, Statement, label_of, package_of, semver_of
from shared.foreign.tar_files import read_tar
from shared.foreign.zip_files import read_zip
from shared.oci.cosign import CosignKey
from shared.oci.packages import CarriedPackage
from shared.oci.references import SCHEME, parse_reference

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Of one packed file on disk."""
TEXTS: Final = ("GPL-2.0-only", "BSD-2-Clause", "Apache-2.0")
"""Licences whose text comes with the product."""
_TEXT_FOLDER: Final = "LICENSES"

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What whoever imports says; what is empty is told by the source."""

    name: str = ""
    version: str = ""
    licence: str = ""
    summary: str = ""
    source: SourceLocation | None = None
    packages: str = "*"
    """Glob over names in a repository."""
    platform: str = ""
    """Of a repository of l3afd."""
    tag: str = ""
    """In a layout."""
    key: CosignKey | None = None
    trust_root: str = ""
    registry: RegistrySettings = field(default_factory=RegistrySettings)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One package, ready to be signed or to be carried on."""

    origin: str
    manifest: PackageManifest
    archive: bytes
    carried: CarriedPackage | None = None
    """With its earlier signatures; None: nobody signed it as a package."""
    remarks: tuple[Reason, ...] = ()
    cosign: str = ""
    """Where the signature is that was demanded."""


@dataclass(frozen=True, slots=True)
class NotPrepared:
    """One package of several, and why it is none."""

    origin: str
    refusal: Refusal


def packages_of(
    source: str, wishes: Wishes, show_progress: Progress = lambda _: None
) -> Iterator[Prepared | NotPrepared]:
    """Every package of a source; one that is refused does not keep the others back.

    Raises:
        RefusedError: The source is none, or its only package is refused.
        FaultError: A registry does not answer.
    """
    place = Path(source)
    is_oci = source.startswith(SCHEME) or is_layout(place)
    _refuse_beside(source, wishes, is_oci=is_oci, is_repository=place.is_dir() and not is_oci)
    if source.startswith(SCHEME):
        yield _of_registry(source, wishes, show_progress)
    elif is_layout(place):
        content = read_content(
            Layout(place),
            wishes.tag,
            key=wishes.key,
            trust_root=wishes.trust_root,
            show_progress=show_progress,
        )
        yield _of_content(content, f"{source}@{content.digest}", wishes.tag or place.name, wishes)
    elif place.is_dir():
        yield from _of_repository(place, wishes)
    elif place.is_file() and (is_artifact(source) or source.endswith((".tgz", ".tar"))):
        yield _of_archive(place, wishes)
    else:
        reason = Reason(
            path=source,
            rule="is nothing that packages are imported from",
            allowed=f"oci://…, a folder in OCI layout or of an l3afd repository, {SUFFIXES}",
        )
        raise RefusedError(f"{source} {reason.rule}", [reason])


def _refuse_beside(source: str, wishes: Wishes, *, is_oci: bool, is_repository: bool) -> None:
    """Whatever is stated concerns this kind of source.

    Raises:
        RefusedError: With everything that does not, so that nobody thinks that it was looked at.
    """
    demands = {
        "cosign-key": is_oci or wishes.key is None,
        "trust-root": is_oci or not wishes.trust_root,
        "tag": is_layout(Path(source)) or not wishes.tag,
        "package": is_repository or wishes.packages == "*",
        "platform": is_repository or not wishes.platform,
    }
    reasons = [
        Reason(path=f"--{name}", rule="says nothing about this kind of source")
        for name, fits in demands.items()
        if not fits
    ]
    if reasons:
        raise RefusedError(f"{reasons[0].path} {reasons[0].rule}", reasons)


def _of_registry(source: str, wishes: Wishes, show_progress: Progress) -> Prepared:
    reference = parse_reference(source)
    with Registry(reference, wishes.registry) as registry:
        content = read_content(
            registry,
            reference.manifest,
            key=wishes.key,
            trust_root=wishes.trust_root,
            show_progress=show_progress,
        )
    name = f"{reference.repository}:{reference.tag}"
    return _of_content(content, str(reference.at(content.digest)), name, wishes)


def _of_content(content: ReadContent, origin: str, name: str, wishes: Wishes) -> Prepared:
    if (package := content.package) is not None:
        _refuse_statements(package.manifest, wishes)
        return Prepared(
            origin, package.manifest, package.archive, carried=package, cosign=content.signed_at
        )
    assert content.images is not None
    if wishes.trust_root:
        rule = "is an image, and of no installation"
        raise RefusedError(f"{origin} {rule}", [Reason(path=origin, rule=rule)])
    path, _, tag = name.partition(":")
    first = next(iter(content.images.values()))
    objects = {
        first.file_name: {platform: image.object for platform, image in content.images.items()}
    }
    made = _of_objects(
        objects,
        PurePosixPath(path).name,
        wishes.version or semver_of(tag),
        origin=origin,
        wishes=wishes,
        files={},
    )
    return Prepared(
        origin,
        made.manifest,
        made.archive,
        remarks=(*content.left_out, *made.remarks),
        cosign=content.signed_at,
    )


def _of_archive(file: Path, wishes: Wishes) -> Prepared:
    data = _read(file)
    files = read_zip(data) if is_zip(data) else read_tar(data)
    origin = f"{file.name} sha256:{sha256_hex(data)}"
    roots = {path.partition("/")[0] for path in files}
    for root in ("", *(f"{one}/" for one in roots if len(roots) == 1)):
        if f"{root}{SOURCE_FILE}" in files:
            return _of_source(files, root, origin, wishes)
    content = artifact_content(files)
    made = _of_objects(
        {path: {"": data} for path, data in content.objects.items()},
        file.name.partition(".")[0],
        wishes.version,
        origin=origin,
        wishes=wishes,
        files=files,
    )
    return Prepared(
        origin, made.manifest, made.archive, remarks=(*made.remarks, *_left_out(content))
    )


def _of_source(
    files: Mapping[str, ForeignFile], root: str, origin: str, wishes: Wishes
) -> Prepared:
    """A package's own folder, packed: it is built as it would be from a folder."""
    with tempfile.TemporaryDirectory(prefix="l3af-import-") as scratch:
        for path, file in files.items():
            # Names were checked to stay below, and nothing but these files is there.
            target = Path(scratch) / path.removeprefix(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
        built = build_package(Path(scratch))
    _refuse_statements(built.manifest, wishes)
    return Prepared(origin, built.manifest, built.archive, remarks=built.warnings)


def _of_repository(folder: Path, wishes: Wishes) -> Iterator[Prepared | NotPrepared]:
    paths = [path.relative_to(folder).as_posix() for path in visible_files(folder)]
    entries = [one for one in repository_entries(paths) if fnmatchcase(one.name, wishes.packages)]
    if not entries:
        rule = "holds no <name>/<version>/<platform>/<artifact> that is asked for"
        reason = Reason(path=str(folder), rule=rule, allowed=list(SUFFIXES))
        raise RefusedError(f"{folder} {rule}", [reason])
    if wishes.name and len({one.name for one in entries}) > 1:
        rule = "is for one package, and these are several: choose one with --package"
        names = sorted({one.name for one in entries})
        raise RefusedError(f"name: {rule}", [Reason(path="name", rule=rule, got=names)])
    for (name, version), found in groupby(entries, key=lambda one: (one.name, one.version)):
        try:
            yield _of_version(folder, name, version, list(found), wishes)
        except RefusedError as error:
            yield NotPrepared(f"{name}/{version}", error.refusal())


def _of_version(
    folder: Path, name: str, version: str, entries: list[RepositoryEntry], wishes: Wishes
) -> Prepared:
    remarks = [
        Reason(path=one.path, rule="left out: is for Windows")
        for one in entries
        if one.platform == WINDOWS
    ]
    wanted = [
        one for one in entries if one.platform != WINDOWS and wishes.platform in ("", one.platform)
    ]
    packed = {one: _read(folder / one.path) for one in wanted}
    contents = {one: read_artifact(one.artifact, data) for one, data in packed.items()}
    different = {tuple(sorted(one.objects.items())) for one in contents.values()}
    if len(different) != 1:
        rule = "has no artifact" if not wanted else "has several that differ: name a --platform"
        allowed = sorted({one.platform for one in entries if one.platform != WINDOWS})
        raise RefusedError(
            f"{name}/{version} {rule}",
            [Reason(path=f"{name}/{version}", rule=rule, allowed=allowed)],
        )
    entry, content = next(iter(contents.items()))
    origin = f"l3afd repository: {entry.path} sha256:{sha256_hex(packed[entry])}"
    made = _of_objects(
        {path: {"": data} for path, data in content.objects.items()},
        name,
        semver_of(version) or wishes.version,
        origin=origin,
        wishes=wishes,
        files={},
    )
    return Prepared(
        origin,
        made.manifest,
        made.archive,
        remarks=(*remarks, *made.remarks, *_left_out(content)),
    )


def _of_objects(
    objects: Objects,
    name: str,
    version: str,
    *,
    origin: str,
    wishes: Wishes,
    files: Mapping[str, ForeignFile],
) -> Prepared:
    """The package that the objects become, under this version."""
    if not objects:
        reason = Reason(path=origin, rule="holds no object file for eBPF")
        raise RefusedError(f"{origin} {reason.rule}", [reason])
    if not version:
        reason = Reason(path=f"{origin}: version", rule="is none by SemVer: state it (--version)")
        raise RefusedError(f"{origin}: the version is none by SemVer: state it", [reason])
    label = wishes.name or label_of(name, path="name")
    made = package_of(
        objects,
        Statement(
            name=label,
            version=version,
            summary=wishes.summary or f"{label}, as it was imported"[:200],
            origin=origin,
            licence=wishes.licence,
            source=wishes.source,
        ),
        texts=_texts(files),
    )
    return Prepared(origin, made.manifest, made.archive, remarks=made.remarks)


def _refuse_statements(manifest: PackageManifest, wishes: Wishes) -> None:
    """What somebody signed or wrote down is not changed on the way."""
    held = {"name": manifest.name, "version": manifest.version, "licence": manifest.licence}
    reasons = [
        Reason(
            path=field_name, rule="the package says so itself", got=stated, allowed=held[field_name]
        )
        for field_name, stated in (
            ("name", wishes.name),
            ("version", wishes.version),
            ("licence", wishes.licence),
        )
        if stated not in ("", held[field_name])
    ]
    if wishes.summary or wishes.source:
        reasons.append(Reason(path="summary", rule="the package says so itself"))
    if reasons:
        raise RefusedError(f"{reasons[0].path}: {reasons[0].rule}", reasons)


def _texts(files: Mapping[str, ForeignFile]) -> dict[str, bytes]:
    """Of licences: those that the product brings, and those that are in the archive."""
    texts = {name: licence_text(name).encode() for name in TEXTS}
    for path, file in files.items():
        one = PurePosixPath(path)
        if one.parent.name == _TEXT_FOLDER and one.suffix == ".txt":
            texts[one.stem] = file.data
    return texts


def _left_out(content: ArtifactContent) -> Iterator[Reason]:
    for path in content.executables:
        yield Reason(path=path, rule="left out: runs in user space, which nodes do not start")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = Reason(path=str(path), rule=f"cannot be read: {error.strerror}")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
    if len(data) > MAX_FILE_BYTES:
        reason = Reason(path=str(path), rule="is larger than it may be", allowed=MAX_FILE_BYTES)
        raise RefusedError(f"{path} {reason.rule}", [reason])
    return data
