# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The licence report equals a plain recount of what as-of answers, moment by moment."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.auditor.records import parse_time_us
from services.auditor.reporting.licences import licence_page, licence_report
from services.auditor.timelines import (
    RanChain,
    Word,
    chain_text,
    identity_text,
    read_chain,
    timeline,
)
from services.auditor.told_places import Range, RanSpans
from shared.contracts.events import PUBLIC, Event
from shared.contracts.inventory import HookPlace, HookRun, RunningProgram
from shared.contracts.licence_reports import LicenceGrouping, LicenceReport, LicenceUse
from shared.contracts.licences import ProgramLicence
from tests.support.inventories import SPACE, ModelIndex, key_of, random_events, time_us

LICENCES = {
    "p0": ("GPL-2.0-only OR BSD-2-Clause", "GPL-2.0-only"),
    "p1": ("Apache-2.0", "Apache-2.0"),
    "p2": ("MIT OR ISC", ""),
    "p3": ("LicenseRef-ours", ""),
}
ASKS = {
    "GPL-2.0-only": {"source", "licence text", "attribution", "state changes", "same licence"},
    "Apache-2.0": {"licence text", "state changes", "attribution", "notice file", "patent clause"},
    "MIT": {"licence text", "attribution", "disclaimer"},
    "ISC": {"licence text", "attribution", "disclaimer"},
    "LicenseRef-ours": {"read the terms"},
    "": {"read the terms"},
}
"""Written once more, by hand."""
PARTS: dict[str, list[str]] = {"MIT OR ISC": ["MIT", "ISC"]}
Names = tuple[str, ...]


def licensed(events: Iterable[Event]) -> list[Event]:
    """The same history, with a licence for each package and of some programs nothing known."""
    return [_with_licences(event) for event in events]


def _with_licences(event: Event) -> Event:
    details = dict(event.data.details)
    for reading in (details, *details.get("hook_points", ())):
        for program in reading.get("running") or ():
            declared, elected = LICENCES[program["package"]]
            program["licence"] = {
                "declared": declared,
                "elected": elected,
                "findings": [f"rule-{program['package']}: review"],
                "waivers": ["w-1"] if program["package"] == "p1" else [],
            }
            if program["package"] == "p3" and event.sequence % 2:
                program["licence"] = None
    return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, details=details))


def spans_of(model: ModelIndex) -> RanSpans:
    """What a store would answer, from every word."""
    chains: dict[str, int] = {"": 0}
    words: dict[tuple[str, ...], list[Word]] = {}
    places: dict[tuple[str, ...], Any] = {}
    for one in model.sightings:
        text = chain_text(one.reading)
        number = chains.setdefault(text, len(chains))
        kind = "found" if one.is_observed else "change"
        word = Word(
            kind if one.place.hook else "lost",  # type: ignore[arg-type]
            one.audience,
            one.sequence,
            one.record,
            model.from_us(one),
            number,
            identity_text(text),
        )
        words.setdefault(key_of(one.place), []).append(word)
        if one.place.hook:
            places[key_of(one.place)] = one.place
    numbers = {key: at for at, key in enumerate(sorted(places))}
    spans = [
        (number, *span)
        for key, number in numbers.items()
        for span in timeline([*words[key], *words.get((key[0], "", "", ""), ())])
    ]
    random.Random(1).shuffle(spans)
    return RanSpans(
        {number: places[key] for key, number in numbers.items()},
        spans,
        {number: read_chain(text) for text, number in chains.items() if text},
        len(model.events),
    )


def names_in(run: HookRun, by: LicenceGrouping) -> set[Names]:
    """What rows a hook point counts for at a moment."""
    found: set[Names] = set()
    for one in run.reading.running or (None,):
        licence = one.licence if one is not None else None
        declared, elected = (licence.declared, licence.elected) if licence else ("", "")
        if by == "package":
            found.add((one.package if one is not None else "",))
        elif by == "licence":
            found.add((elected or declared, declared))
        else:
            text = elected or declared
            for name in PARTS.get(text, [text]):
                found |= {(asked, name) for asked in ASKS[name]}
    return found


