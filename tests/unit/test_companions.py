# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Executables of user space in packages: what is said of them, and what is found in them."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.package_build import build_package
from cli.package_lint import lint_package
from services.catalog.manifest import manifest_reasons
from services.catalog.package_content import read_content
from services.scheduler.program_choice import resolve_program
from shared.contracts.package_analysis import CompanionAnalysis, RemovedCall
from shared.contracts.package_manifest import (
    CompanionArgument,
    CompanionEntry,
    PackageManifest,
    PlatformKey,
)
from shared.package_archive import unpack_archive, write_archive
from shared.portability.companions import UnfitExecutableError, analyse_companions
from shared.portability.executables import read_executable
from shared.portability.libbpf_removals import REPLACEMENTS
from shared.portability.package import analyse_package
from tests.fleets import a_package, a_spec
from tests.package_builders import FILES, a_manifest

HERE: PlatformKey = "linux-x86_64" if platform.machine() == "x86_64" else "linux-aarch64"
LIBBPF = Path(f"/usr/lib/{platform.machine()}-linux-gnu/libbpf.so.1")
DYNAMIC_SECTION = 6
OLD = """
// bpf_load_program(1) is only spoken of
extern int bpf_set_link_xdp_fd(int, int, unsigned);
extern int bpf_object__load(void *);
extern int bpf_xdp_attach(int, int, unsigned, const void *);
extern int setgid(unsigned);
int main(void)
{
	const char *said = "bpf_create_map(";
	bpf_object__load(0);
	return setgid(1) + bpf_set_link_xdp_fd(1, 2, 0) + said[0];
}
"""
OLD_LIBBPF = """
int bpf_set_link_xdp_fd(int a, int b, unsigned c) { return 0; }
int bpf_object__load(void *a) { return 0; }
"""
NEW = """
#include <bpf/libbpf.h>
int main(void) { return bpf_object__load(0) + libbpf_num_possible_cpus(); }
"""


@cache
def executable(source: str, *flags: str) -> bytes:
    """The program of that source, linked."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program"
        command = ["clang", "-x", "c", "-", "-o", str(made), *flags]
        subprocess.run(command, input=source, text=True, check=True)
        return made.read_bytes()


@cache
def old_program() -> bytes:
    """One that was written for a libbpf before 1.0, and linked to one."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libold.so"
        library.write_bytes(executable(OLD_LIBBPF, "-shared", "-Wl,-soname,libbpf.so.0"))
        return executable(OLD, f"-L{folder}", "-lold")


def packaged(entry: CompanionEntry, **files: bytes) -> tuple[PackageManifest, dict[str, bytes]]:
    """A package with that companion."""
    content = {**FILES, **{name.replace("__", "."): data for name, data in files.items()}}
    return a_manifest(content, companions={"exporter": entry}), content


def a_companion(**changes: Any) -> CompanionEntry:
    """One executable for this machine."""
    return CompanionEntry(**{"executables": {HERE: "exporter"}, **changes})


def analysed(
    entry: CompanionEntry, **files: bytes
) -> tuple[CompanionAnalysis, tuple[RemovedCall, ...]]:
    """Its one executable, and what is gone."""
    found = analyse_companions(*packaged(entry, **files))
    (companion,) = found.companions
    return companion, found.removed_calls


def test_removed_calls_are_told_from_symbols_and_from_sources() -> None:
    """With the line of a source and what to begin with instead; comments and strings are none."""
    _, removed = analysed(a_companion(), exporter=old_program(), exporter__c=OLD.encode())

    assert removed == (
        RemovedCall(
            name="bpf_set_link_xdp_fd", path="exporter", line=0, replacement="bpf_xdp_attach"
        ),
        RemovedCall(
            name="bpf_set_link_xdp_fd", path="exporter.c", line=3, replacement="bpf_xdp_attach"
        ),
        RemovedCall(
            name="bpf_set_link_xdp_fd", path="exporter.c", line=11, replacement="bpf_xdp_attach"
        ),
    )


def test_the_table_agrees_with_the_library_itself() -> None:
    """A libbpf of 1.0 or later has no call of the table, and every replacement."""
    there = read_executable(LIBBPF.read_bytes(), "libbpf.so.1").own

    assert not there & set(REPLACEMENTS)
    assert set(REPLACEMENTS.values()) <= there
    assert "bpf_set_link_xdp_fd" in REPLACEMENTS


