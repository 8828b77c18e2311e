# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records a second that `l3af audit export` writes, end to end: store, chunks over the bus, file.

A real nats-server, an auditor and the command, a process each; what is measured is the whole
command, from its start to the proof beside the file.  Then the auditor records new events, once
by itself and once while the log is exported again and again.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec
import uvloop

from benchmarks.audit_ingest import fill
from benchmarks.report import Row, report
from benchmarks.services import running_bus
from cli.audit_export import Exported
from installation.layout import Layout
from shared.adapters.bus import Bus, connect
from shared.contracts.audit import GET_CHECKPOINT, GetCheckpoint
from tests.support.postgres import PostgresServer

RECORDS: Final = 200_000
MORE: Final = 20_000
"""Events recorded beside an export."""
FORMS: Final = ("ndjson", "csv", "cef", "ocsf")
TARGET: Final = 50_000.0
L3AF: Final = Path(sys.executable).parent / "l3af"
POLL_SECONDS: Final = 0.02


def main() -> None:
    """Measure and report."""
    words = sys.argv[1:]
    count = int(words[words.index("--records") + 1]) if "--records" in words else RECORDS
    rows: list[Row] = []
    server = PostgresServer(fsync=True)
    server.start()
    try:
        for name, url in (("SQLite", "sqlite"), ("PostgreSQL", server.url())):
            with (
                TemporaryDirectory(prefix="l3af-bench-") as folder,
                running_bus(Path(folder)) as layout,
                running_auditor(layout, Path(folder), url),
            ):
                rows += uvloop.run(measure(layout, Path(folder), name, count))
    finally:
        server.stop()
    report("audit_export", rows)


@contextmanager
def running_auditor(layout: Layout, folder: Path, store: str) -> Iterator[None]:
    """The auditor of an installation, as a process of its own."""
    environ = os.environ | {
        "AUDITOR_CREDENTIALS_DIR": str(layout.credentials("service", "auditor")),
        "AUDITOR_STATE_DIR": str(folder / "auditor"),
        "AUDITOR_STORE": store,
        "AUDITOR_LOG_LEVEL": "error",
    }
    (folder / "auditor").mkdir()
    process = subprocess.Popen([sys.executable, "-m", "services.auditor"], env=environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def measure(layout: Layout, folder: Path, store: str, count: int) -> list[Row]:
    """Every form, and recording beside an export."""
    async with (
        connect(layout.credentials("service", "catalog")) as bus,
        connect(layout.credentials("principal", "admin")) as reader,
    ):
        await fill(bus, count)
        await recorded(reader, count)
        rows = []
        for form in FORMS:
            rate = await exported(layout, folder / f"all.{form}", form)
            target = TARGET if form == "ndjson" else None
            case = f"{store}: {form}, {count:,} records"
            rows.append(Row(case, rate, "records/s", target, at_least=True))
        alone = await recording_rate(bus, reader, first=count + 1)
        export = asyncio.create_task(exporting_again(layout, folder))
        beside = await recording_rate(bus, reader, first=count + MORE + 1)
        export.cancel()
        await asyncio.gather(export, return_exceptions=True)
    return [
        *rows,
        Row(f"{store}: publisher to signed records, nothing beside it", alone, "events/s"),
        Row(f"{store}: the same while the log is exported", beside, "events/s"),
    ]


async def exported(layout: Layout, file: Path, form: str) -> float:
    """Records a second of one export."""
    started_at = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(L3AF, "audit", "export", file, "--format", form, "--json"),
        *("--credentials", layout.credentials("principal", "admin")),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    taken_seconds = perf_counter() - started_at
    if process.returncode:
        raise SystemExit(output.decode())
    file.unlink()
    return msgspec.json.decode(output, type=Exported).records / taken_seconds


async def exporting_again(layout: Layout, folder: Path) -> None:
    """One export after another."""
    for number in range(sys.maxsize):
        await exported(layout, folder / f"{number}.ndjson", "ndjson")


async def recording_rate(bus: Bus, reader: Bus, *, first: int) -> float:
    """Events a second, from their publisher until a signed head covers them."""
    started_at = perf_counter()
    before = (await reader.request(GET_CHECKPOINT, GetCheckpoint())).tree_size
    await fill(bus, MORE, first=first)
    await recorded(reader, before + MORE)
    return MORE / (perf_counter() - started_at)


async def recorded(bus: Bus, size: int) -> None:
    """A signed head covers so many records."""
    while (await bus.request(GET_CHECKPOINT, GetCheckpoint())).tree_size < size:
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
