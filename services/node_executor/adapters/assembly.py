# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How one node executor is put together, whatever kernel it stands on.

A real node and a simulated one differ in their grounds and in what they show of their machine; what
lies between is one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

from services.node_executor.adapters.archives import Archives, Cache
from services.node_executor.adapters.companion_desk import CompanionDesk
from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_keeper import CompanionKeeper
from services.node_executor.adapters.companion_line import Supervisor
from services.node_executor.adapters.event_publisher import EventPublisher
from services.node_executor.adapters.health_desk import HealthDesk
from services.node_executor.adapters.heartbeats import Heartbeats, say_unreadable
from services.node_executor.adapters.log_memory import LogMemory
from services.node_executor.adapters.machine import (
    HostListing,
    Links,
    MapShowing,
    PacketTrials,
    Scrapes,
    Verification,
)
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.node_records import Inventory, NodeRecords
from services.node_executor.adapters.preparer import Compiler, Linker, Preparer
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
from services.node_executor.execution import Kernel, Steps
from services.node_executor.fetching import Fetching
from services.node_executor.following import Following, StrayKernel
from services.node_executor.inspection import Inspection
from services.node_executor.metric_windows import MetricWindows
from services.node_executor.metrics_sampling import CounterReader, Sampler
from services.node_executor.resting import Resting
from services.node_executor.service import NodeExecutorService
from services.node_executor.snapshots import Snapshots
from services.node_executor.staging import Staging, Thread
from shared.contracts.events import Event
from shared.contracts.node import OfflineMode
from shared.moments import render_time


class NodeKernel(Kernel, StrayKernel, Protocol):
    """What a node asks of its kernel."""


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """What an executor stands on: its line, its threads, its kernel, its memory."""

    bus: NodeBus
    thread: Thread
    """The kernel's, which also journals."""
    disk: Thread
    """Waits for the disk, so that the kernel's thread does not."""
    kernel: NodeKernel
    steps: Steps
    counters: CounterReader
    store: StateStore
    journal: ChainJournal
    points: HookPoints
    trust: TrustKeeper
    cache: Cache
    compiler: Compiler
    link: Linker
    companions: CompanionNode
    companion_files: CompanionFiles
    supervisor: Supervisor | None
    """Takes requests; None: this node runs no companions."""
    listener: Supervisor | None
    """The same, for requests that wait."""
    boot_id: str
    """Names this run of the kernel."""
    uptime: Callable[[], float]
    """Seconds since the kernel started."""
    moment: Callable[[float], str]
    """Renders seconds since the kernel started as a time."""


class Workshop:
    """What works on the grounds: fetches, prepares, stages, samples, keeps companions."""

    def __init__(self, grounds: Grounds) -> None:
        """Nothing is touched yet."""
        ground, node, points = grounds, grounds.bus.name, grounds.points
        self.grounds = grounds
        self.drafts, self.readers = Drafts(), Readers(points.memory)
        self.archives = Archives(
            bus=ground.bus,
            cache=ground.cache,
            disk=ground.disk,
            thread=ground.thread,
            journal=ground.store,
            audience_of=lambda sha256: archive_audience(sha256, points.memories()),
        )
        self.preparer = Preparer(
            archives=self.archives,
            compiler=ground.compiler,
            link=ground.link,
            thread=ground.thread,
            trust=ground.trust.trust,
            now=utc_now,
        )
        self.staging = Staging(
            points=points,
            reader=ground.kernel,
            preparer=self.preparer,
            thread=ground.thread,
            clock=monotonic,
        )
        self.sampler = Sampler(
            points=points,
            reader=ground.kernel,
            counters=ground.counters,
            moment=ground.moment,
            on_unreadable=say_unreadable,
            windows=MetricWindows(),
        )
        self.keeper = CompanionKeeper(
            node=ground.companions,
            boot_id=ground.boot_id,
            supervisor=ground.supervisor,
            listener=ground.listener,
            archives=self.archives,
            files=ground.companion_files,
            points=points,
            journal=ground.store,
            thread=ground.thread,
            disk=ground.disk,
        )
        self.companions = CompanionDesk(
            node=node,
            keeper=self.keeper,
            supervisor=ground.supervisor,
            readers=self.readers,
            journal=ground.store,
            thread=ground.thread,
            new_id=lambda: secrets.token_hex(16),
        )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a node shows of the machine that it is."""

    inventory: Inventory
    host: HostListing
    maps: MapShowing
    trials: PacketTrials
    links: Links
    metrics: Scrapes
    listen: tuple[str, int] | None
    """Where metrics are served; None: nowhere."""
    verification: Verification
    processors: Callable[[], ProcessorTime]


def assembled(
    shop: Workshop,
    machine: Machine,
    *,
    journaled: asyncio.Queue[Event],
    tally: EventTally,
    offline_mode: OfflineMode = "available",
    period_seconds: float,
) -> tuple[NodeExecutorService, NodeRecords]:
    """The service of a node, and its records on the bus.

    Args:
        shop: What works on its grounds.
        machine: What it shows of itself.
        journaled: Events that its store has kept, to be published.
        tally: Counts the same events.
        offline_mode: What it does while the bus is away.
        period_seconds: How often everything is compared without anybody asking.
    """
    ground = shop.grounds
    bus, thread, points, node = ground.bus, ground.thread, ground.points, ground.bus.name
    start = secrets.token_hex(16)
    records = NodeRecords(
        node=node,
        bus=bus,
        thread=thread,
        store=ground.store,
        inventory=machine.inventory,
        offline_mode=offline_mode,
        now=now_text,
    )
    shop.keeper.tell(report=records.observe, register=records.look_again)
    service = NodeExecutorService(
        bus=bus,
        thread=thread,
        points=points,
        fetching=Fetching(archives=shop.archives, offers=shop.preparer, points=points),
        staging=shop.staging,
        sampler=shop.sampler,
        maps=machine.maps,
        inspection=Inspection(
            node=node, points=points, staging=shop.staging, drafts=shop.drafts, clock=monotonic
        ),
        trials=machine.trials,
        host=machine.host,
        publisher=EventPublisher(bus=bus, thread=thread, store=ground.store, journaled=journaled),
        snapshots=Snapshots(node=node, points=points, store=ground.store),
        records=records,
        following=Following(
            node=node,
            start=start,
            kernel=ground.kernel,
            steps=ground.steps,
            journal=ground.journal,
            points=points,
            clock=monotonic,
        ),
        resting=Resting(
            kernel=ground.kernel, journal=ground.journal, drift=points.drift, clock=ground.uptime
        ),
        settling=Settling(
            thread=thread, points=points, staging=shop.staging, journal=ground.journal
        ),
        links=machine.links,
        readers=shop.readers,
        metrics=machine.metrics,
        listen=machine.listen,
        log_memory=LogMemory(bus=bus, thread=thread, store=ground.store, now=now_text),
        heartbeats=Heartbeats(
            bus=bus,
            thread=thread,
            sampler=shop.sampler,
            readers=shop.readers,
            companions=shop.companions.usage,
            now=now_text,
        ),
        rounds=Rounds(period_seconds=period_seconds),
        verification=machine.verification,
        trust=ground.trust,
        companions=shop.companions,
        health=HealthDesk(
            node=node,
            boot_id=ground.boot_id,
            start=start,
            thread=thread,
            sampler=shop.sampler,
            tally=tally,
            uptime=ground.uptime,
            processors=machine.processors,
        ),
    )
    return service, records


def utc_now() -> datetime:
    """This moment, aware."""
    return datetime.now(UTC)


def now_text() -> str:
    """This moment, as events and records say it."""
    return render_time(utc_now())
