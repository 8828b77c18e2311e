# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`package.toml`: what it may say, and what becomes of it."""

from __future__ import annotations

import pytest

from cli.package_source import licence_files, make_manifest, parse_source
from shared.contracts.package_manifest import MapEntry
from shared.errors import RefusedError

GOOD = """
[package]
name = "one"
version = "1.0.0"
summary = "One program"
licence = "GPL-2.0-only OR BSD-2-Clause"

[[programs]]
name = "one"
source = "src/one.bpf.c"
function = "one"
hooks = ["xdp"]
proceed_on = ["pass"]

[maps.limits]
key = "port"
key_minimum = 1
key_maximum = 65535
"""


def paths(text: str) -> set[str]:
    """Where the file is refused."""
    with pytest.raises(RefusedError) as caught:
        parse_source(text)
    return {reason.path for reason in caught.value.reasons}


def test_the_manifest_says_what_the_file_says() -> None:
    """Objects are named after their sources; every file has its digest."""
    manifest = make_manifest(parse_source(GOOD), {"src/one.bpf.o": b"elf", "README.md": b""})

    assert (manifest.name, manifest.version) == ("one", "1.0.0")
    assert manifest.programs[0].object == "src/one.bpf.o"
    assert manifest.maps == {"limits": MapEntry(key="port", key_minimum=1, key_maximum=65535)}
    assert [file.path for file in manifest.files] == ["README.md", "src/one.bpf.o"]


def test_every_unknown_field_and_wrong_value_is_named() -> None:
    """All problems of a file are reported at once, each with its path."""
    text = (
        GOOD.replace('name = "one"\nversion', 'name = "One!"\ncolour = "red"\nversion')
        .replace('hooks = ["xdp"]', 'hooks = ["wifi"]\npriority = 1')
        .replace("key_minimum = 1", 'key_minimum = "one"\nkey_size = 2')
    )

    assert paths(text) == {
        "package.name",
        "package.colour",
        "programs[0].hooks[0]",
        "programs[0].priority",
        "maps.limits.key_minimum",
        "maps.limits.key_size",
    }


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('"1.0.0"', '"1.0"', "package.version"),
        ('"src/one.bpf.c"', '"../one.bpf.c"', "programs[0].source"),
        ('"src/one.bpf.c"', '"/etc/passwd"', "programs[0].source"),
        ('"src/one.bpf.c"', '"src/one.rs"', "programs[0].source"),
        ('hooks = ["xdp"]', "hooks = []", "programs[0].hooks"),
        ('proceed_on = ["pass"]', "proceed_on = []", "programs[0].proceed_on"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(old: str, new: str, path: str) -> None:
    """One wrong value gives one reason."""
    assert paths(GOOD.replace(old, new)) == {path}


def test_what_is_no_toml_is_refused() -> None:
    """The parser's words are passed on."""
    assert paths("[package") == {"package.toml"}


def test_two_sources_cannot_become_one_object() -> None:
    """Programs of one object are compiled from one source."""
    more = """
[[programs]]
name = "two"
source = "two.bpf.c"
object = "src/one.bpf.o"
function = "two"
hooks = ["xdp"]
"""
    assert paths(GOOD + more) == {"programs[1].object"}


def test_licence_texts_follow_from_the_expression() -> None:
    """Each identifier needs its text; operators and exceptions' words do not hide one."""
    assert licence_files("(GPL-2.0-only WITH Linux-syscall-note) OR BSD-2-Clause") == (
        "LICENSES/GPL-2.0-only.txt",
        "LICENSES/Linux-syscall-note.txt",
        "LICENSES/BSD-2-Clause.txt",
    )
    assert licence_files("GPL-2.0+ or (MIT and GPL-2.0+)") == (
        "LICENSES/GPL-2.0.txt",
        "LICENSES/MIT.txt",
    )


FOR_BCC = GOOD.replace('source = "src/one.bpf.c"', 'source = "src/one.c"\ncompiler = "bcc"')


def test_source_for_bcc_is_its_own_object() -> None:
    """The archive holds what nodes compile, and nothing is compiled here."""
    source = parse_source(FOR_BCC)
    (program,) = make_manifest(source, {"src/one.c": b"int one;"}).programs

    assert (program.object, program.compiler) == ("src/one.c", "bcc")
    assert (source.objects(), source.sources()) == ({}, ("src/one.c",))


def test_an_object_of_source_that_nodes_compile_is_refused() -> None:
    """Nobody can name what is not made yet."""
    text = FOR_BCC.replace("compiler =", 'object = "one.o"\ncompiler =')

    assert paths(text) == {"programs[0].object"}


TARGETS = GOOD.replace(
    'hooks = ["xdp"]',
    'hooks = ["xdp"]\norder = 7\nflags = ["frags"]\nother_platforms = false\n'
    'targets.linux-x86_64 = { defines = ["LANES=4"] }\n'
    'targets.linux-aarch64 = { source = "src/arm.bpf.c", object = "arm.o" }',
)


def test_targets_are_objects_of_their_own() -> None:
    """Each has its source, its defines and the name that libbpf's headers have for it."""
    source = parse_source(TARGETS)
    (program,) = make_manifest(source, {}).programs

    assert program.object == ""
    assert program.objects == {
        "linux-x86_64": "src/one.bpf.linux-x86_64.o",
        "linux-aarch64": "arm.o",
    }
    assert (program.order, program.flags) == (7, ("frags",))
    assert {path: (made.source, made.defines) for path, made in source.objects().items()} == {
        "src/one.bpf.linux-x86_64.o": ("src/one.bpf.c", ("__TARGET_ARCH_x86", "LANES=4")),
        "arm.o": ("src/arm.bpf.c", ("__TARGET_ARCH_arm64",)),
    }


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("linux-x86_64", "linux-x86", "programs[0].targets.linux-x86"),
        ("LANES=4", "LANES=$(id)", "programs[0].targets.linux-x86_64.defines[0]"),
        ('object = "arm.o"', 'object = "src/one.bpf.linux-x86_64.o"',
         "programs[0].targets.linux-aarch64"),
        ("src/arm.bpf.c", "src/arm.s", "programs[0].targets.linux-aarch64.source"),
        ("order = 7", "order = 1001", "programs[0].order"),
        ('["frags"]', '["sleepable"]', "programs[0].flags[0]"),
        ("other_platforms = false", 'other_platforms = false\nobject = "o.o"',
         "programs[0].object"),
        ("targets.", "#", "programs[0].other_platforms"),
    ],
)  # fmt: skip
def test_targets_that_mean_nothing_are_refused(before: str, after: str, path: str) -> None:
    """Platforms, defines, objects, sources, places and flags, each by its path."""
    assert paths(TARGETS.replace(before, after)) == {path}


def test_source_that_nodes_compile_has_no_targets() -> None:
    """Nothing is made before."""
    text = TARGETS.replace('source = "src/one.bpf.c"', 'source = "src/one.c"\ncompiler = "bcc"')

    assert paths(text) == {"programs[0].targets", "programs[0].other_platforms"}