def recount(model: ModelIndex, asked: Range, by: LicenceGrouping) -> dict[Names, dict[str, Any]]:
    """Every stretch between two events, each hook point of it, one after another."""
    found: dict[Names, dict[str, Any]] = {}
    moments = sorted({time_us(event) for event in model.events})
    edges = [asked.since_us, *(one for one in moments if asked[0] < one < asked[1]), asked.until_us]
    for begin, end in pairwise(edges):
        on_nodes: set[tuple[Names, str]] = set()
        for run in model.inventory(begin):
            for name in names_in(run, by):
                row = found.setdefault(
                    name, {"first": begin, "points": set(), "nodes": set(), "us": 0, "node_us": 0}
                )
                row["last"] = end
                row["points"].add(key_of(run.place))
                row["nodes"].add(run.place.node)
                row["us"] += end - begin
                on_nodes.add((name, run.place.node))
        for name, _ in on_nodes:
            found[name]["node_us"] += end - begin
    return found


def as_recounted(
    row: LicenceUse, by: LicenceGrouping, asked: Range
) -> tuple[Names, dict[str, Any]]:
    """A row in the words of `recount`."""
    name: Names = {
        "package": (row.name,),
        "licence": (row.name, row.declared),
        "obligation": (row.name, row.licence),
    }[by]
    return name, {
        "first": parse_time_us(row.since),
        "last": parse_time_us(row.until) if row.until else asked.until_us,
        "points": row.hook_points,
        "nodes": set(row.node_names),
        "us": round(row.hook_point_seconds * 1e6),
        "node_us": round(row.node_seconds * 1e6),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["licence", "obligation", "package"]))
def test_the_report_is_what_as_of_answers_all_the_time(seed: int, by: LicenceGrouping) -> None:
    """For late events, drift, lost memories, clocks set back, spaces and any part of the time."""
    rng = random.Random(seed)
    events = licensed(random_events(60, seed=seed))
    moments = sorted(map(time_us, events))
    for audiences in (frozenset({PUBLIC}), frozenset({PUBLIC, SPACE})):
        model = ModelIndex(events, audiences)
        since, until = sorted(rng.sample(range(moments[0] - 10, moments[-1] + 10**8), 2))
        asked = Range(since, until)

        report = licence_report(spans_of(model), asked, by=by)

        expected = recount(model, asked, by)
        for row in expected.values():
            row["points"] = len(row["points"])
        assert dict(as_recounted(row, by, asked) for row in report.rows) == expected
        assert [row.key for row in report.rows] == sorted({row.key for row in report.rows})


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_a_row_names_what_ran_under_it_and_what_was_found_of_that(seed: int) -> None:
    """Archives, objects, findings and waivers of the programs that the row is of, and no others."""
    model = ModelIndex(licensed(random_events(40, seed=seed)))
    asked = Range(0, max(map(time_us, model.events)) + 10)

    report = licence_report(spans_of(model), asked, by="package")

    for row in report.rows:
        found = [
            one
            for chain in spans_of(model).chains.values()
            for one in chain.running or ()
            if one.package == row.name
        ]
        assert {one.archive_sha256 for one in row.archives} <= {one.archive_sha256 for one in found}
        assert {one.package for one in row.archives} == {row.name}
        assert row.archive_count == len(row.archives)
        if row.name:
            assert row.findings in {(), (f"rule-{row.name}: review",)}
            assert row.waivers == (("w-1",) if row.name == "p1" else ())


def test_pages_together_are_the_whole() -> None:
    """Each row is on one page; a page goes on behind the last key of the one before."""
    running = tuple(
        RunningProgram(
            deployment="d",
            package=f"{number:04}",
            version="1.0.0",
            licence=ProgramLicence(declared="MIT", findings=("x" * 2000,)),
        )
        for number in range(400)
    )
    chain = RanChain(tag="0" * 16, running=running)
    ran = RanSpans({1: HookPlace(node="n1", hook="xdp")}, [(1, 10, 30, 1, 7)], {1: chain}, 8)
    asked = Range(20, 40)
    whole = licence_report(ran, asked, by="package")
    pages: list[LicenceReport] = []
    after = ""
    while not pages or after:
        pages.append(licence_page(ran, asked, by="package", after=after))
        after = pages[-1].next

    assert len(pages) > 1
    assert tuple(row for page in pages for row in page.rows) == whole.rows
    assert {(page.nodes, page.hook_points) for page in pages} == {(1, 1)}
    assert {(row.since, row.until, row.record) for row in whole.rows} == {
        ("1970-01-01T00:00:00.000020Z", "1970-01-01T00:00:00.000030Z", 7)
    }
