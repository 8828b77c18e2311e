# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where another version changes nothing, no node is told anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import Draft, draft_application
from services.scheduler.desired_state import Fleet
from services.scheduler.revocation import affected
from services.scheduler.status import view_places
from shared.canonical import canonical_digest
from shared.contracts.catalog import PackageVersion
from shared.contracts.reviews import RevokedVersion
from shared.errors import RefusedError
from shared.package_archive import describe_files
from shared.platform_artifacts import artifact_digest, unchanged_platforms
from tests.fleets import OBJECT, a_command, a_node, a_package, a_program, a_spec, observing
from tests.package_builders import a_manifest, sign

X86, ARM = "linux-x86_64", "linux-aarch64"
OBJECTS = {X86: "x86.o", ARM: "arm.o"}


def _package(
    version: str, *, x86: bytes = b"x", arm: bytes = b"a", **fields: Any
) -> PackageVersion:
    """With an object for each of two platforms."""
    program = a_program(object="", objects=OBJECTS)
    package = a_package(version=version, programs=[program], **fields)
    files = describe_files({"x86.o": x86, "arm.o": arm, "README.md": version.encode()})
    manifest = msgspec.structs.replace(package.manifest, files=files)
    (facts,) = package.elf
    return msgspec.structs.replace(
        package,
        manifest=manifest,
        elf=tuple(msgspec.structs.replace(facts, path=path) for path in OBJECTS.values()),
        signed=sign(manifest, archive=version.encode()),
    )


def _fleet() -> Fleet:
    nodes = {
        name: dataclasses.replace(a_node(name), platform=platform)
        for name, platform in (("n-arm", ARM), ("n-x86", X86))
    }
    return Fleet(deployments={}, nodes=nodes, desired={})


def _applied(
    fleet: Fleet, package: PackageVersion, number: int, **spec: Any
) -> tuple[Fleet, Draft]:
    draft = draft_application(fleet, a_spec(**spec), package, a_command(number))
    after = fleet.with_deployment(draft.record)
    return dataclasses.replace(after, desired={**fleet.desired, **draft.desired}), draft


def test_nodes_where_nothing_changes_keep_their_record() -> None:
    """Version after version: only the other platform's node is told, and all count as running."""
    fleet, _ = _applied(_fleet(), _package("1.0.0"), 1)
    first = fleet.desired["n-x86"]
    fleet, draft = _applied(fleet, _package("1.0.1", arm=b"b"), 2)
    again, second = _applied(fleet, _package("1.0.2", arm=b"c"), 3)

    assert list(draft.desired) == list(second.desired) == ["n-arm"]
    assert list(draft.staging) == ["n-arm"]
    assert again.desired["n-x86"] == first
    assert "no change for linux-x86_64" in draft.plan.warnings[0]
    assert again.desired["n-arm"].chains[0].programs[0].version == "1.0.2"
    observed = {name: observing(node) for name, node in again.desired.items()}
    views = view_places(second.record, again, observed)
    assert [(one.node, one.state, one.observed_version) for one in views] == [
        ("n-arm", "running", "1.0.2"),
        ("n-x86", "running", "1.0.0"),
    ]


def test_other_configuration_reaches_every_node() -> None:
    """Equal files do not hide what else a node has to be told."""
    fleet, _ = _applied(_fleet(), _package("1.0.0"), 1)
    _, draft = _applied(fleet, _package("1.0.1"), 2, config={"limits": {"80": 5}})

    assert sorted(draft.desired) == ["n-arm", "n-x86"]


def test_going_back_touches_no_node_that_never_went() -> None:
    """A node that kept the first version has nothing to undo."""
    fleet, _ = _applied(_fleet(), _package("1.0.0"), 1)
    fleet, _ = _applied(fleet, _package("1.0.1", arm=b"b"), 2)
    _, draft = _applied(fleet, _package("1.0.0"), 3)

    assert list(draft.desired) == ["n-arm"]


def test_what_nodes_went_on_with_can_be_revoked() -> None:
    """A deployment of the next version is affected as long as the revoked bytes run for it."""
    old = _package("1.0.0")
    fleet, _ = _applied(_fleet(), old, 1)
    fleet, _ = _applied(fleet, _package("1.0.1", arm=b"b"), 2)
    revoked = RevokedVersion(
        package="rate-limit",
        version="1.0.0",
        archive_sha256=old.signed.archive_sha256,
        at="",
        why="bad",
    )

    assert [one.record.name for one in affected(fleet, [revoked])] == ["edge"]
    other = msgspec.structs.replace(revoked, archive_sha256=canonical_digest("other"))
    assert affected(fleet, [other]) == []


def test_a_replacement_by_no_constraint_is_refused() -> None:
    """Before anything is accepted, by the field's name."""
    with pytest.raises(RefusedError) as refused:
        _applied(_fleet(), _package("1.0.0"), 1, on_revoked="replace:1.x")

    assert [one.path for one in refused.value.reasons] == ["on_revoked"]


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"version": "1.0.1"}, True),
        ({"summary": "Another text"}, True),
        ({"licence": "GPL-2.0-only"}, False),
        ({"files": describe_files({"one.bpf.o": b"\x7fELF one", "README.md": b"new"})}, True),
        ({"files": describe_files({"one.bpf.o": b"\x7fELF two"})}, False),
        ({"platforms": ("linux", "windows")}, True),
    ],
)
def test_only_what_a_node_acts_upon_is_compared(change: dict[str, Any], *, is_same: bool) -> None:
    """Texts and other files are not; the object, the licence and the needs are."""
    before = a_manifest()
    after = msgspec.structs.replace(before, **change)

    assert (X86 in unchanged_platforms(before, after)) == is_same


def test_nothing_is_said_of_a_platform_without_object() -> None:
    """Where there is nothing, nothing stays the same."""
    manifest = _package("1.0.0").manifest

    assert artifact_digest(manifest, "linux-riscv64") == ""
    assert unchanged_platforms(manifest, manifest) == (X86, ARM)
    assert OBJECT not in OBJECTS.values()
