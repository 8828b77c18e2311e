# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Findings of a log of 400,000 records, of which 100,000 are about versions and deployments.

100 packages with 20 versions each, of which every second breaks a rule; waivers for some; 1,000
deployments that go from version to version.  The first question reads all of them, later ones what
came since.  Pages are encoded as they travel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import msgspec

from benchmarks.report import Row, report
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.compliance.execution import ComplianceLog
from services.auditor.compliance.listing import findings_page
from services.auditor.records import Draft, StreamMessage, read_message, time_us_of
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, EventBody, draft_event
from shared.contracts.findings import ListFindings
from shared.moments import render_time

PACKAGES: Final = 100
VERSIONS: Final = 20
DEPLOYMENTS: Final = 1_000
RECORDS: Final = 400_000
OTHERS: Final = 3
"""Records about something else, for each."""
BATCH: Final = 500
SEEN: Final = frozenset({PUBLIC})
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = datetime(2027, 1, 1, tzinfo=UTC)
RULE: Final = "policy-groups"
FIRST_TARGET_MS: Final = 8_000.0
NEXT_TARGET_MS: Final = 3_000.0


def main() -> None:
    """Measure and report."""
    with TemporaryDirectory(prefix="l3af-bench-") as folder:
        rows = asyncio.run(measure(Path(folder)))
    report("compliance_findings", rows)


async def measure(folder: Path) -> list[Row]:
    """Fill one log, then ask it."""
    store = SqliteStore.open(folder, origin="l3af.bench/findings")
    events = messages()
    try:
        await fill(store, events, RECORDS)
        log = ComplianceLog(store, now=lambda: NOW)
        first, count = await asked_ms(log)
        again, _ = await asked_ms(log)
        await fill(store, events, BATCH)
        later, _ = await asked_ms(log)
        past, _ = await asked_ms(log, at_us=time_us_of(BEGUN + timedelta(days=90)))
    finally:
        await store.aclose()
    return [
        Row(f"the first question, {count} findings", first, "ms", FIRST_TARGET_MS),
        Row("the same again", again, "ms"),
        Row(f"after {BATCH} more records", later, "ms", NEXT_TARGET_MS),
        Row("as of another moment", past, "ms", NEXT_TARGET_MS),
    ]


async def asked_ms(log: ComplianceLog, *, at_us: int | None = None) -> tuple[float, int]:
    """How long the first page took, and how many findings there are."""
    started = perf_counter()
    found = await log.findings(SEEN, at_us=at_us)
    msgspec.json.encode(findings_page(ListFindings(), found))
    return (perf_counter() - started) * 1000, len(found.cases)


async def fill(store: SqliteStore, events: Iterator[StreamMessage], count: int) -> None:
    """So many more records."""
    batch: list[Draft] = []
    for _ in range(count):
        batch.append(read_message(next(events)))
        if len(batch) == BATCH:
            await store.append(batch, after=store.state.stream_sequence, now=BEGUN)
            batch = []


def messages() -> Iterator[StreamMessage]:
    """What the services say, for ever; three of four are about nodes."""
    place = 0
    sequences: dict[str, int] = {}
    for emitter, body in said():
        for one, about in ((emitter, body), *[("node/h1", NODE)] * OTHERS):
            place += 1
            sequences[one] = sequences.get(one, 0) + 1
            event = draft_event(
                about,
                event_id=f"{one.replace('/', '.')}.{sequences[one]}",
                emitter=one,
                sequence=sequences[one],
                time=render_time(BEGUN + timedelta(seconds=60 * place / (OTHERS + 1))),
                salt=bytes(16),
            )
            yield StreamMessage(place, event.subject, event.id, canonical_bytes(event))


NODE: Final = EventBody(action="companion.ready", outcome="succeeded", node="h1")


def said() -> Iterator[tuple[str, EventBody]]:
    """Versions and waivers first, then deployments that go from one version to another."""
    for number in range(VERSIONS):
        for which in range(PACKAGES):
            yield "catalog", publication(f"package-{which}", f"1.{number}.0", broken=number % 2)
    for waived in range(0, PACKAGES, 4):
        scope = {"rule": RULE, "package": f"package-{waived}", "versions": "*"}
        until = render_time(BEGUN + timedelta(days=60))
        details = {"waiver": f"w-{waived}", "scope": scope, "expires_at": until}
        yield "catalog", EventBody(action="waiver.grant", outcome="accepted", details=details)
    step = 0
    while True:
        step += 1
        name, package = f"deployment-{step % DEPLOYMENTS}", f"package-{step % PACKAGES}"
        version = f"1.{step // DEPLOYMENTS % VERSIONS}.0"
        fields: dict[str, Any] = {"deployment": name, "package": package, "version": version}
        command = f"command-{step}"
        deployed = {"revision": step, "archive_sha256": archive(package, version)}
        yield (
            "scheduler",
            EventBody(
                action="deployment.apply",
                outcome="accepted",
                correlation=command,
                details=deployed,
                **fields,
            ),
        )
        yield (
            "scheduler",
            EventBody(
                action="deployment.complete", outcome="succeeded", correlation=command, **fields
            ),
        )


def publication(package: str, version: str, *, broken: int) -> EventBody:
    """Of a version that breaks a rule or not."""
    finding = {"rule": RULE, "outcome": "review", "path": "manifest.licence", "text": "not so"}
    verdict = {"policy": "ours", "outcome": "review", "findings": [finding] if broken else []}
    return EventBody(
        action="package.publish",
        outcome="accepted",
        package=package,
        version=version,
        details={"archive_sha256": archive(package, version), "licences": verdict},
    )


def archive(package: str, version: str) -> str:
    """The digest of a version's archive."""
    return sha256(f"{package} {version}".encode()).hexdigest()


if __name__ == "__main__":
    main()
