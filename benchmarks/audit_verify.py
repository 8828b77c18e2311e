# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A whole log verified offline: every row derived anew, every tile, every signed head.

The log is filled through the store that the auditor uses, with events as a fleet's commands make
them; a head is signed every SIGNED_EVERY records, as often as a busy log signs.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from benchmarks.report import Row, report
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.checkpoint import TreeHead, VerifierKey, sign_checkpoint, verifier_key
from services.auditor.records import StreamMessage, read_message
from services.auditor.verification.adapters.verifying import verify_store
from shared.canonical import canonical_bytes
from shared.contracts.events import Actor, EventBody, draft_event

RECORDS: Final = 1_000_000
BATCH_RECORDS: Final = 1_000
SIGNED_EVERY: Final = 2_000
WORKERS: Final = 2
VERIFY_TARGET: Final = 15.0
ORIGIN: Final = "l3af.bench/log"
NOW: Final = datetime(2026, 1, 2, tzinfo=UTC)
ACTOR: Final = Actor(
    key=f"U{'A' * 55}", role="publisher", attested=True, address="0123456789abcdef"
)


def main() -> None:
    """Measure and report; a number as the argument asks for so many records."""
    records = next((int(one) for one in sys.argv[1:] if one.isdecimal()), RECORDS)
    seed = secrets.token_bytes(32)
    key = verifier_key(ORIGIN, seed=seed)
    with TemporaryDirectory(prefix="l3af-bench-") as folder:
        asyncio.run(fill(Path(folder), records, seed))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        rows = [
            measure(folder, records, key, workers=WORKERS),
            measure(folder, records, key, workers=1),
            Row("bytes a record on disk", size / records, "bytes"),
        ]
    report("audit_verify", rows)


def measure(place: str, records: int, key: VerifierKey, *, workers: int) -> Row:
    """Seconds for the whole log, which must be found to be in order."""
    started_at = perf_counter()
    found = verify_store(place, keys=[key], workers=workers)
    seconds = perf_counter() - started_at
    assert (found.size, found.signed_size) == (records, records)
    assert not found.problems, found.problems
    target = VERIFY_TARGET * records / RECORDS if workers == WORKERS else None
    return Row(f"verify {records} records, {workers} processes", seconds, "s", target)


async def fill(directory: Path, records: int, seed: bytes) -> None:
    """A log of so many records, all of them signed."""
    with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
        for first in range(1, records + 1, BATCH_RECORDS):
            stop = min(first + BATCH_RECORDS, records + 1)
            drafts = [read_message(message(place)) for place in range(first, stop)]
            await store.append(drafts, after=first - 1, now=NOW)
            if store.size % SIGNED_EVERY == 0 or store.size == records:
                head = TreeHead(ORIGIN, store.size, store.state.frontier.root())
                note = sign_checkpoint(head, seed=seed)
                await store.keep_checkpoint(head.size, note, signed_at=NOW)


def message(place: int) -> StreamMessage:
    """One of 200 nodes says that it did what it was told."""
    emitter, sequence = f"node/node-{place % 200}", (place - 1) // 200 + 1
    body = EventBody(
        action="chain.attach",
        outcome="succeeded",
        correlation=secrets.token_hex(11) if place % 6 else "",
        actor=ACTOR,
        node=f"node-{place % 200}",
        interface="eth0",
        hook="xdp",
        deployment=f"deployment-{place % 50}",
        package="rate-limit",
        version="1.0.0",
        after=secrets.token_hex(32),
        details={"generation": place, "tag": secrets.token_hex(8)},
    )
    event = draft_event(
        body,
        event_id=f"{place % 200}.{secrets.token_hex(16)}.0",
        emitter=emitter,
        sequence=sequence,
        time="2026-01-02T03:04:05.000006Z",
        salt=secrets.token_bytes(16),
    )
    return StreamMessage(place, event.subject, event.id, canonical_bytes(event))


if __name__ == "__main__":
    main()
