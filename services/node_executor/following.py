# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains whose interface was renamed, or moved to another network namespace, while they ran on it.

Touches nothing itself: kernel, steps and journal are given.

Rules:
 * A chain belongs to a name: what was desired for the old one is not desired for the new one.
 * If the new name has a desired chain for that hook and nothing of ours yet, it takes over what
   runs, maps and counters included, and no packet notices.
 * Otherwise the chain is taken off that interface: at once if another interface has the old name,
   else after PATIENCE_SECONDS, in which the scheduler can learn of the new name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from services.node_executor import events
from services.node_executor.actions import Action, WriteRecord
from services.node_executor.attachment import AttachmentRefusedError
from services.node_executor.event_audiences import Entry, Said, audience_of
from services.node_executor.generation_record import encode_record
from services.node_executor.generations import ChainMemory, Generation, Point, plan_digest
from services.node_executor.hook_access import Steps
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.preparation import GenerationConflictError
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ObservedChain
from shared.contracts.node_actions import ChainAction
from shared.errors import FaultError, RefusedError

PATIENCE_SECONDS: Final = 10.0
LOOK_AGAIN_SECONDS: Final = 1.0
BETWEEN_ATTEMPTS_SECONDS: Final = 5.0
"""Between attempts at what a driver refused, if another interface changed."""


@dataclass(frozen=True, slots=True)
class Stray:
    """Where a hook point's program runs while it is not on the interface of that name."""

    at: Point | None
    """None: in a network namespace without a name."""
    is_replaced: bool
    """Whether another interface has the point's name now."""
    is_link: bool = True
    """Whether a pinned link holds it; a filter has its hook point's name and cannot be taken."""


class StrayKernel(Protocol):
    """Hook points as following needs them."""

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""

    def exclusively(self, point: Point) -> AbstractContextManager[None]:
        """No other executor changes the hook point within the block."""

    def stray(self, point: Point) -> Stray | None:
        """Where the point's program is, if it runs and not on the point's interface."""

    def move_pins(self, point: Point, to: Point) -> None:
        """All that is pinned for the point is pinned for the other, which had nothing."""

    def drop_stray(self, point: Point, stray: Stray) -> None:
        """The point's program is on no hook; what it needs stays pinned."""


class Journal(Protocol):
    """The memory of hook points."""

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""

    def keep(self, point: Point, memory: ChainMemory, entries: Iterable[Entry] = ()) -> None:
        """Memory and events are on the disk."""


class Describer(Protocol):
    """Says what a hook point runs."""

    def describe(
        self, point: Point, desired: DesiredChain | None, *, desired_generation: int
    ) -> ObservedChain:
        """The hook point, read from the kernel now."""


