# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which hook points are as they were left, by one look at each: nothing has to be done there.

Touches nothing itself: kernel and journal are given, and only read.

Rules:
 * Each look reads the kernel.  What followed from a look that gave exactly the same is known.
 * Where anything is new, odd or under way, the point does not rest; the ordinary change sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.node_executor.attachment import Surroundings
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.drift import Look
from services.node_executor.drift_watch import DriftWatch
from services.node_executor.generations import ChainMemory, Point, nothing_desired, retired
from services.node_executor.hook_access import HookReader
from services.node_executor.hook_description import describe_hook
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.reconciliation import Rest, Wait, plan_tidying
from services.node_executor.recovery import is_orphan, learned, settled
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ObservedChain
from shared.errors import FaultError, RefusedError


@dataclass(frozen=True, slots=True)
class _Left:
    """A hook point where nothing had to be done, and all that this followed from."""

    look: Look
    surroundings: Surroundings
    memory: ChainMemory
    desired: DesiredChain | None
    desired_generation: int
    seen: ObservedChain


class Resting:
    """Looks at hook points before anything is done to them."""

    def __init__(
        self,
        *,
        kernel: HookReader,
        journal: ChainJournal,
        drift: DriftWatch,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is read yet; `clock` counts seconds since the kernel started."""
        self._kernel = kernel
        self._journal = journal
        self._drift = drift
        self._clock = clock
        self._left: dict[Point, _Left] = {}

    def look(
        self, wanted: Mapping[Point, DesiredChain | None], *, desired_generation: int
    ) -> dict[Point, ObservedChain]:
        """The points that rest, each as it was read just now; the others are to be settled.

        Args:
            wanted: What is desired at each point; None: nothing of ours.
            desired_generation: Of the node's desired record.
        """
        before, self._left = self._left, {}
        for point, desired in wanted.items():
            try:
                left = self._look(point, desired, desired_generation, before.get(point))
            except (FaultError, RefusedError):
                continue  # whoever settles it says why
            if left is not None:
                self._left[point] = left
        return {point: left.seen for point, left in self._left.items()}

    def _look(
        self,
        point: Point,
        desired: DesiredChain | None,
        desired_generation: int,
        before: _Left | None,
    ) -> _Left | None:
        memory = self._journal.memory(point)
        hook = self._kernel.observe(point)
        is_stray = hook.link_is_dead or self._journal.is_of_earlier_boot(point)
        if is_stray or memory.pending is not None or self._is_due(memory, hook, desired):
            return None
        look = self._drift.look(point, hook, memory)
        surroundings = self._kernel.surroundings(point) if hook.link_is_live else Surroundings()
        if (
            before is not None
            and before.memory is memory
            and before.desired is desired
            and before.desired_generation == desired_generation
            and (before.look, before.surroundings) == (look, surroundings)
        ):
            return before
        if not self._rests(point, look, memory, desired):
            return None
        seen = describe_hook(self._kernel, hook, memory, desired, desired_generation)
        return _Left(look, surroundings, memory, desired, desired_generation, seen)

    def _is_due(
        self, memory: ChainMemory, hook: ObservedHook, desired: DesiredChain | None
    ) -> bool:
        """Whether the generation before was kept for long enough, or there is something to say."""
        wanted = desired or nothing_desired(memory.point)
        after = settled(memory, wanted)
        if memory.previous is not None:
            after = retired(
                after,
                pinned=hook.program_pins,
                keep_seconds=wanted.link.keep_seconds,
                now_seconds=self._clock(),
            )
        return after != memory

    def _rests(
        self, point: Point, look: Look, memory: ChainMemory, desired: DesiredChain | None
    ) -> bool:
        hook = look.hook
        if learned(hook, memory) is not None or is_orphan(hook, memory, desired):
            return False
        if not self._drift.rests(point, look, memory, desired):
            return False
        decision = self._drift.decide(hook, memory, desired)
        return isinstance(decision, Rest | Wait) and not plan_tidying(hook, memory)
