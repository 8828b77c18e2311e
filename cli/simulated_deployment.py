# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package published and deployed to simulated nodes, and how long each step took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

import msgspec

from cli.package_build import build_package
from cli.package_publish import load_publisher, upload
from cli.rollout import chosen_id
from cli.simulated_nodes import SimulatedSystem
from shared.adapters.bus import Bus, connect
from shared.contracts.base import EVENTS, Message
from shared.contracts.catalog import PUBLISH_PACKAGE, PublishPackage
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.events import PUBLIC, Event
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.errors import FaultError

REASON: Final = "l3af sim fleet"
PUBLISH_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 0.5


class Converged(Message, frozen=True, kw_only=True):
    """One deployment, from the request to its end."""

    outcome: Literal["succeeded", "failed"]
    accepted_seconds: float
    """From the request until it was accepted: every node fetched, verified and staged it."""
    converged_seconds: float
    """From then until the scheduler had read that every node runs it."""
    places: int
    silent: int = 0
    """Nodes that were away when it was accepted, and did not try it."""
    reasons: tuple[str, ...] = ()
    """Why it failed."""
    cpu_seconds: dict[str, float] = {}
    """What each process spent from acceptance to the end."""


class _Ends:
    """One command, until the scheduler said that it is over."""

    def __init__(self, system: SimulatedSystem, command_id: str) -> None:
        self._system = system
        self.command_id = command_id
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Event] = loop.create_future()
        self._silent = 0
        self._accepted_at = 0.0
        self._used_before: dict[str, float] = {}

    async def on_event(self, _subject: str, data: bytes) -> None:
        """Noted once."""
        event = msgspec.json.decode(data, type=Event)
        if event.data.correlation != self.command_id:
            return
        if event.data.action == "deployment.apply" and event.data.outcome == "accepted":
            self._silent = int(event.data.details.get("silent_count", 0))
        if event.data.action == "deployment.complete" and not self.ended.done():
            self.ended.set_result(event)

    def accept(self) -> None:
        """Now the command is accepted."""
        self._accepted_at = datetime.now(UTC).timestamp()
        self._used_before = self._cpu_seconds()

    def converged(self, accepted_seconds: float) -> Converged:
        """What came of it, once it ended."""
        ended = self.ended.result()
        return Converged(
            outcome="succeeded" if ended.data.outcome == "succeeded" else "failed",
            accepted_seconds=round(accepted_seconds, 3),
            converged_seconds=round(_moment(ended) - self._accepted_at, 3),
            places=int(ended.data.details.get("place_count", 0)),
            silent=self._silent,
            reasons=tuple(f"{one.path}: {one.rule}" for one in ended.data.reasons),
            cpu_seconds={
                name: round(spent - self._used_before.get(name, 0.0), 2)
                for name, spent in self._cpu_seconds().items()
            },
        )

    def _cpu_seconds(self) -> dict[str, float]:
        return {name: use.cpu_seconds for name, use in self._system.used().items()}


async def deploy_to(
    system: SimulatedSystem,
    package: Path,
    spec: DeploymentSpec,
    *,
    wait_seconds: float,
    stop: asyncio.Event,
    told: Callable[[str, int], None],
    sends_away: bool = False,
) -> Converged:
    """The package is published, and the deployment over.

    Args:
        system: Runs.
        package: The folder of its source.
        spec: What is deployed.
        wait_seconds: How long being accepted may take, and then converging.
        stop: Ends the waiting early.
        told: Hears what is done.
        sends_away: Whether nodes go away before it is asked for, and are waited for after it.

    Raises:
        RefusedError: The package cannot be built or published, or the deployment is refused.
        FaultError: Something is away, took longer than it may, or was stopped.
    """
    told("building and publishing the package", 0)
    built = await asyncio.to_thread(build_package, package)
    ends = _Ends(system, chosen_id(""))
    async with connect(system.credentials) as bus:
        await upload(bus, built.archive)
        signed = load_publisher(system.credentials).sign(built)
        await bus.request(
            PUBLISH_PACKAGE,
            PublishPackage(command_id=chosen_id(""), reason=REASON, signed=signed),
            timeout_seconds=PUBLISH_SECONDS,
        )
        await bus.subscribe(f"{EVENTS}.{PUBLIC}.scheduler.>", ends.on_event)
        if sends_away:
            await system.send_away(stop)
        told("staging", 0)
        asked = perf_counter()
        command = ApplyDeployment(spec=spec, command_id=ends.command_id, reason=REASON)
        until = asked + wait_seconds if sends_away else asked
        await _apply(bus, command, until=until, wait_seconds=wait_seconds, stop=stop)
        accepted_seconds = perf_counter() - asked
        ends.accept()
        told("converging", 0)
        over = asyncio.create_task(stop.wait())
        waiting = (ends.ended, over)
        await asyncio.wait(waiting, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
    if not ends.ended.done():
        raise FaultError(f"{spec.name} was not over after {wait_seconds:g} s, or it was stopped")
    if sends_away:
        await system.wait_for_return(stop)
    return ends.converged(accepted_seconds)


async def _apply(
    bus: Bus, command: ApplyDeployment, *, until: float, wait_seconds: float, stop: asyncio.Event
) -> None:
    """It is accepted; asked again until then, for a node that just went away counts as there."""
    while True:
        try:
            await bus.request(APPLY_DEPLOYMENT, command, timeout_seconds=wait_seconds)
        except FaultError:
            if stop.is_set() or perf_counter() >= until:
                raise
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


def _moment(event: Event) -> float:
    return datetime.fromisoformat(event.time).timestamp()
