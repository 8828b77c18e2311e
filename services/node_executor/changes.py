# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One change of one hook point from decision to confirmation: gather, ask, perform, read back.

Touches nothing itself: kernel, steps and journal are given.

Rules:
 * A change is journaled before the kernel is touched (`chain.request`) and after the kernel was
   read back, each in one transaction with the memory, so the next start knows what to finish.
 * A change that fails leaves what ran before, and its refusal is journaled once for each desired
   generation.
 * Adopting moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from services.node_executor.actions import Action, WriteMapEntries
from services.node_executor.attachment import Surroundings
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.configuration import MapReader, plan_writes
from services.node_executor.generations import (
    ChainMemory,
    ChangeKind,
    Generation,
    MapKey,
    Pending,
    Point,
    carried_maps,
    plan_digest,
    whole_digest,
)
from services.node_executor.kernel_types import ProgramInfo
from services.node_executor.observation import describe_chain, describe_programs
from services.node_executor.preparation import Needs, Prepared
from services.node_executor.reconciliation import (
    Configure,
    LeaveToOwner,
    LinkAnew,
    ObservedHook,
    PutBack,
    Remove,
    Rest,
    Wait,
    abandoned,
    confirmed,
    decide,
    plan_attachment,
    plan_configuration,
    plan_removal,
    plan_tidying,
    recover,
)
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import Cause, DesiredChain, ObservedChain
from shared.errors import FaultError, Reason, RefusedError


class HookReader(MapReader, Protocol):
    """What can be read from the kernel."""

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""

    def program(self, program_id: int) -> ProgramInfo:
        """What the kernel says about a loaded program."""

    def surroundings(self, point: Point) -> Surroundings:
        """What else is to be said of our program on the hook."""

    def owner(self, point: Point, program_id: int, *, hint: str = "") -> RefusedError:
        """A refusal that names whoever holds the hook with that program."""

    def check(self, point: Point, options: LinkOptions) -> None:
        """Nothing, if a new attachment with these options is not known to fail."""


