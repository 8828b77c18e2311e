# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's neighbours, small and on the real subjects: a catalog and node executors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import msgspec

from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import (
    RESOLVE_PACKAGE,
    PackageResolved,
    PackageVersion,
    ResolvePackage,
)
from shared.contracts.deployments import DEPLOYMENTS, DeploymentSpec
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.events import PUBLIC
from shared.contracts.inspection import SlotCounters
from shared.contracts.node import (
    HEARTBEAT,
    NODES,
    OBSERVED,
    STAGE_CHAINS,
    ChainsStaged,
    Heartbeat,
    StageChains,
    StagedChain,
)
from shared.contracts.node_health import READ_HEALTH, NodeHealth, PlaceHealth, ReadHealth
from shared.contracts.reviews import FIND_REVOKED, FindRevoked, RevokedVersion, RevokedVersions
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_DEPLOYMENT,
    ApplyDeployment,
    DeploymentStatus,
    GetDeployment,
)
from shared.errors import FaultError, Reason, Refusal, RefusedError
from tests.fleets import a_node_record, observing

WAIT_SECONDS = 30.0


@asynccontextmanager
async def a_catalog(
    bus: Bus, *versions: PackageVersion, revoked: Collection[RevokedVersion] = ()
) -> AsyncIterator[None]:
    """Resolves an exact version, or `*` to the last one given of that name.

    What is in `revoked` when it is asked is forbidden.
    """

    async def resolve(request: ResolvePackage, _: Caller) -> PackageResolved:
        named = [one for one in versions if one.manifest.name == request.name]
        if not named:
            reason = Reason(path="name", rule="no such package", got=request.name)
            raise RefusedError(f"{request.name}: no such package", [reason], code="not_found")
        meeting = [
            one
            for one in named
            if request.constraint in ("*", one.version) and one.version != request.without
        ]
        if not meeting:
            reason = Reason(path="version", rule="nothing meets it", got=request.constraint)
            raise RefusedError("nothing meets it", [reason], code="version_unsatisfied")
        return PackageResolved(package=meeting[-1], ticket="a-ticket")

    async def find_revoked(request: FindRevoked, _: Caller) -> RevokedVersions:
        return RevokedVersions(
            revoked=tuple(one for one in revoked if one.package in request.packages)
        )

    endpoints: dict[Endpoint[Any, Any], Handler] = {
        RESOLVE_PACKAGE: resolve,
        FIND_REVOKED: find_revoked,
    }
    async with bus.serve("catalog", endpoints, version="0.1.0"):
        yield


