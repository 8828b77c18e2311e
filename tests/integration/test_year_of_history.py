# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A year of an installation: every answer and report out of each store is that of a second reading.

`make soak` has a year of 1,000 nodes and 100 packages by any seed; `L3AF_SEED` repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final

import pytest

from services.auditor.compliance.life_cycles import findings_at
from services.auditor.records import parse_time_us
from services.auditor.reporting.distribution import distribution_report
from services.auditor.reporting.licences import licence_report
from services.auditor.reporting.nodes import licensed_spans
from services.auditor.reporting.policy_replay import History, policy_replay
from services.auditor.told_places import Range
from shared.contracts.audit import StreamRecords
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.events import PUBLIC
from shared.contracts.licence_reports import LicenceGrouping, ReportLicences
from shared.contracts.selectors import LabelRule
from shared.sbom.running import ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.independent_log import tree_hash
from tests.support.licensed_packages import policy
from tests.support.log_stores import leaves_in, root_in
from tests.support.year_of_history.answers import (
    all_records,
    answer,
    asked_items,
    compliance_facts,
    cyclonedx_parts,
    cyclonedx_places,
    inventory,
    key_of,
    life_of,
    places_in_words,
    replay_in_words,
    replayed_records,
    runs,
    runs_in_words,
    spdx_parts,
    use_in_words,
)
from tests.support.year_of_history.emitters import END, START
from tests.support.year_of_history.history import AUDIENCES
from tests.support.year_of_history.kept import SIGHTS, KeptYear, year
from tests.support.year_of_history.recomputed_distribution import handed_out
from tests.support.year_of_history.recomputed_evidence import answering
from tests.support.year_of_history.recomputed_findings import findings
from tests.support.year_of_history.recomputed_licences import (
    Key,
    Program,
    by_licence,
    by_obligation,
    by_package,
    labels_then,
    licence_rows,
    stretches_of,
)
from tests.support.year_of_history.recomputed_log import (
    chain_of,
    instant,
    ran_at,
    runs_of,
    seen_by,
    words_of,
)
from tests.support.year_of_history.recomputed_policy import replayed

__all__ = ["year"]
pytestmark = pytest.mark.soak
MOMENTS = 12
RANGES: Final = ((0, 365), (100, 130), (181, 212))
"""Days of the year."""
SITES: Final = LabelRule(label="site", operator="in", values=("s1", "moved"))
CHANGES: Final = {"gpl-ok": {"same", "would-accept"}, "permissive-only": {"same", "would-refuse"}}
"""What each pack must have changed in a year at least."""
STATES: Final = {"open", "waived", "resolved"}
GROUPINGS: Final[dict[LicenceGrouping, tuple[Callable[[Program], Iterable[Key]], Any]]] = {
    "licence": (by_licence, lambda row: (row.name, row.declared, row.elected)),
    "package": (by_package, lambda row: (row.name,)),
    "obligation": (by_obligation, lambda row: (row.name, row.licence, row.clause)),
}


def moments(*, count: int, seed: int) -> list[str]:
    """At random in the year, its end, and its beginning."""
    rng = Random(seed)
    within = (timedelta(seconds=rng.uniform(0, 365 * 86_400)) for _ in range(count))
    return [instant(START), *(instant(START + one) for one in within), instant(END)]


async def test_every_message_of_the_year_is_one_record_in_its_place(year: KeptYear) -> None:
    """Late, twice, in another's name: what is believed, by number, and the root over all leaves."""
    leaves = await leaves_in(year.place)
    rows = await year.place.execute("SELECT problem FROM records ORDER BY idx")

    assert [not problem for (problem,) in rows] == [one["believed"] for one in year.records]
    believed = [
        (json.loads(leaf)["id"], one["event"]["id"])
        for leaf, one in zip(leaves, year.records, strict=True)
        if one["believed"]
    ]
    assert all(kept == read for kept, read in believed)
    assert await root_in(year.place) == tree_hash(leaves)


async def test_as_of_is_the_second_readings_at_any_moment(year: KeptYear) -> None:
    """To whoever sees all, everybody, or one space: chains, since when, which record, who asked."""
    async with year.place.open() as store:
        for number, audiences in enumerate(SIGHTS):
            said = words_of(seen_by(year.records, audiences))
            for moment in moments(count=MOMENTS, seed=number):
                found = await inventory(store, moment, audiences)

                assert runs_in_words(found) == places_in_words(ran_at(said, moment))


async def test_as_of_is_what_really_ran_where_clocks_were_right(year: KeptYear) -> None:
    """However late nodes said it: every place of theirs, to whoever sees all."""
    async with year.place.open() as store:
        for moment in moments(count=MOMENTS, seed=77):
            found = {
                (run.place.node, run.place.interface): tuple(
                    f"{one.package}@{one.version}" for one in run.reading.running or ()
                )
                for run in await inventory(store, moment, AUDIENCES)
                if run.place.node in year.history.honest
            }

            assert found == year.history.ran_at(moment)


async def test_runs_of_every_archive_are_the_second_readings(year: KeptYear) -> None:
    """From when to when each archive ran on each place, as everybody is told."""
    said = words_of(seen_by(year.records, {PUBLIC}))
    async with year.place.open() as store:
        for digest in year.history.archives[::3]:
            found = [
                (
                    (run.place.node, run.place.netns, run.place.interface, run.place.hook),
                    run.since,
                    run.until,
                    run.record,
                    run.until_record,
                )
                for run in await runs(store, digest)
            ]

            assert sorted(found) == sorted(runs_of(said, digest))


