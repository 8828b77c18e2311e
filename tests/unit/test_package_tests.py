# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of packages: from `package.toml` into the archive, and whether they fit the package."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from cli.package_test_source import PackageTestSection, packet_files, resolve_tests
from cli.packet_text import read_packet_text
from services.node_executor.package_test.comparison import (
    MAX_DIFFERENCES,
    bounded,
    map_differences,
    packet_differences,
)
from services.node_executor.packet_tests import MapView, WatchedMap
from shared.configuration.entries import MapLayout
from shared.contracts.package_manifest import CompanionEntry, MapEntry, MetricEntry
from shared.contracts.package_tests import MAX_TRIED_BYTES, Difference, PackageTest, PacketStep
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
)
from shared.errors import RefusedError
from shared.package_archive import read_archive
from shared.package_tests import (
    PackageTestsError,
    check_tests,
    read_tests,
    tried_part,
    write_tests,
)
from shared.validation import convert_document
from tests.package_builders import FILES, a_manifest, some_facts

SYN = "ipv4 / tcp dport=80 syn"
U16, U64 = IntegerType(2, is_signed=False), IntegerType(8, is_signed=False)


def _sections(*tests: dict[str, Any]) -> list[PackageTestSection]:
    return [
        convert_document({"name": "one", **test}, PackageTestSection, what="test") for test in tests
    ]


def _no_file(name: str) -> bytes:
    raise AssertionError(name)


def a_test(**changes: Any) -> PackageTest:
    """A test of the program `one`."""
    packet = PacketStep(packet=read_packet_text(SYN).hex(), verdict="pass")
    fields = {"name": "a SYN passes", "program": "one", "hook": "xdp", "packets": (packet,)}
    return PackageTest(**{**fields, **changes})


def test_packets_become_bytes() -> None:
    """Words, digits and repeats are packets in order; program and hook are filled in."""
    digits = read_packet_text(SYN).hex(" ")
    packets = [
        {"packet": SYN, "verdict": "pass", "repeat": 2},
        {"packet": digits, "verdict": "drop", "after": SYN},
    ]
    (test,) = resolve_tests(
        _sections({"packets": packets}), {"one": ("tc-egress", "tc-ingress")}, _no_file
    )

    assert (test.program, test.hook) == ("one", "tc-egress")
    assert [packet.verdict for packet in test.packets] == ["pass", "pass", "drop"]
    assert len({packet.packet for packet in test.packets}) == 1
    assert test.packets[2].after == test.packets[2].packet


def test_a_capture_gives_all_its_packets() -> None:
    """A pcap file is read once, belongs to the source, and each packet has the verdict."""
    frames = [read_packet_text(SYN), read_packet_text("ipv6 / udp")]
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for frame in frames:
        capture += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    sections = _sections({"packets": [{"file": "tests/a.pcap", "verdict": "pass"}]})

    (test,) = resolve_tests(sections, {"one": ("xdp",)}, {"tests/a.pcap": capture}.__getitem__)

    assert [bytes.fromhex(packet.packet) for packet in test.packets] == frames
    assert packet_files(sections) == ("tests/a.pcap",)


def test_everything_that_is_no_test_is_named() -> None:
    """Unknown programs and packets of every test are refused together, each with its path."""
    sections = _sections(
        {"program": "two", "packets": [{"packet": SYN, "verdict": "pass"}]},
        {
            "packets": [
                {"verdict": "pass"},
                {"packet": "ipv4 / smtp", "verdict": "pass"},
                {"packet": "00", "verdict": "pass"},
            ]
        },
    )
    with pytest.raises(RefusedError) as refused:
        resolve_tests(sections, {"one": ("xdp",)}, _no_file)

    assert [reason.path for reason in refused.value.reasons] == [
        "test[0].program",
        "test[1].packets[0]",
        "test[1].packets[1].packet",
        "test[1].packets[2].packet",
    ]


