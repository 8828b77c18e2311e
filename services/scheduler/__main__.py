# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m services.scheduler`: configuration, adapters, service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from services.scheduler.adapters.expiries import Expiries
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.neighbours import Neighbours
from services.scheduler.adapters.node_upkeep import NodeUpkeep
from services.scheduler.adapters.package_usage import PackageUsage
from services.scheduler.adapters.revocations import Revocations
from services.scheduler.adapters.rollouts import Rollouts
from services.scheduler.execution import Execution
from services.scheduler.leadership.adapters.instances import named_instance
from services.scheduler.leadership.adapters.lease_records import LeaseRecords
from services.scheduler.leadership.execution import Candidacy, Lead, over
from services.scheduler.service import SchedulerService
from shared.adapters.bus import Bus, connect
from shared.adapters.fencing import FencedWrites
from shared.adapters.lifecycle import run
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import QUEUE_GROUP
from shared.adapters.watched_bus import WatchedBus
from shared.config import ServiceConfig, load_config
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.leadership import GET_LEADER
from shared.contracts.rollout_policy import ROLLOUT_POLICY
from shared.contracts.scheduler import APPLY_DEPLOYMENT, NODE_LABELS, REMOVE_DEPLOYMENT
from shared.contracts.storage import FENCED_BUCKETS
from shared.version import VERSION


@asynccontextmanager
async def scheduling(
    bus: Bus,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = monotonic,
    records: FleetRecords | None = None,
    lead: Lead | None = None,
) -> AsyncIterator[None]:
    """A block during which the scheduler answers, tells nodes and says endings.

    Args:
        bus: In the scheduler's name; with a `lead`, its writes are fenced.
        now: The clock that deadlines are judged by.
        clock: The one that silence of nodes is, unless there are `records`.
        records: Those that were watched before; None: made here.
        lead: This process's; None: it is the only one.
    """
    records = records or FleetRecords(bus, now=now, clock=clock)
    watched = WatchedBus(bus, (DEPLOYMENTS, NODE_LABELS, ROLLOUT_POLICY), stored=records.note)
    outbox = Outbox(watched, "scheduler", now=now)
    execution = Execution(records=records, outbox=outbox)
    neighbours = Neighbours(bus)
    service = SchedulerService(
        records=records, neighbours=neighbours, outbox=outbox, execution=execution, now=now
    )
    endpoints = service.endpoints() | PackageUsage(records, neighbours).endpoints()
    revocations = Revocations(
        bus,
        records=records,
        neighbours=neighbours,
        outbox=outbox,
        execution=execution,
        apply=endpoints[APPLY_DEPLOYMENT],
        remove=endpoints[REMOVE_DEPLOYMENT],
        now=now,
    )
    expiries = Expiries(
        bus,
        records=records,
        outbox=outbox,
        execution=execution,
        remove=endpoints[REMOVE_DEPLOYMENT],
        now=now,
    )
    rollouts = Rollouts(bus, records=records, outbox=outbox, execution=execution, now=now)
    await records.open()
    await outbox.open()
    records.take_all()
    if lead is not None:
        await outbox.emit(lead.taken, event_id=lead.take_id)
        endpoints[GET_LEADER] = lead.get_leader
    bus.on_reconnect(execution.mark_reconnected)
    bus.spawn(execution.keep_telling())
    bus.spawn(execution.keep_ending())
    bus.spawn(revocations.keep_acting())
    bus.spawn(expiries.keep_acting())
    bus.spawn(NodeUpkeep(records=records, outbox=outbox, execution=execution, now=now).keep())
    bus.spawn(rollouts.keep_acting())
    on_refused = records.spaces.discreetly(outbox.note_refusal)
    async with bus.serve(
        "scheduler",
        endpoints,
        version=VERSION,
        on_refused=on_refused,
        queue=QUEUE_GROUP if lead is None else "",
        admit=None if lead is None else lead.admit,
    ):
        yield


async def taking_part(credentials_dir: Path, candidacy: Candidacy, stop: asyncio.Event) -> None:
    """Stands by, following what the nodes write, and leads until `stop` or the lead is lost.

    All of it over one connection, so that nothing of this lead outlives it.
    """
    async with connect(credentials_dir) as bus:
        records = FleetRecords(bus)
        await records.watch()
        lead = await candidacy.turn(stop)
        if lead is None:
            return
        async with candidacy.kept(lead):
            writes = FencedWrites(
                bus.connection,
                FENCED_BUCKETS,
                token=lead.lease.token,
                instance=lead.lease.instance,
                emitter="scheduler",
            )
            await writes.open()
            bus.fence_writes(writes)
            async with scheduling(bus, records=records, lead=lead):
                await over(lead, stop, writes.lost)


async def main(stop: asyncio.Event) -> None:
    """Takes part until `stop` is set."""
    config = load_config(ServiceConfig, os.environ, prefix="SCHEDULER_")
    configure_logs(service="scheduler", level=config.log_level)
    with named_instance(config.state_dir) as instance:
        async with connect(config.credentials_dir) as bus:
            candidacy = Candidacy(LeaseRecords(bus), instance)
            while not stop.is_set():
                await taking_part(config.credentials_dir, candidacy, stop)


if __name__ == "__main__":
    run(main)
