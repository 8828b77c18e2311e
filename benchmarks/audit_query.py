# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long the log takes to answer, when it holds a million records, or `--records N`.

Asked through the store, as the auditor does for each request, one question after another with
values that were drawn by chance; 99 of 100 answers come within what is shown.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import uvloop

from benchmarks.report import Row, report
from services.auditor.adapters.sqlite_store import SqliteStore, share_interpreter
from services.auditor.query import RecordQuery
from services.auditor.records import StreamMessage, read_message, time_us_of
from services.auditor.searching import Chunk, parse_search
from shared.canonical import canonical_bytes
from shared.contracts.audit import StreamRecords
from shared.contracts.events import PUBLIC, Actor, EventBody, Outcome, draft_event
from shared.moments import render_time

RECORDS: Final = 1_000_000
BATCH: Final = 500
ASKED: Final = 300
SCANNED: Final = 100_000
POINT_TARGET_MS: Final = 5.0
PAGE_TARGET_MS: Final = 30.0
ORIGIN: Final = "l3af.bench/log"
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
APART: Final = timedelta(milliseconds=200)
"""Between two events: a million are about two days."""
ACTIONS: Final = ("chain.request", "chain.attach", "chain.detach", "chain.configure",
                  "package.publish", "deployment.apply", "deployment.complete")  # fmt: skip
OUTCOMES: Final[tuple[Outcome, ...]] = ("accepted", "succeeded", "observed", "refused", "failed")
WEIGHTS: Final = (40, 50, 8, 1, 1)
LICENCES: Final = ("GPL-2.0-only", "GPL-2.0-only OR BSD-2-Clause", "MIT", "Apache-2.0", "")


def main() -> None:
    """Measure and report."""
    share_interpreter()
    words = sys.argv[1:]
    count = int(words[words.index("--records") + 1]) if "--records" in words else RECORDS
    with TemporaryDirectory(prefix="l3af-bench-") as folder:
        rows = uvloop.run(measure(Path(folder), count))
    report("audit_query", rows)


async def measure(folder: Path, count: int) -> list[Row]:
    """Fill a log, then ask it everything."""
    with closing(SqliteStore.open(folder, origin=ORIGIN)) as store:
        for start in range(0, count, BATCH):
            drafts = [read_message(one) for one in messages(start, min(count, start + BATCH))]
            await store.append(drafts, after=start, now=START + APART * start)
        size_bytes = (folder / "log.db").stat().st_size
        rows = [Row(f"size of a record, {count:,} records", size_bytes / count, "bytes")]
        rng = random.Random(7)  # noqa: S311 # no secret
        rows.append(await timed("by number", POINT_TARGET_MS, by_number(store, rng, count)))
        rows.append(await timed("inclusion proof", POINT_TARGET_MS, inclusion(store, rng, count)))
        for name, query in questions(rng, count).items():
            rows.append(await timed(f"page of 100 by {name}", PAGE_TARGET_MS, page(store, query)))
        rows.append(await scan(store))
    return rows


def messages(start: int, stop: int) -> Iterator[StreamMessage]:
    """What a fleet of 200 nodes says."""
    for number in range(start + 1, stop + 1):
        rng = random.Random(number)  # noqa: S311 # no secret
        body = EventBody(
            action=rng.choice(ACTIONS),
            outcome=rng.choices(OUTCOMES, WEIGHTS)[0],
            correlation=f"command-{number // 6}",
            actor=Actor(key=f"U{rng.randrange(40):055d}", role="operator", attested=True),
            node=f"node-{rng.randrange(200)}",
            interface="eth0",
            hook="xdp",
            deployment=f"deployment-{rng.randrange(50)}",
            package=f"package-{rng.randrange(100)}",
            version="1.0.0",
            after=f"{number:064x}",
            details={"generation": number, "licence": rng.choice(LICENCES)},
        )
        event = draft_event(
            body,
            event_id=f"scheduler.{number:032x}",
            emitter="scheduler",
            sequence=number,
            time=render_time(START + APART * number),
            salt=number.to_bytes(16, "big"),
        )
        yield StreamMessage(number, event.subject, event.id, canonical_bytes(event))