class TestNode:
    """An executor that runs whatever it is told, without a kernel."""

    __test__ = False

    def __init__(self, bus: Bus, *interfaces: str, labels: Mapping[str, str]) -> None:
        self.bus = bus
        self.record = a_node_record(bus.name, *interfaces, **labels)
        self.staged: list[StageChains] = []
        self.told: list[DesiredNode] = []
        self.staging_refusal: RefusedError | None = None
        """What staging is answered with."""
        self.refusal: Refusal | None = None
        """What it reports instead of running what it is told."""
        self.refused_version = ""
        """The version that it refuses so; empty: whatever it is told."""
        self.acts = asyncio.Event()
        """Cleared: it hears what it is told and does nothing."""
        self.acts.set()
        self.dropping: set[str] = set()
        """Versions that drop all of the thousand packets that come between two readings."""
        self.readings = 0

    async def open(self) -> None:
        """Registered, heard of and following its desired record."""
        await self.register()
        await self.beat()
        await self.bus.bucket(DESIRED).follow(self.bus.name, self._on_desired)

    async def register(self) -> None:
        """The inventory is written."""
        await self.bus.bucket(NODES).put(self.bus.name, self.record)

    async def beat(self) -> None:
        """One heartbeat."""
        await self.bus.publish(
            HEARTBEAT.at(node=self.bus.name),
            Heartbeat(
                node=self.bus.name,
                at="",
                desired_generation=0,
                chains_attached=0,
                chains_failed=0,
            ),
        )

    async def stage(self, request: StageChains, _: Caller) -> ChainsStaged:
        """Everything loads, unless `staging_refusal` says otherwise."""
        self.staged.append(request)
        if self.staging_refusal is not None:
            raise self.staging_refusal
        return ChainsStaged(chains=tuple(map(_tried, request.chains)))

    async def read_health(self, request: ReadHealth, _: Caller) -> NodeHealth:
        """A thousand packets came to every place since it was read before."""
        self.readings += 1
        return NodeHealth(
            node=self.bus.name,
            boot_id="boot-1",
            uptime_seconds=monotonic(),
            start="start-1",
            cpu_seconds=float(self.readings),
            cpu_busy_seconds=0.0,
            places=tuple(
                self._place_health(chain, program)
                for chain in (self.told[-1].chains if self.told else ())
                for program in chain.programs
                if program.deployment == request.deployment
            ),
        )

    def _place_health(self, chain: DesiredChain, program: DesiredProgram) -> PlaceHealth:
        packets = 1000 * self.readings
        dropped = packets if program.version in self.dropping else 0
        verdicts = {"drop": dropped, "pass": packets - dropped}
        return PlaceHealth(
            interface=chain.interface,
            hook=chain.hook,
            netns=chain.netns,
            revision=program.revision,
            counters=SlotCounters(
                deployment=program.deployment, slot=0, packets_in=packets, verdicts=verdicts
            ),
        )

    async def _on_desired(self, _: str, desired: DesiredNode | None, __: int) -> None:
        if desired is None:
            return
        self.told.append(desired)
        await self.acts.wait()
        versions = {one.version for chain in desired.chains for one in chain.programs}
        is_refused = self.refused_version in {"", *versions}
        observed = observing(desired, refusal=self.refusal if is_refused else None)
        await self.bus.bucket(OBSERVED).put(self.bus.name, observed)


def _tried(chain: DesiredChain) -> StagedChain:
    """Each program has 50 instructions, and the verifier walked twice as many."""
    (seen,) = observing(DesiredNode(node="n", generation=1, chains=(chain,))).chains
    return StagedChain(
        interface=chain.interface,
        hook=chain.hook,
        netns=chain.netns,
        plan_sha256="",
        verified_instructions=100 * len(chain.programs),
        programs=tuple(msgspec.structs.replace(one, instructions=50) for one in seen.programs),
    )


@asynccontextmanager
async def a_test_node(
    bus: Bus, *interfaces: str, labels: Mapping[str, str] | None = None
) -> AsyncIterator[TestNode]:
    """A node on the bus, named as its credentials say."""
    node = TestNode(bus, *interfaces, labels=labels or {})
    await node.open()
    async with bus.serve(
        "node",
        {STAGE_CHAINS: node.stage, READ_HEALTH: node.read_health},
        version="0.1.0",
        tokens={"node": bus.name},
    ):
        yield node


async def until_accepted(operator: Bus, spec: DeploymentSpec, command_id: str) -> None:
    """One deployment, asked for until it is answered: whoever should may be away, or busy."""
    request = ApplyDeployment(spec=spec, command_id=command_id)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await operator.request(APPLY_DEPLOYMENT, request, timeout_seconds=1.0)
            except FaultError:
                await asyncio.sleep(0.02)
            else:
                return


async def until_running(asker: Bus, name: str, *, space: str = PUBLIC) -> DeploymentStatus:
    """The deployment once every place of it runs, or is free."""
    request = GetDeployment(name=name, space=space)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            status = await asker.request(GET_DEPLOYMENT, request)
            if all(place.state == "running" for place in status.places):
                return status
            await asyncio.sleep(0.005)


async def until_settled(scheduler: Bus) -> None:
    """Every ending was said and every record settled."""
    deployments = scheduler.bucket(DEPLOYMENTS)
    async with asyncio.timeout(WAIT_SECONDS):
        while any(entry.value.unfinished for entry in await deployments.entries()):
            await asyncio.sleep(0.005)
