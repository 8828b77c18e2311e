# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package test` on the running kernel: what passes, what does not, and what cannot be run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.package_build import build_package
from cli.package_test import run_tests
from services.node_executor.packages import OpenedPackage
from shared.contracts.package_tests import PackageTested
from shared.errors import RefusedError
from shared.package_archive import read_archive
from shared.package_tests import read_tests
from tests.support.bcc_packages import package_folder

pytestmark = pytest.mark.kernel

PACKAGES = Path(__file__).parents[2] / "packages"
REWRITER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, __u64);
         __uint(max_entries, 8); } seen SEC(".maps");
SEC("xdp") int rewrite(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;
	__u64 one = 1;
	__u32 key = 7;
	if (data + 14 > (unsigned char *)(long)ctx->data_end)
		return XDP_ABORTED;
	data[0] = 0x42;
	bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return XDP_TX;
}
SEC("xdp") int spin(struct xdp_md *ctx)
{
	return *(int *)(long)ctx->data;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
MANIFEST = """
[package]
name = "rewriter"
version = "1.0.0"
summary = "Writes a byte"
licence = "GPL-2.0-only OR BSD-2-Clause"
[[programs]]
name = "rewrite"
source = "rewriter.bpf.c"
function = "rewrite"
hooks = ["xdp"]
[[programs]]
name = "spin"
source = "rewriter.bpf.c"
function = "spin"
hooks = ["xdp"]
[maps.seen]
value_maximum = 100
"""
BCC_TEST = """
[[test]]
name = "a closed port"
program = "port-gate"
config.closed = { 53 = 1 }
packets = [
    { packet = "ipv4 / udp dport=53", verdict = "drop" },
    { packet = "ipv4 / udp dport=54", verdict = "pass" },
]
maps.ports = { 54 = { packets = 1, last_bytes = 42, first_words = [0, 0, 0] } }
metrics = { dropped = 1 }
"""


def _folder(tmp_path: Path, tests: str) -> Path:
    shutil.copytree(PACKAGES / "rate-limit" / "LICENSES", tmp_path / "LICENSES")
    (tmp_path / "rewriter.bpf.c").write_text(REWRITER)
    (tmp_path / "package.toml").write_text(MANIFEST + tests)
    return tmp_path


def _tested(tmp_path: Path, tests: str) -> PackageTested:
    return run_tests(build_package(_folder(tmp_path, tests)))


@pytest.mark.parametrize(
    ("name", "tests"),
    [("connection-limit", 6), ("firewall", 5), ("port-count", 4), ("rate-limit", 7)],
)
def test_the_packages_that_come_along_pass_their_tests(name: str, tests: int) -> None:
    """Every test of theirs is run by the kernel, and nothing differs."""
    tested = run_tests(build_package(PACKAGES / name))

    assert [result for result in tested.results if not result.has_passed] == []
    assert len(tested.results) == tests
    assert all(result.verified_instructions for result in tested.results)


def test_every_difference_is_named(tmp_path: Path) -> None:
    """Verdict, bytes and map entries that are not as expected, each with both values."""
    tested = _tested(
        tmp_path,
        """
[[test]]
name = "all wrong"
program = "rewrite"
[[test.packets]]
packet = "eth dst=01:02:03:04:05:06"
verdict = "pass"
after = "eth dst=01:02:03:04:05:06"
[test.maps]
seen = { 7 = 2, 8 = 1 }
[[test]]
name = "all right"
program = "rewrite"
[[test.packets]]
packet = "eth dst=01:02:03:04:05:06"
verdict = "tx"
after = "eth dst=42:02:03:04:05:06"
[test.maps]
seen = { 7 = 1, 8 = "absent" }
""",
    )
    wrong, right = tested.results

    assert right.has_passed
    assert [(one.place, one.expected, one.got) for one in wrong.differences] == [
        ("packets[0].verdict", "pass", "tx"),
        ("packets[0].after[0]", "01", "42"),
        ("maps.seen.7", 2, 1),
        ("maps.seen.8", 1, "absent"),
    ]


def test_what_cannot_be_run_says_why_and_stops_nothing_else(tmp_path: Path) -> None:
    """A program that the verifier refuses and a configuration out of range fail alone."""
    tested = _tested(
        tmp_path,
        """
[[test]]
name = "refused"
program = "spin"
packets = [{ packet = "eth", verdict = "pass" }]
[[test]]
name = "out of range"
program = "rewrite"
config.seen = { 1 = 101 }
packets = [{ packet = "eth", verdict = "tx" }]
[[test]]
name = "good"
program = "rewrite"
config.seen = { 1 = 100 }
packets = [{ packet = "eth", verdict = "tx" }]
maps.seen = { 1 = 100 }
""",
    )
    refused, out_of_range, good = tested.results

    assert "verifier refuses" in refused.problem
    assert "outside the range" in out_of_range.problem
    assert good.has_passed


def test_packets_come_in_order_and_tests_begin_anew() -> None:
    """Maps keep what packets of one test did, and nothing of another test."""
    built = build_package(PACKAGES / "rate-limit")

    assert run_tests(built, only="a new connection*").has_passed
    assert len(run_tests(built, only="a new connection*").results) == 1
    with pytest.raises(RefusedError, match="no test has such a name"):
        run_tests(built, only="nothing*")


def test_a_package_without_tests_says_so(tmp_path: Path) -> None:
    """Nothing to run is no success."""
    with pytest.raises(RefusedError, match="has no tests"):
        _tested(tmp_path, "")


def test_a_node_finds_the_tests_in_what_was_signed() -> None:
    """They are a file of the archive whose digest the manifest holds."""
    built = build_package(PACKAGES / "rate-limit")
    files = read_archive(built.archive, built.manifest)
    package = OpenedPackage(manifest=built.manifest, files=files, publisher="acme")

    assert len(read_tests(package.manifest, package.files)) == 7
    assert "tests.json" in {file.path for file in built.manifest.files}


def test_c_source_for_bcc_is_compiled_first(tmp_path: Path) -> None:
    """Its tests run on the object that a node would make of it here."""
    folder = package_folder(tmp_path / "gate")
    with (folder / "package.toml").open("a") as manifest:
        manifest.write(BCC_TEST)

    (result,) = run_tests(build_package(folder)).results

    assert (result.problem, result.differences) == ("", ())
    assert result.verified_instructions