def questions(rng: random.Random, count: int) -> dict[str, Callable[[], RecordQuery]]:
    """One for each filter, and those that people put together."""

    def ask(*equal: tuple[str, str], **more: Any) -> RecordQuery:
        plain: dict[str, Any] = {"since_us": None, "until_us": None, "action": "", "above": -1}
        plain["audiences"] = frozenset({PUBLIC})
        below = rng.choice([None, rng.randrange(count)])
        return RecordQuery(**{**plain, "equal": equal, "below": below, "limit": 100, **more})

    def span(width: timedelta) -> dict[str, int]:
        since = START + APART * rng.randrange(count)
        return {"since_us": time_us_of(since), "until_us": time_us_of(since + width)}

    return {
        "nothing": ask,
        "actor": lambda: ask(("actor", f"U{rng.randrange(40):055d}")),
        "package": lambda: ask(("package", f"package-{rng.randrange(100)}")),
        "node": lambda: ask(("node", f"node-{rng.randrange(200)}")),
        "deployment": lambda: ask(("deployment", f"deployment-{rng.randrange(50)}")),
        "command": lambda: ask(("correlation", f"command-{rng.randrange(count // 6)}")),
        "outcome": lambda: ask(("outcome", rng.choice(OUTCOMES))),
        "action": lambda: ask(action=rng.choice(ACTIONS)),
        "action glob": lambda: ask(action=rng.choice(["chain.*", "*.publish", "nothing.*"])),
        "licence": lambda: ask(licence=rng.choice(LICENCES[:-1])),
        "licence glob": lambda: ask(licence=rng.choice(["*GPL*", "MIT*", "*LGPL*", "BSD*"])),
        "a minute": lambda: ask(**span(timedelta(minutes=1)), below=None),
        "an hour": lambda: ask(**span(timedelta(hours=1)), below=None),
        "a day": lambda: ask(**span(timedelta(days=1)), below=None),
        "an hour, oldest first": lambda: ask(
            **span(timedelta(hours=1)), below=None, is_ascending=True
        ),
        "node within a day": lambda: ask(
            ("node", f"node-{rng.randrange(200)}"), **span(timedelta(days=1)), below=None
        ),
        "node and outcome": lambda: ask(
            ("node", f"node-{rng.randrange(200)}"), ("outcome", "failed")
        ),
        "actor and action": lambda: ask(
            ("actor", f"U{rng.randrange(40):055d}"), action="package.publish"
        ),
    }


def by_number(
    store: SqliteStore, rng: random.Random, count: int
) -> Callable[[], Awaitable[object]]:
    """One record by its number."""
    return lambda: store.record(rng.randrange(count))


def inclusion(
    store: SqliteStore, rng: random.Random, count: int
) -> Callable[[], Awaitable[object]]:
    """The audit path of a record in the newest tree."""
    return lambda: store.inclusion(rng.randrange(count), count)


def page(store: SqliteStore, query: Callable[[], RecordQuery]) -> Callable[[], Awaitable[object]]:
    """One page."""
    return lambda: store.page(query())


async def timed(case: str, target_ms: float, ask: Callable[[], Awaitable[object]]) -> Row:
    """The time within which 99 of 100 are answered."""
    taken = []
    for _ in range(ASKED):
        started_at = perf_counter()
        await ask()
        taken.append((perf_counter() - started_at) * 1000)
    return Row(f"{case}, p99", statistics.quantiles(taken, n=100)[98], "ms", target_ms)


async def scan(store: SqliteStore) -> Row:
    """Records a second that an expression is tried on."""
    request = StreamRecords(where="details.generation == 0", scan_limit=SCANNED)
    chunk = Chunk(parse_search(request, audiences=frozenset({PUBLIC})))
    started_at = perf_counter()
    while (query := chunk.next_page()) is not None:
        found, tree_size, more = await store.page(query)
        chunk.take(found, tree_size, more=more)
    rate = chunk.render().scanned / (perf_counter() - started_at)
    return Row("an expression without an index", rate, "records/s")


if __name__ == "__main__":
    main()
