# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A good package, and how something hostile is made of it.

A publication is what a publisher sends: an archive that was uploaded, and the bytes of the request.
Everything around the hostile part is right, signatures and digests included, so that only the
hostile part can be the reason of a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from services.catalog.package_content import read_content
from services.catalog.publication import (
    check_manifest_size,
    decide_publication,
    draft_version,
    judged,
)
from services.catalog.trusting import check_caller, check_publication
from shared.adapters.licence_policies import load_policy
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.catalog import DsseEnvelope, PublishPackage, SignedPackage
from shared.contracts.package_manifest import MapEntry, MetricEntry, PackageManifest
from shared.contracts.package_records import PackageRecord
from shared.contracts.package_tests import PackageTest, PacketStep
from shared.dsse import MANIFEST_TYPE, sign_envelope
from shared.errors import Reason, RefusedError
from shared.package_archive import write_archive
from shared.package_tests import TESTS_FILE, write_tests
from shared.trust.packages import Trust
from shared.validation import decode_document
from tests.package_builders import (
    NOW,
    PUBLISHER_SEED,
    TRUST_ROOT,
    a_manifest,
    a_program,
    sign,
)
from tests.support.bpf_objects import compile_source

OBJECT = "one.bpf.o"
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct task_struct { int pid; } __attribute__((preserve_access_index));
struct limit { __u32 rate; __u16 burst[3]; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct limit);
} limits SEC(".maps");
const volatile int enabled = 1;
__noinline int weigh(int x)
{
	return x * 3 + bpf_get_smp_processor_id();
}
SEC("xdp") int one(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex;
	struct limit *limit = bpf_map_lookup_elem(&limits, &key);
	if (!limit || !enabled || bpf_core_field_exists(struct task_struct, pid))
		return XDP_PASS;
	return weigh(limit->rate) > 7 ? XDP_DROP : XDP_PASS;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publisher sends."""

    request: bytes
    archive: bytes


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to be hostile."""

    name: str
    make: Callable[[], Publication]
    path: str
    """What one of the refusal's reasons names as the place, in full."""
    rule: str
    """Words of that reason."""


@cache
def good_object() -> bytes:
    """An XDP program with a map, a constant, a function it calls and a CO-RE relocation."""
    return compile_source(SOURCE)


@cache
def good_files() -> Mapping[str, bytes]:
    """What the archive of the good package holds."""
    test = PackageTest(
        name="passes",
        program="one",
        hook="xdp",
        packets=(PacketStep(packet="00" * 64, verdict="pass"),),
    )
    return {
        "LICENSES/BSD-2-Clause.txt": b"BSD\n",
        "LICENSES/GPL-2.0-only.txt": b"GPL\n",
        "README.md": b"# one\n",
        "one.bpf.c": SOURCE.encode(),
        OBJECT: good_object(),
        TESTS_FILE: write_tests([test]),
    }


def good_manifest(files: Mapping[str, bytes] | None = None, **changes: Any) -> PackageManifest:
    """The good package's, for these files."""
    fields: dict[str, Any] = {
        "programs": (a_program(proceed_on=("pass",)),),
        "maps": {"limits": MapEntry(summary="Limits")},
        "metrics": {"seen": MetricEntry(map="limits", key="*", member="rate")},
        "tests": TESTS_FILE,
    }
    return a_manifest(files or good_files(), **{**fields, **changes})


def manifest_document() -> dict[str, Any]:
    """The good manifest as plain objects, fresh for each caller."""
    document: dict[str, Any] = msgspec.json.decode(canonical_bytes(good_manifest()))
    return document


def request_document() -> dict[str, Any]:
    """The good request as plain objects, fresh for each caller."""
    signed = sign(good_manifest(), archive=write_archive(good_files()))
    document: dict[str, Any] = msgspec.json.decode(canonical_bytes(PublishPackage(signed=signed)))
    return document


def with_files(files: Mapping[str, bytes], **changes: Any) -> Publication:
    """The package holds these files, and its manifest says so."""
    manifest = good_manifest(files, **changes)
    archive = write_archive(files)
    return _publication(sign(manifest, archive=archive), archive)


def with_file(path: str, content: bytes, **changes: Any) -> Publication:
    """One of its files has this content, and its manifest says so."""
    return with_files({**good_files(), path: content}, **changes)


def with_archive(archive: bytes, manifest: PackageManifest | None = None) -> Publication:
    """The archive is this one, and the manifest is that of the good package unless given."""
    return _publication(sign(manifest or good_manifest(), archive=archive), archive)


def with_payload(payload: bytes) -> Publication:
    """The signed bytes of the manifest are these."""
    envelope = sign_envelope(MANIFEST_TYPE, payload, seed=PUBLISHER_SEED)
    return with_envelopes(manifest=envelope)


def with_envelopes(**envelopes: DsseEnvelope) -> Publication:
    """One or both envelopes are these."""
    archive = write_archive(good_files())
    signed = sign(good_manifest(), archive=archive)
    return _publication(msgspec.structs.replace(signed, **envelopes), archive)


def with_request(request: bytes) -> Publication:
    """The request's bytes are these."""
    return Publication(request, write_archive(good_files()))


def good_publication() -> Publication:
    """What is accepted."""
    return with_files(good_files())


def decide(publication: Publication) -> PackageRecord:
    """As the catalog decides, without bus and disk: the record with the new version.

    Raises:
        RefusedError: It is refused.
    """
    command = decode_document(publication.request, PublishPackage, what="request")
    check_manifest_size(command.signed)
    checked = check_publication(command, Trust(root=TRUST_ROOT), now=NOW)
    check_caller(checked, "acme")
    manifest = checked.manifest
    if sha256_hex(publication.archive) != command.signed.archive_sha256:
        raise RefusedError("the archive is not stored", [Reason(path="sha256", rule="unknown")])
    content = read_content(publication.archive, manifest)
    draft = draft_version(
        command.signed,
        manifest=manifest,
        elf=content.elf,
        channels=command.channels,
        publisher_key="UPUBLISHER",
        command_id="hostile-command",
        now=NOW,
    )
    policy = load_policy("gpl-ok")
    version = judged(draft, policy, source_licences=content.source_licences, kernels=())
    return decide_publication(
        None, name=manifest.name, version=version, tests=content.tests, unread=content.reasons
    )


def _publication(signed: SignedPackage, archive: bytes) -> Publication:
    return Publication(canonical_bytes(PublishPackage(signed=signed)), archive)
