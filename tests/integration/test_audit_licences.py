# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor over a real bus: under which licences nodes ran, from what they published."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.events import Event
from shared.contracts.licence_reports import (
    REPORT_LICENCES,
    LicenceReport,
    ReportLicences,
)
from shared.contracts.selectors import LabelRule
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor
from tests.support.command_line import run_l3af
from tests.support.inventories import a_reading, at, chain_event, digest_of
from tests.support.records import an_event

RANGE: dict[str, Any] = {"since": at(0), "until": at(3600)}


@pytest.fixture
async def reader(buses: Buses, tmp_path: Path) -> AsyncIterator[Bus]:
    """Somebody who may read the log, while the auditor runs."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        yield await buses.open("auditor", "ann")


async def publish(buses: Buses, reader: Bus, node: str, *events: Event) -> None:
    """The events of a node are recorded."""
    bus = await buses.open("node", node)
    for event in events:
        await bus.publish_event(event)

    async def is_there() -> bool:
        found = await reader.request(LIST_RECORDS, ListRecords(event_id=events[-1].id))
        return len(found.records) > 0

    await eventually(is_there)


def a_node_life(node: str) -> list[Event]:
    """Half an hour of one package, then of another one as well."""
    return [
        chain_event("chain.attach", a_reading("a"), node=node, sequence=1, seconds=900),
        chain_event("chain.attach", a_reading("a", "<b>"), node=node, sequence=2, seconds=2700),
    ]


def rows(report: LicenceReport) -> list[tuple[str, int, float, str, str]]:
    """Name, nodes, seconds, begin and end of each."""
    return [(row.name, row.nodes, row.node_seconds, row.since, row.until) for row in report.rows]


async def test_each_way_to_ask_is_answered_and_recorded(buses: Buses, reader: Bus) -> None:
    """By licence, obligation and package; who asked what is in the log, once for each question."""
    await publish(buses, reader, "n1", *a_node_life("n1"))

    licences = await reader.request(REPORT_LICENCES, ReportLicences(**RANGE))
    packages = await reader.request(REPORT_LICENCES, ReportLicences(by="package", **RANGE))
    duties = await reader.request(REPORT_LICENCES, ReportLicences(by="obligation", **RANGE))
    nothing = await reader.request(REPORT_LICENCES, ReportLicences(until=at(800)))

    assert rows(licences) == [("GPL-2.0-only", 1, 2700.0, at(900), "")]
    assert rows(packages) == [
        ("<b>", 1, 900.0, at(2700), ""),
        ("a", 1, 2700.0, at(900), ""),
    ]
    assert packages.rows[1].archives[0].archive_sha256 == digest_of("archive a")
    assert packages.rows[1].archives[0].objects == (digest_of("object a"),)
    assert ("source", "GPL-2.0 section 3") in {(row.name, row.clause) for row in duties.rows}
    assert (nothing.rows, nothing.nodes, nothing.hook_points) == ((), 0, 0)

    async def are_recorded() -> bool:
        found = await reader.request(LIST_RECORDS, ListRecords(action="log.read"))
        details = [one.event.data.details for one in found.records if one.event]
        asked = [one for one in reversed(details) if one.get("report") == "licences"]
        return asked == [
            {"report": "licences", "by": by, "filters": filters}
            for by, filters in (
                ("licence", RANGE),
                ("package", RANGE),
                ("obligation", RANGE),
                ("licence", {"until": at(800)}),
            )
        ]

    await eventually(are_recorded)


async def test_nodes_are_chosen_by_name_and_by_the_labels_of_then(
    buses: Buses, reader: Bus
) -> None:
    """A node's own labels, and over them those that an operator set, as of the range's end."""
    scheduler = await buses.open("service-scheduler")
    for node, site in (("n1", "lab"), ("n2", "prod")):
        own = an_event(
            3,
            emitter=f"node/{node}",
            action="node.register",
            outcome="succeeded",
            node=node,
            time=at(5),
            details={"labels": {"site": site, "tier": "1"}},
        )
        await publish(buses, reader, node, *a_node_life(node), own)
    moved = an_event(
        1,
        emitter="scheduler",
        action="node.label",
        outcome="accepted",
        node="n1",
        time=at(1800),
        details={"labels": {"site": "prod", "tier": "1"}},
    )
    await scheduler.publish_event(moved)

    async def is_there() -> bool:
        found = await reader.request(LIST_RECORDS, ListRecords(action="node.label"))
        return len(found.records) > 0

    await eventually(is_there)

    async def nodes(**asked: Any) -> tuple[str, ...]:
        found = await reader.request(REPORT_LICENCES, ReportLicences(**asked))
        return found.rows[0].node_names if found.rows else ()

    prod = (LabelRule(label="site", operator="in", values=("prod",)),)
    other = (LabelRule(label="site", operator="not-in", values=("prod",)),)
    assert await nodes(**RANGE) == ("n1", "n2")
    assert await nodes(node="?2", **RANGE) == ("n2",)
    assert await nodes(labels=prod, until=at(1000)) == ("n2",)
    assert await nodes(labels=other, until=at(1000)) == ("n1",)
    assert await nodes(labels=prod, **RANGE) == ("n1", "n2")
    tier = LabelRule(label="tier", operator="exists")
    assert await nodes(labels=(*prod, tier), node="n1", **RANGE) == ("n1",)


async def test_what_cannot_be_asked_is_refused_by_path(buses: Buses, reader: Bus) -> None:
    """Times, a range without a moment, rules that mean nothing; operators are not allowed."""
    senseless = (LabelRule(label="site", operator="in"),)
    asked = ReportLicences(since="yesterday", until="x", labels=senseless)
    with pytest.raises(RefusedError) as wrong:
        await reader.request(REPORT_LICENCES, asked)
    with pytest.raises(RefusedError) as empty:
        await reader.request(REPORT_LICENCES, ReportLicences(since="2099-01-01T00:00:00Z"))
    operator = await buses.open("operator", "olga")
    with pytest.raises(RefusedError) as refused:
        await operator.request(REPORT_LICENCES, ReportLicences())

    assert {one.path for one in wrong.value.reasons} == {
        "since",
        "until",
        "labels.rules[0].values",
    }
    assert [one.path for one in empty.value.reasons] == ["since"]
    assert refused.value.refusal_code == "not_permitted"


class _Page(HTMLParser):
    """What tags a page has, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Noted, with its attributes' names."""
        self.tags |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        """Noted."""
        self.texts.append(data)


