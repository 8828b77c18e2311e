# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The node executor: takes in what is desired, settles hook points, says what they run.

Level-triggered: a message is a hint, the desired record is truth, and the newest one wins.  Until
the bus said what is desired, that is what was last confirmed here: no start waits for a bus.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import msgspec
import structlog

from services.node_executor.adapters.event_publisher import EventPublisher
from services.node_executor.adapters.heartbeats import Heartbeats
from services.node_executor.adapters.host_programs import HostPrograms
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.link_monitor import LinkMonitor
from services.node_executor.adapters.loops import run_loops
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.node_records import NodeRecords
from services.node_executor.adapters.rounds import LOCAL_SECONDS, Rounds, reconciled
from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.chain_journal import NotAcknowledgedError
from services.node_executor.changes import HookPoints
from services.node_executor.events import bounded
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
from services.node_executor.preparation import GenerationConflictError, Needs, Prepared
from services.node_executor.recovery import confirmed_node
from services.node_executor.staging import Staging
from services.node_executor.trials import Trials
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
from shared.errors import FaultError, Refusal, RefusedError
from shared.version import VERSION

log = structlog.get_logger()


class RemovalError(FaultError):
    """A chain that nobody wants could not be taken off; it is tried again."""


class NodeExecutorService:
    """One node."""

    def __init__(
        self,
        *,
        bus: NodeBus,
        thread: KernelThread,
        points: HookPoints,
        fetching: Fetching,
        staging: Staging,
        sampler: Sampler,
        inspection: Inspection,
        trials: Trials,
        host: HostPrograms,
        publisher: EventPublisher,
        records: NodeRecords,
        following: Following,
        links: LinkMonitor,
        heartbeats: Heartbeats,
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
        self._host = host
        self._publisher = publisher
        self._records = records
        self._following = following
        self._links = links
        self._heartbeats = heartbeats
        self._desired: DesiredNode | None = None
        self._bus_was_asked = False
        self._has_begun = False
        self._acted_generation = 0
        self._faults: dict[Point, Refusal] = {}
        self._observed: ObservedNode | None = None
        self._reported: ObservedNode | None = None
        self._is_following = False
        self._one_at_a_time = asyncio.Lock()
        self._rounds = Rounds()
        self._waits_for_acknowledgement = False

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set.  The data path goes on without it."""
        await self._publisher.recover()
        self._publisher.when_published(self._on_published)
        await self._begin()
        await run_loops(
            self._bus.joining(self._joined),  # requests that are being answered get their answer
            self._reconciling(),
            self._publisher.publishing(),
            self._beating(),
            self._registering(),
            self._links.watching(self._on_links),
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
        self._reported = None
        await self._ask_what_is_desired(bus)
        await bus.bucket(DESIRED).follow(self._bus.name, self._on_desired)
        endpoints: dict[Endpoint[Any, Any], Handler] = {
            STAGE_CHAINS: self.stage_chains,
            GET_CHAINS: self.get_chains,
            EXPLAIN_CHAIN: self.explain_chains,
            TEST_CHAIN: self.try_packets,
            LIST_EBPF: self.list_ebpf,
            RECONCILE_NODE: self.reconcile,
        }
        async with bus.serve("node", endpoints, version=VERSION, tokens={"node": self._bus.name}):
            log.info("serving", node=self._bus.name)
            await self._beat()
            await asyncio.Event().wait()

    async def stage_chains(self, request: StageChains, _caller: Caller) -> ChainsStaged:
        """All chains load here; nothing was attached."""
        await self._fetching.for_staging(request)
        async with self._one_at_a_time:
            staged = await self._staging.stage(request)
            await self._thread(self._inspection.remember, request.chains)
        log.info("chains_staged", chains=len(staged.chains), duration_ms=staged.duration_ms)
        return staged

    async def get_chains(self, request: GetChains, _caller: Caller) -> ChainsShown:
        """What the kernel runs now, with counters."""
        sampled = await self._thread(self._sampler.sample, self._desired, per_cpu=request.per_cpu)
        reply = ChainsShown(node=self._bus.name, chains=asked_for(sampled, request))
        refuse_too_large(reply, limit_bytes=self._bus.max_payload_bytes - SPARE_BYTES)
        return reply

    async def explain_chains(self, request: ExplainChain, _caller: Caller) -> ChainsExplained:
        """Why what runs, or what was staged, is linked as it is."""
        return await self._thread(self._inspection.explain, request)

    async def try_packets(self, request: TryPackets, caller: Caller) -> PacketsTried:
        """What a chain does to packets, tried beside its hook."""
        chain = await self._thread(self._trials.chain, request)
        await self._fetching.for_staging(StageChains(chains=(chain,)))
        tried = await self._trials.try_packets(request)
        said = {"source": tried.source, "packets": len(tried.packets), "caller": caller.key}
        log.info("packets_tried", interface=tried.place, hook=tried.hook, **said)
        return tried

    async def list_ebpf(self, request: ListEbpf, _caller: Caller) -> EbpfListed:
        """All eBPF programs of this host, whoever loaded them."""
        return await self._host.list(request)

    async def reconcile(self, _request: ReconcileNode, _caller: Caller) -> NodeReconciled:
        """A whole round was made."""
        started = monotonic()
        await self._rounds.ask()
        return reconciled(self._bus.name, self._observed, seconds=monotonic() - started)

    def _on_links(self, places: frozenset[str] | None) -> None:
        self._rounds.links_changed(places)
        self._records.look_again()

    async def _on_desired(self, _key: str, desired: DesiredNode | None, _revision: int) -> None:
        self._desired = desired
        self._rounds.begin_retries_anew()
        self._rounds.wake()

    def _on_published(self) -> None:
        if self._waits_for_acknowledgement:
            self._rounds.wake()

    async def _on_reconnect(self) -> None:
        self._reported = None
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
            wait_seconds = LOCAL_SECONDS
            begun = self._rounds.begin()
            try:
                await self._reconcile(begun.places)
            except StateStoreError:
                raise  # without a journal nothing may be changed
            except (RefusedError, FaultError) as error:
                log.warning("reconciling_failed", why=error.message)
                self._reported = None
                wait_seconds = self._rounds.next_retry_seconds()
                begun.end(error)
            else:
                begun.end()
                if self._is_following:
                    wait_seconds = LOOK_AGAIN_SECONDS
                is_unsaid = self._reported != self._observed and self._bus.is_there
                if self._faults or is_unsaid:
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
            self._is_following = await self._follow(wanted)
            if await self._settle_all(wanted, desired):
                self._acted_generation = desired.generation if desired else self._acted_generation
                log.debug("settled", hook_points=len(wanted.chains))
        if not self._bus_was_asked:
            return
        sampled = await self._thread(self._sampler.sample, desired)
        self._observed = ObservedNode(
            node=self._bus.name,
            desired_generation=self._acted_generation,
            chains=tuple(self._with_fault(one.chain) for one in sampled),
            at="",
        )
        if (
            self._observed != self._reported
            and self._bus.is_there
            and await self._records.report(self._observed)
        ):
            self._reported = self._observed

    async def _follow(self, wanted: DesiredNode) -> bool:
        """Whether that has to be looked at again soon."""
        chains = {point_of(chain): chain for chain in wanted.chains}
        may_let_go = self._bus.is_there
        try:
            return await self._thread(self._following.follow, chains, may_let_go=may_let_go)
        except StateStoreError:
            raise
        except (RefusedError, FaultError) as error:
            log.warning("following_failed", why=error.message)
            return True

    async def _settle_all(self, wanted: DesiredNode, desired: DesiredNode | None) -> bool:
        """Whether every hook point was acted upon, and the desired record is still the newest.

        Without a desired record nothing is taken off: it may be wanted.
        """
        chains = {point_of(chain): chain for chain in wanted.chains}
        self._faults = {}
        self._waits_for_acknowledgement = False
        unwanted = self._points.points() if desired is not None else set()
        for point in sorted({*chains, *unwanted}):
            if self._desired is not desired:
                return False
            try:
                await self._settle(point, chains.get(point), wanted.generation)
            except StateStoreError:
                raise
            except RefusedError as error:  # of what ran before; the desired chain has its refusal
                log.warning("upholding_refused", **point._asdict(), why=error.message)
            except FaultError as fault:
                self._faults[point] = bounded(fault.refusal())
                if isinstance(fault, NotAcknowledgedError):
                    self._waits_for_acknowledgement = True
                log.warning("settling_failed", **point._asdict(), why=fault.message)
        return not self._faults

    async def _settle(self, point: Point, chain: DesiredChain | None, generation: int) -> None:
        if self._points.is_refused(point, chain):
            await self._thread(self._points.uphold, point)
            return
        try:
            try:
                await self._change(point, chain, generation)
            except GenerationConflictError as conflict:
                log.info("decided_anew", **point._asdict(), why=conflict.message)
                await self._change(point, chain, generation)
        except RefusedError as error:
            log.info("chain_refused", **point._asdict(), code=error.refusal_code, why=error.message)
            if chain is None:
                raise RemovalError(error.message, error.reasons) from error
            await self._thread(
                self._points.refuse, point, chain, desired_generation=generation, error=error
            )

    async def _change(self, point: Point, chain: DesiredChain | None, generation: int) -> None:
        """What the point needs is found out, prepared and done; refused if it changed meanwhile."""
        prepared = Prepared()
        needs: Needs | None = None
        try:
            needs = await self._thread(self._points.needs, point, chain)
            if needs is not None and chain is not None:
                prepared = await self._staging.prepare(point, chain, needs)
            await self._thread(
                self._points.settle,
                point,
                chain,
                desired_generation=generation,
                prepared=prepared,
                decided_on=needs.standing if needs else None,
            )
        except NotAcknowledgedError:
            if chain is not None and needs is not None:
                await self._staging.put_by(point, chain, needs, prepared)
                prepared = Prepared()
            raise
        finally:
            if prepared.linked is not None:
                await self._thread(prepared.linked.close)

    def _with_fault(self, chain: ObservedChain) -> ObservedChain:
        fault = self._faults.get(point_of(chain))
        if fault is None or chain.refusal is not None:
            return chain
        return msgspec.structs.replace(chain, refusal=fault)

    async def _registering(self) -> None:
        await self._bus.arrival()
        await self._records.registering()

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._beat()

    async def _beat(self) -> None:
        await self._heartbeats.beat(self._desired, acted_generation=self._acted_generation)
