# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An executor without its bus, and what tries its chains on packets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from services.node_executor.adapters.bpf_syscall import MAP_NEXT_ID, PROGRAM_NEXT_ID, ids
from services.node_executor.adapters.linker import LinkedProgram, link
from services.node_executor.adapters.packet_runner import PacketRunner
from services.node_executor.drafts import Drafts
from services.node_executor.generations import Point
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import Needs, Prepared, Ready
from services.node_executor.trials import Trials
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.inspection import PacketsTried, TryPackets, draft_digest
from shared.identifiers import Hook, NetworkHook
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    a_wire,
    pin_directory,
    published,
    real_kernel,
)
from tests.support.packets import ipv4, tcp

PACKET = ipv4(tcp(80))


async def at_once(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The kernel thread, here and now."""
    return call(*arguments, **options)


class Preparer:
    """Links packages that lie in this process."""

    def __init__(self) -> None:
        self.linked: list[LinkedProgram] = []
        self.objects: dict[str, bytes] = {}
        """By deployment, in place of its package's."""

    async def check(self, desired: DesiredChain) -> None:
        """They are signed."""

    async def link(self, point: Point, desired: DesiredChain, needs: Needs) -> Ready:
        """On the real kernel."""
        packages = [self.opened(one, point.hook) for one in desired.programs]
        linked = link(point, desired, packages, needs=needs)
        self.linked.append(linked)
        return Ready(linked, linked.duration_ms)

    def opened(self, program: DesiredProgram, hook: Hook) -> OpenedPackage:
        """Verified, or as the test wants it."""
        opened = published(program.version, hook).opened()
        if program.deployment not in self.objects:
            return opened
        files = {program.object: self.objects[program.deployment]}
        return OpenedPackage(opened.manifest, files, opened.publisher)


class Bench:
    """An executor without its bus, and what tries its chains."""

    def __init__(self, base: PurePosixPath, folder: Path, wire: Wire) -> None:
        self.kernel = real_kernel(base)
        self.executor = Executor(self.kernel, folder / "state.sqlite")
        self.executor.start()
        self.wire = wire
        self.drafts = Drafts()
        self.preparer = Preparer()
        self.seconds = self.seconds_each_look = 0.0
        self.trials = Trials(
            node="n1",
            points=self.executor.points,
            preparer=self.preparer,
            kernel=self.kernel,
            runner=PacketRunner(),
            drafts=self.drafts,
            thread=at_once,
            clock=self.clock,
        )

    def clock(self) -> float:
        """Goes on by as much as the test wants."""
        self.seconds += self.seconds_each_look
        return self.seconds

    def run(self, *versions: str, hook: Hook = "xdp") -> Point:
        """The wire runs a chain of these versions: `p0`, `p1`, ..."""
        point = Point(self.wire.name, hook)
        self.executor.settle(self.chain(*versions, hook=hook), point, 1)
        return point

    def run_object(self, data: bytes, hook: Hook = "xdp") -> Point:
        """The wire runs one program, `p0`, of this object."""
        return self.run_objects({"p0": data}, "1.0.0", hook=hook)

    def run_objects(
        self, objects: Mapping[str, bytes], *versions: str, hook: Hook = "xdp"
    ) -> Point:
        """The wire runs a chain of these versions, some with other objects, by deployment."""
        point, chain = Point(self.wire.name, hook), self.chain(*versions, hook=hook)
        self.preparer.objects.update(objects)
        needs = self.executor.points.needs(point, chain)
        assert needs is not None
        packages = [self.preparer.opened(program, hook) for program in chain.programs]
        with closing(link(point, chain, packages, needs=needs)) as linked:
            self.executor.points.settle(
                point, chain, desired_generation=1, prepared=Prepared(linked=linked)
            )
        return point

    def chain(self, *versions: str, hook: Hook = "xdp", **changes: Any) -> DesiredChain:
        """A chain of these versions."""
        programs = [
            a_program(f"p{at}", version, hook, order=10 * at, **changes)
            for at, version in enumerate(versions)
        ]
        return a_chain(self.wire.name, *programs, hook=hook)

    def try_packets(
        self, *packets: bytes, hook: NetworkHook = "xdp", draft: DesiredChain | None = None
    ) -> Awaitable[PacketsTried]:
        """What is said of these."""
        digest = None
        if draft is not None:
            self.drafts.keep(draft, None, now=0.0)
            digest = draft_digest(draft)
        request = TryPackets(interface=self.wire.name, hook=hook, packets=packets, draft=digest)
        return self.trials.try_packets(request)


@contextmanager
def a_bench(folder: Path) -> Iterator[Bench]:
    """A wire and an executor."""
    with pin_directory() as base, a_wire() as wire:
        made = Bench(base, folder, wire)
        try:
            yield made
        finally:
            for hook in ("xdp", "tc-ingress", "tc-egress"):
                made.executor.settle(None, Point(wire.name, hook), 99)
            made.executor.stop()


async def until_gone(linked: LinkedProgram) -> None:
    """The kernel lets programs and maps go a moment after the last hold."""
    async with asyncio.timeout(60):
        while linked.program_id in ids(PROGRAM_NEXT_ID) or any(
            held.map_id in ids(MAP_NEXT_ID) for held in linked.maps
        ):
            await asyncio.sleep(0.01)
