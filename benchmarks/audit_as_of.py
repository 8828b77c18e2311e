# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran on 1,000 nodes at a moment, and where a digest ever ran, out of 1,000,000 records.

Every node has three hook points with two programs each; one record in five is a change of one of
them, the others are what else a fleet says.  An answer is all its pages as the auditor makes them,
encoded.  Asked at random moments over the whole history.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.report import Row, report
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.inventory import inventory_page, runs_page
from services.auditor.records import Draft, StreamMessage, read_message, time_us_of
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Actor, EventBody, draft_event
from shared.contracts.inventory import FindRuns, HookPlace, HookReading, RunningProgram
from shared.contracts.licences import ProgramLicence
from shared.moments import render_time

RECORDS: Final = 1_000_000
NODES: Final = 1_000
PLACES: Final = (("eth0", "xdp"), ("eth0", "tc-ingress"), ("eth1", "xdp"))
PACKAGES: Final = 50
BATCH: Final = 500
MOMENTS: Final = 21
AS_OF_TARGET_MS: Final = 500.0
SEEN: Final = frozenset({PUBLIC})
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
LICENCE: Final = ProgramLicence(
    declared="GPL-2.0-only OR BSD-2-Clause", elected="GPL-2.0-only", elf="GPL", gpl_compatible=True
)


def main() -> None:
    """Measure and report."""
    with TemporaryDirectory(prefix="l3af-bench-") as folder:
        rows = asyncio.run(measure(Path(folder)))
    report("audit_as_of", rows)


async def measure(folder: Path) -> list[Row]:
    """Fill one log, then ask it."""
    store = SqliteStore.open(folder, origin="l3af.bench/as-of")
    try:
        await fill(store)
        rng = random.Random(3)  # noqa: S311 for no secret
        spans = [rng.random() * RECORDS for _ in range(MOMENTS)]
        fleet = sorted([await as_of_ms(store, at_us=moment_us(span), node="") for span in spans])
        one = sorted(
            [await as_of_ms(store, at_us=moment_us(span), node="node-500") for span in spans]
        )
        runs = sorted([await runs_ms(store, f"package-{rng.randrange(PACKAGES)}") for _ in spans])
    finally:
        await store.aclose()
    return [
        Row(
            f"as-of, {NODES} nodes, {len(PLACES)} hook points each, median",
            fleet[MOMENTS // 2],
            "ms",
            AS_OF_TARGET_MS,
        ),
        Row("the same, slowest", fleet[-1], "ms"),
        Row("as-of, one node, median", one[MOMENTS // 2], "ms"),
        Row(f"nodes that ever ran a digest, {PACKAGES} packages, median", runs[MOMENTS // 2], "ms"),
    ]


async def fill(store: SqliteStore) -> None:
    """RECORDS events of the fleet."""
    batch: list[Draft] = []
    after = 0
    for message in messages():
        batch.append(read_message(message))
        if len(batch) == BATCH:
            await store.append(batch, after=after, now=BEGUN)
            after, batch = batch[-1].message.sequence, []


async def as_of_ms(store: SqliteStore, *, at_us: int, node: str) -> float:
    """How long all pages took."""
    started = perf_counter()
    after: HookPlace | None = None
    count = 0
    while True:
        found = await store.sightings(at_us, audiences=SEEN, node=node, after=after)
        page = inventory_page(found, at_us=at_us)
        msgspec.json.encode(page)
        count += len(page.hook_points)
        after = page.next
        if after is None:
            break
    assert count <= NODES * len(PLACES)
    return (perf_counter() - started) * 1000


async def runs_ms(store: SqliteStore, name: str) -> float:
    """How long all pages took."""
    started = perf_counter()
    request = FindRuns(digest=digest(name))
    after: HookPlace | None = None
    while True:
        found = await store.runs(request.digest, audiences=SEEN, after=after)
        page = runs_page(request, found)
        msgspec.json.encode(page)
        after = page.next
        if after is None:
            return (perf_counter() - started) * 1000


def messages() -> Iterator[StreamMessage]:
    """What the fleet says, in the order of the stream."""
    rng = random.Random(2)  # noqa: S311 for no secret
    details = [details_of(first) for first in range(PACKAGES)]
    sequences = [0] * NODES
    for number in range(1, RECORDS + 1):
        place = rng.randrange(NODES)
        node = f"node-{place}"
        sequences[place] += 1
        is_change = number % 5 == 0
        interface, hook = PLACES[rng.randrange(len(PLACES))]
        body = EventBody(
            action="chain.attach" if is_change else "node.label",
            outcome="succeeded",
            correlation=f"command-{number // 50}",
            actor=Actor(key=f"UBENCH{number % 40:03}", role="operator", attested=True),
            node=node,
            interface=interface if is_change else "",
            hook=hook if is_change else "",
            details=details[rng.randrange(PACKAGES)] if is_change else {"generation": number},
        )
        event = draft_event(
            body,
            event_id=f"node.{place}.{sequences[place]}",
            emitter=f"node/{node}",
            sequence=sequences[place],
            time=render_time(BEGUN + timedelta(seconds=number)),
            salt=number.to_bytes(16, "big"),
        )
        yield StreamMessage(number, event.subject, event.id, canonical_bytes(event))


def details_of(first: int) -> dict[str, object]:
    """A chain of two programs."""
    running = tuple(
        RunningProgram(
            deployment=f"deployment-{number}",
            revision=1,
            package=f"package-{number}",
            version="1.0.0",
            program="main",
            archive_sha256=digest(f"package-{number}"),
            object_sha256=digest(f"object-{number}"),
            licence=LICENCE,
        )
        for number in (first, (first + 7) % PACKAGES)
    )
    reading = HookReading(
        generation=1,
        program_id=7,
        program_tag=digest(f"tag-{first}")[:16],
        attachment="xdp-native",
        gpl_compatible=True,
        plan_sha256=digest(f"plan-{first}"),
        running=running,
    )
    details: dict[str, object] = msgspec.to_builtins(reading)
    return details


def digest(name: str) -> str:
    """A digest for a name."""
    return sha256(name.encode()).hexdigest()


def moment_us(record: float) -> int:
    """When that record was made, microseconds since 1970."""
    return time_us_of(BEGUN + timedelta(seconds=record))


if __name__ == "__main__":
    main()
