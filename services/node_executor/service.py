# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The node executor: takes in what is desired, settles hook points, says what they run.

Level-triggered: a message is a hint, the desired record is truth, and the newest one wins.  Until
the bus said what is desired, that is what was last confirmed here: no start waits for a bus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic
from typing import Any

import structlog

from services.node_executor.adapters.companion_desk import CompanionDesk
from services.node_executor.adapters.event_publisher import EventPublisher
from services.node_executor.adapters.health_desk import HealthDesk
from services.node_executor.adapters.heartbeats import Heartbeats
from services.node_executor.adapters.log_memory import LogMemory
from services.node_executor.adapters.loops import run_loops
from services.node_executor.adapters.machine import (
    HostListing,
    Links,
    MapShowing,
    PacketTrials,
    Scrapes,
    Verification,
)
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.node_records import NodeRecords
from services.node_executor.adapters.rounds import Rounds, reconciled
from services.node_executor.adapters.settling import Settling
from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.adapters.trust_keeper import TrustKeeper
from services.node_executor.changes import HookPoints
from services.node_executor.disclosure import Readers
from services.node_executor.fetching import Fetching
from services.node_executor.following import LOOK_AGAIN_SECONDS, Following
from services.node_executor.generations import Point, point_of
from services.node_executor.inspection import Inspection
from services.node_executor.metrics_sampling import (
    SPARE_BYTES,
    Sampler,
    asked_for,
    refuse_too_large,
)
from services.node_executor.recovery import confirmed_node
from services.node_executor.resting import Resting
from services.node_executor.snapshots import Snapshots
from services.node_executor.staging import Staging, Thread
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode
from shared.contracts.ebpf import LIST_EBPF, EbpfListed, ListEbpf
from shared.contracts.inspection import (
    EXPLAIN_CHAIN,
    TEST_CHAIN,
    ChainsExplained,
    ExplainChain,
    PacketsTried,
    TryPackets,
)
from shared.contracts.log_heads import GET_KNOWN_HEAD
from shared.contracts.map_reading import READ_MAP, MapShown, ReadMap
from shared.contracts.node import (
    GET_CHAINS,
    HEARTBEAT_SECONDS,
    STAGE_CHAINS,
    ChainsShown,
    ChainsStaged,
    GetChains,
    ObservedChain,
    ObservedNode,
    StageChains,
)
from shared.contracts.reconciliation import RECONCILE_NODE, NodeReconciled, ReconcileNode
from shared.contracts.trust import TRUST
from shared.contracts.verification import VERIFY_ON_NODE
from shared.errors import FaultError, RefusedError
from shared.version import VERSION

log = structlog.get_logger()


