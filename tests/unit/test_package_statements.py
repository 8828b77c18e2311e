# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a manifest says of owners, sources, licences of groups, needs, platforms and flags."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from services.catalog.manifest import manifest_reasons
from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts
from shared.contracts.package_manifest import (
    Needs,
    PackageManifest,
    ProgramEntry,
    SourceLocation,
)
from shared.errors import RefusedError
from shared.validation import convert_document
from tests.package_builders import a_manifest, a_program, some_facts


def rules(manifest: PackageManifest, *elf: ElfFacts) -> dict[str, str]:
    """Path to rule of every reason."""
    found = manifest_reasons(manifest, elf or [some_facts()])
    return {reason.path: reason.rule for reason in found}


def refused(**fields: Any) -> bool:
    """Whether a source location of these fields cannot be written."""
    try:
        convert_document(fields, SourceLocation, what="source")
    except RefusedError:
        return True
    return False


def test_statements_that_can_be_kept_have_no_reasons() -> None:
    """Owners, licences of groups, groups, and needs at once."""
    manifest = a_manifest(
        owners=("Network team <net@example.org>", "kim"),
        licences={"kernel": "BSD-2-Clause OR GPL-2.0-only", "docs": "CC-BY-4.0"},
        file_groups={"docs": ("*.md", "docs/**")},
        files={"README.md": b"1", "docs/a/b.md": b"2"},
        needs=Needs(kernel=">=5.15,<7", features=("tcx",)),
    )

    assert rules(replace(manifest, licence="GPL-2.0-only OR BSD-2-Clause")) == {}


def test_every_statement_that_cannot_be_kept_is_named() -> None:
    """One refusal holds all of them."""
    manifest = a_manifest(
        owners=("kim", "kim"),
        licences={"kernel": "MIT", "shared": "Made-Up-1.0", "user": "AND", "docs": "CC-BY-4.0"},
        file_groups={"docs": ("*.md", "none.txt"), "user": ("README.*",)},
        files={"README.md": b"1"},
        needs=Needs(kernel=">=7,<5", features=("tcx", "tcx")),
    )

    assert rules(manifest).keys() == {
        "manifest.owners[1]",
        "manifest.licences.kernel",
        "manifest.licences.shared",
        "manifest.licences.user",
        "manifest.file_groups.docs[1]",
        "manifest.file_groups",
        "manifest.needs.kernel",
        "manifest.needs.features[1]",
    }


@pytest.mark.parametrize("kernel", ["5.15..", ">=5.15-rc1", "newest", ">=5,<5", "^"])
def test_a_range_that_is_none_is_refused(kernel: str) -> None:
    """Words, prereleases and ranges without a kernel in them."""
    assert rules(a_manifest(needs=Needs(kernel=kernel))).keys() == {"manifest.needs.kernel"}


@pytest.mark.parametrize(
    "repository",
    [
        "https://git.example.org/net/rate-limit.git",
        "ssh://git@git.example.org:2222/net/rate-limit",
        "git@git.example.org:net/rate-limit.git",
        "git://git.example.org/rate-limit",
    ],
)
def test_a_repository_is_what_git_takes(repository: str) -> None:
    """The forms that people write."""
    assert not refused(repository=repository, revision="v1.0.0")


@pytest.mark.parametrize(
    "fields",
    [
        {"repository": "https://kim:secret@git.example.org/net", "revision": "v1"},
        {"repository": "file:///srv/git", "revision": "v1"},
        {"repository": "https://git.example.org/a b", "revision": "v1"},
        {"repository": "https://git.example.org/net"},
        {"repository": "https://git.example.org/net", "revision": "--upload-pack=x"},
        {"repository": "https://git.example.org/net", "revision": "v1", "archive_sha256": "ab"},
        {"repository": "https://git.example.org/net", "revision": "v1", "path": "../other"},
    ],
)
def test_a_source_location_that_is_none_is_refused(fields: dict[str, str]) -> None:
    """Passwords, other places, options in disguise, digests and paths that are none."""
    assert refused(**fields)


X86, ARM = "one.linux-x86_64.o", "one.linux-aarch64.o"


def on_platforms(**fields: Any) -> ProgramEntry:
    """A program with an object for two platforms and none for others."""
    objects: Any = {"linux-x86_64": X86, "linux-aarch64": ARM}
    return replace(a_program(), **({"object": "", "objects": objects} | fields))


def test_objects_of_two_platforms_are_one_program() -> None:
    """The same function and maps in both; nodes get the one of their platform."""
    program = on_platforms()
    manifest = a_manifest(programs=(program,))

    assert rules(manifest, some_facts(path=X86), some_facts(path=ARM)) == {}
    assert program.object_on("linux-x86_64") == X86
    assert program.object_on("linux-aarch64") == ARM
    assert program.object_on("linux-riscv64") == ""


