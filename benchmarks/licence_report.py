# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which licences 1,000 nodes ran for a month, from kept spans and from the raw records.

Every node has three hook points with two programs each, and each gets another chain once a day:
90,000 changes.  What else a fleet says in a month is left out: it makes the way from raw records
longer, and the other one does not read it.  Both answers must be the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from benchmarks.audit_as_of import BATCH, NODES, PACKAGES, PLACES, SEEN, details_of
from benchmarks.report import Row, report
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.query import RecordQuery
from services.auditor.records import Draft, StreamMessage, read_message, time_us_of
from services.auditor.reporting.licences import licence_report
from services.auditor.sightings import kept_sightings
from services.auditor.timelines import Word, chain_text, identity_text, read_chain, timeline
from services.auditor.told_places import Range, RanSpans
from shared.canonical import canonical_bytes
from shared.contracts.events import Actor, EventBody, draft_event
from shared.contracts.inventory import HookPlace
from shared.contracts.licence_reports import LicenceReport
from shared.moments import render_time

DAYS: Final = 30
TARGET_SECONDS: Final = 1.0
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
MONTH: Final = Range(time_us_of(BEGUN), time_us_of(BEGUN + timedelta(days=DAYS)))
LAST_WEEK: Final = Range(time_us_of(BEGUN + timedelta(days=DAYS - 7)), MONTH.until_us)


def main() -> None:
    """Measure and report."""
    with TemporaryDirectory(prefix="l3af-bench-") as folder:
        rows = asyncio.run(measure(Path(folder)))
    report("licence_report", rows)


async def measure(folder: Path) -> list[Row]:
    """Fill one log, then ask it both ways."""
    store = SqliteStore.open(folder, origin="l3af.bench/licences")
    try:
        batch: list[Draft] = []
        after = 0
        for message in messages():
            batch.append(read_message(message))
            if len(batch) == BATCH:
                await store.append(batch, after=after, now=BEGUN)
                after, batch = batch[-1].message.sequence, []
        month, month_seconds = await from_spans(store, MONTH)
        _, week_seconds = await from_spans(store, LAST_WEEK)
        started = perf_counter()
        raw = licence_report(await from_records(store), MONTH, by="licence")
        raw_seconds = perf_counter() - started
    finally:
        await store.aclose()
    assert raw == month
    assert month.nodes == NODES
    return [
        Row(f"a month of {NODES} nodes, from spans", month_seconds, "s", TARGET_SECONDS),
        Row("its last week", week_seconds, "s", TARGET_SECONDS),
        Row("the month from raw records, the same answer", raw_seconds, "s"),
    ]


async def from_spans(store: SqliteStore, asked: Range) -> tuple[LicenceReport, float]:
    """The report as the auditor makes it, and how long that took."""
    started = perf_counter()
    ran = await store.spans(asked, audiences=SEEN, wanted=lambda _: True)
    found = licence_report(ran, asked, by="licence")
    return found, perf_counter() - started


async def from_records(store: SqliteStore) -> RanSpans:
    """What ran, from every record read again."""
    words: dict[HookPlace, list[Word]] = {}
    chains: dict[str, int] = {}
    above, more, size = -1, True, 0
    while more:
        query = RecordQuery(
            audiences=SEEN,
            since_us=None,
            until_us=None,
            equal=(),
            action="",
            above=above,
            below=None,
            limit=1000,
            is_ascending=True,
        )
        page, size, more = await store.page(query)
        above = page[-1].index
        told = ((one.index, 0, one.body) for one in page)
        times = {one.index: one.body for one in page}
        for one in kept_sightings(told):
            text = chain_text(one.reading)
            number = chains.setdefault(text, len(chains) + 1)
            body = times[one.record]
            assert body is not None
            word = Word(
                "change",
                one.audience,
                one.sequence,
                one.record,
                read_message(StreamMessage(1, "", "", body)).time_us,
                number,
                identity_text(text),
            )
            words.setdefault(one.place, []).append(word)
    places = dict(enumerate(words))
    spans = [(number, *span) for number, place in places.items() for span in timeline(words[place])]
    return RanSpans(
        places, spans, {number: read_chain(text) for text, number in chains.items()}, size
    )


def messages() -> Iterator[StreamMessage]:
    """What the fleet says, in the order of the stream: each hook point once a day."""
    rng = random.Random(2)  # noqa: S311 for no secret
    details = [details_of(first) for first in range(PACKAGES)]
    day_seconds = timedelta(days=1).total_seconds()
    number = 0
    for day in range(DAYS):
        for at, place in enumerate((node, where) for node in range(NODES) for where in PLACES):
            number += 1
            node, (interface, hook) = place
            sequence = day * len(PLACES) + at % len(PLACES) + 1
            passed = timedelta(days=day, seconds=at * day_seconds / (NODES * len(PLACES)))
            body = EventBody(
                action="chain.attach",
                outcome="succeeded",
                actor=Actor(key=f"UBENCH{number % 40:03}", role="operator", attested=True),
                node=f"node-{node}",
                interface=interface,
                hook=hook,
                details=details[rng.randrange(PACKAGES)],
            )
            event = draft_event(
                body,
                event_id=f"node.{node}.{sequence}",
                emitter=f"node/node-{node}",
                sequence=sequence,
                time=render_time(BEGUN + passed),
                salt=number.to_bytes(16, "big"),
            )
            yield StreamMessage(number, event.subject, event.id, canonical_bytes(event))


if __name__ == "__main__":
    main()