def test_capabilities_are_those_that_calls_ask_for() -> None:
    """Each with the call, and whether the manifest declares it."""
    entry = a_companion(capabilities=("CAP_BPF",))
    found, _ = analysed(entry, exporter=old_program())

    assert found.libraries[0] == "libbpf.so.0"
    assert [(one.name, one.because, one.declared) for one in found.capabilities] == [
        ("CAP_BPF", "bpf_object__load", True),
        ("CAP_NET_ADMIN", "bpf_set_link_xdp_fd", False),
        ("CAP_SETGID", "setgid", False),
    ]


def test_libraries_and_a_libbpf_inside_are_named() -> None:
    """Of one that is linked when it starts its libraries, of one that holds libbpf its version."""
    shared, _ = analysed(a_companion(), exporter=executable(NEW, "-lbpf"))
    inside, removed = analysed(
        a_companion(), exporter=executable(NEW, "-l:libbpf.a", "-lelf", "-lz")
    )

    assert "libbpf.so.1" in shared.libraries
    assert shared.interpreter.startswith("/lib")
    assert shared.libbpf == ""
    assert inside.libbpf.startswith("1.")
    assert "libbpf.so.1" not in inside.libraries
    assert removed == ()


@pytest.mark.parametrize(
    ("key", "data", "rule"),
    [
        (HERE, b"#!/bin/sh\n", "is not a readable ELF file"),
        (HERE, b"\x7fELF" + b"\x02\x01" + bytes(80), "must be a 64-bit little-endian executable"),
        ("linux-riscv64", None, "must be made for riscv64, as the manifest says"),
    ],
)
def test_a_file_that_is_no_executable_of_its_platform_is_refused(
    key: PlatformKey, data: bytes | None, rule: str
) -> None:
    """A node would find out when it starts it."""
    entry = a_companion(executables={key: "exporter"})

    with pytest.raises(UnfitExecutableError) as refusal:
        analysed(entry, exporter=data if data is not None else old_program())
    assert [one.rule for one in refusal.value.reasons] == [rule]


def test_publication_is_told_of_every_file_that_cannot_be_read() -> None:
    """Bad executables hide neither one another nor a bad object."""
    entry = a_companion(executables={HERE: "exporter", "linux-riscv64": "other"})
    manifest, files = packaged(entry, exporter=b"#!/bin/sh\n", other=old_program())

    content = read_content(write_archive(files), manifest)

    assert [one.path for one in content.reasons] == ["one.bpf.o", "exporter", "other"]
    assert content.analysis is None


def test_a_dynamic_section_without_its_names_is_refused() -> None:
    """The reader of ELF files only asserts that the section of names is one."""
    data = bytearray(old_program())
    start = int.from_bytes(data[40:48], "little")
    for header in range(start, len(data) - 63, 64):
        if int.from_bytes(data[header + 4 : header + 8], "little") == DYNAMIC_SECTION:
            data[header + 40 : header + 44] = bytes(4)

    with pytest.raises(UnfitExecutableError):
        analysed(a_companion(), exporter=bytes(data))


def test_a_file_that_is_not_there_is_the_manifests_matter() -> None:
    """The analysis goes on; what is wrong is said with the path in the manifest."""
    found = analyse_companions(*packaged(a_companion()))

    assert found.companions == ()


