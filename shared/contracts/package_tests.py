# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that a package brings along: packets, and what its programs must make of them.

They lie in the archive as one JSON document, which the signed manifest names with its digest, so a
node can run them years later without the sources.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from shared.contracts.base import Document, Message
from shared.contracts.inspection import MAX_PACKET_BYTES, MAX_PACKETS, MIN_PACKET_BYTES
from shared.contracts.package_manifest import PackageManifest, Symbol
from shared.errors import Reason
from shared.identifiers import Hook, Token

MAX_TESTS: Final = 256
MAX_TESTS_BYTES: Final = 4 * 1024 * 1024
"""Of the document with all tests of a package."""
MAX_TRIED_BYTES: Final = 64 << 20
"""Of all files of a package that is tried, companions aside."""
ABSENT: Final = "absent"
"""Instead of a value: the map has no such entry."""

PacketText = Annotated[
    str,
    Meta(
        pattern=r"^([0-9a-f]{2})+(?!\n)$",
        min_length=2 * MIN_PACKET_BYTES,
        max_length=2 * MAX_PACKET_BYTES,
    ),
]
"""A packet from its Ethernet header, as lower-case hexadecimal digits."""


class PacketStep(Document, frozen=True, kw_only=True):
    """One packet of a test."""

    packet: PacketText
    verdict: Annotated[str, Meta(min_length=1, max_length=32)]
    """What the program must say, by the verdict's name."""
    after: PacketText | None = None
    """The packet that the program must leave; None: not compared."""


class PackageTest(Document, frozen=True, kw_only=True):
    """One program alone on a hook with fresh maps, and packets in order."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    program: Token
    hook: Hook
    config: dict[Symbol, dict[str, Any]] = {}
    """Map to entries, written before the first packet, as a deployment's configuration."""
    variables: dict[Symbol, Any] = {}
    """Values of global variables, as a deployment's."""
    packets: Annotated[tuple[PacketStep, ...], Meta(min_length=1, max_length=MAX_PACKETS)]
    maps: dict[Symbol, dict[str, Any]] = {}
    """Map to entries that it must hold after the last packet; entries not named do not matter.
    In a per-CPU map numbers are summed over the processors.  `absent`: no such entry."""
    metrics: dict[Token, int] = {}
    """What the package's metrics must be after the last packet."""


class PackageTests(Document, frozen=True, kw_only=True):
    """All tests of a package; the file that its manifest names under `tests`."""

    schema: Annotated[int, Meta(ge=1, le=1)] = 1
    tests: Annotated[tuple[PackageTest, ...], Meta(min_length=1, max_length=MAX_TESTS)]


class TrialLimits(Document, frozen=True, kw_only=True):
    """What the process that runs tests may take; it gives up the rest before it looks at a file."""

    memory_bytes: int
    """Address space of the process."""
    processor_seconds: int
    map_bytes: int
    """What the candidate's maps may take in the kernel, all together."""


class RunPackageTests(Document, frozen=True, kw_only=True):
    """What the process that runs tests is told on its standard input."""

    manifest: PackageManifest
    archive: bytes
    """As `shared.package_tests.tried_part` makes it."""
    only: str = ""
    """Glob that the tests' names must match; empty: all."""
    loads_all: bool = False
    """Whether programs on hooks that no test is about are loaded too; their results have no name.
    """
    limits: TrialLimits | None = None
    """None: it may take what its user may."""


class Difference(Message, frozen=True, kw_only=True):
    """One thing that is not as the test says."""

    place: str
    """As `packets[0].verdict`, `packets[1].after[26]`, `maps.limits.80`, `metrics.dropped`."""
    expected: Any = None
    got: Any = None


class PackageTestResult(Message, frozen=True, kw_only=True):
    """What became of one test."""

    name: str
    program: str
    hook: Hook
    has_passed: bool
    packets: int
    """Of the test; those behind a packet that could not be run were not run."""
    verified_instructions: int = 0
    """Instructions that the verifier walked; 0: the program was not loaded."""
    ns_per_packet: int = 0
    """Mean over the test's packets, each run many times after everything was compared; 0: not
    measured."""
    differences: tuple[Difference, ...] = ()
    problem: str = ""
    """Why the test could not be run to its end."""
    reasons: tuple[Reason, ...] = ()
    """Of the problem, as the verifier's words."""


class PackageTested(Message, frozen=True, kw_only=True):
    """All tests of a package, on one kernel."""

    package: str
    version: str
    kernel: str
    """Its release, as `6.18.4`."""
    machine: str
    """As `x86_64`."""
    results: tuple[PackageTestResult, ...]

    @property
    def has_passed(self) -> bool:
        """Whether every test did."""
        return all(result.has_passed for result in self.results)
