# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long others' changes stay unnoticed, and what a look at a hundred hook points takes.

look      an executor's parts in this process: every hook point settled once with nothing to do
detect    a whole system: somebody does something at a random moment of the period, until the event
          that says so arrives over the bus; the longest of several rounds
"""

from __future__ import annotations

import asyncio
import random
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter, process_time
from typing import Final

import msgspec
from pyroute2 import IPRoute

from benchmarks.executor_stage import HOOKS, one_node
from benchmarks.report import Row, report
from cli.package_build import build_package
from demo.stage import ROOT, Stage
from services.node_executor.adapters.hook_points import HookPointKernel
from services.node_executor.adapters.linker import link
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints
from services.node_executor.execution import Steps
from services.node_executor.generations import Point
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import Prepared
from shared.adapters.bus import Bus, connect
from shared.contracts.base import EVENTS
from shared.contracts.catalog import DsseEnvelope, SignedPackage
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.drift import DriftPolicy
from shared.contracts.events import Event
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.package_archive import unpack_archive

INTERFACES: Final = 50
LOOKS: Final = 10
ROUNDS: Final = 2
PERIOD_SECONDS: Final = 15.0
SAYING_SECONDS: Final = 1.0
"""What a round takes, and the way of the event over the bus."""
TARGET_LOOK_MS: Final = 150.0
"""1 % of a processor over a period."""
DEADLINE_SECONDS: Final = 60.0
PREFIX: Final = "l3afdrift"
PINS: Final = Path("/sys/fs/bpf") / PREFIX
HOST: Final = "host-1"


def package(name: str) -> OpenedPackage:
    """A first-party package; signatures do not matter here."""
    built = build_package(ROOT / "packages" / name)
    return OpenedPackage(built.manifest, unpack_archive(built.archive), "")


def a_chain(
    point: Point, program: str, opened: OpenedPackage, options: LinkOptions
) -> DesiredChain:
    """One program, configured if it can be."""
    entry = next(one for one in opened.manifest.programs if one.name == program)
    nothing = DsseEnvelope(payloadType="", payload="", signatures=())
    signed = SignedPackage(manifest=nothing, certificate=nothing, archive_sha256="0" * 64)
    one = DesiredProgram(
        deployment="one",
        revision=1,
        package=opened.manifest.name,
        version="1.0.0",
        program=program,
        function=entry.function,
        object=entry.object,
        order=10,
        proceed_on=("pass",) if point.hook == "xdp" else ("ok",),
        config={name: {"80": 100, "443": 500} for name in opened.manifest.maps},
        signed=signed,
    )
    cause = Cause(command_id="benchmark")
    return DesiredChain(
        interface=point.interface, hook=point.hook, programs=(one,), cause=cause, link=options
    )


@contextmanager
def interfaces() -> Iterator[list[str]]:
    """So many, gone afterwards."""
    names = [f"drf{number}" for number in range(INTERFACES)]
    with IPRoute() as route:
        for name, peer in zip(names[::2], names[1::2], strict=True):
            route.link("add", ifname=name, kind="veth", peer=peer)
        try:
            yield names
        finally:
            for name in names[::2]:
                route.link("del", index=route.link_lookup(ifname=name)[0])


def looks(options: LinkOptions) -> list[tuple[float, float]]:
    """Milliseconds of each look, by the clock and of the processor."""
    opened = {"xdp": package("rate-limit"), "tc-ingress": package("port-count")}
    programs = {"xdp": "rate-limit", "tc-ingress": "port-count-tc"}
    with ExitStack() as held:
        folder = Path(held.enter_context(TemporaryDirectory(prefix="l3af-bench-")))
        names = held.enter_context(interfaces())
        held.callback(shutil.rmtree, PINS, ignore_errors=True)
        kernel = HookPointKernel(PurePosixPath(PINS))
        store = StateStore.open(
            folder / "state.sqlite",
            emitter="node/n1",
            now=lambda: "2026-01-01T00:00:00.000000Z",
            new_salt=lambda: bytes(16),
            on_event=lambda _event: None,
        )
        held.callback(store.close)
        journal = ChainJournal(node="n1", start="benchmark", boot_id="boot", store=store)
        points = HookPoints(
            kernel=kernel, steps=Steps(kernel), journal=journal, clock=lambda: 100.0
        )
        wanted = {
            point: a_chain(point, programs[hook], opened[hook], options)
            for name in names
            for hook, _ in HOOKS
            for point in [Point(name, hook)]
        }
        for point, chain in wanted.items():
            needs = points.needs(point, chain)
            assert needs is not None
            with_program = link(point, chain, [opened[point.hook]], needs=needs)
            prepared = Prepared(linked=with_program)
            points.settle(point, chain, desired_generation=1, prepared=prepared)
            with_program.close()
        found = []
        for _ in range(LOOKS):
            started, cpu = perf_counter(), process_time()
            for point, chain in wanted.items():
                assert points.needs(point, chain) is None
                points.settle(point, chain, desired_generation=1, prepared=Prepared())
            found.append((1000 * (perf_counter() - started), 1000 * (process_time() - cpu)))
        assert len(store.unpublished()) == 2 * len(wanted), "something was taken for drift"
        return found


class Watched:
    """The chain of a rate limit on a node, and what somebody does to it."""

    def __init__(self, stage: Stage, bus: Bus) -> None:
        self._stage = stage
        self._bus = bus
        self._pins = Path(f"/sys/fs/bpf/{PREFIX}/{HOST}/data0/xdp")
        self.seen: asyncio.Queue[str] = asyncio.Queue()

    async def deploy(self) -> None:
        """The chain runs, and events arrive."""
        spec = DeploymentSpec(
            name="limit",
            package="rate-limit",
            hook="xdp",
            interfaces=("data0",),
            config={"rl_limits": {"80": 100}},
        )
        await self._bus.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=30)
        await self.settled()

        async def show(_subject: str, data: bytes) -> None:
            event = msgspec.json.decode(data, type=Event)
            if event.data.action.endswith(".drift"):
                self.seen.put_nowait(str(event.data.details["kind"]))

        await self._bus.subscribe(f"{EVENTS}.public.node.{HOST}.>", show)

    async def settled(self) -> int:
        """The chain's program, once it runs as it shall."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                shown = await self._bus.request(GET_CHAINS.at(node=HOST), GetChains())
                for one in shown.chains:
                    if one.chain.state == "attached" and not one.chain.drift:
                        return one.chain.link_id
                await asyncio.sleep(0.2)

    async def delay(self, kind: str, happens: Callable[[int], None]) -> float:
        """Seconds from the deed to the event."""
        await asyncio.sleep(random.uniform(0, PERIOD_SECONDS))  # noqa: S311 for no secret
        link_id = await self.settled()
        while not self.seen.empty():
            self.seen.get_nowait()
        started = monotonic()
        happens(link_id)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.seen.get() != kind:
                pass
        return monotonic() - started

    def deeds(self) -> dict[str, Callable[[int], None]]:
        """By the kind of drift."""
        return {
            "link-detached": lambda link_id: _run("link", "detach", "id", str(link_id)),
            "link-gone": lambda _: (self._pins / "link").unlink(),
            "pin-gone": lambda _: next(self._pins.glob("generations/*/l3af_slots")).unlink(),
            "map-changed": lambda _: _run(
                *("map", "update", "pinned", str(self._pins / "maps/limit/rl_limits")),
                *("key", "hex", "50", "00", "value", "hex", "07", "00", "00", "00"),
            ),
            "program-unmanaged": lambda _: self._load(),
        }

    def _load(self) -> None:
        """Another owner's program comes to the host."""
        opened = package("port-count")
        made = self._stage.folder / "theirs.o"
        made.write_bytes(opened.files[opened.manifest.programs[0].object])
        path = PINS.with_name(f"{PREFIX}-theirs-{random.getrandbits(32):08x}")
        _run("prog", "loadall", str(made), str(path))

    @staticmethod
    def tidy() -> None:
        """What others brought is gone."""
        for path in PINS.parent.glob(f"{PREFIX}-theirs-*"):
            shutil.rmtree(path)


