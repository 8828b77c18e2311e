# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages made of others' objects, and l3afd's repositories that they lie in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.catalog.manifest import manifest_reasons
from services.catalog.package_content import read_content
from shared.contracts.package_facts import ProgramFacts
from shared.contracts.package_manifest import MapEntry
from shared.errors import RefusedError
from shared.foreign.archives import ForeignArchiveError
from shared.foreign.l3afd_repository import (
    RepositoryEntry,
    read_artifact,
    repository_entries,
)
from shared.foreign.objects import (
    ForeignPackage,
    Objects,
    Statement,
    hooks_of,
    label_of,
    package_of,
    semver_of,
)
from shared.package_archive import unpack_archive
from tests.support.bpf_objects import bpf_object, compile_source
from tests.support.l3afd_repositories import (
    EXECUTABLE,
    TC_OBJECT,
    XDP_OBJECT,
    artifact_files,
    tar_artifact,
    tc_object,
    xdp_object,
    zip_artifact,
)

TEXTS = {"GPL-2.0-only": b"gpl\n", "BSD-2-Clause": b"bsd\n"}
_LEGACY = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
struct map_def SEC("maps") old = { .type = 1, .key_size = 4, .value_size = 4, .max_entries = 1 };
SEC("xdp") int pass(void *ctx) { int key = 0; return bpf_map_lookup_elem(&old, &key) ? 1 : 2; }
char _license[] SEC("license") = "GPL";
"""


def made(objects: Objects, licence: str = "", version: str = "1.2.0") -> ForeignPackage:
    """The package of these objects."""
    statement = Statement(
        name="port-block", version=version, summary="One", origin="from a test", licence=licence
    )
    return package_of(objects, statement, texts=TEXTS)


def test_programs_maps_and_licence_are_told_by_the_objects() -> None:
    """What fits a hook is in, what does not is named, and the catalog finds nothing wrong."""
    package = made({XDP_OBJECT: {"": xdp_object()}, TC_OBJECT: {"": tc_object()}})

    manifest = package.manifest
    assert [(one.name, one.function, one.object, one.hooks) for one in manifest.programs] == [
        ("xdp-port-block", "_xdp_port_block", XDP_OBJECT, ("xdp",)),
        ("tc-ingress", "_tc_ingress", TC_OBJECT, ("tc-ingress",)),
    ]
    assert manifest.maps == dict.fromkeys(
        ("pb_ports_map", "pb_recv_count_map", "pb_drop_count_map"), MapEntry()
    )
    assert manifest.licence == "GPL-2.0-only OR BSD-2-Clause"
    assert [(one.path, one.rule.partition(":")[0]) for one in package.remarks] == [
        (f"{XDP_OBJECT}: watch_state", "left out"),
        (
            "licence",
            'assumed to be "GPL-2.0-only OR BSD-2-Clause", because the objects say "Dual BSD/GPL"',
        ),
    ]
    content = read_content(package.archive, manifest)
    assert not content.reasons
    assert list(manifest_reasons(manifest, content.elf)) == []
    assert set(unpack_archive(package.archive)) == {
        *(XDP_OBJECT, TC_OBJECT, "IMPORTED.txt"),
        *("LICENSES/GPL-2.0-only.txt", "LICENSES/BSD-2-Clause.txt"),
    }


def test_the_same_objects_make_the_same_package() -> None:
    """So taking them over twice changes nothing."""
    objects = {XDP_OBJECT: {"": xdp_object()}}

    assert made(objects) == made(objects)


def test_objects_of_several_platforms_are_one_program() -> None:
    """Each platform has its own file."""
    package = made({"a b.o": {"linux-x86_64": tc_object(), "linux-aarch64": tc_object()}})

    (program,) = package.manifest.programs
    assert program.object == ""
    assert program.objects == {
        "linux-x86_64": "a_b.linux-x86_64.o",
        "linux-aarch64": "a_b.linux-aarch64.o",
    }


def test_programs_of_one_name_get_numbers() -> None:
    """Two objects with the same function are two programs."""
    package = made({"a.o": {"": tc_object()}, "b.o": {"": tc_object()}})

    assert [one.name for one in package.manifest.programs] == ["tc-ingress", "tc-ingress-2"]


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: b"text", "ELF"),
        (lambda: bpf_object("closed"), "cannot be told from what the objects say"),
        (lambda: compile_source(_LEGACY), "which libbpf 1.0 removed"),
    ],
)
def test_what_cannot_become_a_package_is_refused(make: Callable[[], bytes], rule: str) -> None:
    """No object, a licence that nobody states, maps that no loader takes any more."""
    with pytest.raises(RefusedError) as caught:
        made({"one.o": {"": make()}})

    assert rule in " ".join((caught.value.message, *(one.rule for one in caught.value.reasons)))


@pytest.mark.parametrize(
    ("section", "file", "hooks"),
    [
        ("xdp-root", "x.o", ("xdp",)),
        ("xdp.frags", "x.o", ("xdp",)),
        ("xdp/devmap", "x.o", ()),
        ("tc-ingress-root", "x.o", ("tc-ingress",)),
        ("tc_egress_mirroring", "x.o", ("tc-egress",)),
        ("classifier", "ipfix_egress.o", ("tc-egress",)),
        ("tc", "x.o", ("tc-ingress", "tc-egress")),
        ("tcx/egress", "ingress.o", ("tc-egress",)),
        ("kprobe/vfs_read", "x.o", ("kprobe",)),
        ("cgroup/connect4", "x.o", ("cgroup",)),
        ("kprobe.multi/vfs_*", "x.o", ()),
        ("ingress", "x.o", ()),
    ],
)
def test_hooks_are_told_by_section_then_by_file(
    section: str, file: str, hooks: tuple[str, ...]
) -> None:
    """Also by names that libbpf itself refuses; the node sets the type."""
    program = ProgramFacts(function="run", section=section, instructions=1, helpers=())

    assert hooks_of(program, file) == hooks


def test_names_and_versions_of_others_become_ours() -> None:
    """Or are refused where nothing is left."""
    assert label_of("_xdp_ratelimiting", path="x") == "xdp-ratelimiting"
    assert label_of("A" * 80, path="x") == "a" * 63
    with pytest.raises(RefusedError, match="no name can be made"):
        label_of("___", path="x")
    assert [
        semver_of(text) for text in ("1", "v1.2", "01.2", "1.2.3-rc.1", "latest", "1.2.3.4")
    ] == [*("1.0.0", "1.2.0", "1.2.0", "1.2.3-rc.1", "", "")]


def test_a_repository_is_what_its_paths_say() -> None:
    """Four parts, and an artifact at the end; other files are none."""
    found = repository_entries(
        [
            "b/1/jammy/b.tar.gz",
            "a/1/Windows/a.zip",
            "a/1/jammy/README.md",
            "a/a.tar.gz",
            "a/1/jammy/deep/a.tar.gz",
        ]
    )

    assert found == (
        RepositoryEntry("a", "1", "Windows", "a.zip"),
        RepositoryEntry("b", "1", "jammy", "b.tar.gz"),
    )
    assert found[1].path == "b/1/jammy/b.tar.gz"


@pytest.mark.parametrize("pack", [tar_artifact, zip_artifact])
def test_an_artifact_holds_objects_and_executables(pack: object) -> None:
    """In the folder that its name says; anything beside it is refused."""
    files = artifact_files()
    assert callable(pack)
    content = read_artifact("l3af_port_block.tar.gz", pack("l3af_port_block", files))

    assert content.objects == {XDP_OBJECT: xdp_object(), TC_OBJECT: tc_object()}
    if pack is tar_artifact:
        assert set(content.executables) == {EXECUTABLE}
    with pytest.raises(ForeignArchiveError, match="all must be in the folder other"):
        read_artifact("other.tar.gz", pack("l3af_port_block", files))