class NodeExecutorService:
    """One node."""

    def __init__(
        self,
        *,
        bus: NodeBus,
        thread: Thread,
        points: HookPoints,
        fetching: Fetching,
        staging: Staging,
        sampler: Sampler,
        inspection: Inspection,
        trials: PacketTrials,
        maps: MapShowing,
        host: HostListing,
        publisher: EventPublisher,
        records: NodeRecords,
        following: Following,
        resting: Resting,
        settling: Settling,
        links: Links,
        heartbeats: Heartbeats,
        log_memory: LogMemory,
        metrics: Scrapes,
        listen: tuple[str, int] | None,
        rounds: Rounds,
        verification: Verification,
        snapshots: Snapshots,
        readers: Readers,
        trust: TrustKeeper,
        companions: CompanionDesk,
        health: HealthDesk,
    ) -> None:
        """Nothing is touched yet."""
        self._bus = bus
        self._thread = thread
        self._points = points
        self._fetching = fetching
        self._staging = staging
        self._sampler = sampler
        self._inspection = inspection
        self._trials = trials
        self._maps = maps
        self._host = host
        self._publisher = publisher
        self._records = records
        self._following = following
        self._resting = resting
        self._settling = settling
        self._links = links
        self._heartbeats = heartbeats
        self._log_memory = log_memory
        self._metrics = metrics
        self._listen = listen
        self._verification = verification
        self._snapshots = snapshots
        self._readers = readers
        self._trust = trust
        self._companions = companions
        self._health = health
        self._desired: DesiredNode | None = None
        self._bus_was_asked = False
        self._has_begun = False
        self._acted_generation = 0
        self._observed: ObservedNode | None = None
        self._looked: tuple[ObservedChain, ...] | None = None
        self._is_following = False
        self._one_at_a_time = asyncio.Lock()
        self._rounds = rounds

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set.  The data path goes on without it."""
        await self._publisher.recover()
        self._publisher.when_published(self._on_published)
        await self._begin()
        with self._metrics.served(self._listen, lambda: self._desired):
            await run_loops(
                self._bus.joining(self._joined),  # what is being answered gets its answer
                self._reconciling(),
                self._publisher.publishing(),
                self._beating(),
                self._metrics.looking_back(),
                self._registering(),
                self._log_memory.keeping(),
                self._records.reporting(),
                self._links.watching(self._on_links),
                *self._companions.keeper.loops(),
                stop=stop,
            )
        await self._staging.let_go(everything=True)

    async def _begin(self) -> None:
        """What a former run left is known, unless it cannot be journaled: then later."""
        if self._has_begun:
            return
        try:
            await self._records.note_mode()
            await self._thread(self._points.adopt)
        except StateStoreError:
            raise
        except (RefusedError, FaultError) as error:
            log.warning("adopting_failed", why=error.message)
            return
        self._has_begun = True
        log.info("adopted", node=self._bus.name, hook_points=len(self._points.points()))

    async def _joined(self, bus: Bus) -> None:
        """What is desired there is done, and requests are answered; never ends by itself."""
        bus.on_reconnect(self._on_reconnect)
        self._records.report_again()
        await self._trust.join(bus.bucket(TRUST), self._rounds.next_retry_seconds)
        await self._ask_what_is_desired(bus)
        await bus.bucket(DESIRED).follow(self._bus.name, self._on_desired)
        endpoints: dict[Endpoint[Any, Any], Handler] = {
            STAGE_CHAINS: self.stage_chains,
            GET_CHAINS: self.get_chains,
            EXPLAIN_CHAIN: self.explain_chains,
            TEST_CHAIN: self.try_packets,
            LIST_EBPF: self.list_ebpf,
            RECONCILE_NODE: self.reconcile,
            READ_MAP: self.read_map,
            VERIFY_ON_NODE: self._verification.take,
            GET_KNOWN_HEAD: self._log_memory.show,
            **self._companions.endpoints(),
            **self._health.endpoints(lambda: self._desired),
        }
        await self._records.first_registration()  # who answers can be asked for by its name
        async with bus.serve("node", endpoints, version=VERSION, tokens={"node": self._bus.name}):
            log.info("serving", node=self._bus.name)
            await self._beat()
            await asyncio.Event().wait()

    async def stage_chains(self, request: StageChains, _caller: Caller) -> ChainsStaged:
        """All chains load here; nothing was attached."""
        self._readers.learn_members(request.members)
        await self._fetching.for_staging(request)
        async with self._one_at_a_time:
            staged = await self._staging.stage(request)
            await self._thread(self._inspection.remember, request.chains)
        log.info("chains_staged", chains=len(staged.chains), duration_ms=staged.duration_ms)
        return staged

    async def get_chains(self, request: GetChains, caller: Caller) -> ChainsShown:
        """What the kernel runs now, with counters, as far as the caller sees it."""
        sampled = await self._thread(self._sampler.sample, self._desired, per_cpu=request.per_cpu)
        chains = self._readers.shown(caller.name, asked_for(sampled, request))
        reply = ChainsShown(node=self._bus.name, chains=chains)
        refuse_too_large(reply, limit_bytes=self._bus.max_payload_bytes - SPARE_BYTES)
        return reply

    async def explain_chains(self, request: ExplainChain, caller: Caller) -> ChainsExplained:
        """Why what runs, or what was staged, is linked as it is."""
        return await self._thread(self._inspection.explain, request, self._readers.of(caller.name))

    async def try_packets(self, request: TryPackets, caller: Caller) -> PacketsTried:
        """What a chain does to packets, tried beside its hook."""
        chain = await self._thread(self._trials.chain, request)
        self._readers.of(caller.name).refuse_unseen(chain, str(point_of(chain)))
        await self._fetching.for_staging(StageChains(chains=(chain,)))
        tried = await self._trials.try_packets(request)
        said = {"source": tried.source, "packets": len(tried.packets), "caller": caller.key}
        log.info("packets_tried", interface=tried.place, hook=tried.hook, **said)
        return tried

    async def list_ebpf(self, request: ListEbpf, caller: Caller) -> EbpfListed:
        """All eBPF programs of this host, whoever loaded them."""
        return await self._host.list(request, self._readers.of(caller.name))

    async def read_map(self, request: ReadMap, caller: Caller) -> MapShown:
        """What a map of a running program holds."""
        shown = await self._thread(self._maps.read, request, self._readers.of(caller.name))
        said = {"map": request.map, "entries": len(shown.entries), "caller": caller.key}
        log.info("map_read", interface=shown.place, hook=shown.hook, **said)
        return shown

    async def reconcile(self, _request: ReconcileNode, caller: Caller) -> NodeReconciled:
        """A whole round was made."""
        started = monotonic()
        await self._rounds.ask()
        observed = self._readers.node(caller.name, self._observed)
        return reconciled(self._bus.name, observed, seconds=monotonic() - started)

    def _on_links(self, places: frozenset[str] | None) -> None:
        self._rounds.links_changed(places)
        self._records.look_again()

    async def _on_desired(self, _key: str, desired: DesiredNode | None, _revision: int) -> None:
        if desired is not None and desired.node != self._bus.name:
            log.error("record_skipped", why=f"desired/{self._bus.name} is for {desired.node}")
            return
        self._desired = desired
        self._readers.learn(desired)
        self._rounds.begin_retries_anew()
        self._rounds.wake()

    def _on_published(self) -> None:
        if self._settling.waits_for_acknowledgement:
            self._rounds.wake()

    async def _on_reconnect(self) -> None:
        self._records.report_again()
        self._rounds.wake()

    async def _ask_what_is_desired(self, bus: Bus) -> None:
        """What is desired is known, so that the first report does not fall behind the last one."""
        while True:
            try:
                entry = await bus.bucket(DESIRED).get(self._bus.name)
            except (FaultError, RefusedError) as error:
                log.warning("learning_failed", why=error.message)
                await asyncio.sleep(self._rounds.next_retry_seconds())
            else:
                self._bus_was_asked = True
                await self._on_desired(self._bus.name, entry.value if entry else None, 0)
                return

    async def _reconciling(self) -> None:
        while True:
            wait_seconds = self._rounds.period_seconds
            begun = self._rounds.begin()
            try:
                await self._reconcile(begun.places)
            except StateStoreError:
                raise  # without a journal nothing may be changed
            except (RefusedError, FaultError) as error:
                log.warning("reconciling_failed", why=error.message)
                self._looked = None
                wait_seconds = self._rounds.next_retry_seconds()
                begun.end(error)
            else:
                begun.end()
                if self._is_following:
                    wait_seconds = LOOK_AGAIN_SECONDS
                if self._settling.faults:
                    wait_seconds = self._rounds.next_retry_seconds()
            await self._staging.let_go()
            await self._rounds.wait(wait_seconds)

    async def _reconcile(self, places: frozenset[str] | None) -> None:
        """Every hook point is settled, or it is known why not; then what runs is said."""
        await self._begin()
        desired = self._desired
        wanted = desired or confirmed_node(self._bus.name, self._points.memories())
        await self._fetching.for_settling(wanted, then=self._rounds.wake)
        async with self._one_at_a_time:
            await self._thread(self._following.reconsider, places)
            resting = await self._look(wanted, takes_off=desired is not None)
            self._is_following = await self._follow(wanted, resting)
            if await self._settling.settle_all(
                wanted,
                takes_off=desired is not None,
                resting=resting,
                is_newest=lambda: self._desired is desired,
            ):
                self._acted_generation = desired.generation if desired else self._acted_generation
                log.debug("settled", hook_points=len(wanted.chains), resting=len(resting))
        await self._companions.keeper.follow()
        if not self._bus_was_asked:
            return
        known = resting if desired is not None else {}
        seen = await self._thread(self._sampler.describe, desired, known=known)
        self._observed = ObservedNode(
            node=self._bus.name,
            desired_generation=self._acted_generation,
            chains=tuple(map(self._settling.with_fault, seen)),
            at="",
        )
        self._looked = self._observed.chains
        self._companions.keeper.observe(self._observed)
        await self._thread(self._snapshots.take_if_due, seen)

    async def _look(self, wanted: DesiredNode, *, takes_off: bool) -> dict[Point, ObservedChain]:
        """The hook points where nothing has to be done, as they are now."""
        chains: dict[Point, DesiredChain | None] = dict.fromkeys(
            self._points.points() if takes_off else ()
        )
        chains |= {point_of(chain): chain for chain in wanted.chains}
        return await self._thread(self._resting.look, chains, desired_generation=wanted.generation)

    async def _follow(self, wanted: DesiredNode, resting: Mapping[Point, ObservedChain]) -> bool:
        """Whether that has to be looked at again soon."""
        chains = {point_of(chain): chain for chain in wanted.chains}
        at_home = [point for point, seen in resting.items() if seen.state == "attached"]
        try:
            return await self._thread(
                self._following.follow, chains, may_let_go=self._bus.is_there, at_home=at_home
            )
        except StateStoreError:
            raise
        except (RefusedError, FaultError) as error:
            log.warning("following_failed", why=error.message)
            return True

    async def _registering(self) -> None:
        await self._bus.arrival()
        await self._records.registering()

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        await self._heartbeats.beat(
            self._desired, acted_generation=self._acted_generation, looked=self._looked
        )