def test_executables_for_windows_are_stored_and_not_read() -> None:
    """Nothing is claimed of them."""
    entry = a_companion(executables={"windows-x86_64": "exporter"})

    found, _ = analysed(entry, exporter=b"MZ")

    assert (found.libraries, found.capabilities, found.libbpf) == ((), (), "")


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"executables": {HERE: "other"}}, f"executables.{HERE}", "no file of the archive"),
        (
            {"executables": {"windows-x86_64": "exporter"}},
            "executables.windows-x86_64",
            "the package is not meant for this platform",
        ),
        ({"capabilities": ("CAP_FLY",)}, "capabilities", "is no capability of Linux"),
        ({"capabilities": ("CAP_BPF", "CAP_BPF")}, "capabilities", "names a capability twice"),
        (
            {"arguments": {"port": CompanionArgument(type="integer", default="x")}},
            "arguments.port.default",
            "has another type",
        ),
        (
            {"arguments": {"port": CompanionArgument(type="integer", default=True)}},
            "arguments.port.default",
            "has another type",
        ),
        (
            {"arguments": {"port": CompanionArgument(type="integer", default=9, maximum=3)}},
            "arguments.port.default",
            "is outside its range",
        ),
        (
            {"arguments": {"port": CompanionArgument(type="integer", minimum=9, maximum=3)}},
            "arguments.port.minimum",
            "is above the maximum",
        ),
        (
            {"arguments": {"port": CompanionArgument(default="a", required=True)}},
            "arguments.port",
            "is required, so its default is never used",
        ),
        (
            {"arguments": {"port": CompanionArgument(default="a\0b")}},
            "arguments.port.default",
            "is no value of an argument: Expected `str` matching",
        ),
        (
            {"arguments": {"port": CompanionArgument(default="a" * 1025)}},
            "arguments.port.default",
            "is no value of an argument: Expected `str` of length <= 1024",
        ),
        (
            {"arguments": {f"port-{number}": CompanionArgument() for number in range(65)}},
            "arguments",
            "are too many",
        ),
        (
            {"arguments": {"port": CompanionArgument(minimum=1)}},
            "arguments.port",
            "only an integer has a range",
        ),
    ],
)
def test_what_a_manifest_says_of_companions_fits_together(
    changes: dict[str, Any], path: str, rule: str
) -> None:
    """Each statement that cannot be kept is named with its path."""
    manifest, _ = packaged(a_companion(**changes), exporter=b"")

    (reason,) = manifest_reasons(manifest, ())
    assert reason.path == f"manifest.companions.exporter.{path}"
    assert reason.rule.startswith(rule)


def test_a_good_companion_has_no_reasons_against_it() -> None:
    """With arguments of every type."""
    arguments = {
        "port": CompanionArgument(type="integer", default=9, minimum=1, maximum=9),
        "name": CompanionArgument(required=True),
        "verbose": CompanionArgument(type="boolean", default=False),
    }
    manifest, _ = packaged(a_companion(arguments=arguments), exporter=b"")

    assert list(manifest_reasons(manifest, ())) == []


def test_nodes_without_the_feature_get_no_package_with_companions() -> None:
    """No node runs them yet, so the package's needs say so."""
    manifest, _ = packaged(a_companion(), exporter=b"")

    package = a_package()
    with_one = msgspec.structs.replace(
        package,
        manifest=msgspec.structs.replace(package.manifest, companions=manifest.companions),
    )

    assert resolve_program(a_spec(), with_one).needs == ("companions",)
    assert resolve_program(a_spec(), package).needs == ()


def test_package_toml_states_companions(tmp_path: Path) -> None:
    """Their executables become part of the archive and are analysed with it."""
    (tmp_path / "LICENSES").mkdir()
    (tmp_path / "LICENSES" / "MIT.txt").write_text("MIT")
    (tmp_path / "one.bpf.c").write_text(
        '// SPDX-License-Identifier: MIT\n__attribute__((section("xdp"))) int one(void *c)'
        ' { return 2; }\nchar l[] __attribute__((section("license"))) = "MIT";\n'
    )
    (tmp_path / "exporter").write_bytes(old_program())
    (tmp_path / "package.toml").write_text(
        '[package]\nname = "one"\nversion = "1.0.0"\nsummary = "One"\nlicence = "MIT"\n'
        '[[programs]]\nname = "one"\nsource = "one.bpf.c"\nfunction = "one"\nhooks = ["xdp"]\n'
        f'[companions.exporter]\nexecutables = {{ {HERE} = "exporter" }}\n'
        'capabilities = ["CAP_NET_ADMIN"]\n'
        '[companions.exporter.arguments.port]\ntype = "integer"\ndefault = 9100\n'
    )

    built = build_package(tmp_path)

    files = unpack_archive(built.archive)
    found = analyse_package(built.manifest, files)
    assert built.manifest.companions["exporter"].arguments["port"].default == 9100
    assert files["exporter"] == old_program()
    assert [one.companion for one in found.companions] == ["exporter"]
    assert found.removed_call_count == 1
    warned = {one.rule: one.fix for one in lint_package(tmp_path).findings}
    assert warned["calls bpf_set_link_xdp_fd, which libbpf 1.0 removed"] == (
        "begin with bpf_xdp_attach instead"
    )
    assert "exporter calls setgid, which asks for CAP_SETGID" in warned
    assert "exporter calls bpf_xdp_attach, which asks for CAP_NET_ADMIN" not in warned
