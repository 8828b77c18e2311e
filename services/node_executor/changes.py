# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One change of one hook point from decision to confirmation: gather, ask, perform, read back.

Rules (it touches nothing itself: kernel, steps and journal are given):
 * A change is made while no other executor can make one, and only if the hook point still stands
   where it stood when the change was decided (a program that came back is not enough).
 * A change is journaled before the kernel is touched (`chain.request`) and after it was read back,
   each in one transaction with the memory, so the next start knows what to finish.
 * A change that fails leaves what ran before; its refusal is journaled once a desired generation.
 * Adopting moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from services.node_executor.actions import Action
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.common_maps import common_maps
from services.node_executor.configuration import plan_all_writes
from services.node_executor.drift_watch import DriftWatch
from services.node_executor.generations import (
    ChainMemory,
    ChangeKind,
    Generation,
    Pending,
    Point,
    Standing,
    new_slots,
    nothing_desired,
    retired,
    whole_digest,
)
from services.node_executor.hook_access import HookReader, Steps, check_way
from services.node_executor.hook_description import describe_hook
from services.node_executor.observation import describe_programs
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.preparation import (
    Change,
    GenerationConflictError,
    Needs,
    Prepared,
    needs_of,
    trial_needs,
)
from services.node_executor.reconciliation import (
    Configure,
    LeaveToOwner,
    LinkAnew,
    PutBack,
    Remove,
    Rest,
    Wait,
    Write,
    decide,
    plan_attachment,
    plan_configuration,
    plan_removal,
    plan_tidying,
)
from services.node_executor.recovery import (
    OrphanPolicy,
    abandoned,
    confirmed,
    is_orphan,
    learned,
    recover,
    settled,
)
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ObservedChain
from shared.errors import FaultError, Reason, RefusedError

_PASSING = frozenset({"hook_owned", "conflict"})
"""Refusals that depend on others, who may change their mind: they are tried again."""


class InterfaceMissingError(RefusedError):
    """The node has no such interface now."""

    code = "not_found"


class ReadBackError(FaultError):
    """The kernel does not run what was just put there."""


