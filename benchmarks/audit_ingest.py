# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From a filled event stream to committed, proven records, and what of that is SQLite alone.

A real nats-server in another process; reading, checking, hashing, keeping and signing as the
auditor does them.  The bare insert puts the very same rows into the same tables, in transactions
of the same size, and does nothing else.
"""

from __future__ import annotations

import secrets
import sqlite3
import statistics
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import uvloop

from benchmarks.report import Row, report
from benchmarks.services import running_bus
from installation.layout import Layout
from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.event_stream import BATCH_MESSAGES, EventStream
from services.auditor.adapters.signing_key import read_signing_key
from services.auditor.adapters.sqlite_database import connect as connect_database
from services.auditor.adapters.sqlite_database import prepare, transaction
from services.auditor.adapters.sqlite_store import SqliteStore, share_interpreter
from services.auditor.execution import Heads, Recording, at_work
from services.auditor.proofs import render_bundle, verify_bundle
from shared.adapters.bus import Bus, connect
from shared.adapters.logs import configure_logs
from shared.canonical import canonical_bytes
from shared.contracts.events import Actor, Event, EventBody, draft_event
from shared.moments import render_time

EVENTS: Final = 200_000
ROUNDS: Final = 3
PROVED: Final = 200
UNACKNOWLEDGED: Final = 500
INGEST_TARGET: Final = 8_000.0
SHARE_TARGET: Final = 0.6


def main() -> None:
    """Measure and report."""
    configure_logs(service="auditor", level="error")
    share_interpreter()
    with TemporaryDirectory(prefix="l3af-bench-") as folder, running_bus(Path(folder)) as layout:
        rows = uvloop.run(measure(layout, Path(folder)))
    report("audit_ingest", rows)


async def measure(layout: Layout, folder: Path) -> list[Row]:
    """Fill the stream once, then read it ROUNDS times into a log that is new each time."""
    async with connect(layout.credentials("service", "catalog")) as bus:
        await fill(bus)
    ingested, inserted, shares, proofs = [], [], [], []
    for number in range(ROUNDS):
        state_dir = folder / f"log-{number}"
        rate, proof_rate = await ingest(layout, state_dir)
        bare = insert_bare(state_dir, folder / f"bare-{number}.db")
        ingested.append(rate)
        inserted.append(bare)
        shares.append(rate / bare)
        proofs.append(proof_rate)
    return [
        Row(
            f"stream to signed records, {EVENTS} events",
            statistics.median(ingested),
            "events/s",
            INGEST_TARGET,
            at_least=True,
        ),
        Row("bare insert of the same rows", statistics.median(inserted), "rows/s"),
        Row("share of the bare insert", statistics.median(shares), "", SHARE_TARGET, at_least=True),
        Row("proofs made and verified", statistics.median(proofs), "proofs/s"),
    ]


async def fill(bus: Bus) -> None:
    """EVENTS events as they come from a fleet's commands, acknowledged by the stream."""
    now = datetime.now(UTC)
    key = bus.key
    for sequence in range(1, EVENTS + 1):
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
        if sequence % UNACKNOWLEDGED == 0:
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


async def ingest(layout: Layout, state_dir: Path) -> tuple[float, float]:
    """Events a second until a signed head covers them all, and proofs a second after that."""
    credentials = layout.credentials("service", "auditor")
    async with connect(credentials) as bus:
        origin = bus.facts.log_origin
        with closing(SqliteStore.open(state_dir, origin=origin)) as store:
            seed = read_signing_key(credentials, bus.facts)
            heads = Heads(log=store, safe=CheckpointFile(state_dir), origin=origin, seed=seed)
            stream = EventStream(bus.connection)
            recording = Recording(stream=stream, log=store, heads=heads, emitter=Silent())
            started_at = perf_counter()
            async with at_work(recording):
                await recording.reached(EVENTS)
                await heads.sign()
                seconds = perf_counter() - started_at
            assert store.size == EVENTS
            return EVENTS / seconds, await prove(store, heads)


async def prove(store: SqliteStore, heads: Heads) -> float:
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


def insert_bare(state_dir: Path, path: Path) -> float:
    """Rows a second."""
    source = sqlite3.connect(state_dir / "log.db")
    rows: list[tuple[Any, ...]] = source.execute("SELECT * FROM records ORDER BY idx").fetchall()
    source.close()
    database = connect_database(path)
    prepare(database, "bare")
    insert = f"INSERT INTO records VALUES ({','.join('?' * len(rows[0]))})"  # noqa: S608 # marks
    started_at = perf_counter()
    for start in range(0, len(rows), BATCH_MESSAGES):
        with transaction(database):
            database.executemany(insert, rows[start : start + BATCH_MESSAGES])
    seconds = perf_counter() - started_at
    database.close()
    return len(rows) / seconds


class Silent:
    """Says nothing, so that the log holds what the stream was filled with."""

    async def emit(self, body: EventBody, *, event_id: str) -> None:
        """Not said."""


if __name__ == "__main__":
    main()
