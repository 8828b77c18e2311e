# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Light entries of versions: what they are found by, and records of earlier releases."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from services.catalog.code_ownership import lifecycle_of
from services.catalog.resolution import resolve, summary_of
from services.catalog.version_entries import (
    MAX_RECORD_BYTES,
    content_of,
    entry_of,
    packed,
    record_of,
    storable,
    unpacked,
    whole,
)
from shared.canonical import sha256_hex
from shared.contracts.catalog import PackageVersion
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.lifecycle import Approval, Lifecycle, Statement
from shared.contracts.package_analysis import LinuxSupport, PackageAnalysis, ProgramAnalysis
from shared.contracts.package_facts import MapFacts, ProgramFacts
from shared.contracts.package_manifest import Needs, SourceLocation
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.dsse import manifest_digest
from tests.package_builders import a_record_of, a_version, some_facts
from tests.support.earlier_records import earlier_package


def test_a_record_of_an_earlier_release_says_the_same_in_light_entries() -> None:
    """Nothing of it is lost: with the content that is inline, each entry is the version again."""
    stored = earlier_package()

    record = record_of(stored)

    assert [one.version for one in record.versions] == ["1.0.0", "1.1.0", "2.0.0-rc.1"]
    assert {one.content for one in record.versions} == {""}
    assert record.command_id == stored.command_id
    for entry, version in zip(record.versions, stored.versions, strict=True):
        assert whole(entry, content_of(version)) == version
        assert entry.manifest_sha256 == manifest_digest(version.signed)


def test_a_record_of_an_earlier_release_is_resolved_and_listed() -> None:
    """By channel, by what was decided about its versions, and with its summary."""
    record = record_of(earlier_package())

    assert resolve(record, name="one", constraint="*", channel="stable").version == "1.0.0"
    assert resolve(record, name="one", constraint="*", channel="dev").version == "1.1.0"
    assert summary_of(record).versions == ("2.0.0-rc.1", "1.1.0", "1.0.0")
    assert lifecycle_of(record.versions[1]).approvals[0].name == "alice"
    assert lifecycle_of(record.versions[2]).deprecated is not None


def test_an_entry_has_what_a_version_is_found_by() -> None:
    """Facets of manifest, objects and analysis."""
    facts = some_facts(
        programs=(
            ProgramFacts(
                function="one",
                section="xdp",
                instructions=2,
                helpers=(6, 1),
                kernel_functions=("k",),
            ),
        ),
        maps=tuple(
            MapFacts(name=name, type="hash", key_size_bytes=2, value_size_bytes=4, max_entries=8)
            for name in ("limits", "counts")
        ),
    )
    version = a_version(
        elf=(facts,),
        owners=("net team",),
        needs=Needs(kernel=">=5.15", features=("tcx",)),
        source=SourceLocation(repository="https://git.example.org/one.git", revision="v1"),
    )
    support = [LinuxSupport(minimum=release) for release in ("5.9", "5.17")]
    programs = tuple(
        ProgramAnalysis(object="one.bpf.o", function="one", type="xdp", linux=one)
        for one in support
    )
    version = msgspec.structs.replace(version, analysis=PackageAnalysis(programs=programs))

    entry = entry_of(version, archive_bytes=4711)

    assert (entry.archive_bytes, entry.publisher) == (4711, "acme")
    assert msgspec.to_builtins(entry.facets) == {
        "summary": "One program",
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "owners": ("net team",),
        "source": "https://git.example.org/one.git",
        "platforms": ("linux",),
        "programs": ("one",),
        "hooks": ("xdp",),
        "helpers": (1, 6),
        "kernel_functions": ("k",),
        "maps": ("counts", "limits"),
        "map_types": ("hash",),
        "minimum_kernel": "5.17",
        "needs_kernel": ">=5.15",
        "features": ("tcx",),
    }


def test_an_unknown_minimum_is_no_minimum() -> None:
    """One program of which no table knows all decides that nothing is known."""
    programs = tuple(
        ProgramAnalysis(object="o", function="f", type="xdp", linux=LinuxSupport(minimum=release))
        for release in ("5.9", "")
    )
    version = msgspec.structs.replace(a_version(), analysis=PackageAnalysis(programs=programs))

    assert entry_of(version).facets.minimum_kernel == ""


def test_an_entry_keeps_of_a_verdict_what_a_waiver_excuses() -> None:
    """All of it is in the content; the entry has enough to tell what ends with a waiver."""
    findings = (
        LicenceFinding(rule="held", outcome="passed", text="long"),
        LicenceFinding(rule="broken", outcome="refused", text="long", waiver="w-1"),
    )
    verdict = LicenceVerdict(policy="p", policy_version="1", outcome="noted", findings=findings)
    version = msgspec.structs.replace(a_version(), licences=verdict)

    entry = entry_of(version)

    assert entry.licences == msgspec.structs.replace(
        verdict, findings=(LicenceFinding(rule="broken", outcome="refused", waiver="w-1"),)
    )
    assert whole(entry, content_of(version)) == version
    other = msgspec.structs.replace(verdict, outcome="passed")
    assert whole(entry, content_of(version), other).licences == other


def test_a_thousand_versions_with_their_history_fit_into_a_record() -> None:
    """Each submitted, approved twice and promoted, with digests of its own."""
    record = PackageRecord(name="one", versions=tuple(_Historic(n).entry for n in range(1000)))

    stored = storable(record)

    assert len(msgspec.json.encode(stored)) < 0.8 * MAX_RECORD_BYTES
    assert record_of(stored) == record


@dataclass(frozen=True, slots=True)
class _Historic:
    """A version with all that can happen to one in an orderly life."""

    number: int

    @property
    def entry(self) -> VersionEntry:
        """Its own."""
        return msgspec.structs.replace(
            _ENTRY,
            version=f"1.{self.number // 10}.{self.number % 10}",
            published_at=self._moment(0),
            lifecycle=Lifecycle(
                submitted=(self._said("acme", 1),),
                approvals=tuple(
                    Approval(
                        **msgspec.structs.asdict(self._said(name, second)),
                        manifest_sha256=self._digest("manifest"),
                    )
                    for name, second in (("alice", 2), ("bob", 3))
                ),
                approved_at=self._moment(3),
                entered={"candidate": self._moment(4), "stable": self._moment(5)},
                notes=f"Release {self.number}: fewer packets are lost.",
                tags=(f"build-{self.number}",),
            ),
            manifest_sha256=self._digest("manifest"),
            archive_sha256=self._digest("archive"),
            content=self._digest("content"),
        )

    def _said(self, name: str, second: int) -> Statement:
        why = f"change {self._digest(name)[:8]}"
        at = self._moment(second)
        return Statement(by=f"U{name:X<55}", name=name, role="code-owner", at=at, why=why)

    def _moment(self, second: int) -> str:
        minutes, hours = self.number % 60, self.number // 60
        return f"2026-03-01T{hours:02}:{minutes:02}:{second:02}.{self.number:06}Z"

    def _digest(self, what: str) -> str:
        return sha256_hex(f"{what} {self.number}".encode())


_ENTRY = entry_of(a_version(), archive_bytes=15872)


def test_what_is_packed_is_unpacked() -> None:
    """Contents travel as they are."""
    version = a_version()

    assert unpacked(packed(content_of(version)), PackageVersion) == content_of(version)
    assert record_of(storable(a_record_of(version))) == a_record_of(version)
