# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node shows to whoever asks: who may see which programs, and what is left out for others.

Pure.

Rules:
 * Who sees a space is what the desired record says, and never more than that.
 * A hook point is shown whole to those who see every program that shall run or runs there, and to
   others as `shared.redaction` says.
 * What cannot be shown in part (an explanation, a trial, the kernel's words about a program) is not
   shown to those who do not see the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec

from services.node_executor.generations import ChainMemory, Point, point_of
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.ebpf import EbpfProgram
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.inspection import (
    ChainCounters,
    ChainExplained,
    PlaceExplained,
    SlotCounters,
)
from shared.contracts.node import ChainShown, ObservedNode
from shared.deployment_keys import space_of
from shared.errors import Reason, RefusedError
from shared.identifiers import PROBE_HOOKS
from shared.redaction import named_place, redacted_chain

UNEXPLAINED: Final = (
    "a program of a restricted space is in this chain; its members see why it is linked so"
)


class RestrictedChainError(RefusedError):
    """The chain has a program that the caller does not see."""

    code: ClassVar[ErrorCode] = "not_permitted"


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who asks."""

    spaces: frozenset[Audience] = frozenset({PUBLIC})

    def sees(self, space: Audience) -> bool:
        """Whether what is in the space is seen."""
        return space in self.spaces

    def sees_place(self, point: Point) -> bool:
        """Whether the hook point may be named: the place of a probe is a deployment's name."""
        return named_place(point.hook, point.interface, self.sees) != ""

    def sees_all(self, chains: Iterable[DesiredChain | None]) -> bool:
        """Whether every program of these chains is seen."""
        return all(
            self.sees(chain.audience)
            and all(self.sees(space_of(one.deployment)) for one in chain.programs)
            for chain in chains
            if chain is not None
        )

    def shown(self, one: ChainShown, chains: Iterable[DesiredChain | None]) -> ChainShown:
        """The hook point, as far as it is seen.

        Args:
            one: As it is.
            chains: What shall run there and what runs there.
        """
        is_whole = self.sees_all(chains) and all(
            self.sees(space_of(program.deployment)) for program in one.chain.programs
        )
        if is_whole:
            cause = one.chain.cause
            if cause is None or self.sees(cause.audience):
                return one
            chain = msgspec.structs.replace(one.chain, cause=None)
            return msgspec.structs.replace(one, chain=chain)
        chain = redacted_chain(one.chain, self.sees)
        return msgspec.structs.replace(self.counted(one), chain=chain)

    def counted(self, one: ChainShown) -> ChainShown:
        """The hook point with counters and metrics of the programs that are seen."""
        return msgspec.structs.replace(
            one,
            metrics=tuple(each for each in one.metrics if self.sees(space_of(each.deployment))),
            counters=self._counters(one.counters),
        )

    def explained(self, one: ChainExplained, chain: DesiredChain) -> ChainExplained:
        """Why a chain is linked as it is; of one that is not seen whole, its places alone."""
        if self.sees_all([chain]):
            return one
        places = tuple(
            place
            if self.sees(space_of(place.deployment))
            else PlaceExplained(deployment="", order=place.order, restricted=True)
            for place in one.places
        )
        return msgspec.structs.replace(
            one,
            interface=named_place(one.hook, one.interface, self.sees),
            explanation=None,
            problem=UNEXPLAINED,
            places=places,
        )

    def unremembered(self, point: Point, *, problem: str) -> ChainExplained:
        """A hook point that nothing is known of but that something is there."""
        place = named_place(point.hook, point.interface, self.sees)
        return ChainExplained(interface=place, hook=point.hook, netns=point.netns, problem=problem)

    def refuse_unseen(self, chain: DesiredChain, place: str) -> None:
        """Nothing, if the chain is seen whole.

        Raises:
            RestrictedChainError: It is not; what a trial shows cannot be shown in part.
        """
        if self.sees_all([chain]):
            return
        rule = "has a program of a restricted space; its members alone may try packets on the chain"
        raise RestrictedChainError(
            f"{place} {rule}", [Reason(path="interface", rule=rule, got=place)]
        )

    def seen_instances(self, chain: DesiredChain) -> list[str]:
        """The deployments of the chain that are seen."""
        keys = (program.deployment for program in chain.programs)
        return sorted(key for key in keys if self.sees(space_of(key)))

    def _counters(self, counters: ChainCounters) -> ChainCounters:
        return ChainCounters(
            slots=self._slots(counters.slots),
            missed=counters.missed,
            cpus=tuple(
                msgspec.structs.replace(cpu, slots=self._slots(cpu.slots)) for cpu in counters.cpus
            ),
            problem=counters.problem,
        )

    def _slots(self, slots: tuple[SlotCounters, ...]) -> tuple[SlotCounters, ...]:
        return tuple(one for one in slots if self.sees(space_of(one.deployment)))


EVERYBODY: Final = Reader()
"""What everybody sees, before any space is known to be open."""


class Readers:
    """Who sees what on one node, as it was said last."""

    def __init__(self, memory_of: Callable[[Point], ChainMemory]) -> None:
        """Nothing was said yet: everybody sees what is public.

        Args:
            memory_of: What is remembered of a hook point.
        """
        self._memory_of = memory_of
        self._desired: Mapping[Point, DesiredChain] = {}
        self._members: dict[Audience, frozenset[str]] = {}
        self._opened: set[Audience] = {PUBLIC}

    def learn(self, desired: DesiredNode | None) -> None:
        """This is desired now.  A chain has no audience but that of a space that is not open."""
        chains = desired.chains if desired else ()
        self._desired = {point_of(chain): chain for chain in chains}
        self.learn_members(desired.members if desired else {})
        for chain in chains:
            spaces = {space_of(program.deployment) for program in chain.programs}
            self._opened |= spaces - {chain.audience}

    def learn_members(self, members: Mapping[Audience, tuple[str, ...]]) -> None:
        """These see what is in these spaces; of others it stays as it was said before."""
        self._members |= {audience: frozenset(names) for audience, names in members.items()}

    def of(self, name: str) -> Reader:
        """What the principal of that name sees; without a name, what everybody does."""
        own = {audience for audience, names in self._members.items() if name in names}
        return Reader(frozenset(self._opened | own))

    def shown(self, name: str, sampled: Iterable[ChainShown]) -> tuple[ChainShown, ...]:
        """Hook points, as far as the principal of that name sees them."""
        reader = self.of(name)
        return tuple(
            reader.shown(one, (self._desired.get(point), *_running(self._memory_of(point))))
            for one in sampled
            for point in (point_of(one.chain),)
        )

    def node(self, name: str, observed: ObservedNode | None) -> ObservedNode | None:
        """All that a node runs, as far as the principal of that name sees it."""
        if observed is None:
            return None
        sampled = (ChainShown(chain=chain) for chain in observed.chains)
        chains = tuple(one.chain for one in self.shown(name, sampled))
        return msgspec.structs.replace(observed, chains=chains)


def _running(memory: ChainMemory) -> tuple[DesiredChain, ...]:
    """What runs on a hook point, or may by now."""
    pending = memory.pending.generation if memory.pending else None
    return tuple(one.chain for one in (memory.current, pending) if one is not None)


def _role(role: str) -> str:
    """Without the place of a probe, which is a deployment's name."""
    place, _, part = role.rpartition(" ")
    hook = place.rpartition("/")[2]
    return f"{hook} {part}" if hook in PROBE_HOOKS else role


def without_kernels_words(program: EbpfProgram) -> EbpfProgram:
    """A program of the kernel, without what says which one it is."""
    return EbpfProgram(
        id=program.id,
        type=program.type,
        managed=program.managed,
        role=_role(program.role),
        owners=program.owners,
        owner_count=program.owner_count,
        attachments=program.attachments,
        attachment_count=program.attachment_count,
        restricted=True,
    )