class Steps(Protocol):
    """Performs plans."""

    def run(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is performed; or what was done is undone and the first failure raised."""

    def try_each(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is tried."""


_PASSING = frozenset({"hook_owned", "conflict"})
"""Refusals that depend on others, who may change their mind: they are tried again."""


class InterfaceMissingError(RefusedError):
    """The node has no such interface now."""

    code = "not_found"


class ReadBackError(FaultError):
    """The kernel does not run what was just put there."""


class HookPoints:
    """Makes hook points run what is desired."""

    def __init__(self, *, kernel: HookReader, steps: Steps, journal: ChainJournal) -> None:
        self._kernel = kernel
        self._steps = steps
        self._journal = journal

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""
        return self._journal.points()

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""
        return self._journal.memory(point)

    def adopt(self) -> None:
        """What a former run left unfinished is finished in the journal or given up."""
        for point in sorted(self._journal.points()):
            memory = self.memory(point)
            has_rebooted = self._journal.is_of_earlier_boot(point)
            hook = self._kernel.observe(point)
            recovered, is_done = recover(hook, memory)
            if memory.pending is not None and is_done:
                self._confirm(point, hook, {"recovered": True})
            elif memory.pending is not None:
                self._journal.keep(point, recovered)
            if hook.link_is_live or has_rebooted:
                self._journal.adopt(point, hook, self._seen(point, hook))

    def admit(self, point: Point, desired: DesiredChain) -> None:
        """The point could take the chain now.

        Raises:
            RefusedError: There is no such interface, somebody else's program holds the hook, or
                the chain cannot be attached as it shall be.
        """
        hook = self._kernel.observe(point)
        match decide(hook, self.memory(point), desired):
            case Wait():
                reason = Reason(
                    path=point.interface, rule="there is no such interface on this node"
                )
                raise InterfaceMissingError(f"no interface {point.interface}", [reason])
            case LeaveToOwner(program_id):
                raise self._owned(point, program_id)
            case _ if desired.programs and not hook.link_is_live:
                self._kernel.check(point, desired.link)
            case _:
                return

    def verified_instructions(self, generation: Generation) -> int:
        """How many instructions the verifier walked for a program that is loaded."""
        return self._kernel.program(generation.program_id).instructions_verified

    def needs(self, point: Point, desired: DesiredChain | None) -> Needs | None:
        """What must be prepared for the change that the point needs; None: nothing."""
        hook = self._kernel.observe(point)
        memory = self.memory(point)
        decision = decide(hook, memory, desired)
        if desired is None or not isinstance(decision, Configure | PutBack | LinkAnew):
            return None
        return Needs(
            link=isinstance(decision, LinkAnew),
            carried=carried_maps(hook.map_pins, memory, desired),
        )

    def live_maps(self, point: Point, chain: DesiredChain) -> Mapping[MapKey, int]:
        """The maps whose content the chain would find if it ran on the point, by id."""
        return carried_maps(self._kernel.observe(point).map_pins, self.memory(point), chain)

    def settle(
        self,
        point: Point,
        desired: DesiredChain | None,
        *,
        desired_generation: int,
        prepared: Prepared,
    ) -> None:
        """The hook point runs what is desired.

        Args:
            point: Of this node.
            desired: None and an empty chain mean: nothing of ours.
            desired_generation: Of the node's desired record.
            prepared: What `needs` asked for.

        Raises:
            RefusedError: It cannot run; what ran before still runs.
            FaultError: The kernel failed; what ran before still runs.
        """
        hook = self._kernel.observe(point)
        memory = self.memory(point)
        if _has_drifted(hook, memory):
            self._journal.drift(point, hook, self._seen(point, hook))
        after = hook
        wanted = desired or _nothing(point)
        change = _Change(point, wanted, desired_generation, prepared)
        match decide(hook, memory, desired):
            case Rest() | Wait():
                pass
            case LeaveToOwner(program_id):
                raise self._owned(point, program_id)
            case Remove():
                after = self._remove(change, hook)
            case Configure():
                assert memory.current is not None
                after = self._configure(change, memory.current)
            case PutBack(generation):
                after = self._put(change, hook, generation, "kept")
            case LinkAnew():
                after = self._put(change, hook, _new_generation(change, memory, hook), "linked")
        if self.memory(point).refusal is not None:
            cleared = msgspec.structs.replace(self.memory(point), refusal=None)
            self._journal.keep(point, cleared)
        self._steps.try_each(plan_tidying(after, self.memory(point)), point)

    def refuse(
        self, point: Point, desired: DesiredChain, *, desired_generation: int, error: RefusedError
    ) -> None:
        """The refusal is remembered and, once for each desired generation, journaled."""
        self._journal.refuse(point, desired, desired_generation=desired_generation, error=error)

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
        return self._describe(
            self._kernel.observe(point), self.memory(point), desired, desired_generation
        )

    def _describe(
        self,
        hook: ObservedHook,
        memory: ChainMemory,
        desired: DesiredChain | None,
        desired_generation: int,
    ) -> ObservedChain:
        point = Point(memory.interface, memory.hook)
        program = self._kernel.program(hook.link_program_id) if hook.link_is_live else None
        return describe_chain(
            hook=hook,
            memory=memory,
            desired=desired,
            desired_generation=desired_generation,
            program=program,
            surroundings=self._kernel.surroundings(point) if program else Surroundings(),
        )

    def _seen(self, point: Point, hook: ObservedHook) -> ObservedChain:
        memory = self.memory(point)
        chain = memory.current.chain if memory.current else None
        return self._describe(hook, memory, chain, 0)

    def _put(
        self, change: _Change, hook: ObservedHook, generation: Generation, origin: str
    ) -> ObservedHook:
        point = change.point
        actions = plan_attachment(
            hook,
            pin=generation.pin,
            program_id=generation.program_id,
            maps={
                MapKey(held.deployment, held.name): held.map_id
                for held in generation.maps
                if held.is_pinned
            },
            writes=self._writes(change, generation),
            link=change.desired.link,
            attached_with=_attached_with(self.memory(point)),
        )
        following = msgspec.structs.replace(
            generation,
            number=self.memory(point).last_number + 1,
            chain=change.desired,
            programs=describe_programs(change.desired, generation.programs),
        )
        self._perform(change, "attach", following, actions)
        after = self._kernel.observe(point)
        if after.link_program_id != generation.program_id:
            raise ReadBackError(
                f"{point.interface}/{point.hook} runs program {after.link_program_id},"
                f" not {generation.program_id} that was put there"
            )
        phases = dict(change.prepared.duration_ms)
        self._confirm(point, after, {"origin": origin, "duration_ms": phases})
        return after

    def _configure(self, change: _Change, current: Generation) -> ObservedHook:
        writes = self._writes(change, current)
        described = describe_programs(change.desired, current.programs)
        generation = msgspec.structs.replace(current, chain=change.desired, programs=described)
        self._perform(change, "configure", generation, plan_configuration(writes))
        after = self._kernel.observe(change.point)
        entries = sum(len(write.changes) for write in writes)
        self._confirm(change.point, after, {"entries_written": entries})
        return after

    def _remove(self, change: _Change, hook: ObservedHook) -> ObservedHook:
        self._perform(change, "detach", None, plan_removal(hook))
        after = self._kernel.observe(change.point)
        if after.link_is_live:
            place = f"{change.point.interface}/{change.point.hook}"
            raise ReadBackError(f"{place} still runs a program")
        self._confirm(change.point, after, {})
        return after

    def _perform(
        self,
        change: _Change,
        kind: ChangeKind,
        generation: Generation | None,
        actions: list[Action],
    ) -> None:
        """Journal what is about to be done, then do it; if it fails, that is remembered too."""
        pending = Pending(
            kind=kind,
            generation=generation,
            desired_generation=change.desired_generation,
            cause=change.desired.cause,
        )
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
        seen = self._describe(hook, confirmed(memory), chain, pending.desired_generation)
        self._journal.confirm(point, memory, seen, details)

    def _owned(self, point: Point, program_id: int) -> RefusedError:
        hint = "take_over = true below [link] replaces it and puts it back when the chain goes"
        return self._kernel.owner(point, program_id, hint=hint)

    def _writes(self, change: _Change, generation: Generation) -> list[WriteMapEntries]:
        memory = self.memory(change.point)
        return plan_writes(self._kernel, memory, change.desired, generation.maps)


@dataclass(frozen=True, slots=True)
class _Change:
    """One hook point, and what it shall be."""

    point: Point
    desired: DesiredChain
    desired_generation: int
    prepared: Prepared


def _new_generation(change: _Change, memory: ChainMemory, hook: ObservedHook) -> Generation:
    linked = change.prepared.linked
    assert linked is not None
    number = max((memory.last_number, *hook.program_pins)) + 1
    return Generation(
        number=number,
        pin=number,
        plan_sha256=plan_digest(change.desired),
        chain=change.desired,
        program_id=linked.program_id,
        maps=linked.maps,
        programs=linked.programs,
        explanation=linked.explanation,
    )


def _has_drifted(hook: ObservedHook, memory: ChainMemory) -> bool:
    """Whether the hook runs something else than what was left there, its interface being here."""
    return (
        memory.current is not None
        and hook.interface_index is not None
        and not hook.link_is_dead
        and hook.link_program_id != memory.current.program_id
    )


def _attached_with(memory: ChainMemory) -> LinkOptions:
    return memory.current.chain.link if memory.current else LinkOptions()


def _nothing(point: Point) -> DesiredChain:
    return DesiredChain(
        interface=point.interface, hook=point.hook, programs=(), cause=Cause(command_id="")
    )
