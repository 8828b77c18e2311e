# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From a filled event stream to committed, proven records, and what of that is the store alone.

A real nats-server in another process, and a real PostgreSQL that waits for its disk; reading,
checking, hashing, keeping and signing as the auditor does them.  The bare insert (COPY for
PostgreSQL) puts the very same rows into the same tables, in transactions of the same size, and
does nothing else.  End to end: events are published while the auditor records them, until a
signed head covers the last one.
"""

from __future__ import annotations

import secrets
import sqlite3
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import perf_counter
from typing import Final, Protocol

import uvloop

from benchmarks.report import Row, report
from benchmarks.services import running_bus
from installation.layout import Layout
from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.event_stream import BATCH_MESSAGES, EventStream
from services.auditor.adapters.log_rows import COLUMNS
from services.auditor.adapters.postgres_session import Address
from services.auditor.adapters.postgres_session import connect as connect_postgres
from services.auditor.adapters.postgres_store import PostgresStore
from services.auditor.adapters.signing_key import read_signing_keys
from services.auditor.adapters.sqlite_database import connect as connect_database
from services.auditor.adapters.sqlite_database import prepare as prepare_file
from services.auditor.adapters.sqlite_database import transaction
from services.auditor.adapters.sqlite_store import SqliteStore, share_interpreter
from services.auditor.execution import Heads, Recording, at_work
from services.auditor.proofs import render_bundle, verify_bundle
from services.auditor.store import LogStore
from shared.adapters.bus import Bus, connect
from shared.adapters.logs import configure_logs
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Actor, Event, EventBody, draft_event
from shared.moments import render_time
from tests.support.postgres import PostgresServer

EVENTS: Final = 100_000
PUBLISHED: Final = 10_000
ROUNDS: Final = 3
PROVED: Final = 200
UNACKNOWLEDGED: Final = 500
INGEST_TARGETS: Final = {"SQLite": 8_000.0, "PostgreSQL": 10_000.0}
SHARE_TARGET: Final = 0.6


def main() -> None:
    """Measure and report."""
    configure_logs(service="auditor", level="error")
    share_interpreter()
    with TemporaryDirectory(prefix="l3af-bench-") as folder, running_bus(Path(folder)) as layout:
        rows = uvloop.run(measure(layout, Path(folder)))
    report("audit_ingest", rows)


async def measure(layout: Layout, folder: Path) -> list[Row]:
    """End to end on a stream that grows; then all of it, ROUNDS times into each store."""
    server = PostgresServer(fsync=True)
    server.start()
    rows: list[Row] = []
    try:
        makers: dict[str, Callable[[], Awaitable[Bench]]] = {
            "SQLite": lambda: new_file(folder),
            "PostgreSQL": lambda: new_database(server),
        }
        async with connect(layout.credentials("service", "catalog")) as bus:
            published = 0
            for store, maker in makers.items():
                rate = await end_to_end(layout, folder, await maker(), bus, published)
                published += PUBLISHED
                rows.append(Row(f"{store}: publisher to signed records", rate, "events/s"))
            started_at = perf_counter()
            await fill(bus, EVENTS - published, first=published + 1)
            rate = (EVENTS - published) / (perf_counter() - started_at)
            rows.append(
                Row("of that nats-server alone: publisher to stored events", rate, "events/s")
            )
        for store, maker in makers.items():
            rows += await measure_store(layout, folder, store, maker)
    finally:
        server.stop()
    return rows


async def measure_store(
    layout: Layout, folder: Path, store: str, maker: Callable[[], Awaitable[Bench]]
) -> list[Row]:
    """Of one store, the medians of ROUNDS."""
    ingested, inserted, shares, proofs = [], [], [], []
    for _ in range(ROUNDS):
        bench = await maker()
        rate, proof_rate = await ingest(layout, folder, bench)
        bare = await bench.insert_bare()
        ingested.append(rate)
        inserted.append(bare)
        shares.append(rate / bare)
        proofs.append(proof_rate)
    return [
        Row(
            f"{store}: stream to signed records, {EVENTS} events",
            statistics.median(ingested),
            "events/s",
            INGEST_TARGETS[store],
            at_least=True,
        ),
        Row(f"{store}: bare insert of the same rows", statistics.median(inserted), "rows/s"),
        Row(
            f"{store}: share of the bare insert",
            statistics.median(shares),
            "",
            SHARE_TARGET,
            at_least=True,
        ),
        Row(f"{store}: proofs made and verified", statistics.median(proofs), "proofs/s"),
    ]


async def fill(bus: Bus, count: int, *, first: int = 1) -> None:
    """Events as they come from a fleet's commands, acknowledged by the stream."""
    now = datetime.now(UTC)
    key = bus.key
    for sequence in range(first, first + count):
        body = EventBody(
            action="package.publish",
            outcome="succeeded",
            correlation=secrets.token_hex(11) if sequence % 6 else "",
            actor=Actor(key=f"{key[:-3]}{sequence % 40:03d}", role="publisher", attested=True),
            node=f"node-{sequence % 200}",
            interface="eth0",
            hook="xdp",
            deployment=f"deployment-{sequence % 50}",
            package="rate-limit",
            version="1.0.0",
            after=secrets.token_hex(32),
            details={"generation": sequence, "tag": secrets.token_hex(8)},
        )
        event = draft_event(
            body,
            event_id=f"catalog.{secrets.token_hex(16)}.0",
            emitter="catalog",
            sequence=sequence,
            time=render_time(now),
            salt=secrets.token_bytes(16),
        )
        if sequence % UNACKNOWLEDGED == 0 or sequence == first + count - 1:
            await bus.publish_event(event)
        else:
            await bus.connection.publish(
                event.subject, canonical_bytes(event), headers=headers_of(event)
            )


