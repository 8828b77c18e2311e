# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records a second that `l3af audit export` writes, end to end: store, chunks over the bus, file.

A real nats-server, an auditor and the command, a process each; what is measured is the whole
command, from its start to the proof beside the file.  Then the auditor records new events, once
by itself and once while the log is exported again and again.  `--records N`, `--forms A,B` and
`--stores A` make it shorter.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec
import uvloop

from benchmarks.audit_ingest import fill
from benchmarks.audit_query import START, messages
from benchmarks.report import Row, report
from benchmarks.services import running_bus
from cli.audit_export import Exported
from installation.adapters.directory import read_facts
from installation.layout import Layout
from services.auditor.adapters.log_stores import open_store
from services.auditor.config import AuditorConfig
from services.auditor.records import read_message
from shared.adapters.bus import Bus, connect
from shared.adapters.bus_errors import NobodyAnswersError
from shared.contracts.audit import GET_CHECKPOINT, GetCheckpoint
from tests.support.postgres import PostgresServer

RECORDS: Final = 200_000
BATCH: Final = 500
ROUNDS: Final = 3
MORE: Final = 10_000
"""Events recorded beside an export."""
FORMS: Final = ("ndjson", "csv", "cef", "syslog", "ocsf", "parquet")
TARGET: Final = 50_000.0
L3AF: Final = Path(sys.executable).parent / "l3af"
POLL_SECONDS: Final = 0.02


def main() -> None:
    """Measure and report."""
    count = int(told("--records", str(RECORDS)))
    rows: list[Row] = []
    server = PostgresServer(fsync=True)
    server.start()
    try:
        places = {"SQLite": "sqlite", "PostgreSQL": server.url()}
        for name in told("--stores", ",".join(places)).split(","):
            with TemporaryDirectory(prefix="l3af-bench-") as text:
                folder = Path(text)
                with running_bus(folder) as layout:
                    config = config_of(layout, folder, places[name])
                    uvloop.run(filled(layout, config, count))
                    with running_auditor(config) as pid:
                        rows += uvloop.run(measure(layout, folder, name, pid))
    finally:
        server.stop()
    report("audit_export", rows)


def told(option: str, usual: str) -> str:
    """The word behind an option of the command line."""
    words = sys.argv[1:]
    return words[words.index(option) + 1] if option in words else usual


def config_of(layout: Layout, folder: Path, store: str) -> AuditorConfig:
    """What the auditor of an installation is told."""
    return AuditorConfig(
        credentials_dir=layout.credentials("service", "auditor"),
        state_dir=folder / "auditor",
        store=store,
    )


async def filled(layout: Layout, config: AuditorConfig, count: int) -> None:
    """A log of so many records, as the auditor keeps them."""
    config.state_dir.mkdir()
    origin = read_facts(layout).log_origin
    async with aclosing(await open_store(config, origin=origin)) as store:
        for start in range(0, count, BATCH):
            drafts = [read_message(one) for one in messages(start, min(count, start + BATCH))]
            await store.append(drafts, after=start, now=START)


@contextmanager
def running_auditor(config: AuditorConfig) -> Iterator[int]:
    """The auditor of an installation, as a process of its own; which."""
    environ = os.environ | {
        "AUDITOR_CREDENTIALS_DIR": str(config.credentials_dir),
        "AUDITOR_STATE_DIR": str(config.state_dir),
        "AUDITOR_STORE": config.store,
        "AUDITOR_LOG_LEVEL": "error",
    }
    process = subprocess.Popen([sys.executable, "-m", "services.auditor"], env=environ)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def measure(layout: Layout, folder: Path, store: str, auditor: int) -> list[Row]:
    """Every form, and recording beside an export."""
    async with (
        connect(layout.credentials("service", "catalog")) as bus,
        connect(layout.credentials("principal", "admin")) as reader,
    ):
        count = await recorded(reader, 1)
        rows = []
        for form in told("--forms", ",".join(FORMS)).split(","):
            target = TARGET if form == "ndjson" else None
            rounds = range(1 if target is None else ROUNDS)
            before_us = processor_us(auditor)
            rates = [await exported(layout, folder / f"all.{form}", form) for _ in rounds]
            taken_us = processor_us(auditor) - before_us
            case = f"{store}: {form}, {count:,} records"
            rows.append(Row(case, statistics.median(rates), "records/s", target, at_least=True))
            if target is not None:
                share = taken_us / len(rounds) / count
                rows.append(
                    Row(f"{store}: processor time of auditor and command, a record", share, "µs")
                )
        alone = await recording_rate(bus, reader, first=1)
        export = asyncio.create_task(exporting_again(layout, folder))
        beside = await recording_rate(bus, reader, first=MORE + 1)
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


def processor_us(auditor: int) -> float:
    """Processor time that the auditor, and commands that ended, have taken so far."""
    fields = Path(f"/proc/{auditor}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(one) for one in fields[11:13])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime) * 1_000_000


async def recording_rate(bus: Bus, reader: Bus, *, first: int) -> float:
    """Events a second, from their publisher until a signed head covers them."""
    started_at = perf_counter()
    before = (await reader.request(GET_CHECKPOINT, GetCheckpoint())).tree_size
    await fill(bus, MORE, first=first)
    await recorded(reader, before + MORE)
    return MORE / (perf_counter() - started_at)


async def recorded(bus: Bus, size: int) -> int:
    """How many records a signed head covers, once there are so many."""
    while True:
        with suppress(NobodyAnswersError):
            head = await bus.request(GET_CHECKPOINT, GetCheckpoint())
            if head.tree_size >= size:
                return head.tree_size
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