class HookPoints:
    """Makes hook points run what is desired."""

    def __init__(
        self,
        *,
        kernel: HookReader,
        steps: Steps,
        journal: ChainJournal,
        clock: Callable[[], float],
        orphans: OrphanPolicy = "remove",
    ) -> None:
        """`clock` counts seconds since the kernel started; `drift` is for other readers, too."""
        self._kernel = kernel
        self._steps = steps
        self._journal = journal
        self._clock = clock
        self._orphans = orphans
        self._adopted: set[Point] = set()
        self.drift = DriftWatch(kernel=kernel, steps=steps, journal=journal)

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""
        return self._journal.points()

    def memories(self) -> list[ChainMemory]:
        """What is remembered of every hook point."""
        return self._journal.memories()

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""
        return self._journal.memory(point)

    def adopt(self) -> None:
        """What a former run left is known, and what it left unfinished is finished in the journal.

        Pins whose memory was lost, or is older than they are, tell what they were made of.  Called
        again after a fault, it goes on where it stopped.
        """
        found = (self._journal.points() | self._kernel.points()) - self._adopted
        with self._journal.together():
            for point in sorted(found):
                has_rebooted = self._journal.is_of_earlier_boot(point)
                hook = self._kernel.observe(point)
                if not self._finish(point, hook):
                    self._learn(point, hook)
                if hook.link_is_live or has_rebooted:
                    self._journal.adopt(point, hook, self._seen(point, hook))
        self._adopted |= found

    def admit(self, point: Point, desired: DesiredChain) -> None:
        """The point could take the chain now.

        Raises:
            RefusedError: There is no such interface, somebody else's program holds the hook, or
                the chain cannot be attached as it shall be.
        """
        hook = self._kernel.observe(point)
        match decide(hook, self.memory(point), desired):
            case Wait():
                reason = Reason(path=point.place, rule="there is no such interface on this node")
                raise InterfaceMissingError(f"no interface {point.place}", [reason])
            case LeaveToOwner(program_id):
                raise self._owned(point, program_id)
            case _:
                check_way(self._kernel, hook, self.memory(point), desired)

    def verified_instructions(self, generation: Generation) -> int:
        """How many instructions the verifier walked for a program that is loaded."""
        return self._kernel.program(generation.program_id).instructions_verified

    def needs(self, point: Point, desired: DesiredChain | None) -> Needs | None:
        """What must be prepared for the change that the point needs; None: nothing."""
        hook, memory = self._look(point), self.memory(point)
        if desired is None or self.drift.holds(point, hook, desired):
            return None
        decision = self.drift.decide(hook, memory, desired)
        if not isinstance(decision, Configure | PutBack | LinkAnew):
            return None
        common = common_maps(desired, self.memories(), self._kernel.observe)
        link = isinstance(decision, LinkAnew)
        return needs_of(hook, memory, desired, link=link, common=common)

    def trial_needs(self, point: Point, chain: DesiredChain) -> Needs:
        """What the chain needs to be tried beside the point's hook."""
        return trial_needs(self._kernel.observe(point), self.memory(point), chain)

    def settle(
        self,
        point: Point,
        desired: DesiredChain | None,
        *,
        desired_generation: int,
        prepared: Prepared,
        decided_on: Standing | None = None,
    ) -> None:
        """The hook point runs what is desired, and keeps what may be gone back to for a while.

        Args:
            point: Of this node.
            desired: None and an empty chain mean: nothing of ours.
            desired_generation: Of the node's desired record.
            prepared: What `needs` asked for.
            decided_on: Where the point stood when it was asked; None: nothing was prepared.

        Raises:
            GenerationConflictError: The point does not stand there any more; nothing was changed.
            RefusedError: It cannot run; what ran before still runs.
            FaultError: The kernel failed; what ran before still runs.
        """
        with self._kernel.exclusively(point):
            hook = self._look(point)
            if decided_on is not None and decided_on != hook.standing:
                raise GenerationConflictError(point, decided_on, hook.standing)
            if is_orphan(hook, self.memory(point), desired):
                self._journal.orphan(point, hook, self._seen(point, hook), self._orphans)
                if self._orphans == "report":
                    return
            seen = partial(self._seen, point, hook)
            if (mended := self.drift.settle(point, hook, desired, seen=seen)) is None:
                return
            wanted = desired or nothing_desired(point)
            change = Change(point, wanted, desired_generation, prepared)
            after = self._settle(change, desired, mended)
            memory = retired(
                settled(self.memory(point), wanted),
                pinned=after.program_pins,
                keep_seconds=wanted.link.keep_seconds,
                now_seconds=self._clock(),
            )
            if memory != self.memory(point):
                self._journal.keep(point, memory)
            actions = plan_tidying(after, memory)
            if not self.drift.keeps_off(point, after, desired, actions, describe=self._seen):
                self._steps.try_each(actions, point)

    def uphold(self, point: Point) -> None:
        """What ran before a refusal runs as it was left, as far as nothing has to be linked."""
        memory = self.memory(point)
        if memory.current is None:
            return
        change = Change(point, memory.current.chain, memory.desired_generation, Prepared())
        with self._kernel.exclusively(point):
            seen = partial(self._seen, point, hook := self._look(point))
            mended = self.drift.settle(point, hook, change.desired, seen=seen)
            back = mended and self.drift.decide(mended, self.memory(point), change.desired)
            if mended and isinstance(back, PutBack):
                self._put(change, mended, back.generation, "kept")

    def _settle(
        self, change: Change, desired: DesiredChain | None, hook: ObservedHook
    ) -> ObservedHook:
        """The hook point as it is once what is desired runs there."""
        memory = self.memory(point := change.point)
        match self.drift.decide(hook, memory, desired):
            case Rest() | Wait():
                return hook
            case LeaveToOwner(program_id):
                raise self._owned(point, program_id)
            case Remove():
                return self._remove(change, hook)
            case Configure():
                assert memory.current is not None
                return self._configure(change, hook, memory.current)
            case PutBack(generation):
                return self._put(change, hook, generation, "kept")
            case LinkAnew():
                return self._put(change, hook, change.new_generation(memory, hook), "linked")

    def refuse(
        self, point: Point, desired: DesiredChain, *, desired_generation: int, error: RefusedError
    ) -> None:
        """The refusal is remembered and, once for each desired generation, journaled."""
        self._journal.refuse(point, desired, desired_generation=desired_generation, error=error)
        self.uphold(point)

    def is_refused(self, point: Point, desired: DesiredChain | None) -> bool:
        """Whether exactly this chain was refused before, so that trying again is of no use."""
        memory = self.memory(point)
        return (
            desired is not None
            and memory.refusal is not None
            and memory.refusal.code not in _PASSING
            and memory.refused_sha256 == whole_digest(desired)
        )

    def describe(
        self, point: Point, desired: DesiredChain | None, *, desired_generation: int
    ) -> ObservedChain:
        """The hook point, read from the kernel now."""
        hook = self._kernel.observe(point)
        return describe_hook(self._kernel, hook, self.memory(point), desired, desired_generation)

    def _look(self, point: Point) -> ObservedHook:
        """The hook point now; what another executor did there is known from its pins."""
        hook = self._kernel.observe(point)
        if self.memory(point).pending is not None:  # whose end could not be journaled
            self._finish(point, hook)
        if self._learn(point, hook):
            self._journal.adopt(point, hook, self._seen(point, hook))
        return hook

    def _finish(self, point: Point, hook: ObservedHook) -> bool:
        """Whether a change that was under way turned out to be done; nothing is under way now."""
        memory = self.memory(point)
        recovered, is_done = recover(hook, memory)
        if is_done:
            self._confirm(point, hook, {"recovered": True})
        elif recovered != memory:
            self._journal.keep(point, recovered)
        return is_done

    def _learn(self, point: Point, hook: ObservedHook) -> bool:
        """Whether the pins told more than was remembered."""
        found = learned(hook, self.memory(point))
        if found is not None:
            self._journal.learn(point, found)
        return found is not None

    def _seen(self, point: Point, hook: ObservedHook) -> ObservedChain:
        chain = current.chain if (current := self.memory(point).current) else None
        return describe_hook(self._kernel, hook, self.memory(point), chain, 0)

    def _put(
        self, change: Change, hook: ObservedHook, generation: Generation, origin: str
    ) -> ObservedHook:
        memory = self.memory(point := change.point)
        following = msgspec.structs.replace(
            generation,
            number=max(memory.last_number, hook.last_number) + 1,
            chain=change.desired,
            programs=describe_programs(change.desired, generation.programs),
            put_at_seconds=self._clock(),
        )
        actions = plan_attachment(
            hook,
            following,
            writes=self._writes(change, following),
            new_slots=new_slots(memory, following.slots),
            attached_with=memory.attached_with,
            attached_to=memory.attached_to,
        )
        if hook.link_is_live:  # what is known to be refused takes nothing off the hook
            check_way(self._kernel, hook, memory, change.desired)
        self._perform(change, "attach", following, actions)
        after = self._kernel.observe(point)
        if after.link_program_id != generation.program_id:
            raise ReadBackError(
                f"{point} runs program {after.link_program_id},"
                f" not {generation.program_id} that was put there"
            )
        self._confirm(
            point, after, {"origin": origin, "duration_ms": {**change.prepared.duration_ms}}
        )
        return after

    def _configure(self, change: Change, hook: ObservedHook, current: Generation) -> ObservedHook:
        writes = self._writes(change, current)
        described = describe_programs(change.desired, current.programs)
        generation = msgspec.structs.replace(current, chain=change.desired, programs=described)
        self._perform(change, "configure", generation, plan_configuration(hook, generation, writes))
        after = self._kernel.observe(change.point)
        self._confirm(change.point, after, {"entries_written": sum(len(w.changes) for w in writes)})
        return after

    def _remove(self, change: Change, hook: ObservedHook) -> ObservedHook:
        self._perform(change, "detach", None, plan_removal(hook))
        after = self._kernel.observe(change.point)
        if after.link_is_live:
            raise ReadBackError(f"{change.point} still runs a program")
        self._confirm(change.point, after, {})
        return after

    def _perform(
        self,
        change: Change,
        kind: ChangeKind,
        generation: Generation | None,
        actions: list[Action],
    ) -> None:
        """Journal what is about to be done, then do it; if it fails, that is remembered too."""
        number, cause = change.desired_generation, change.desired.cause
        pending = Pending(kind=kind, generation=generation, desired_generation=number, cause=cause)
        steps = [type(action).__name__ for action in actions]
        self._journal.request(change.point, pending, change.desired, steps)
        try:
            self._steps.run(actions, change.point)
        except (RefusedError, FaultError):
            self._journal.keep(change.point, abandoned(self.memory(change.point)))
            raise

    def _confirm(self, point: Point, hook: ObservedHook, details: dict[str, Any]) -> None:
        """Journal what was read back, in one transaction with the memory of it."""
        memory = self.memory(point)
        pending = memory.pending
        assert pending is not None
        chain = pending.generation.chain if pending.generation else None
        after, number = confirmed(memory), pending.desired_generation
        seen = describe_hook(self._kernel, hook, after, chain, number)
        self._journal.confirm(point, memory, seen, details, interface_index=hook.interface_index)

    def _owned(self, point: Point, program_id: int) -> RefusedError:
        hint = "take_over = true below [link] replaces it and puts it back when the chain goes"
        return self._kernel.owner(point, program_id, hint=hint)

    def _writes(self, change: Change, generation: Generation) -> list[Write]:
        memory, desired, maps = self.memory(change.point), change.desired, generation.maps
        return plan_all_writes(self._kernel, memory, desired, maps)
