# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report distribution`: which archives were handed out, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_log import searching
from cli.audit_query import Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, plain, refusing, run
from cli.moments import shown_moment
from cli.people import Names, read_names, render_actor
from cli.report_options import (
    OutOption,
    SinceOption,
    UntilOption,
    ZoneOption,
    check_out,
    give,
)
from cli.session import connected
from services.auditor.reporting.distribution import distribution_csv, distribution_report
from services.auditor.reporting.pruned import PRUNINGS
from shared.adapters.bus import Bus
from shared.contracts.audit import StreamRecords
from shared.contracts.distribution import DISTRIBUTE, DistributionReport
from shared.contracts.events import Actor
from shared.moments import render_time

SHOWN_DIGITS = 12


def distribution(
    *,
    since: SinceOption = "",
    until: UntilOption = "",
    zone: ZoneOption = "",
    package: Annotated[str, Parameter(help="Only this package.")] = "",
    format: Literal["table", "csv"] = "table",  # noqa: A002 because it is the option's name
    out: OutOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Which archives the catalog gave to people and systems: exports, mirrors, any other reader.

    What nodes fetch in order to run it is not among them.  Asking is recorded too.
    """
    with refusing(json=json):
        check_out(format, out, json=json)
        question = range_question(since, until, zone=zone, package=package)

    async def asked() -> DistributionReport:
        async with connected(credentials) as bus:
            return await distributed(bus, question)

    report = run(asked(), json=json)
    names = read_names()
    give(
        report,
        lambda found: _render(found, names),
        {"csv": distribution_csv},
        form=format,
        out=out,
        json=json,
    )


def range_question(since: str, until: str, *, zone: str = "", package: str = "") -> StreamRecords:
    """What asks for everything that was handed out in a range, whose end is now if none is given.

    Raises:
        RefusedError: A time cannot be read.
    """
    now = datetime.now(UTC)
    filters = Filters(
        since=since, until=until or render_time(now), zone=zone, package=package, action=DISTRIBUTE
    )
    (question,) = requests_of(filters, {}, now=now, order="oldest")
    return question


async def distributed(bus: Bus, question: StreamRecords) -> DistributionReport:
    """What was handed out.

    Args:
        bus: Where.
        question: As `range_question` makes it.

    Raises:
        FaultError: The auditor does not answer.
    """
    with searching() as advance:
        answer = Answer(bus, [question], advance=advance)
        records = [record async for record in answer.records()]
        prunings = [record async for record in Answer(bus, [PRUNINGS]).records()]
    return distribution_report(
        records,
        since=question.since,
        until=question.until,
        tree_size=answer.tree_size,
        prunings=prunings,
    )


def _render(report: DistributionReport, names: Names) -> RenderableType:
    since = f"since {report.since} " if report.since else ""
    end = Text(f"{since}until {report.until}, {report.tree_size} records in the log", style="dim")
    if report.pruned_through:
        pruned = f"records up to {report.pruned_through} were pruned: some may be missing"
        end = Text.assemble((f"{pruned}\n", "yellow"), end)
    if not report.versions:
        return Group(Text("nothing was handed out"), end)
    table = Table("package", "archive", "licence", "to", "destination", "times", "last", box=None)
    for one in report.versions:
        name = f"{one.package} {one.version}" + (f" ({one.space})" if one.space else "")
        cells = (name, one.archive_sha256[:SHOWN_DIGITS], one.licence)
        for to in one.recipients:
            who = render_actor(Actor(key=to.key, role=to.role, attested=True), names)
            times = f"{to.times} (record {to.last_record})"
            row = (*cells, who, to.destination, times, shown_moment(to.last_at))
            table.add_row(*map(plain, row))
            cells = ("", "", "")
    return Group(table, end)
