# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was handed out to whom, from records in any order; and that it is recorded once."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from services.auditor.reporting.distribution import distribution_csv, distribution_report
from services.catalog.handing_out import LAPSE, Handing
from services.catalog.ongoing import Ongoing
from shared.contracts.audit import AuditRecord
from shared.contracts.distribution import DistributionReport
from shared.contracts.events import Actor
from tests.support.handed_out import handed_out

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HANDED = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from(["1.0.0", "1.1.0"]),
        st.sampled_from(["a" * 64, "b" * 64]),
        st.sampled_from(["public", "p_acme"]),
        st.sampled_from(["U" + "A" * 55, "U" + "B" * 55]),
        st.sampled_from(["", "oci://registry.example/one"]),
        st.integers(0, 59),
    ),
    max_size=12,
)


def reported(records: list[AuditRecord]) -> DistributionReport:
    """What these records say."""
    return distribution_report(records, since="", until="2026-02-01T00:00:00Z", tree_size=99)


@given(HANDED, st.randoms(use_true_random=False))
def test_every_handing_out_is_counted_once_whatever_the_order(
    handed: list[tuple[str, str, str, str, str, str, int]], rng: object
) -> None:
    """Each archive, space, principal and destination has as many as there were, first and last."""
    records = [
        handed_out(
            number,
            destination=destination,
            actor=Actor(key=key, role="viewer", attested=True),
            digest=digest,
            package=package,
            version=version,
            audience=space,
            time=f"2026-01-02T03:04:{second:02d}.000000Z",
        )
        for number, (package, version, digest, space, key, destination, second) in enumerate(handed)
    ]
    shuffled = list(records)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]

    report = reported(shuffled)

    assert report == reported(records)
    found = Counter(
        {
            (one.package, one.version, one.archive_sha256, one.space or "public", to.key,
             to.destination): to.times
            for one in report.versions
            for to in one.recipients
        }
    )  # fmt: skip
    assert found == Counter(one[:6] for one in handed)
    for one in report.versions:
        for to in one.recipients:
            of_these = [
                (second, number)
                for number, (*what, second) in enumerate(handed)
                if what
                == [one.package, one.version, one.archive_sha256, one.space or "public", to.key,
                    to.destination]
            ]  # fmt: skip
            assert (to.first_record, to.last_record) == (min(of_these)[1], max(of_these)[1])


def test_only_the_catalog_is_believed() -> None:
    """What a node says of it is no distribution, and what is no such event is passed over."""
    records = [
        handed_out(0, emitter="node/n1"),
        handed_out(1, action="package.publish"),
        handed_out(2),
    ]

    (version,) = reported(records).versions

    assert [one.first_record for one in version.recipients] == [2]


def test_what_was_pruned_may_be_missing() -> None:
    """Only the auditor is believed about that, and of times before the range it says nothing."""

    def through(since: str, emitter: str = "auditor") -> str:
        said = handed_out(5, action="log.prune", emitter=emitter, through="2026-01-05T00:00:00Z")
        return distribution_report(
            [], since=since, until="2026-02-01T00:00:00Z", tree_size=9, prunings=[said]
        ).pruned_through

    assert through("") == through("2026-01-05T00:30:00+01:00") == "2026-01-05T00:00:00Z"
    assert through("2026-01-05T00:00:01Z") == through("", emitter="node/n1") == ""


def test_no_cell_of_the_table_is_a_formula() -> None:
    """A destination is what the caller said."""
    text = distribution_csv(reported([handed_out(0, destination='=cmd|"/c calc"!A1')]))

    heading, row = csv.reader(StringIO(text))
    assert dict(zip(heading, row, strict=True))["destination"].startswith("'=")


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_chunks_that_follow_one_another_are_one_handing_out(gaps: list[int]) -> None:
    """It is begun anew exactly where more than LAPSE passed since the chunk before."""
    handings, now, begun = Ongoing[Handing](LAPSE), NOW, 0
    handing = Handing("UA", "public", "one", "1.0.0", "")
    for gap in gaps:
        now += timedelta(seconds=gap)
        if not handings.goes_on(handing, now=now):
            handings.note(handing, now=now)
            begun += 1

    assert begun == 1 + sum(gap > LAPSE.total_seconds() for gap in gaps[1:])


def test_another_place_reader_or_version_is_another_handing_out() -> None:
    """And one whose recording failed was none."""
    handings = Ongoing[Handing](LAPSE)
    one = Handing("UA", "public", "one", "1.0.0", "")
    assert not handings.goes_on(one, now=NOW)
    assert not handings.goes_on(one, now=NOW)
    handings.note(one, now=NOW)

    assert handings.goes_on(one, now=NOW)
    for other in (
        one._replace(caller="UB"),
        one._replace(version="1.1.0"),
        one._replace(space="p_acme"),
        one._replace(name="two"),
        one._replace(destination="oci://x/y"),
    ):
        assert not handings.goes_on(other, now=NOW)