def _run(*words: str) -> None:
    subprocess.run(("bpftool", *words), check=True, stdout=subprocess.DEVNULL)


async def delays(stage: Stage) -> dict[str, list[float]]:
    """Seconds, by kind."""
    found: dict[str, list[float]] = {}
    async with connect(stage.installation / "credentials" / "principals" / "admin") as bus:
        watched = Watched(stage, bus)
        await watched.deploy()
        try:
            for kind, happens in watched.deeds().items():
                found[kind] = [await watched.delay(kind, happens) for _ in range(ROUNDS)]
        finally:
            watched.tidy()
    return found


def main() -> None:
    """Measure, and leave nothing behind."""
    rows: list[Row] = []
    policies: tuple[DriftPolicy, ...] = ("repair", "alarm")
    for policy in policies:
        by_clock, processor = zip(*looks(LinkOptions(drift=policy)), strict=True)
        case = f"look at {2 * INTERFACES} hook points, {policy}"
        for what, values in (("by the clock", by_clock), ("processor", processor)):
            rows.append(Row(f"{case}, {what}", statistics.median(values), "ms", TARGET_LOOK_MS))
    with one_node(PREFIX) as stage:
        found = asyncio.run(delays(stage))
    rows += [
        Row(f"{kind}: longest of {ROUNDS}", max(values), "s", PERIOD_SECONDS + SAYING_SECONDS)
        for kind, values in found.items()
    ]
    report("drift_detect", rows)


if __name__ == "__main__":
    main()
