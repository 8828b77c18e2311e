# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One node whose chains, interface and executor change at random, and what must hold throughout.

The model is small: what is desired on each hook, what was confirmed last, and the interface.
Everything else is read from the kernel or counted from frames.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NoReturn

from pyroute2 import IPRoute

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.generations import MapKey, Point
from services.node_executor.observed_hook import ObservedHook
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ChainState
from shared.errors import RefusedError
from shared.identifiers import Hook
from tests.support.counters import total_in
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.frame_sender import FrameReceiver, FrameSender
from tests.support.generation_programs import DROPS, REFUSED, StampedPrograms
from tests.support.interfaces import DEADLINE_SECONDS
from tests.support.mortal_kernel import JOURNAL_STEPS, KERNEL_STEPS, Fate, Mortal

HOOKS: Final[tuple[Hook, ...]] = ("xdp", "tc-ingress")
"""In the order in which a frame meets them."""
FRAMES: Final = 3
KEPT_GENERATIONS: Final = 2
KEEP_SECONDS: Final = 3600
PROGRAMS: Final = StampedPrograms()
_NO_ADDRESSES: Final = {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}


@dataclass(frozen=True, slots=True)
class Part:
    """One program of a chain, as somebody deployed it."""

    deployment: str
    version: str
    order: int
    limit: int = 0

    @property
    def step(self) -> int:
        """What a frame adds to its counter."""
        return 2 if self.version == "2.0.0" else 1


Chain = tuple[Part, ...]