def test_an_object_of_one_platform_must_hold_what_the_others_hold() -> None:
    """Another function, section or map in one of them is refused."""
    other = ProgramFacts(function="two", section="xdp", instructions=2, helpers=())
    extra = MapFacts(name="more", type="hash", key_size_bytes=4, value_size_bytes=4, max_entries=1)
    manifest = a_manifest(programs=(on_platforms(),))
    x86 = some_facts(path=X86)

    assert rules(manifest, x86, some_facts(path=ARM, programs=(other,))) == {
        "manifest.programs[0].function": f"{ARM} has no such program"
    }
    assert rules(manifest, x86, some_facts(path=ARM, maps=(*x86.maps, extra))) == {
        "manifest.programs[0].objects": f"{ARM} declares other maps than {X86}"
    }


def test_every_platform_of_the_package_has_an_object() -> None:
    """One that none is for, and one that the package is not meant for, are refused."""
    windows: Any = {"windows-x86_64": X86}

    assert rules(a_manifest(programs=(on_platforms(objects={}),))) == {
        "manifest.programs[0].object": "has nothing for linux, which the package is meant for"
    }
    assert rules(
        a_manifest(programs=(on_platforms(objects=windows, object="one.bpf.o"),)), some_facts()
    ) == {
        "manifest.programs[0].objects.windows-x86_64": (
            "is for a platform that the package is not meant for"
        )
    }


@pytest.mark.parametrize(
    ("section", "fits"),
    [("xdp", False), ("xdp.frags", True), ("xdp.fragsfoo", False)],
)
def test_the_flag_frags_is_what_the_object_says(section: str, *, fits: bool) -> None:
    """A program that is not declared to read several buffers cannot claim it."""
    program = ProgramFacts(function="one", section=section, instructions=2, helpers=())
    manifest = a_manifest(programs=(replace(a_program(), flags=("frags",)),))

    found = rules(manifest, some_facts(programs=(program,)))

    assert found.keys() == (set() if fits else {"manifest.programs[0].flags"})


def test_source_that_nodes_compile_has_no_objects() -> None:
    """What is made on the node is made for it."""
    program = on_platforms(object="one.c", compiler="bcc")

    assert "manifest.programs[0].objects" in rules(a_manifest(programs=(program,)))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"owners": ["kim\n"]}, "owners[0]"),
        ({"owners": [" kim"]}, "owners[0]"),
        ({"owners": [""]}, "owners[0]"),
        ({"owners": ["k" * 201]}, "owners[0]"),
        ({"owners": [f"k{number}" for number in range(33)]}, "owners"),
        ({"file_groups": {"docs": ["../x"]}}, "file_groups.docs[0]"),
        ({"file_groups": {"docs": ["**/a/**"]}}, "file_groups.docs[0]"),
        ({"file_groups": {"docs": ["*a*"]}}, "file_groups.docs[0]"),
        ({"file_groups": {"docs": []}}, "file_groups.docs"),
        ({"file_groups": {"tests": ["a"]}}, "file_groups.tests"),
        ({"licences": {"tests": "MIT"}}, "licences.tests"),
        ({"needs": {"features": ["BTF"]}}, "needs.features[0]"),
        ({"needs": {"memory": 1}}, "needs.memory"),
        ({"source": {"revision": "v1"}}, "source.repository"),
    ],
)
def test_statements_of_another_form_are_refused_by_their_path(
    fields: dict[str, Any], path: str
) -> None:
    """Lengths, characters, globs, groups and fields that there are none of."""
    document = {**msgspec.to_builtins(a_manifest()), **fields}

    with pytest.raises(RefusedError) as caught:
        convert_document(document, PackageManifest, what="manifest")

    assert {reason.path for reason in caught.value.reasons} == {path}


def test_types_of_maps_are_compared_within_one_operating_system() -> None:
    """Windows has other numbers for them; names and sizes are the same for both."""
    objects: Any = {"linux-x86_64": X86, "windows-x86_64": "one.windows.o"}
    manifest = a_manifest(programs=(on_platforms(objects=objects),), platforms=("linux", "windows"))
    linux = some_facts(path=X86)
    (limits,) = linux.maps
    other_type = (msgspec.structs.replace(limits, type="array"),)
    other_size = (msgspec.structs.replace(limits, value_size_bytes=8),)

    assert rules(manifest, linux, some_facts(path="one.windows.o", maps=other_type)) == {}
    assert rules(manifest, linux, some_facts(path="one.windows.o", maps=other_size)).keys() == {
        "manifest.programs[0].objects"
    }
