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

from services.auditor.compliance.cases import Case
from services.auditor.compliance.facts import COMPLIANCE_ACTIONS, ComplianceFact, read_fact
from services.auditor.compliance.life_cycles import findings_at
from services.auditor.records import parse_time_us
from services.auditor.reporting.licences import licence_report
from services.auditor.store import LogStore
from services.auditor.told_places import Range
from shared.contracts.licence_reports import LicenceGrouping, LicenceUse
from tests.support.year_of_history.emitters import START
from tests.support.year_of_history.kept import SIGHTS, KeptYear, year
from tests.support.year_of_history.recomputed_findings import History, findings
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
STATES: Final = {"open", "waived", "resolved"}
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
            for by, (keys, named) in GROUPINGS.items():
                report = licence_report(ran, asked, by=by)

                wanted = licence_rows(said, keys, since=since, until=until)
                assert wanted
                assert {named(row): plain(row) for row in report.rows} == wanted


async def test_the_life_of_every_finding_is_the_second_readings(year: KeptYear) -> None:
    """What opened, when it was waived, open again and resolved; to whoever sees how much."""
    async with year.place.open() as store:
        facts = await compliance_facts(store)
    for audiences, day in zip(SIGHTS, (365, 365, 230), strict=True):
        at = instant(START + timedelta(days=day))
        seen = [one for one in facts if one.audience in audiences]
        cases, _ = findings_at(seen, at_us=parse_time_us(at))

        wanted = findings(seen_by(year.records, audiences), at)

        assert {state for history in wanted.values() for state, _ in history} == STATES
        assert {key_of(one): life_of(one) for one in cases} == wanted


async def compliance_facts(store: LogStore) -> list[ComplianceFact]:
    """What the records of the store say of compliance."""
    actions = sorted({action for listed in COMPLIANCE_ACTIONS.values() for action in listed})
    found = map(read_fact, await store.of_actions(actions))
    return [
        fact
        for fact in found
        if fact is not None and fact.action in COMPLIANCE_ACTIONS.get(fact.emitter, ())
    ]


def key_of(case: Case) -> tuple[str, ...]:
    """The finding as the second reading names it."""
    about = case.about
    match about.kind:
        case "version-rule":
            return (about.kind, about.home, about.package, about.version, about.rule)
        case "deployment-rule":
            return (about.kind, about.deployment, about.rule)
        case _:
            return (about.kind, about.deployment, about.archive_sha256)


def life_of(case: Case) -> History:
    """Its states; without those that lasted no time, and those that followed themselves."""
    told: History = []
    for one in case.history:
        if told and told[-1][1] == one.at:
            told.pop()
        if not told or told[-1][0] != one.state:
            told.append((one.state, one.at))
    return told
