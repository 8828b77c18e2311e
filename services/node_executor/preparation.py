# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be made ready before a hook point can change, and what was made ready.

Pure.  Preparing touches no hook: it may take long, fail and be thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from services.node_executor.generations import (
    COUNTERS,
    ChainMemory,
    Generation,
    MapKey,
    Point,
    Standing,
    assign_slots,
    carried_maps,
    map_policies,
    new_slots,
    plan_digest,
    same_code,
)
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook
from shared.contracts.desired import DesiredChain
from shared.contracts.errors import ErrorCode
from shared.contracts.inspection import ChainExplanation
from shared.contracts.node import ObservedProgram
from shared.errors import Reason, RefusedError


class Linked(Protocol):
    """A chain linked into one program that is loaded and not attached."""

    @property
    def program_id(self) -> int:
        """Of the head; valid while this is held or the program is pinned."""

    @property
    def segments(self) -> tuple[int, ...]:
        """Program ids of the segments behind the head, in order."""

    @property
    def maps(self) -> tuple[HeldMap, ...]:
        """The maps of all its bodies."""

    @property
    def taken(self) -> Mapping[MapKey, MapKey]:
        """Each map that goes on with content, and which of the running ones has it."""

    @property
    def programs(self) -> tuple[ObservedProgram, ...]:
        """The bodies, in order."""

    @property
    def slots(self) -> Mapping[str, int]:
        """Where each instance is counted; empty: nothing is counted."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not wrong, and should be known."""

    @property
    def verified_instructions(self) -> int:
        """How many instructions the verifier walked; 0 on kernels before 5.16."""

    @property
    def explanation(self) -> ChainExplanation | None:
        """Why it is linked as it is."""

    def close(self) -> None:
        """What is neither pinned nor attached is given up."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be prepared before the change can be made."""

    link: bool
    """Whether a program must be linked."""
    carried: Mapping[MapKey, int]
    """Maps that its bodies may take over, by id."""
    same_code: frozenset[str] = frozenset()
    """Instances whose archive is the one that runs already."""
    held: tuple[HeldMap, ...] = ()
    """The maps of the generation that runs, as they were when it was linked."""
    common: Mapping[MapKey, tuple[HeldMap, ...]] = field(default_factory=dict)
    """Maps of other instances, by the instance that has them in common with those."""
    policies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What happens to maps whose layout changes, by deployment and map."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """Where each instance is counted."""
    new_slots: tuple[int, ...] = ()
    """Those of instances that are in no generation that is kept: they begin at zero."""
    interface_index: int = 0
    """Of the interface as it is now; a program can be bound to it."""
    standing: Standing | None = field(default=None, compare=False)
    """Where the hook point stood when this was found out; two needs are equal without it."""
    is_trial: bool = False
    """Whether maps are made anew all the same, and what they would take over is only said."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A chain that loads here."""

    linked: Linked
    duration_ms: Mapping[str, float]
    """By phase."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `Needs` asked for, made for exactly one desired chain."""

    linked: Linked | None = None
    duration_ms: Mapping[str, float] = field(default_factory=dict)
    """By phase."""


@dataclass(frozen=True, slots=True)
class Change:
    """One hook point, and what it shall be."""

    point: Point
    desired: DesiredChain
    desired_generation: int
    prepared: Prepared

    def new_generation(self, memory: ChainMemory, hook: ObservedHook) -> Generation:
        """What was linked for it, under a number that nothing on the hook point ever had."""
        assert self.prepared.linked is not None
        return _made_generation(
            self.desired,
            self.prepared.linked,
            number=max(memory.last_number, hook.last_number) + 1,
            interface_index=hook.interface_index or 0,
        )


def needs_of(
    hook: ObservedHook,
    memory: ChainMemory,
    desired: DesiredChain,
    *,
    link: bool,
    common: Mapping[MapKey, tuple[HeldMap, ...]] | None = None,
) -> Needs:
    """What the chain needs to be on the hook point."""
    slots = assign_slots(memory, desired.programs)
    return Needs(
        link=link,
        carried=carried_maps(hook.map_pins, memory, desired),
        same_code=same_code(memory, desired),
        held=memory.current.maps if memory.current else (),
        common=common or {},
        policies=map_policies(desired),
        slots=slots,
        new_slots=new_slots(memory, slots),
        interface_index=hook.interface_index or 0,
        standing=hook.standing,
    )


def trial_needs(hook: ObservedHook, memory: ChainMemory, chain: DesiredChain) -> Needs:
    """What the chain needs to be tried beside the hook: maps and counters of its own."""
    needs = needs_of(hook, memory, chain, link=True)
    carried = {key: map_id for key, map_id in needs.carried.items() if key != COUNTERS}
    return replace(needs, carried=carried, slots={}, new_slots=(), is_trial=True)


class GenerationConflictError(RefusedError):
    """Another writer changed the hook point, or is changing it."""

    code: ClassVar[ErrorCode] = "conflict"

    def __init__(
        self, point: Point, expected: Standing | None = None, found: Standing | None = None
    ) -> None:
        place = str(point)
        if expected is None or found is None:
            message = f"{place} is being changed by another executor"
            super().__init__(message, [Reason(path=place, rule=message)])
            return
        super().__init__(
            f"{place} was changed meanwhile: it is at generation {found.number} with program"
            f" {found.program_id}, not at generation {expected.number} with program"
            f" {expected.program_id}",
            [
                Reason(
                    path=place,
                    rule="must stand where it stood when the change was decided",
                    got=found._asdict(),
                    allowed=expected._asdict(),
                )
            ],
        )


class MapMismatchError(RefusedError):
    """A new version declares a map in another layout than the instance's map has."""

    code: ClassVar[ErrorCode] = "conflict"


def _made_generation(
    desired: DesiredChain, linked: Linked, *, number: int, interface_index: int
) -> Generation:
    """A chain that was just linked, as what it will be remembered as."""
    return Generation(
        number=number,
        pin=number,
        plan_sha256=plan_digest(desired),
        chain=desired,
        program_id=linked.program_id,
        segments=linked.segments,
        maps=linked.maps,
        programs=linked.programs,
        verified_instructions=linked.verified_instructions,
        slots=dict(linked.slots),
        warnings=linked.warnings,
        explanation=linked.explanation,
        interface_index=interface_index,
    )
