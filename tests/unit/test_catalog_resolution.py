# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Resolution: which version is meant; and tickets for its archive."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from services.catalog.resolution import (
    MAX_PAGE_VERSIONS,
    UnknownPackageError,
    VersionUnsatisfiedError,
    chosen_version,
    newest_first,
    page_of,
    resolve,
    summary_of,
)
from services.catalog.ticket import admits, derive_ticket_key, issue_ticket
from shared.contracts.catalog import TICKET_SECONDS, PackageSummary
from shared.contracts.lifecycle import Lifecycle, Statement
from shared.contracts.package_records import PackageRecord
from shared.errors import RefusedError
from tests.package_builders import NOW, a_record, a_record_of, a_version

RECORD = a_record("1.0.0", "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0")
KEY = derive_ticket_key(b"seed of the catalog's own creds.")
DIGEST = "a" * 64


def resolved(constraint: str, *, channel: str = "stable") -> str:
    """The version that the constraint resolves to."""
    return resolve(RECORD, name="one", constraint=constraint, channel=channel).version


def test_the_newest_allowed_version_is_meant() -> None:
    """Precedence decides, not the order of publication or of letters."""
    assert resolved("*") == "2.0.0"
    assert resolved("^1") == "1.10.0"
    assert resolved("~1.9") == "1.9.0"
    assert resolved("2.0.0-rc.1") == "2.0.0-rc.1"


def test_a_version_can_be_passed_over() -> None:
    """As if it were revoked."""
    found = resolve(RECORD, name="one", constraint="^1", channel="stable", without="1.10.0")

    assert found.version == "1.9.0"


def test_a_constraint_that_nobody_meets_names_what_there_is() -> None:
    """The refusal lists the channel's versions, newest first."""
    with pytest.raises(VersionUnsatisfiedError) as caught:
        resolved(">=3")

    assert caught.value.refusal().code == "version_unsatisfied"
    assert caught.value.reasons[0].allowed == [
        "2.0.0",
        "2.0.0-rc.1",
        "1.10.0",
        "1.9.0",
        "1.0.0",
    ]


def test_only_the_asked_channel_counts() -> None:
    """A version that was released elsewhere does not meet a constraint on `stable`."""
    record = a_record_of(a_version("1.0.0"), a_version("1.1.0", channels=("edge",)))

    def in_channel(channel: str) -> str:
        return resolve(record, name="one", constraint="*", channel=channel).version

    assert (in_channel("stable"), in_channel("edge")) == ("1.0.0", "1.1.0")
    with pytest.raises(VersionUnsatisfiedError):
        in_channel("other")


@pytest.mark.parametrize("record", [None, PackageRecord(name="one", versions=())])
def test_an_unknown_package_is_not_found(record: PackageRecord | None) -> None:
    """A name that nobody published is told apart from a version that nobody published."""
    with pytest.raises(UnknownPackageError) as caught:
        resolve(record, name="one", constraint="*", channel="stable")

    assert caught.value.refusal().code == "not_found"
    with pytest.raises(UnknownPackageError):
        chosen_version(record, name="one", version="")


def test_a_malformed_constraint_is_an_invalid_request() -> None:
    """It is refused before anything is looked up."""
    with pytest.raises(RefusedError) as caught:
        resolve(None, name="one", constraint="1.x", channel="stable")

    assert caught.value.refusal().code == "invalid_request"


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (RECORD, "2.0.0"),
        (a_record("1.0.0", "2.0.0-rc.1"), "1.0.0"),
        (a_record("2.0.0-rc.1"), "2.0.0-rc.1"),
    ],
)
def test_the_newest_release_is_shown_first(record: PackageRecord, shown: str) -> None:
    """Without a version the newest release is shown; a prerelease only if there is no release."""
    assert chosen_version(record, name="one", version="").version == shown


def test_one_version_is_shown_with_its_siblings() -> None:
    """The named version comes with the names of all, newest first."""
    assert chosen_version(RECORD, name="one", version="1.9.0").version == "1.9.0"
    assert newest_first(RECORD) == ("2.0.0", "2.0.0-rc.1", "1.10.0", "1.9.0", "1.0.0")
    with pytest.raises(UnknownPackageError, match=r"no version 1\.9\.9"):
        chosen_version(RECORD, name="one", version="1.9.9")


def test_the_list_is_by_name_and_glob() -> None:
    """One line a package that matches."""
    lines = [
        summary_of(a_record_of(a_version("1.0.0"), a_version("1.1.0"))),
        summary_of(a_record_of(a_version("1.0.0"), name="two")),
    ]

    assert [(one.name, one.versions) for one in page_of(lines, glob="*", after="").packages] == [
        ("one", ("1.1.0", "1.0.0")),
        ("two", ("1.0.0",)),
    ]
    assert [one.name for one in page_of(lines, glob="t*", after="").packages] == ["two"]


def test_every_package_is_on_one_page_of_the_list() -> None:
    """However many versions packages have, pages end, follow one another and leave nothing out."""
    versions = tuple(f"1.0.{number}" for number in range(MAX_PAGE_VERSIONS // 3))
    lines = [
        PackageSummary(
            name=f"p{number:02}", versions=versions, summary="", licence="", hooks=("xdp",)
        )
        for number in range(20)
    ]
    names: list[str] = []
    after = ""

    while after or not names:
        page = page_of(lines, glob="p*", after=after)
        assert len(page.packages) <= 3
        names += [one.name for one in page.packages]
        after = page.next

    assert names == [one.name for one in lines]


def test_of_forks_that_a_pin_allows_what_was_taken_back_is_the_last_choice() -> None:
    """`=1.0.0` allows every change of it; one that was yanked is chosen by its own name alone."""
    said = Statement(by="UA", name="ada", role="approver", at="2026-01-01T00:00:00.000000Z")
    lifecycle = Lifecycle(yanked=said)
    yanked = msgspec.structs.replace(a_version("1.0.0+acme.2"), lifecycle=lifecycle)
    record = a_record_of(a_version("1.0.0"), a_version("1.0.0+acme.1"), yanked)

    found = [
        resolve(record, name="one", constraint=constraint, channel="stable").version
        for constraint in ("=1.0.0", "=1.0.0+acme.2", "^1")
    ]

    assert found == ["1.0.0+acme.1", "1.0.0+acme.2", "1.0.0+acme.1"]


def test_a_ticket_admits_until_it_expires() -> None:
    """It is good for its archive and its time, and for nothing else."""
    ticket = issue_ticket(DIGEST, key=KEY, now=NOW)
    last = NOW + timedelta(seconds=TICKET_SECONDS)

    assert admits(ticket, DIGEST, key=KEY, now=NOW)
    assert admits(ticket, DIGEST, key=KEY, now=last - timedelta(seconds=1))
    assert not admits(ticket, DIGEST, key=KEY, now=last)
    assert not admits(ticket, "b" * 64, key=KEY, now=NOW)
    assert not admits(ticket, DIGEST, key=derive_ticket_key(b"another seed"), now=NOW)


@pytest.mark.parametrize("forged", ["", ".", "9999999999.", "x.y", "9999999999." + "0" * 64])
def test_a_forged_ticket_admits_nobody(forged: str) -> None:
    """Neither nonsense nor a prolonged expiry opens an archive."""
    mac = issue_ticket(DIGEST, key=KEY, now=NOW).partition(".")[2]

    assert not admits(forged, DIGEST, key=KEY, now=NOW)
    assert not admits(f"99999999999.{mac}", DIGEST, key=KEY, now=NOW)
