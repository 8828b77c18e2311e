# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages with defaults, so that a test shows only the field it is about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.catalog.publication import draft_version, judged
from services.catalog.version_entries import entry_of
from shared.adapters.licence_policies import load_policy
from shared.canonical import sha256_hex
from shared.contracts.catalog import PackageVersion, PublisherCertificate, SignedPackage
from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.contracts.package_records import PackageRecord
from shared.dsse import public_key_of, sign_certificate, sign_manifest
from shared.package_archive import describe_files, write_archive

TRUST_SEED = b"trust root of all these tests..."
PUBLISHER_SEED = b"publisher's key for these tests."
STRANGER_SEED = b"somebody who was never certified"
TRUST_ROOT = public_key_of(TRUST_SEED)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
FILES: Mapping[str, bytes] = {
    "README.md": b"# one\n",
    "one.bpf.c": b"int one;\n",
    "one.bpf.o": b"\x7fELF one",
}


def a_program(**changes: Any) -> ProgramEntry:
    """`one`, for XDP."""
    fields = {"name": "one", "object": "one.bpf.o", "function": "one", "hooks": ("xdp",)}
    return ProgramEntry(**{**fields, **changes})


def a_manifest(files: Mapping[str, bytes] = FILES, **changes: Any) -> PackageManifest:
    """`one` 1.0.0, with the files it lists."""
    fields = {
        "name": "one",
        "version": "1.0.0",
        "summary": "One program",
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "programs": (a_program(),),
        "files": describe_files(files),
    }
    return PackageManifest(**{**fields, **changes})


def some_facts(**changes: Any) -> ElfFacts:
    """What the object file of `one` holds."""
    fields = {
        "path": "one.bpf.o",
        "licence": "Dual BSD/GPL",
        "has_btf": True,
        "needs_kernel_btf": False,
        "programs": (ProgramFacts(function="one", section="xdp", instructions=2, helpers=()),),
        "maps": (
            MapFacts(
                name="limits", type="hash", key_size_bytes=2, value_size_bytes=4, max_entries=8
            ),
        ),
    }
    return ElfFacts(**{**fields, **changes})


def a_certificate(seed: bytes = PUBLISHER_SEED, **changes: Any) -> PublisherCertificate:
    """The publisher may sign for every name."""
    fields = {"key": public_key_of(seed).hex(), "publisher": "acme", "issued_at": "2026-01-01"}
    return PublisherCertificate(**{**fields, **changes})


def sign(
    manifest: PackageManifest,
    *,
    archive: bytes = b"",
    seed: bytes = PUBLISHER_SEED,
    certificate: PublisherCertificate | None = None,
    trust_seed: bytes = TRUST_SEED,
) -> SignedPackage:
    """The manifest with a publisher's signature, and the certificate with the trust root's."""
    return SignedPackage(
        manifest=sign_manifest(manifest, seed=seed),
        certificate=sign_certificate(certificate or a_certificate(), seed=trust_seed),
        archive_sha256=sha256_hex(archive or write_archive(FILES)),
    )


def a_version(version: str = "1.0.0", **changes: Any) -> PackageVersion:
    """A version of `one` as it would be published, where any licence is welcome."""
    channels = changes.pop("channels", ("stable",))
    elf = changes.pop("elf", (some_facts(),))
    command_id = changes.pop("command_id", f"command-{version}")
    manifest = a_manifest(version=version, **changes)
    draft = draft_version(
        sign(manifest),
        manifest=manifest,
        elf=elf,
        channels=channels,
        publisher_key="UPUBLISHER",
        command_id=command_id,
        now=NOW,
    )
    return judged(draft, load_policy("gpl-ok"), source_licences={}, kernels=())


def a_record(*versions: str, **changes: Any) -> PackageRecord:
    """Package `one` with these versions, oldest first."""
    return a_record_of(*(a_version(version, **changes) for version in versions))


def a_record_of(*versions: PackageVersion, name: str = "one") -> PackageRecord:
    """A package with exactly these versions."""
    return PackageRecord(name=name, versions=tuple(entry_of(version) for version in versions))
