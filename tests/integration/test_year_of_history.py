# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A year of an installation: every answer out of each store is that of a second reading.

`make soak` has a year of 1,000 nodes and 100 packages by any seed; `L3AF_SEED` repeats it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from services.auditor.inventory import inventory_page, runs_page
from services.auditor.records import parse_time_us
from services.auditor.reporting.distribution import distribution_report
from services.auditor.reporting.evidence_lists import STANDARDS, Item
from services.auditor.searching import Chunk, parse_search
from services.auditor.store import LogStore
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.events import PUBLIC
from shared.contracts.inventory import FindRuns, HookPlace, HookRun, Run
from shared.sbom.running import ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS
from shared.validation import convert_document
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.independent_log import tree_hash
from tests.support.log_stores import leaves_in, root_in
from tests.support.year_of_history.emitters import END, START
from tests.support.year_of_history.history import AUDIENCES
from tests.support.year_of_history.kept import SIGHTS, KeptYear, year
from tests.support.year_of_history.recomputed_distribution import handed_out
from tests.support.year_of_history.recomputed_evidence import answering
from tests.support.year_of_history.recomputed_log import (
    Place,
    chain_of,
    instant,
    ran_at,
    runs_of,
    seen_by,
    words_of,
)

pytestmark = pytest.mark.soak
MOMENTS = 12
__all__ = ["year"]


def moments(*, count: int, seed: int) -> list[str]:
    """At random in the year, its end, and its beginning."""
    rng = Random(seed)
    within = (timedelta(seconds=rng.uniform(0, 365 * 86_400)) for _ in range(count))
    return [instant(START), *(instant(START + one) for one in within), instant(END)]


async def inventory(store: LogStore, moment: str, audiences: frozenset[str]) -> list[HookRun]:
    """As the log answers it, page by page."""
    found: list[HookRun] = []
    at_us = parse_time_us(moment)
    after: HookPlace | None = None
    while True:
        stored = await store.sightings(at_us, audiences=audiences, node="", after=after)
        page = inventory_page(stored, at_us=at_us)
        found += page.hook_points
        if page.next is None:
            return found
        after = page.next


async def runs(store: LogStore, digest: str) -> list[Run]:
    """As the log answers everybody, page by page."""
    found: list[Run] = []
    asked = FindRuns(digest=digest)
    while True:
        stored = await store.runs(digest, audiences=frozenset({PUBLIC}), after=asked.after)
        page = runs_page(asked, stored)
        found += page.runs
        if page.next is None:
            return found
        asked = msgspec.structs.replace(asked, after=page.next)


def plain(runs: Iterable[HookRun]) -> dict[Place, dict[str, Any]]:
    """The answer in the words of the second reading."""
    return {
        (run.place.node, run.place.netns, run.place.interface, run.place.hook): {
            "source": run.source,
            "since": run.since,
            "record": run.record,
            "confirmed": run.confirmed_record,
            "actor": run.actor_key,
            "ran": [f"{one.package}@{one.version}" for one in run.reading.running or ()],
            "tag": run.reading.program_tag,
        }
        for run in runs
    }


def again(ran: dict[Place, dict[str, Any]]) -> dict[Place, dict[str, Any]]:
    """The second reading, as comparable as the first."""
    return {
        place: {
            **{name: one[name] for name in ("source", "since", "record", "confirmed", "actor")},
            "ran": chain_of(one["reading"]),
            "tag": one["reading"]["program_tag"],
        }
        for place, one in ran.items()
    }


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

                assert plain(found) == again(ran_at(said, moment))


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


def asked_items() -> list[tuple[str, Item]]:
    """Every requirement that asks the log, with its list."""
    return [
        (name, item) for name, listed in STANDARDS.items() for item in listed.items if item.command
    ]


async def answer(
    store: LogStore, item: Item, audiences: frozenset[str], *, since: str, until: str
) -> list[int]:
    """Numbers of all records that the requirement's question finds, newest first."""
    fields = {"action": item.action, "outcome": item.outcome, "where": item.expression}
    asked = convert_document(
        {**fields, "since": since, "until": until, "limit": 500}, StreamRecords, what="question"
    )
    return [one.index for one in await all_records(store, asked, audiences)]


async def all_records(
    store: LogStore, asked: StreamRecords, audiences: frozenset[str]
) -> list[AuditRecord]:
    """Whatever matches, newest first, chunk by chunk."""
    found: list[AuditRecord] = []
    while True:
        chunk = Chunk(parse_search(asked, audiences=audiences))
        while (query := chunk.next_page()) is not None:
            page, tree_size, more = await store.page(query)
            chunk.take(page, tree_size, more=more)
        shown = chunk.render()
        found += shown.records
        if shown.position is None:
            return found
        asked = msgspec.structs.replace(asked, before_index=shown.position)


Part = tuple[str, str, str, str]


def cyclonedx_parts(document: dict[str, Any]) -> set[Part]:
    """Name, version, digest and declared licence of each package."""
    return {
        (one["name"], one["version"], one["hashes"][0]["content"], _said(one["licenses"]))
        for one in document["components"]
        if one["type"] == "application"
    }


def cyclonedx_places(document: dict[str, Any]) -> dict[str, list[str]]:
    """What ran on each hook point, first to run first."""
    return {
        one["bom-ref"]: [
            said["value"].removesuffix(" one")
            for said in one["properties"]
            if said["name"].startswith("l3af:order:")
        ]
        for one in document["components"]
        if one["type"] == "platform"
    }


def spdx_parts(document: dict[str, Any]) -> set[Part]:
    """The same of the other form."""
    return {
        (
            one["name"],
            one["versionInfo"],
            one["checksums"][0]["checksumValue"],
            one["licenseDeclared"],
        )
        for one in document["packages"]
    }


def _said(licences: list[dict[str, Any]]) -> str:
    (one,) = licences
    found: str = one["expression"] if "expression" in one else one["license"]["id"]
    return found