class Following:
    """Lets chains follow their interfaces, or takes them off."""

    def __init__(
        self,
        *,
        node: str,
        start: str,
        kernel: StrayKernel,
        steps: Steps,
        journal: Journal,
        points: Describer,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is touched.

        Args:
            node: This node's name.
            start: Names this run, unlike any other.
            kernel: Reads where programs are, and moves pins.
            steps: Performs plans.
            journal: Memory and events.
            points: Says what is on a hook.
            clock: Counts seconds and never goes back.
        """
        self._node = node
        self._start = start
        self._said = 0
        self._kernel = kernel
        self._steps = steps
        self._journal = journal
        self._points = points
        self._clock = clock
        self._since: dict[Point, float] = {}
        self._reconsidered_at = -BETWEEN_ATTEMPTS_SECONDS
        self._has_other_changes = False

    def reconsider(self, places: frozenset[str] | None) -> None:
        """Refusals that these interfaces had a part in do not hold any more.

        A driver may look at another interface, as veth does at its peer, so what the driver refused
        is tried again after any change; not too often, because it is linked for that.

        Args:
            places: Interfaces that changed; None: any may have.
        """
        self._has_other_changes |= places is None or bool(places)
        is_time = self._clock() - self._reconsidered_at >= BETWEEN_ATTEMPTS_SECONDS
        takes_others = self._has_other_changes and is_time
        if takes_others:
            self._has_other_changes = False
            self._reconsidered_at = self._clock()
        for point in self._journal.points():
            memory = self._journal.memory(point)
            if memory.refusal is None or not memory.refused_sha256:
                continue
            is_own = places is None or point.place in places
            if is_own or (takes_others and memory.refusal.code == AttachmentRefusedError.code):
                self._journal.keep(point, msgspec.structs.replace(memory, refused_sha256=""))

    def follow(
        self,
        wanted: Mapping[Point, DesiredChain],
        *,
        may_let_go: bool,
        at_home: Collection[Point] = (),
    ) -> bool:
        """Whether some chain still waits to be wanted where its interface went.

        Args:
            wanted: What is desired, by hook point.
            may_let_go: Whether the scheduler can have learned of new names: the bus is there.
            at_home: Hook points whose program was just seen on their own interface.

        Raises:
            RefusedError: Some chain could not be moved or taken off; all others were looked at.
            FaultError: The kernel failed for one; the same.
        """
        waiting = False
        problems: list[RefusedError | FaultError] = []
        for point in at_home:
            self._since.pop(point, None)
        for point in sorted(self._journal.points().difference(at_home)):
            try:
                waiting |= self._follow(point, wanted, may_let_go=may_let_go)
            except GenerationConflictError:
                waiting = True
            except (RefusedError, FaultError) as error:
                problems.append(error)
        if problems:
            raise problems[0]
        return waiting

    def _follow(
        self, point: Point, wanted: Mapping[Point, DesiredChain], *, may_let_go: bool
    ) -> bool:
        """Whether the point's chain waits to be wanted elsewhere."""
        stray = self._kernel.stray(point)
        if stray is None:
            self._since.pop(point, None)
            return False
        since = self._since.setdefault(point, self._clock())
        is_over = may_let_go and self._clock() - since >= PATIENCE_SECONDS
        if self._can_go_on(stray, wanted):
            assert stray.at is not None
            self._go_on(point, stray.at)
        elif stray.is_replaced or is_over or not stray.is_link:
            self._let_go(point, stray)
        else:
            return True
        return False

    def _can_go_on(self, stray: Stray, wanted: Mapping[Point, DesiredChain]) -> bool:
        if stray.at is None or not stray.is_link:
            return False
        chain = wanted.get(stray.at)
        if chain is None or not chain.programs:
            return False
        there = self._kernel.observe(stray.at)
        return not (there.link_id or there.generations or there.displaced_program_id)

    def _go_on(self, point: Point, to: Point) -> None:
        """The pins first: should this process die then, they tell what runs at the new name."""
        with self._kernel.exclusively(point), self._kernel.exclusively(to):
            memory = moved(self._journal.memory(point), to, self._journal.memory(to))
            self._kernel.move_pins(point, to)
            records: list[Action] = [
                WriteRecord(kept.pin, before=b"", after=encode_record(kept)) for kept in memory.kept
            ]
            self._steps.try_each(records, to)
            self._journal.keep(to, memory)
            self._journal.keep(point, emptied(self._journal.memory(point)))
        self._say("chain.adopt", to, {"came_from": str(point)})

    def _let_go(self, point: Point, stray: Stray) -> None:
        with self._kernel.exclusively(point):
            self._kernel.drop_stray(point, stray)
        went = str(stray.at) if stray.at else "a network namespace without a name"
        self._say("chain.detach", point, {"interface_went": went})

    def _say(self, action: ChainAction, point: Point, details: dict[str, str]) -> None:
        memory = self._journal.memory(point)
        current = memory.current
        chain = current.chain if current else None
        seen = self._points.describe(point, chain, desired_generation=0)
        body = events.chain_body(
            action,
            node=self._node,
            point=point,
            cause=None,
            before=current,
            after=chain if action == "chain.adopt" else None,
            details={**events.kernel_details(seen), **details},
        )
        self._said += 1
        occasion = f"{self._start}|following|{self._said}"
        event_id = events.sight_event_id(self._node, str(point), action, occasion=occasion)
        self._journal.keep(point, memory, [Said(event_id, body, audience_of(chain))])


def moved(memory: ChainMemory, to: Point, there: ChainMemory) -> ChainMemory:
    """The memory as if the chain had always been at `to`, whose own memory is `there`."""

    def at(generation: Generation | None) -> Generation | None:
        if generation is None:
            return None
        chain = msgspec.structs.replace(generation.chain, interface=to.interface, netns=to.netns)
        return msgspec.structs.replace(generation, chain=chain, plan_sha256=plan_digest(chain))

    return msgspec.structs.replace(
        memory,
        interface=to.interface,
        netns=to.netns,
        last_number=max(memory.last_number, there.last_number),
        current=at(memory.current),
        previous=at(memory.previous),
        pending=None,
        refusal=None,
        refused_sha256="",
    )


def emptied(memory: ChainMemory) -> ChainMemory:
    """The memory of a hook point that has nothing any more."""
    return ChainMemory(
        interface=memory.interface,
        hook=memory.hook,
        netns=memory.netns,
        last_number=memory.last_number,
    )
