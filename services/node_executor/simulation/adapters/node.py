# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One simulated node: the node executor as it is, over a kernel and a journal in memory.

Connection, key, permissions, signatures, staging, reconciliation, journal, events and records are
those of a real node.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePath
from time import monotonic

from services.node_executor.adapters.archives import Archives
from services.node_executor.adapters.companion_desk import CompanionDesk
from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_keeper import CompanionKeeper
from services.node_executor.adapters.event_publisher import EventPublisher
from services.node_executor.adapters.health_desk import HealthDesk
from services.node_executor.adapters.heartbeats import Heartbeats, say_unreadable
from services.node_executor.adapters.log_memory import LogMemory
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.node_records import NodeRecords
from services.node_executor.adapters.preparer import Preparer
from services.node_executor.adapters.processor_time import ProcessorTime
from services.node_executor.adapters.rounds import Rounds
from services.node_executor.adapters.settling import Settling
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.adapters.trust_keeper import TrustKeeper
from services.node_executor.artifact_eviction import archive_audience
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints
from services.node_executor.companion_set import CompanionNode
from services.node_executor.disclosure import Readers
from services.node_executor.drafts import Drafts
from services.node_executor.event_tally import EventTally
from services.node_executor.execution import Steps
from services.node_executor.fetching import Fetching
from services.node_executor.following import Following
from services.node_executor.inspection import Inspection
from services.node_executor.metric_windows import MetricWindows
from services.node_executor.metrics_sampling import Sampler
from services.node_executor.resting import Resting
from services.node_executor.service import NodeExecutorService
from services.node_executor.simulation.adapters.host import SimulatedHost
from services.node_executor.simulation.adapters.machine import (
    NoCompiler,
    NoMachine,
    SimulatedThread,
)
from services.node_executor.simulation.inventory import SimulatedInventory
from services.node_executor.simulation.linking import linker_of
from services.node_executor.simulation.troubles import Troubles
from services.node_executor.snapshots import Snapshots
from services.node_executor.staging import Staging
from shared.contracts.events import Event
from shared.moments import render_time

PLATFORM = "linux-x86_64"


class SimulatedNode:
    """One run of its executor, from its start to its end."""

    def __init__(
        self,
        credentials_dir: Path,
        host: SimulatedHost,
        *,
        troubles: Troubles,
        period_seconds: float,
    ) -> None:
        """Nothing is connected.

        Args:
            credentials_dir: Its own.
            host: What earlier runs left; no other run is over it now.
            troubles: What goes wrong.
            period_seconds: How often everything is compared without anybody asking.

        Raises:
            RefusedError: The credentials directory holds something malformed.
            FaultError: It cannot be read.
        """
        bus = NodeBus(credentials_dir, connecting=host.line.connected)
        self.name = bus.name
        boot_id, start = host.boot_id, secrets.token_hex(16)
        kernel = host.kernel
        thread = SimulatedThread(troubles, troubles.rng(bus.name, "latency"))
        journaled = asyncio.Queue[Event]()
        tally = EventTally()

        def on_event(event: Event) -> None:
            journaled.put_nowait(event)
            tally.note(event)

        store = StateStore.in_memory(
            host.state,
            emitter=f"node/{bus.name}",
            now=_now,
            new_salt=partial(secrets.token_bytes, 16),
            on_event=on_event,
        )
        journal = ChainJournal(node=bus.name, start=start, boot_id=boot_id, store=store)
        steps = Steps(kernel)
        points = HookPoints(kernel=kernel, steps=steps, journal=journal, clock=monotonic)
        self._trust = trust = TrustKeeper(
            node=bus.name, trust_root=bus.trust_root, mode="trusted", thread=thread, store=store
        )
        archives = Archives(
            bus=bus,
            cache=host.cache,
            disk=thread,
            thread=thread,
            journal=store,
            audience_of=lambda sha256: archive_audience(sha256, points.memories()),
        )
        preparer = Preparer(
            archives=archives,
            compiler=NoCompiler(),
            link=linker_of(kernel),
            thread=thread,
            trust=trust.trust,
            now=_utc_now,
        )
        staging = Staging(
            points=points, reader=kernel, preparer=preparer, thread=thread, clock=monotonic
        )
        readers, machine = Readers(points.memory), NoMachine(bus.name)
        sampler = Sampler(
            points=points,
            reader=kernel,
            counters=kernel,
            moment=lambda _: "",
            on_unreadable=say_unreadable,
            windows=MetricWindows(),
        )
        keeper = CompanionKeeper(
            node=CompanionNode(bus.name, PLATFORM, PurePath()),
            boot_id=boot_id,
            supervisor=None,
            listener=None,
            archives=archives,
            files=CompanionFiles(Path()),
            points=points,
            journal=store,
            thread=thread,
            disk=thread,
        )
        companions = CompanionDesk(
            node=bus.name,
            keeper=keeper,
            supervisor=None,
            readers=readers,
            journal=store,
            thread=thread,
            new_id=partial(secrets.token_hex, 16),
        )
        self._records = records = NodeRecords(
            node=bus.name,
            bus=bus,
            thread=thread,
            store=store,
            inventory=SimulatedInventory(
                bus.name, host.number, kernel=kernel, boot_id=boot_id, at=_now()
            ),
            now=_now,
        )
        keeper.tell(report=records.observe, register=records.look_again)
        self._service = NodeExecutorService(
            bus=bus,
            thread=thread,
            points=points,
            fetching=Fetching(archives=archives, offers=preparer, points=points),
            staging=staging,
            sampler=sampler,
            maps=machine,
            inspection=Inspection(
                node=bus.name, points=points, staging=staging, drafts=Drafts(), clock=monotonic
            ),
            trials=machine,
            host=machine,
            publisher=EventPublisher(bus=bus, thread=thread, store=store, journaled=journaled),
            snapshots=Snapshots(node=bus.name, points=points, store=store),
            records=records,
            following=Following(
                node=bus.name,
                start=start,
                kernel=kernel,
                steps=steps,
                journal=journal,
                points=points,
                clock=monotonic,
            ),
            resting=Resting(kernel=kernel, journal=journal, drift=points.drift, clock=monotonic),
            settling=Settling(thread=thread, points=points, staging=staging, journal=journal),
            links=machine,
            readers=readers,
            metrics=machine,
            listen=None,
            log_memory=LogMemory(bus=bus, thread=thread, store=store, now=_now),
            heartbeats=Heartbeats(
                bus=bus,
                thread=thread,
                sampler=sampler,
                readers=readers,
                companions=companions.usage,
                now=_now,
            ),
            rounds=Rounds(period_seconds=period_seconds),
            verification=machine,
            trust=trust,
            companions=companions,
            health=HealthDesk(
                node=bus.name,
                boot_id=boot_id,
                start=start,
                thread=thread,
                sampler=sampler,
                tally=tally,
                uptime=monotonic,
                processors=lambda: ProcessorTime(monotonic(), 0.0),
            ),
        )

    async def registered(self) -> None:
        """The bus has its inventory, or did not take it at the first attempt."""
        await self._records.first_registration()

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set.

        Raises:
            FaultError: Something that it cannot do without failed.
        """
        await self._trust.open()
        await self._service.run(stop)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _now() -> str:
    return render_time(_utc_now())
