# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m services.auditor`: configuration, adapters, service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.event_stream import EventStream
from services.auditor.adapters.log_stores import open_store
from services.auditor.adapters.places import Places
from services.auditor.adapters.published_head import PublishedHead
from services.auditor.adapters.signing_key import read_signing_keys
from services.auditor.adapters.sqlite_store import share_interpreter
from services.auditor.adapters.tile_directory import TileDirectory
from services.auditor.adapters.witness_client import WitnessClient
from services.auditor.compliance.execution import ComplianceLog
from services.auditor.compliance.service import FindingDesk
from services.auditor.config import AuditorConfig, parse_witnesses
from services.auditor.execution import Heads, Recording, at_work
from services.auditor.health.adapters.database_disk import disk_of
from services.auditor.health.execution import Watch, Watched, watching
from services.auditor.health.limits import parse_limits
from services.auditor.persons.service import ErasureDesk
from services.auditor.publication.execution import Publication, checked, published, say_keys
from services.auditor.reporting.execution import ReportBuckets, ReportMaker, making_reports
from services.auditor.reporting.service import ReportDesk
from services.auditor.retention.adapters.archive_directory import ArchiveDirectory
from services.auditor.retention.execution import Archive, Pruner
from services.auditor.retention.service import HoldDesk, RetentionDesk, retaining
from services.auditor.service import CONCURRENCY, AuditorService
from services.auditor.sight import Sight
from services.auditor.store import StoreFaultError
from services.auditor.watching.execution import WatchedLog, alerting
from services.auditor.watching.service import WatchDesk
from shared.adapters.bus import Bus, connect
from shared.adapters.lifecycle import run
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.adapters.spaces import KnownSpaces
from shared.config import load_config
from shared.contracts.retention import RETENTION
from shared.contracts.watching import WATCH_RULES, WATCH_STATE
from shared.version import VERSION

STORE_AWAY_SECONDS: Final = 1.0

_log = structlog.get_logger()


@asynccontextmanager
async def auditing(
    bus: Bus, config: AuditorConfig, stop: asyncio.Event | None = None
) -> AsyncIterator[None]:
    """A block during which everything is recorded and the log answers."""
    origin = bus.facts.log_origin
    limits = parse_limits(config.alarms)
    keys = read_signing_keys(config.credentials_dir, bus.facts)
    async with aclosing(await open_store(config, origin=origin, stop=stop)) as store:
        safe = CheckpointFile(config.state_dir)
        heads = Heads(
            log=store,
            safe=safe,
            origin=origin,
            seed=keys.seed,
            older_seeds=keys.older_seeds,
            chain=keys.chain,
        )
        await heads.open()
        outbox = Outbox(bus, "auditor")
        spaces = KnownSpaces(bus, now=lambda: datetime.now(UTC))
        await spaces.open()
        publication = Publication(
            log=store,
            heads=heads,
            witnesses=[WitnessClient(*one) for one in parse_witnesses(config.witnesses)],
            published=PublishedHead(bus),
            tiles=TileDirectory(Path(config.tiles_dir)) if config.tiles_dir else None,
        )
        await checked(publication, outbox)
        stream = EventStream(bus.connection)
        places = Places(bus.connection)
        recording = Recording(stream=stream, log=store, heads=heads, emitter=outbox)
        watched = Watched(
            log=store,
            heads=heads,
            recording=recording,
            stream_end=stream.end,
            witnesses=publication.seen,
            disk=disk_of(config),
        )
        watch = Watch(watched, emitter=outbox, limits=limits)
        watched_log = WatchedLog(
            log=store,
            rules=bus.bucket(WATCH_RULES),
            state=bus.bucket(WATCH_STATE),
            emitter=outbox,
            spaces=spaces,
        )
        buckets = ReportBuckets.of(bus)
        maker = ReportMaker(
            log=store, buckets=buckets, outbox=outbox, spaces=spaces, health=watch.health
        )
        desk = ReportDesk(maker, outbox, log=store, buckets=buckets, spaces=spaces)
        service = AuditorService(
            log=store,
            heads=heads,
            places=places,
            outbox=outbox,
            spaces=spaces,
            health=watch.health,
            compare=publication.compare,
            witnesses=publication.seen,
        )

        async def recorded() -> None:
            await recording.reached(await places.newest_sequence())

        holds = HoldDesk(store, outbox, spaces, recorded=recorded)
        endpoints = service.endpoints() | WatchDesk(watched_log, outbox).endpoints()
        endpoints |= desk.endpoints() | holds.endpoints()
        findings = ComplianceLog(store, now=lambda: datetime.now(UTC))
        endpoints |= FindingDesk(findings, store, outbox, spaces=spaces).endpoints()
        files = ArchiveDirectory(Path(config.archive_dir)) if config.archive_dir else None
        pruner = Pruner(
            log=store,
            emitter=outbox,
            spaces=spaces,
            recorded=recorded,
            archive=Archive(files, heads) if files else None,
        )
        retention = RetentionDesk(pruner, bus.bucket(RETENTION), outbox, Sight(store, spaces))
        endpoints |= retention.endpoints()
        erasures = ErasureDesk(store, outbox, spaces, recorded=recorded)
        endpoints |= erasures.endpoints()
        async with at_work(recording), published(publication, outbox), watching(watch):
            await outbox.open()
            await recorded()
            await _waited_out(partial(say_keys, store, keys.chain, outbox))
            await _waited_out(service.open)
            await _waited_out(erasures.open)
            async with (
                alerting(watched_log),
                making_reports(maker),
                retaining(retention),
                bus.serve(
                    "auditor",
                    endpoints,
                    version=VERSION,
                    concurrency=CONCURRENCY,
                    on_refused=spaces.discreetly(outbox.note_refusal),
                ),
            ):
                yield


async def _waited_out(step: Callable[[], Awaitable[None]]) -> None:
    """`step`, which may be done again, is done, however long the store is away meanwhile.

    What is recorded by then waits for the store too, so a start is no reason to end.
    """
    while True:
        try:
            return await step()
        except StoreFaultError as error:
            _log.warning("start_delayed", why=error.message)
            await asyncio.sleep(STORE_AWAY_SECONDS)


async def main(stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    config = load_config(AuditorConfig, os.environ, prefix="AUDITOR_")
    configure_logs(service="auditor", level=config.log_level)
    share_interpreter()
    async with connect(config.credentials_dir) as bus, auditing(bus, config, stop):
        await stop.wait()


if __name__ == "__main__":
    run(main)