async def test_bills_of_materials_hold_what_the_second_reading_says_ran(year: KeptYear) -> None:
    """Every archive once with its licences, every place with its order; both schemas take them."""
    moment = moments(count=1, seed=5)[1]
    async with year.place.open() as store:
        found = await inventory(store, moment, AUDIENCES)
        ran = ran_then(found, at=moment, tree_size=store.size)
    second = ran_at(words_of(seen_by(year.records, AUDIENCES)), moment)
    programs = [one for entry in second.values() for one in entry["reading"]["running"]]
    wanted = {
        (one["package"], one["version"], one["archive_sha256"], one["licence"]["declared"])
        for one in programs
    }

    cyclonedx = RUNNING_DOCUMENTS["cyclonedx"](ran)
    spdx = RUNNING_DOCUMENTS["spdx"](ran)

    assert wanted
    assert (cyclonedx_problems(cyclonedx), spdx_problems(spdx)) == ([], [])
    assert cyclonedx_parts(json.loads(cyclonedx)) == wanted
    assert spdx_parts(json.loads(spdx)) == wanted
    assert cyclonedx_places(json.loads(cyclonedx)) == {
        f"place:{node}/{interface}/{hook}": chain_of(entry["reading"])
        for (node, _, interface, hook), entry in second.items()
    }


async def test_every_requirement_finds_the_records_that_the_second_reading_finds(
    year: KeptYear,
) -> None:
    """Of both checklists: a year to whoever sees all, and a quarter to everybody."""
    quarter = START + timedelta(days=100), START + timedelta(days=190)
    async with year.place.open() as store:
        for audiences, days in ((AUDIENCES, (START, END)), (frozenset({PUBLIC}), quarter)):
            seen = seen_by(year.records, audiences)
            since, until = map(instant, days)
            for standard, item in asked_items():
                wanted = answering(seen, standard, item.number, since=since, until=until)
                found = await answer(store, item, audiences, since=since, until=until)

                assert found == wanted, (standard, item.number)


@pytest.mark.parametrize("audiences", [AUDIENCES, frozenset({PUBLIC})], ids=["all", "public"])
async def test_what_was_handed_out_is_the_second_readings(
    year: KeptYear, audiences: frozenset[str]
) -> None:
    """Each archive, to whom, how often, when, and by which records; of a year and of a quarter."""
    for first_day, last_day in ((0, 365), (100, 190)):
        since, until = (instant(START + timedelta(days=one)) for one in (first_day, last_day))
        asked = StreamRecords(action=DISTRIBUTE, since=since, until=until, limit=500)
        async with year.place.open() as store:
            found = await all_records(store, asked, audiences)
        report = distribution_report(found, since=since, until=until, tree_size=1)

        assert {
            (one.package, one.version, one.archive_sha256, one.space): {
                (to.key, to.destination): {
                    "times": to.times,
                    "first": (to.first_at, to.first_record),
                    "last": (to.last_at, to.last_record),
                }
                for to in one.recipients
            }
            for one in report.versions
        } == handed_out(seen_by(year.records, audiences), since=since, until=until)


async def test_the_licence_report_is_the_second_readings(year: KeptYear) -> None:
    """By licence, obligation and package; of a year and of months; to whoever sees how much."""
    async with year.place.open() as store:
        for audiences, (first, last) in zip(SIGHTS, RANGES, strict=True):
            said = words_of(seen_by(year.records, audiences))
            since, until = (instant(START + timedelta(days=day)) for day in (first, last))
            asked = Range(parse_time_us(since), parse_time_us(until))
            ran = await store.spans(asked, audiences=audiences, wanted=lambda _: True)
            stretches = stretches_of(said, since=since, until=until)
            for by, (keys, named) in GROUPINGS.items():
                report = licence_report(ran, asked, by=by)

                wanted = licence_rows(stretches, keys, until=until)
                assert wanted
                assert {named(row): use_in_words(row) for row in report.rows} == wanted


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


async def test_licences_of_some_nodes_are_the_second_readings(year: KeptYear) -> None:
    """By name and by the labels that a node had when the range ended; some had others before."""
    asked = ReportLicences(node="host-*[0-57]", labels=(SITES,))
    seen = seen_by(year.records, AUDIENCES)
    said = words_of(seen)
    async with year.place.open() as store:
        for first, last in RANGES[1:]:
            since, until = (instant(START + timedelta(days=day)) for day in (first, last))
            within = Range(parse_time_us(since), parse_time_us(until))
            ran = await licensed_spans(store, asked, within, audiences=AUDIENCES)
            report = licence_report(ran, within, by="package")

            labels = labels_then(seen, until)
            nodes = {
                node
                for node, told in labels.items()
                if fnmatchcase(node, asked.node) and told["site"] in SITES.values
            }
            ran_there = (
                one for one in stretches_of(said, since=since, until=until) if one[0][0] in nodes
            )
            wanted = licence_rows(ran_there, by_package, until=until)
            assert wanted
            assert {(row.name,): use_in_words(row) for row in report.rows} == wanted


async def test_a_year_under_one_policy_is_the_second_readings(year: KeptYear) -> None:
    """What either pack of the year would have stopped or let through, and with which waivers."""
    changes: dict[str, set[str]] = {pack: set() for pack in CHANGES}
    async with year.place.open() as store:
        for audiences, (first, last) in zip(SIGHTS, RANGES, strict=True):
            since, until = (instant(START + timedelta(days=day)) for day in (first, last))
            history = History.of(await replayed_records(store, audiences), tree_size=1)
            for pack, found in changes.items():
                replay = policy_replay(history, policy(pack), since=since, until=until)

                seen = seen_by(year.records, audiences)
                wanted = replayed(seen, pack, since=since, until=until)
                assert {one.record: replay_in_words(one) for one in replay.events} == wanted
                found |= {one["change"] for one in wanted.values()}
    assert all(found >= CHANGES[pack] for pack, found in changes.items())