def test_tests_are_read_as_they_were_written() -> None:
    """The document in the archive gives the same tests."""
    tests = (a_test(), a_test(name="again", config={"limits": {"80": 1}}))
    files = {**FILES, "tests.json": write_tests(tests)}

    assert read_tests(a_manifest(files, tests="tests.json"), files) == tests
    assert read_tests(a_manifest(), FILES) == ()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"program": "two"}, "tests[0].program"),
        ({"hook": "tc-ingress"}, "tests[0].hook"),
        ({"config": {"secrets": {}}}, "tests[0].config.secrets"),
        ({"maps": {"secrets": {}}}, "tests[0].maps.secrets"),
        ({"metrics": {"secrets": 1}}, "tests[0].metrics.secrets"),
    ],
)
def test_a_test_of_what_is_not_there_is_refused(changes: dict[str, Any], path: str) -> None:
    """Programs, hooks, maps and metrics that the package does not have are named."""
    files = {**FILES, "tests.json": write_tests([a_test(**changes)])}
    manifest = a_manifest(
        files,
        tests="tests.json",
        maps={"limits": MapEntry()},
        metrics={"drops": MetricEntry(map="drops")},
    )
    with pytest.raises(PackageTestsError) as refused:
        check_tests(manifest, files, [some_facts()])

    assert path in [reason.path for reason in refused.value.reasons]


def test_two_tests_of_one_name_are_refused() -> None:
    """A result is known by its test's name."""
    files = {**FILES, "tests.json": write_tests([a_test(), a_test()])}

    with pytest.raises(PackageTestsError, match=r"tests\[1\].name"):
        check_tests(a_manifest(files, tests="tests.json"), files, [some_facts()])


def test_a_manifest_cannot_name_tests_that_are_not_there() -> None:
    """Tests that nobody has are no tests."""
    with pytest.raises(PackageTestsError, match="not in the archive"):
        check_tests(a_manifest(tests="tests.json"), FILES, [some_facts()])


def test_every_difference_of_a_packet_is_told() -> None:
    """Verdict, length and each place of the packet."""
    wanted = PacketStep(packet="00" * 14, verdict="drop", after="00" * 14)

    found = list(packet_differences(3, wanted, verdict="pass", data=bytes(5) + b"\1" + bytes(9)))

    assert [one.place for one in found] == [
        "packets[3].verdict",
        "packets[3].length",
        "packets[3].after[5]",
    ]
    assert list(packet_differences(3, wanted, verdict="drop", data=bytes(14))) == []


def test_numbers_of_processors_are_summed() -> None:
    """An array in a per-CPU map is added up element by element; absent entries can be expected."""
    layout = MapLayout(U16, ArrayType(U64, 2), 16, "percpu_hash")
    watched = WatchedMap("", "ports", layout, is_per_cpu=True)
    view = MapView(struct.pack("=H", 80), struct.pack("=4Q", 1, 2, 3, 4), 2, 32)

    assert list(map_differences(watched, {"80": [4, 6], "81": "absent"}, view)) == []
    assert list(map_differences(watched, {"80": [1, 2], "81": 1}, view)) == [
        Difference(place="maps.ports.80", expected=[1, 2], got=[4, 6]),
        Difference(place="maps.ports.81", expected=1, got="absent"),
    ]


def test_the_list_of_differences_has_an_end() -> None:
    """What is left out is counted."""
    found = bounded([Difference(place=str(number)) for number in range(100)])

    assert len(found) == MAX_DIFFERENCES + 1
    assert found[-1].place == f"and {100 - MAX_DIFFERENCES} more"


def test_companions_are_left_out_of_what_is_tried() -> None:
    """Their executables stay behind; what remains is a package of its own."""
    files = {**FILES, "bin/agent": b"\x7fELF of a companion"}
    companion = CompanionEntry(executables={"linux-x86_64": "bin/agent"})
    manifest = a_manifest(files, companions={"agent": companion})

    tried, archive = tried_part(manifest, files)

    assert dict(read_archive(archive, tried)) == FILES
    assert tried.companions == {}


def test_what_is_tried_has_a_largest_size() -> None:
    """More than that is refused by its size, before anything is copied."""
    manifest = a_manifest()
    large = msgspec.structs.replace(manifest.files[0], size_bytes=MAX_TRIED_BYTES)

    with pytest.raises(RefusedError) as caught:
        tried_part(msgspec.structs.replace(manifest, files=(*manifest.files, large)), FILES)

    assert [reason.path for reason in caught.value.reasons] == ["manifest.files"]
