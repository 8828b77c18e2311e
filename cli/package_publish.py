# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What stands between a built package and the catalog: files, the publisher's key, the upload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from cli.package_build import BuiltPackage, build_package
from cli.package_source import ARCHIVE_SUFFIX, MANIFEST_SUFFIX
from shared.adapters.exception_groups import plain_task_group
from shared.bytecode.c_sources import read_source_facts
from shared.bytecode.elf import read_elf_facts
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.base import Endpoint
from shared.contracts.catalog import (
    CHUNK_BYTES,
    FIND_MISSING,
    MAX_MISSING_RANGES,
    WRITE_ARTIFACT,
    ArtifactWritten,
    DsseEnvelope,
    FindMissing,
    MissingFound,
    SignedPackage,
    WriteArtifact,
)
from shared.contracts.errors import ErrorCode
from shared.contracts.package_manifest import PackageManifest
from shared.dsse import KEY_BYTES, sign_manifest
from shared.errors import FaultError, Reason, RefusedError
from shared.installation_facts import PUBLISHER_CERTIFICATE_FILE, PUBLISHER_KEY_FILE
from shared.package_archive import read_archive
from shared.package_tests import compilers_by_file
from shared.validation import decode_document

CHUNK_SECONDS = 15.0
PUBLISH_SECONDS = 30.0
BYTES_A_SECOND = 4 << 20
"""How fast a catalog stores or reads a whole archive, at least."""
CHUNKS_AT_ONCE = 4
UPLOAD_ROUNDS = 3
"""A catalog that died during an upload may have to be told some chunks again."""


class NoPublisherError(RefusedError):
    """The principal has no key to sign packages with."""

    code: ClassVar[ErrorCode] = "not_permitted"


class Asks(Protocol):
    """The part of the bus that an upload needs."""

    async def request(
        self, endpoint: Endpoint[Any, Any], message: Any, *, timeout_seconds: float = ...
    ) -> Any:
        """The reply."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """A key, and the installation's word for it."""

    seed: bytes = field(repr=False)
    certificate: DsseEnvelope

    def sign(self, built: BuiltPackage) -> SignedPackage:
        """The package with this publisher's word for it."""
        return SignedPackage(
            manifest=sign_manifest(built.manifest, seed=self.seed),
            certificate=self.certificate,
            archive_sha256=sha256_hex(built.archive),
        )


def load_publisher(credentials: Path) -> Publisher:
    """The publisher whose key lies in a credentials directory.

    Raises:
        NoPublisherError: There is none.
        RefusedError: The files are not what they should be.
    """
    key_file = credentials / PUBLISHER_KEY_FILE
    if not key_file.is_file():
        raise NoPublisherError(
            f"{credentials} holds no {PUBLISHER_KEY_FILE}: this principal may not sign packages"
        )
    try:
        seed = bytes.fromhex(_read(key_file).decode().strip())
    except ValueError as error:
        raise RefusedError(f"{key_file} is not hexadecimal") from error
    if len(seed) != KEY_BYTES:
        raise RefusedError(f"{key_file} does not hold {KEY_BYTES} bytes")
    certificate = credentials / PUBLISHER_CERTIFICATE_FILE
    return Publisher(
        seed=seed,
        certificate=decode_document(_read(certificate), DsseEnvelope, what=str(certificate)),
    )


def file_beside(archive: Path, suffix: str) -> Path:
    """Where what belongs to an archive file lies: beside it, under its name."""
    return archive.with_name(archive.name.removesuffix(ARCHIVE_SUFFIX) + suffix)


def manifest_file(archive: Path) -> Path:
    """Where the manifest of an archive file lies."""
    return file_beside(archive, MANIFEST_SUFFIX)


def write_built(built: BuiltPackage, archive: Path) -> None:
    """Both files of the package exist; they are all that `read_built` needs.

    Raises:
        RefusedError: They cannot be written there.
    """
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(built.archive)
        manifest_file(archive).write_bytes(canonical_bytes(built.manifest))
    except OSError as error:
        raise RefusedError(f"{archive} cannot be written: {error.strerror}") from error


def read_built(archive: Path) -> BuiltPackage:
    """The package in an archive file, once it is exactly what the manifest beside it says.

    Raises:
        ArchiveError: It is not; with every difference.
        RefusedError: A file is missing or malformed.
    """
    data = _read(archive)
    described = manifest_file(archive)
    manifest = decode_document(_read(described), PackageManifest, what=str(described))
    files = read_archive(data, manifest)
    objects = compilers_by_file(manifest)
    return BuiltPackage(
        manifest=manifest,
        archive=data,
        elf=tuple(
            read_source_facts(files[path], path) if compiler else read_elf_facts(files[path], path)
            for path, compiler in objects.items()
        ),
    )


def load_built(path: Path) -> BuiltPackage:
    """The package in a folder, which is built, or in an archive file.

    Raises:
        RefusedError: It cannot be built or read.
    """
    return build_package(path) if path.is_dir() else read_built(path)


def publish_seconds(archive_bytes: int) -> float:
    """How long the catalog may take to judge an archive of that size."""
    return PUBLISH_SECONDS + archive_bytes / BYTES_A_SECOND


async def upload(
    bus: Asks, archive: bytes, *, show_progress: Callable[[int], object] = lambda _: None
) -> None:
    """The catalog holds the whole archive; what it had of it is not sent again.

    Args:
        bus: To the catalog.
        archive: The whole.
        show_progress: Told how many bytes the catalog has.

    Raises:
        RefusedError: The catalog does not take it.
        FaultError: The catalog does not answer, or never has all chunks.
    """
    digest, storing_seconds = sha256_hex(archive), len(archive) / BYTES_A_SECOND
    at_once = asyncio.Semaphore(CHUNKS_AT_ONCE)
    there_bytes = 0
    is_complete = False

    async def send(offset_bytes: int) -> None:
        nonlocal there_bytes, is_complete
        data = archive[offset_bytes : offset_bytes + CHUNK_BYTES]
        request = WriteArtifact(
            sha256=digest, size_bytes=len(archive), offset_bytes=offset_bytes, data=data
        )
        async with at_once:
            # The last one to come is answered once the whole is stored.
            written: ArtifactWritten = await bus.request(
                WRITE_ARTIFACT, request, timeout_seconds=CHUNK_SECONDS + storing_seconds
            )
        is_complete |= written.complete
        there_bytes += len(data)
        show_progress(there_bytes)

    whole = FindMissing(sha256=digest, size_bytes=len(archive))
    for _ in range(UPLOAD_ROUNDS + len(archive) // (MAX_MISSING_RANGES * CHUNK_BYTES)):
        found: MissingFound = await bus.request(FIND_MISSING, whole, timeout_seconds=CHUNK_SECONDS)
        if found.complete:
            show_progress(len(archive))
            return
        missing = [
            offset_bytes
            for one in found.missing
            for offset_bytes in range(one.first_bytes, one.end_bytes, CHUNK_BYTES)
        ]
        there_bytes = len(archive) - sum(one.end_bytes - one.first_bytes for one in found.missing)
        async with plain_task_group() as tasks:
            for offset_bytes in missing or range(0, len(archive), CHUNK_BYTES)[-1:]:
                tasks.create_task(send(offset_bytes))
        if is_complete:
            return
    raise FaultError(f"the catalog took every chunk of {digest} and still lacks some")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = Reason(path=str(path), rule=f"cannot be read: {error.strerror}")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
