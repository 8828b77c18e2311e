# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports of a year, out of each store: they are those of a second reading.

`make soak` has a year of 1,000 nodes and 100 packages by any seed; `L3AF_SEED` repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final

import pytest

from services.auditor.records import parse_time_us
from services.auditor.reporting.licences import licence_report
from services.auditor.told_places import Range
from shared.contracts.licence_reports import LicenceGrouping, LicenceUse
from tests.support.year_of_history.emitters import START
from tests.support.year_of_history.kept import SIGHTS, KeptYear, year
from tests.support.year_of_history.recomputed_licences import (
    Key,
    Program,
    by_licence,
    by_obligation,
    by_package,
    licence_rows,
)
from tests.support.year_of_history.recomputed_log import instant, seen_by, words_of

__all__ = ["year"]
pytestmark = pytest.mark.soak
RANGES: Final = ((0, 365), (100, 130), (181, 212))
"""Days of the year."""
GROUPINGS: Final[dict[LicenceGrouping, tuple[Callable[[Program], Iterable[Key]], Any]]] = {
    "licence": (by_licence, lambda row: (row.name, row.declared, row.elected)),
    "package": (by_package, lambda row: (row.name,)),
    "obligation": (by_obligation, lambda row: (row.name, row.licence, row.clause)),
}


def plain(row: LicenceUse) -> dict[str, Any]:
    """A row in the words of the second reading."""
    return {
        "since": row.since,
        "until": row.until,
        "record": row.record,
        "nodes": row.nodes,
        "points": row.hook_points,
        "node_seconds": pytest.approx(row.node_seconds, abs=1e-3),
        "point_seconds": pytest.approx(row.hook_point_seconds, abs=1e-3),
        "archives": [(one.package, one.version, one.archive_sha256) for one in row.archives],
        "findings": list(row.findings),
        "waivers": list(row.waivers),
    }


async def test_the_licence_report_is_the_second_readings(year: KeptYear) -> None:
    """By licence, obligation and package; of a year and of months; to whoever sees how much."""
    async with year.place.open() as store:
        for audiences, (first, last) in zip(SIGHTS, RANGES, strict=True):
            said = words_of(seen_by(year.records, audiences))
            since, until = (instant(START + timedelta(days=day)) for day in (first, last))
            asked = Range(parse_time_us(since), parse_time_us(until))
            ran = await store.spans(asked, audiences=audiences, wanted=lambda _: True)
            for by, (keys, key_of) in GROUPINGS.items():
                report = licence_report(ran, asked, by=by)

                wanted = licence_rows(said, keys, since=since, until=until)
                assert wanted
                assert {key_of(row): plain(row) for row in report.rows} == wanted
