# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit evidence`: what a standard asks, with what the log has to show for it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_query import SCAN_LIMIT, Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run
from cli.session import connected
from services.auditor.reporting.evidence import (
    MOST,
    EvidenceList,
    Found,
    LogFacts,
    Verdict,
    evidence_list,
)
from services.auditor.reporting.evidence_lists import STANDARDS
from services.auditor.reporting.pruned import PRUNINGS, pruned_through
from shared.adapters.bus import Bus
from shared.contracts.audit import STREAM_RECORDS, StreamRecords
from shared.contracts.log_health import GET_HEALTH, GetHealth
from shared.contracts.reports import StandardName
from shared.moments import read_time

LOOK: Final = 1
"""Exit status if something is to be looked at."""


def evidence(
    standard: StandardName,
    /,
    *,
    since: Annotated[str, Parameter(help="From then on: 90d, 2026-01-01, RFC 3339.")] = "90d",
    until: Annotated[str, Parameter(help="Before then.")] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What a standard asks of the log, and what is to show for it; exit status 1: look at some.

    A checklist to hand in beside the people's part, no judgement.  Each line says the question
    that it was answered by.  Asking is recorded too.

    Parameters
    ----------
    standard
        `pci-dss`: PCI DSS 4.0.1, requirement 10; `openchain`: ISO/IEC 5230.
    """
    with refusing(json=json):
        moment = datetime.now(UTC)
        (asked,) = requests_of(Filters(since=since, until=until), {}, now=moment)
    found = run(_collected(standard, asked, credentials, now=moment), json=json)
    emit(found, _render, json=json)
    if any(one.verdict == "look" for one in found.items):
        sys.exit(LOOK)


async def _collected(
    standard: StandardName, asked: StreamRecords, credentials: Path | None, *, now: datetime
) -> EvidenceList:
    async with connected(credentials) as bus:
        health = await bus.request(GET_HEALTH, GetHealth())
        prunings = Answer(bus, [PRUNINGS])
        through = pruned_through([record async for record in prunings.records()])
        facts = LogFacts(health, await _kept_since(bus), now, through)
        with progress("asking the log", total=len(STANDARDS[standard].items)) as advance:
            return await evidence_list(
                standard, asked, facts, lambda question: _found(bus, question), advance=advance
            )


async def _found(bus: Bus, question: StreamRecords) -> Found:
    answer = Answer(bus, [question], limit=MOST, scan_limit=SCAN_LIMIT)
    records = [record.index async for record in answer.records()]
    newest = records[0] if records else None
    return Found(len(records), answer.position is not None, newest)


async def _kept_since(bus: Bus) -> datetime | None:
    asked = StreamRecords(order="oldest", limit=1, before_index=1)
    oldest = (await bus.request(STREAM_RECORDS, asked)).records
    received = oldest[0].received_at if oldest else ""
    return read_time(received) if received else None


_STYLES: Final[dict[Verdict, str]] = {
    "shown": "green",
    "look": "bold red",
    "nothing": "dim",
    "people": "dim",
}


def _render(found: EvidenceList) -> RenderableType:
    table = Table("", "asks", "shows", "records", "", box=None, pad_edge=False)
    for one in found.items:
        count = "" if one.records is None else f"{one.records}{'+' if one.more else ''}"
        newest = "" if one.newest is None else f", newest {one.newest}"
        what = one.shows + (f" ({one.why})" if one.why else "")
        verdict = Text(one.verdict, style=_STYLES[one.verdict])
        table.add_row(one.number, one.asks, plain(what), count + newest, verdict)
    until = f" until {found.until}" if found.until else ""
    head = Text(f"{found.standard}: since {found.since}{until}, {found.tree_size} records")
    asked = [
        Text(f"{one.number}: {one.command}", style="dim") for one in found.items if one.command
    ]
    return Group(head, table, *asked)
