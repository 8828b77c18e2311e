# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the log has to show for what a standard asks.

Pure: the log is asked by whoever gives the questions' answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from services.auditor.reporting.evidence_lists import STANDARDS, Item
from shared.contracts.audit import StreamRecords
from shared.contracts.log_health import LogHealth
from shared.contracts.reports import StandardName
from shared.moments import read_time

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
    pruned_through: str = ""
    """Records up to this time may be missing, because they were pruned; empty: none was."""


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
        return _kept(item, facts)
    if found is None:
        return ("shown" if item.conditions else "people"), ""
    is_empty = not found.count and item.expects == "any" and not item.conditions
    return ("nothing" if is_empty else "shown"), ""


def _kept(item: Item, facts: LogFacts) -> tuple[Verdict, str]:
    kept = (facts.now - facts.kept_since).days if facts.kept_since is not None else 0
    oldest = f"the oldest record is {kept} days old"
    if not facts.pruned_through:
        return "shown", f"{oldest}; nothing was pruned"
    why = f"{oldest}; records up to {facts.pruned_through} were pruned"
    is_too_young = (facts.now - read_time(facts.pruned_through)).days < item.days_kept
    return ("look" if is_too_young else "shown"), why


Find = Callable[[StreamRecords], Awaitable[Found]]
"""Answers a question: its records are counted up to MOST."""


async def evidence_list(
    standard: StandardName,
    asked: StreamRecords,
    facts: LogFacts,
    find: Find,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> EvidenceList:
    """Every item of a standard, with what there is to show.

    Args:
        standard: Which.
        asked: With the range of time.
        facts: Of the log.
        find: Answers a question.
        advance: Told how many items are done.
    """
    chosen = STANDARDS[standard]
    items = []
    for count, item in enumerate(chosen.items, start=1):
        question = msgspec.structs.replace(
            asked, action=item.action, outcome=item.outcome, where=item.expression
        )
        items.append(judged(item, await find(question) if item.command else None, facts))
        advance(count)
    return EvidenceList(
        standard=chosen.title,
        since=asked.since,
        until=asked.until,
        tree_size=facts.health.tree_size,
        items=tuple(items),
    )