def headers_of(event: Event) -> dict[str, str]:
    """As `Bus.publish_event` sets them."""
    return {
        "Content-Type": "application/cloudevents+json",
        "ce-id": event.id,
        "ce-type": event.type,
        "Nats-Msg-Id": event.id,
    }


class Bench(Protocol):
    """A store that is new, and the same rows without the auditor."""

    def open(self, origin: str) -> Awaitable[LogStore]:
        """The store."""

    async def insert_bare(self) -> float:
        """Rows a second."""


async def ingest(layout: Layout, folder: Path, bench: Bench) -> tuple[float, float]:
    """Events a second until a signed head covers them all, and proofs a second after that."""
    async with recording_into(layout, folder, bench) as (store, heads, recording):
        started_at = perf_counter()
        async with at_work(recording):
            await recording.reached(EVENTS)
            await heads.sign()
            seconds = perf_counter() - started_at
        assert store.size == EVENTS
        return EVENTS / seconds, await prove(store, heads)


async def end_to_end(
    layout: Layout, folder: Path, bench: Bench, publisher: Bus, published: int
) -> float:
    """Events a second from the first that is published to a signed head that covers the last."""
    async with recording_into(layout, folder, bench) as (_, heads, recording), at_work(recording):
        await recording.reached(published)
        started_at = perf_counter()
        await fill(publisher, PUBLISHED, first=published + 1)
        await recording.reached(published + PUBLISHED)
        await heads.sign()
        return PUBLISHED / (perf_counter() - started_at)


@asynccontextmanager
async def recording_into(
    layout: Layout, folder: Path, bench: Bench
) -> AsyncIterator[tuple[LogStore, Heads, Recording]]:
    """The auditor's parts around a store."""
    credentials = layout.credentials("service", "auditor")
    async with connect(credentials) as bus:
        origin = bus.facts.log_origin
        async with aclosing(await bench.open(origin)) as store:
            seed = read_signing_keys(credentials, bus.facts).seed
            heads = Heads(log=store, safe=CheckpointFile(folder), origin=origin, seed=seed)
            stream = EventStream(bus.connection)
            yield store, heads, Recording(stream=stream, log=store, heads=heads, emitter=Silent())


async def prove(store: LogStore, heads: Heads) -> float:
    """Proofs a second, each made and verified."""
    head, note, _ = await heads.newest()
    started_at = perf_counter()
    for index in range(0, head.size, head.size // PROVED):
        stored = await store.record(index)
        assert stored is not None
        inclusion = await store.inclusion(index, head.size)
        bundle = render_bundle(stored, inclusion=inclusion, checkpoint=note, key=heads.key)
        verify_bundle(bundle, key=heads.key)
    return PROVED / (perf_counter() - started_at)


class SqliteBench:
    """In a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory

    async def open(self, origin: str) -> LogStore:
        """The store."""
        return SqliteStore.open(self._directory, origin=origin)

    async def insert_bare(self) -> float:
        """Rows a second."""
        with closing(sqlite3.connect(self._directory / "log.db")) as source:
            rows = source.execute("SELECT * FROM records ORDER BY idx").fetchall()
        with closing(connect_database(self._directory / "bare.db")) as database:
            prepare_file(database, "bare")
            insert = f"INSERT INTO records VALUES ({','.join('?' * len(rows[0]))})"  # noqa: S608
            started_at = perf_counter()
            for start in range(0, len(rows), BATCH_MESSAGES):
                with transaction(database):
                    database.executemany(insert, rows[start : start + BATCH_MESSAGES])
            return len(rows) / (perf_counter() - started_at)


class PostgresBench:
    """In a database, and another one for the bare rows."""

    def __init__(self, url: str, bare_url: str) -> None:
        self._address: Final = Address(url)
        self._bare_address: Final = Address(bare_url)

    async def open(self, origin: str) -> LogStore:
        """The store."""
        return await PostgresStore.open(self._address, origin=origin, now=datetime.now(UTC))

    async def insert_bare(self) -> float:
        """Rows a second, ids among them as the store keeps them."""
        source = await connect_postgres(self._address)
        rows = await source.fetch(f"SELECT {','.join(COLUMNS)} FROM records ORDER BY idx")  # noqa: S608
        ids = await source.fetch("SELECT emitter, event_id, idx FROM event_ids ORDER BY idx")
        await source.close()
        store = await PostgresStore.open(self._bare_address, origin="bare", now=datetime.now(UTC))
        await store.aclose()
        target = await connect_postgres(self._bare_address)
        started_at = perf_counter()
        for start in range(0, len(rows), BATCH_MESSAGES):
            batch = slice(start, start + BATCH_MESSAGES)
            async with target.transaction():
                await target.copy_records_to_table(
                    "records", records=map(tuple, rows[batch]), columns=COLUMNS
                )
                await target.copy_records_to_table("event_ids", records=map(tuple, ids[batch]))
        seconds = perf_counter() - started_at
        await target.close()
        return len(rows) / seconds


async def new_file(folder: Path) -> Bench:
    """A new directory."""
    return SqliteBench(Path(mkdtemp(dir=folder)))


async def new_database(server: PostgresServer) -> Bench:
    """A new database, and one beside it."""
    return PostgresBench(await server.new_database(), await server.new_database())


class Silent:
    """Says nothing, so that the log holds what the stream was filled with."""

    async def emit(self, body: EventBody, *, event_id: str, audience: str = PUBLIC) -> None:
        """Not said."""


if __name__ == "__main__":
    main()
