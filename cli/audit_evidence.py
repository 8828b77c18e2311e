# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit evidence`: what a standard asks, with what the log has to show for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_query import SCAN_LIMIT, Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run
from cli.evidence_lists import STANDARDS, Item, StandardName
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.audit import STREAM_RECORDS, StreamRecords
from shared.contracts.log_health import GET_HEALTH, GetHealth, LogHealth
from shared.moments import read_time

LOOK: Final = 1
"""Exit status if something is to be looked at."""
MOST: Final = 1000
"""Records that are counted; more are `1000+`."""

Verdict = Literal["shown", "look", "nothing", "people"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One requirement, and what there is to show."""

    number: str
    asks: str
    shows: str
    verdict: Verdict
    """`shown`: as it should be.  `look`: it is not.  `nothing`: nothing of the kind was recorded.
    `people`: nothing here can show it."""
    why: str = ""
    command: str = ""
    """Asks for the records again."""
    records: int | None = None
    """That match, newest first up to MOST; null: none were asked for."""
    more: bool = False
    """Whether there are more, or not all could be looked at."""
    newest: int | None = None
    """Number of the newest of them."""


class EvidenceList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `evidence --json` prints."""

    standard: str
    since: str
    until: str = ""
    tree_size: int
    items: tuple[Evidence, ...]


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
    chosen = STANDARDS[standard]
    async with connected(credentials) as bus:
        health = await bus.request(GET_HEALTH, GetHealth())
        facts = LogFacts(health, await _kept_since(bus), now)
        items = []
        with progress("asking the log", total=len(chosen.items)) as advance:
            for count, item in enumerate(chosen.items, start=1):
                found = await _found(bus, item, asked) if item.command else None
                items.append(judged(item, found, facts))
                advance(count)
    return EvidenceList(
        standard=chosen.title,
        since=asked.since,
        until=asked.until,
        tree_size=health.tree_size,
        items=tuple(items),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question."""

    count: int
    more: bool
    newest: int | None


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What holds of the whole log."""

    health: LogHealth
    kept_since: datetime | None
    """When the oldest record was received; None: there is none."""
    now: datetime


def judged(item: Item, found: Found | None, facts: LogFacts) -> Evidence:
    """What there is to show for a requirement.

    Args:
        item: The requirement.
        found: What its question found; None: it has none.
        facts: Of the log.
    """
    verdict, why = _verdict(item, found, facts)
    return Evidence(
        number=item.number,
        asks=item.asks,
        shows=item.shows,
        verdict=verdict,
        why=why,
        command=item.command,
        records=found.count if found is not None else None,
        more=found is not None and found.more,
        newest=found.newest if found is not None else None,
    )


def _verdict(item: Item, found: Found | None, facts: LogFacts) -> tuple[Verdict, str]:
    if found is not None and found.count and item.expects == "none":
        return "look", "there should be none"
    unwell = [
        one.summary
        for one in facts.health.conditions
        if one.condition in item.conditions and one.needs_attention
    ]
    if unwell:
        return "look", "; ".join(unwell)
    if found is not None and not found.count and item.expects == "some":
        return "look", "there should be some"
    if item.days_kept:
        kept = (facts.now - facts.kept_since).days if facts.kept_since is not None else 0
        return "shown", f"the oldest record is {kept} days old; nothing is ever removed"
    if found is None:
        return ("shown" if item.conditions else "people"), ""
    is_empty = not found.count and item.expects == "any" and not item.conditions
    return ("nothing" if is_empty else "shown"), ""


async def _found(bus: Bus, item: Item, asked: StreamRecords) -> Found:
    question = msgspec.structs.replace(
        asked, action=item.action, outcome=item.outcome, where=item.expression
    )
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
