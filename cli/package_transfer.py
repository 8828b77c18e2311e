# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages between catalogs: out of one as they are, into another in its publisher's words."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from cli.package_publish import Asks, Publisher, publish_seconds, upload
from cli.rollout import chosen_id
from shared.adapters.exception_groups import plain_task_group
from shared.contracts.catalog import (
    CHUNK_BYTES,
    GET_PACKAGE,
    PUBLISH_PACKAGE,
    READ_ARCHIVE,
    ArtifactChunk,
    DsseEnvelope,
    GetPackage,
    PackagePublished,
    PackageShown,
    PackageVersion,
    PublishPackage,
    ReadArchive,
    SignedPackage,
)
from shared.contracts.events import PUBLIC
from shared.dsse import manifest_digest, verify_signed_package
from shared.errors import Reason, RefusedError, VerificationError
from shared.oci.packages import CarriedPackage
from shared.package_archive import read_archive
from shared.package_origins import check_origins, signed_anew

READ_SECONDS: Final = 15.0
CHUNKS_AT_ONCE: Final = 4

Progress = Callable[[int], object]
Outcome = Literal["published", "already there", "conflict"]
"""`conflict`: another package has this name and version."""


async def find_version(
    bus: Asks, name: str, version: str = "", *, space: str = ""
) -> PackageVersion | None:
    """The published version, an empty one for the newest release; None: there is none.

    An empty space is any that the caller sees.

    Raises:
        RefusedError: The catalog says no for another reason.
        FaultError: It does not answer.
    """
    try:
        wanted = GetPackage(name=name, version=version, space=space)
        shown: PackageShown = await bus.request(GET_PACKAGE, wanted, timeout_seconds=READ_SECONDS)
    except RefusedError as error:
        if error.refusal().code == "not_found":
            return None
        raise
    return shown.package


async def carry_out(
    bus: Asks,
    found: PackageVersion,
    *,
    trust_root: str,
    destination: str = "",
    show_progress: Progress = lambda _: None,
) -> CarriedPackage:
    """A published version with its archive, everything about it checked again.

    Args:
        bus: To the catalog where it is.
        found: As that shows it.
        trust_root: Of that installation, 64 hexadecimal digits.
        destination: Where it goes from here, for that installation's audit log.
        show_progress: Told how many bytes of the archive are there.

    Raises:
        VerificationError: A signature, a digest or the archive is not what it should be.
        RefusedError: The catalog says no.
        FaultError: It does not answer.
    """
    signed = found.signed
    manifest, _ = verify_signed_package(signed, trust_root=bytes.fromhex(trust_root))
    check_origins(signed)
    first = ReadArchive(
        name=manifest.name, version=found.version, space=found.space, destination=destination
    )
    archive = await _read(bus, first, show_progress)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(archive).hexdigest())
    if digest != signed.archive_sha256:
        reason = Reason(
            path=f"{manifest.name} {found.version}",
            rule="the catalog sent another archive than the one that was signed",
            got=digest,
            allowed=signed.archive_sha256,
        )
        raise VerificationError(f"{reason.path}: {reason.rule}", [reason])
    await asyncio.to_thread(read_archive, archive, manifest)
    return CarriedPackage(signed, manifest, trust_root, archive, found.provenance)


async def take_in(
    bus: Asks,
    package: CarriedPackage,
    publisher: Publisher,
    *,
    trust_root: str,
    channels: tuple[str, ...],
    reason: str,
    space: str = PUBLIC,
    show_progress: Progress = lambda _: None,
) -> Outcome:
    """The version is published here with its digests; `conflict`: another one has its number.

    What this installation's publisher signed itself stays as it is; everything else is signed anew
    and keeps its earlier signatures.  Doing it twice changes nothing.

    Raises:
        VerificationError: A signature or the archive is not what it should be.
        RefusedError: The catalog says no.
        FaultError: It does not answer.
    """
    name, version = package.manifest.name, package.manifest.version
    if (there := await find_version(bus, name, version, space=space)) is not None:
        return "already there" if is_same(there.signed, package.signed) else "conflict"
    read_archive(package.archive, package.manifest)
    signed = signed_here(package, publisher, trust_root=trust_root)
    await publish_signed(
        bus,
        signed,
        package.archive,
        provenance=package.provenance if signed == package.signed else None,
        channels=channels,
        reason=reason,
        space=space,
        show_progress=show_progress,
    )
    return "published"


async def publish_signed(
    bus: Asks,
    signed: SignedPackage,
    archive: bytes,
    *,
    channels: tuple[str, ...],
    reason: str,
    space: str = PUBLIC,
    provenance: DsseEnvelope | None = None,
    show_progress: Progress = lambda _: None,
) -> PackagePublished:
    """The archive is stored and the version published.

    Raises:
        RefusedError: The catalog says no.
        FaultError: It does not answer.
    """
    await upload(bus, archive, show_progress=show_progress)
    command = PublishPackage(
        command_id=chosen_id(""),
        reason=reason,
        signed=signed,
        channels=channels,
        space=space,
        provenance=provenance,
    )
    published: PackagePublished = await bus.request(
        PUBLISH_PACKAGE, command, timeout_seconds=publish_seconds(len(archive))
    )
    return published


def signed_here(package: CarriedPackage, publisher: Publisher, *, trust_root: str) -> SignedPackage:
    """What is published: the package as it is if it is the publisher's own, else signed anew.

    Raises:
        SignatureError: It was not signed as it says.
    """
    if package.trust_root == trust_root and package.signed.certificate == publisher.certificate:
        return package.signed
    return signed_anew(
        package.signed,
        trust_root=package.trust_root,
        seed=publisher.seed,
        certificate=publisher.certificate,
        provenance=package.provenance,
    )


def is_same(one: SignedPackage, other: SignedPackage) -> bool:
    """Whether both are about the same manifest and archive, whoever signed them."""
    return (manifest_digest(one), one.archive_sha256) == (
        manifest_digest(other),
        other.archive_sha256,
    )


async def _read(bus: Asks, wanted: ReadArchive, show_progress: Progress) -> bytes:
    """All chunks of the archive, some at once."""

    async def chunk(offset_bytes: int) -> ArtifactChunk:
        request = msgspec.structs.replace(wanted, offset_bytes=offset_bytes)
        found: ArtifactChunk = await bus.request(
            READ_ARCHIVE, request, timeout_seconds=READ_SECONDS
        )
        return found

    first = await chunk(0)
    parts = {0: first.data}
    at_once = asyncio.Semaphore(CHUNKS_AT_ONCE)

    async def keep(offset_bytes: int) -> None:
        async with at_once:
            parts[offset_bytes] = (await chunk(offset_bytes)).data
        show_progress(sum(map(len, parts.values())))

    async with plain_task_group() as tasks:
        for offset_bytes in range(CHUNK_BYTES, first.size_bytes, CHUNK_BYTES):
            tasks.create_task(keep(offset_bytes))
    return b"".join(data for _, data in sorted(parts.items()))
