# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Publication: immutable versions, every reason at once, and what the audit log says."""

from __future__ import annotations

import msgspec
import pytest

from services.catalog.publication import (
    ManifestError,
    NotOwnSignatureError,
    VersionConflictError,
    check_has_name,
    decide_publication,
    kept_version,
    publication_event,
    publication_reply,
)
from services.catalog.version_entries import RecordFullError, entry_of, storable
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.catalog import PackageVersion
from shared.contracts.package_records import PackageRecord
from shared.dsse import key_id, public_key_of
from shared.errors import RefusedError
from tests.package_builders import (
    PUBLISHER_SEED,
    a_manifest,
    a_record,
    a_version,
    some_facts,
)


def publish(record: PackageRecord | None, version: PackageVersion) -> PackageRecord:
    """The record with the version in it."""
    return decide_publication(record, name="one", version=version)


def test_a_first_version_makes_the_record() -> None:
    """The record holds the version and the command that published it."""
    version = a_version("1.0.0", command_id="command-first")

    assert publish(None, version) == PackageRecord(
        name="one", versions=(entry_of(version),), command_id="command-first"
    )


def test_versions_are_kept_oldest_first() -> None:
    """A fix for an old release is the youngest, although it does not have the highest number."""
    record = publish(a_record("1.0.0", "2.0.0"), a_version("1.0.1"))

    assert [one.version for one in record.versions] == ["1.0.0", "2.0.0", "1.0.1"]


def test_a_publisher_publishes_what_its_own_key_signed() -> None:
    """No name is nobody's."""
    check_has_name("acme")

    with pytest.raises(NotOwnSignatureError):
        check_has_name("")


@pytest.mark.parametrize("again", ["1.0.0", "1.0.0+rebuilt"])
def test_a_published_version_never_changes(again: str) -> None:
    """Other content under a published version is a conflict; build metadata is no way round."""
    with pytest.raises(VersionConflictError, match="never changes") as caught:
        publish(a_record("1.0.0"), a_version(again, summary="Other content"))

    assert caught.value.refusal().code == "conflict"


def test_the_same_content_again_is_a_conflict_that_says_so() -> None:
    """Whoever publishes what is there already learns that nothing is missing."""
    with pytest.raises(VersionConflictError, match="already published with the same content"):
        publish(a_record("1.0.0"), a_version("1.0.0", command_id="another-command"))


def test_all_reasons_come_together() -> None:
    """Manifest, licence and channels are judged at once."""
    version = a_version(
        "1.0", licence="Apache-2.0", channels=("stable", "stable"), elf=(some_facts(),)
    )

    with pytest.raises(ManifestError) as caught:
        publish(None, version)

    assert {reason.path for reason in caught.value.reasons} == {
        "manifest.version",
        "archive[one.bpf.o].license",
        "channels",
    }


def test_a_version_has_a_channel() -> None:
    """A version that nobody could resolve is refused."""
    with pytest.raises(ManifestError):
        publish(None, a_version(channels=()))


def test_a_full_record_refuses_clearly() -> None:
    """A package that reached its record's size is told so, by number of versions."""
    names = tuple(sha256_hex(b"%d" % number) for number in range(10_000))
    facets = msgspec.structs.replace(entry_of(a_version()).facets, programs=names)
    entry = msgspec.structs.replace(entry_of(a_version()), facets=facets)

    with pytest.raises(RecordFullError, match=r"has 2 versions and its record holds no") as caught:
        storable(PackageRecord(name="one", versions=(entry, entry_of(a_version("1.1.0")))))

    assert caught.value.refusal().code == "too_large"


def test_a_version_that_fits_no_reply_is_told_so() -> None:
    """With what helps."""
    tags = {f"sources/file-{number}.c": "GPL-2.0-only" for number in range(20_000)}
    large = msgspec.structs.replace(a_version("1.0.0"), source_licences=tags)

    with pytest.raises(RecordFullError, match="is more than is kept of a version: offer less"):
        kept_version(large)


def test_the_reply_names_what_was_signed() -> None:
    """Digests of archive and manifest let the caller check later what was published."""
    version = a_version("1.0.0")
    reply = publication_reply("one", version)

    assert reply.manifest_sha256 == canonical_digest(a_manifest())
    assert reply.archive_sha256 == version.signed.archive_sha256


def test_the_event_of_a_publication_names_signer_and_licences() -> None:
    """The audit log has who signed, what, under which statements."""
    version = a_version("1.0.0")

    event = publication_event(version.signed, version=version)

    assert (event.action, event.outcome, event.package, event.version) == (
        "package.publish",
        "accepted",
        "one",
        "1.0.0",
    )
    assert event.details == {
        "archive_sha256": version.signed.archive_sha256,
        "manifest_sha256": canonical_digest(a_manifest()),
        "signer": [key_id(public_key_of(PUBLISHER_SEED))],
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "elf_licence": {"one.bpf.o": "Dual BSD/GPL"},
        "channels": ["stable"],
        "licence_facts": {
            "licence": "GPL-2.0-only OR BSD-2-Clause",
            "platforms": ("linux",),
        },
        "licences": {
            "policy": "gpl-ok",
            "policy_version": "1.0.0",
            "outcome": "review",
            "passed": 14,
            "findings": (
                {
                    "rule": "texts-present",
                    "outcome": "review",
                    "path": "archive[LICENSES]",
                    "text": "the archive has no text of GPL-2.0-only, BSD-2-Clause",
                    "evidence": {"licences": ["GPL-2.0-only", "BSD-2-Clause"]},
                    "fix": "put LICENSES/GPL-2.0-only.txt into the package's folder "
                    "(`reuse download`)",
                },
            ),
            "elections": (
                {
                    "file": "one.bpf.o",
                    "elected": "GPL-2.0-only",
                    "declared": "GPL-2.0-only OR BSD-2-Clause",
                    "why": "policy gpl-ok prefers it",
                },
            ),
        },
    }
    assert event.after == canonical_digest(a_manifest())


def test_the_event_of_a_refusal_claims_nothing_unverified() -> None:
    """A name that no signature vouched for is not written into the log as if it were true."""
    refusal = RefusedError("no").refusal()

    event = publication_event(a_version().signed, version=None, refusal=refusal)

    assert (event.outcome, event.package, event.version, event.after) == ("refused", "", "", "")