async def test_the_command_prints_tables_and_files(
    buses: Buses, reader: Bus, tmp_path: Path
) -> None:
    """A table for people, CSV and HTML to hand in, JSON whole; a wrong label is refused."""
    await publish(buses, reader, "n1", *a_node_life("n1"))
    folder = buses.server.credentials("auditor", "ann")
    times = ("--since", at(0), "--until", at(3600))
    report = ("audit", "report", "licences", *times)

    table = await run_l3af(*report, credentials=folder)
    whole = await run_l3af(*report, "--by", "package", "--json", credentials=folder)
    page = tmp_path / "march.html"
    written = await run_l3af(
        *report, "--by", "package", "--format", "html", "--out", str(page), credentials=folder
    )
    sheet = await run_l3af(*report, "--format", "csv", credentials=folder)
    wrong = await run_l3af(*report, "--label", "!a=b", credentials=folder)

    assert table.status == 0, table
    assert "GPL-2.0-only" in table.output
    assert "0.75" in table.output
    assert [row["name"] for row in whole.document["rows"]] == ["<b>", "a"]
    assert written.status == 0
    found = _Page()
    found.feed(page.read_text())
    assert {"<b>", digest_of("archive a"), "n1"} <= set(found.texts)
    assert not found.tags & {"script", "b", "a", "img", "link", "src", "href"}
    lines = list(csv.DictReader(sheet.output.splitlines()))
    assert [(one["name"], one["package"]) for one in lines] == [
        ("GPL-2.0-only", "<b>"),
        ("GPL-2.0-only", "a"),
    ]
    assert (wrong.status, "--label" in wrong.message) == (2, True)