@dataclass
class Model:
    """One hook point."""

    desired: Chain = ()
    confirmed: Chain = ()
    """What runs, if the interface is there: the last chain that was not refused."""
    past: list[Chain] = field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether the desired chain cannot run."""
        return any(part.version == REFUSED for part in self.desired)

    @property
    def drops(self) -> bool:
        """Whether no frame passes what runs."""
        return any(part.version == DROPS for part in self.confirmed)


def ordered(parts: dict[str, Part]) -> Chain:
    """As the scheduler orders them."""
    return tuple(sorted(parts.values(), key=lambda part: (part.order, part.deployment)))


class ChangingNode:
    """A wire with frames on it, and an executor that settles two hook points of it."""

    def __init__(self, folder: Path, base: PurePosixPath, wire: Wire) -> None:
        """Nothing is desired; frames pass."""
        self.models = {hook: Model() for hook in HOOKS}
        self.interface: Literal["up", "down", "gone"] = "up"
        self._folder, self._base, self._wire = folder, base, wire
        self._generation = 0
        self._now = 100.0
        self._sender = FrameSender(wire.peer)
        self._receiver: FrameReceiver | None = FrameReceiver(wire.name)
        self._executor = self._start()

    def close(self) -> None:
        """Nothing is sent, and nothing of ours is left in the kernel."""
        self._sender.stop()
        if self._receiver:
            self._receiver.close()
        try:
            for hook in HOOKS:
                self.models[hook].desired = ()
                self._settle(self._executor, hook)
        finally:
            self._executor.stop()
        assert pins_below(self._base) == []
        self._until(lambda: not PROGRAMS.in_kernel(self._wire.name))

    def change(self, hook: Hook, desired: Chain, *, kills_at: int | None = None) -> None:
        """The chain is desired; first a process that is killed may have tried to make it so."""
        model = self.models[hook]
        was_closed = self._is_closed
        self._generation += 1
        model.past.append(model.desired)
        model.desired = desired
        self._sender.go_on()
        if kills_at is not None:
            self._executor.stop()
            self._change_and_die(hook, kills_at)
            self._executor = self._start()
        self._settle_all()
        self._sender.pause()
        assert self._receiver is None or not (
            was_closed and self._is_closed and self._receiver.drain()
        ), "frames passed although a program that drops ran before and after"
        self.check()

    def restart(self, *, loses_state: bool = False) -> None:
        """The executor was killed and started again, perhaps without its state directory."""
        self._sender.go_on()
        self._executor.stop()
        if loses_state:
            for path in self._folder.iterdir():
                path.unlink()
        self._executor = self._start()
        self._settle_all()
        self._sender.pause()
        if self._receiver is not None:
            assert not (self._is_closed and self._receiver.drain())
        self.check()

    def let_time_pass(self) -> None:
        """What is kept for going back is kept no longer."""
        self._now += KEEP_SECONDS + 1
        self._executor.now = self._now
        self._settle_all()
        self.check()

    def set_interface(self, state: Literal["up", "down", "gone"]) -> None:
        """The interface is up, down or gone; when it comes back it is a new one."""
        with IPRoute() as route:
            if self.interface == "gone":
                route.link("add", ifname=self._wire.name, kind="veth", peer=self._wire.peer)
                for name in self._wire.name, self._wire.peer:
                    index = route.link_lookup(ifname=name)[0]
                    silent = {"attrs": [["AF_INET6", _NO_ADDRESSES]]}
                    route.link("set", index=index, IFLA_AF_SPEC=silent)
                    route.link("set", index=index, state="up")
                self._receiver = FrameReceiver(self._wire.name)
            index = route.link_lookup(ifname=self._wire.name)[0]
            if state == "gone":
                route.link("del", index=index)
                assert self._receiver is not None
                self._receiver.close()
                self._receiver = None
            else:
                route.link("set", index=index, state=state)
            if state == "up":
                self._until(lambda: self._takes_frames(route))
        self.interface = state
        self._settle_all()
        self.check()

    def _takes_frames(self, route: IPRoute) -> bool:
        """Whether both ends send: the kernel gives them their queues a moment after they are up."""
        return all(
            link.get_attr("IFLA_QDISC") != "noop" and link.get_attr("IFLA_OPERSTATE") == "UP"
            for name in (self._wire.name, self._wire.peer)
            for link in route.link("get", ifname=name)
        )

    def check(self) -> None:
        """Kernel, report and model say the same, frames do what the model says, nothing leaks."""
        for hook in HOOKS:
            self._check_report(hook)
        if self.interface == "up":
            self._check_frames()
        self._check_no_leaks()
        events = self._executor.events()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))

    @property
    def _is_closed(self) -> bool:
        return any(model.drops for model in self.models.values())

    def _point(self, hook: Hook) -> Point:
        return Point(self._wire.name, hook)

    def _hook(self, hook: Hook) -> ObservedHook:
        return self._executor.kernel.observe(self._point(hook))

    def _chain(self, hook: Hook) -> DesiredChain:
        programs = [
            PROGRAMS.program(
                one.deployment, one.version, order=one.order, limit=one.limit, hook=hook
            )
            for one in self.models[hook].desired
        ]
        return a_chain(self._wire.name, *programs, hook=hook, command=f"c{self._generation}")

    def _start(self) -> Executor:
        executor = Executor(real_kernel(self._base), self._folder / "state.sqlite")
        executor.opened = PROGRAMS.opened
        executor.now = self._now
        executor.start()
        return executor

    def _settle_all(self) -> None:
        for hook in HOOKS:
            self._settle(self._executor, hook)

    def _settle(self, executor: Executor, hook: Hook) -> None:
        """As the service does it, refusals included."""
        model, point, chain = self.models[hook], self._point(hook), self._chain(hook)
        if executor.points.is_refused(point, chain):
            executor.points.uphold(point)
        else:
            try:
                executor.settle(chain, point, self._generation)
            except RefusedError as error:
                executor.points.refuse(
                    point, chain, desired_generation=self._generation, error=error
                )
        if not model.is_refused and (self.interface != "gone" or not model.desired):
            model.confirmed = model.desired

    def _change_and_die(self, hook: Hook, kills_at: int) -> None:
        child = os.fork()
        if child == 0:
            try:
                self._try_and_die(hook, kills_at)
            finally:
                os._exit(1)  # whatever happened: the rest of this process is its parent's
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}

    def _try_and_die(self, hook: Hook, kills_at: int) -> NoReturn:
        fate = Fate(kills_at)
        executor = Executor(
            Mortal(real_kernel(self._base), fate, KERNEL_STEPS),
            self._folder / "state.sqlite",
            wrap_store=lambda store: Mortal(store, fate, JOURNAL_STEPS),
        )
        executor.opened = PROGRAMS.opened
        executor.now = self._now
        executor.start()
        fate.begin()
        self._settle(executor, hook)
        os._exit(0)

    def _check_report(self, hook: Hook) -> None:
        model, observed = self.models[hook], self._hook(hook)
        seen = self._executor.points.describe(
            self._point(hook), self._chain(hook), desired_generation=self._generation
        )
        runs = model.confirmed if self.interface != "gone" else ()
        assert seen.state == self._state(model, runs), (hook, seen.state, seen.refusal)
        assert [(one.deployment, one.version, one.order) for one in seen.programs] == [
            (one.deployment, one.version, one.order) for one in runs
        ]
        if self.interface != "gone":  # else the last refusal may stand, or nothing was tried
            assert (seen.refusal is not None) == model.is_refused
        assert seen.warnings == ()
        assert observed.link_program_id == seen.program_id
        assert observed.link_is_live == bool(runs)
        for part in runs:
            if part.version == "5.0.0":
                entries = self._executor.kernel.read_entries(
                    observed.map_pins[MapKey(part.deployment, PROGRAMS.limits)]
                )
                assert [int.from_bytes(one, "little") for one in entries.values()] == (
                    [part.limit] if part.limit else []
                )

    def _state(self, model: Model, runs: Chain) -> ChainState:
        if runs:
            return "attached"
        if not model.desired:
            return "absent"
        return "waiting-for-interface" if self.interface == "gone" else "failed"

    def _check_frames(self) -> None:
        """Each program counts exactly the frames that the ones before it let through."""
        assert self._receiver is not None
        receiver = self._receiver
        expected: dict[tuple[Hook, str], int] = {}
        goes_on = True
        for hook in HOOKS:
            for part in self.models[hook].confirmed:
                expected[hook, part.deployment] = part.step if goes_on else 0
                goes_on = goes_on and part.version != DROPS
        receiver.drain()
        before = self._counts()
        send_frames(self._wire.peer, FRAMES)
        received, told = 0, ""

        def agrees() -> bool:
            nonlocal received, told
            received += receiver.drain()
            counts = self._counts()
            gains = {key: counts[key] - before.get(key, 0) for key in counts}
            told = f"gained {gains}, expected {expected}, received {received}"
            passed = received == FRAMES if goes_on else received == 0
            return passed and gains == {key: step * FRAMES for key, step in expected.items()}

        self._until(agrees, lambda: told)

    def _counts(self) -> dict[tuple[Hook, str], int]:
        counts = {}
        for hook in HOOKS:
            pinned = self._hook(hook).map_pins
            for part in self.models[hook].confirmed:
                counter = pinned[MapKey(part.deployment, PROGRAMS.packets)]
                counts[hook, part.deployment] = total_in(self._executor.kernel, counter)
        return counts

    def _check_no_leaks(self) -> None:
        """Of our programs and maps the kernel has those of pinned generations, and no other."""
        pinned = set()
        for hook in HOOKS:
            generations = self._hook(hook).generations
            assert len(generations) <= KEPT_GENERATIONS
            for one in generations.values():
                pinned |= {f"map {map_id}" for map_id in one.maps.values()}
                for program_id in one.programs.values():
                    pinned |= {f"program {program_id}"} | _maps_of(program_id)
        told: set[str] = set()

        def is_all() -> bool:
            nonlocal told
            found = {_without_name(one) for one in PROGRAMS.in_kernel(self._wire.name)}
            told = found - pinned
            return not told

        self._until(is_all, lambda: f"leaked: {told}")

    def _until(self, holds: Callable[[], bool], told: Callable[[], str] = str) -> None:
        """The kernel delivers frames and frees programs a moment later."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, told()
            time.sleep(0.002)


def _maps_of(program_id: int) -> set[str]:
    try:
        with kernel_info.program_by_id(program_id) as program:
            return {f"map {one}" for one in kernel_info.program_info(program.fd).map_ids}
    except KernelFaultError:
        return set()


def _without_name(found: str) -> str:
    """`program NAME ID` and `map ID`."""
    words = found.split()
    return f"{words[0]} {words[-1]}"
