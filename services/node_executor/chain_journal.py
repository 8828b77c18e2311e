# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of every hook point, and the events that say how it came about.

Touches nothing itself: the store is given.  Memory and event are written in one transaction, so
neither is ever known without the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import msgspec

from services.node_executor import events
from services.node_executor.drift import still_adopted
from services.node_executor.drift_record import DriftRecord
from services.node_executor.generations import (
    ChainMemory,
    ChangeKind,
    Pending,
    Point,
    whole_digest,
)
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.recovery import OrphanPolicy, confirmed, is_repair
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy, ObservedDrift
from shared.contracts.events import EventBody
from shared.contracts.node import ObservedChain, OfflineMode
from shared.errors import FaultError, Refusal, RefusedError


class Store(Protocol):
    """The durable journal and memory."""

    def journal(
        self, entries: Iterable[tuple[str, EventBody]], memory: ChainMemory | None = None
    ) -> None:
        """Events by id, and memory, in one transaction; known ids change nothing."""

    def together(self) -> AbstractContextManager[None]:
        """What is journaled within the block is on the disk when it is left, in one go."""

    def has_published(self, event_id: str) -> bool:
        """Whether the bus acknowledged the event."""

    def remembered(self) -> dict[Point, ChainMemory]:
        """The memory of every hook point that ever had a chain."""


class NotAcknowledgedError(FaultError):
    """In mode `strict`: the audit stream has not acknowledged the request; the change waits."""


class ChainJournal:
    """What this node knows of its hook points."""

    def __init__(
        self,
        *,
        node: str,
        start: str,
        boot_id: str,
        store: Store,
        offline_mode: OfflineMode = "available",
    ) -> None:
        """Remember what the store holds.

        Args:
            node: This node's name.
            start: Names this run, unlike any other.
            boot_id: Names this run of the kernel.
            store: Open.
            offline_mode: What a change has to wait for.
        """
        self._node = node
        self._start = start
        self._boot_id = boot_id
        self._store = store
        self._is_strict = offline_mode == "strict"
        self._memories = store.remembered()
        self._sights = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is kept within the block costs one wait for the disk: all of it or nothing."""
        before = dict(self._memories)
        try:
            with self._store.together():
                yield
        except FaultError:
            self._memories = before
            raise

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""
        return set(self._memories)

    def memories(self) -> list[ChainMemory]:
        """What is remembered, by hook point."""
        return [memory for _, memory in sorted(self._memories.items())]

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""
        known = self._memories.get(point)
        return known or ChainMemory(interface=point.interface, hook=point.hook, netns=point.netns)

    def keep(
        self, point: Point, memory: ChainMemory, entries: Iterable[tuple[str, EventBody]] = ()
    ) -> None:
        """Memory and events are on the disk."""
        self._store.journal(entries, memory)
        self._memories[point] = memory

    def learn(self, point: Point, memory: ChainMemory) -> None:
        """What the pins of this run of the kernel told is on the disk."""
        drift = DriftRecord(count=self.memory(point).drift.count)
        self.keep(point, msgspec.structs.replace(memory, boot_id=self._boot_id, drift=drift))

    def is_of_earlier_boot(self, point: Point) -> bool:
        """Whether the chain that is remembered ended with a kernel that runs no more."""
        memory = self.memory(point)
        return memory.current is not None and memory.boot_id not in ("", self._boot_id)

    def request(
        self, point: Point, pending: Pending, desired: DesiredChain, steps: list[str]
    ) -> None:
        """A change is about to be made; said once, however often it is tried.

        Raises:
            NotAcknowledgedError: In mode `strict`, until the bus has the event.  Putting back what
                was confirmed here last does not wait: its request was acknowledged then.
        """
        memory = self.memory(point)
        body = events.chain_body(
            "chain.request",
            node=self._node,
            point=point,
            cause=pending.cause,
            before=memory.current,
            after=desired,
            details={"change": pending.kind, "steps": steps},
        )
        event_id = events.change_event_id(
            self._node,
            point,
            "chain.request",
            desired_generation=pending.desired_generation,
            number=_number(pending, memory),
            command_id=pending.cause.command_id,
        )
        if self._is_strict and not is_repair(memory, desired):
            self.keep(point, memory, [(event_id, body)])
            if not self._store.has_published(event_id):
                raise NotAcknowledgedError(
                    f"{point}: the change waits until the audit stream has acknowledged its"
                    " request (offline mode strict)"
                )
        intended = msgspec.structs.replace(memory, pending=pending)
        self.keep(point, intended, [(event_id, body)])

    def confirm(
        self,
        point: Point,
        memory: ChainMemory,
        seen: ObservedChain,
        details: Mapping[str, Any],
        *,
        interface_index: int | None,
    ) -> None:
        """The pending change of `memory` was read back from the kernel."""
        pending = memory.pending
        assert pending is not None
        generation = pending.generation
        action = _CONFIRMATIONS[pending.kind]
        body = events.chain_body(
            action,
            node=self._node,
            point=point,
            cause=pending.cause,
            before=memory.current,
            after=generation.chain if generation else None,
            details={**events.kernel_details(seen), **details},
        )
        event_id = events.change_event_id(
            self._node,
            point,
            action,
            desired_generation=pending.desired_generation,
            number=_number(pending, memory),
            command_id=pending.cause.command_id,
        )
        settled = msgspec.structs.replace(
            confirmed(memory),
            boot_id=self._boot_id,
            attachment_reason=seen.attachment_reason,
            drift=_drift_after(memory, pending, seen, interface_index),
        )
        self.keep(point, settled, [(event_id, body)])

    def refuse(
        self, point: Point, desired: DesiredChain, *, desired_generation: int, error: RefusedError
    ) -> None:
        """The desired chain cannot run; said once for each desired generation."""
        refusal = error.refusal()
        memory = msgspec.structs.replace(
            self.memory(point),
            refusal=events.bounded(refusal),
            refused_sha256=whole_digest(desired),
        )
        event = self._failed(point, desired, desired_generation, refusal, what="chain.change")
        self.keep(point, memory, [event])

    def fault(
        self, point: Point, desired: DesiredChain | None, *, desired_generation: int, fault: Refusal
    ) -> None:
        """What is desired cannot be done now; said once for each desired generation.

        It is no refusal: the same is tried again.
        """
        what = "chain.change|fault"
        event = self._failed(point, desired, desired_generation, fault, what=what)
        self.keep(point, self.memory(point), [event])

    def _failed(
        self,
        point: Point,
        desired: DesiredChain | None,
        desired_generation: int,
        refusal: Refusal,
        *,
        what: str,
    ) -> tuple[str, EventBody]:
        """An event and its id, which `what` is a part of."""
        cause = desired.cause if desired else None
        body = events.chain_body(
            "chain.change",
            node=self._node,
            point=point,
            cause=cause,
            before=self.memory(point).current,
            after=desired,
            refusal=refusal,
        )
        event_id = events.change_event_id(
            self._node,
            point,
            what,
            desired_generation=desired_generation,
            number=0,
            command_id=cause.command_id if cause else "",
        )
        return event_id, body

    def adopt(self, point: Point, hook: ObservedHook, seen: ObservedChain) -> None:
        """What runs on the point was found there at the start; after a reboot that is nothing."""
        self._see("chain.adopt", point, hook, seen)

    def drift_id(self, point: Point, what: str, number: int) -> str:
        """The id of the event that says drift; `number` is the point's own count of drift."""
        last = self.memory(point).last_number
        return events.sight_event_id(
            self._node,
            str(point),
            "chain.drift",
            occasion=f"{self._boot_id}|{last}|{what}|{number}",
        )

    def drift(
        self,
        point: Point,
        record: DriftRecord,
        news: Iterable[ObservedDrift],
        *,
        policy: DriftPolicy,
        seen: ObservedChain,
    ) -> None:
        """Others changed something; the record of it and an event for each are on the disk."""
        memory = self.memory(point)
        current = memory.current
        entries = [
            (
                one.event_id,
                events.chain_body(
                    "chain.drift",
                    node=self._node,
                    point=point,
                    cause=None,
                    before=current,
                    after=current.chain if current else None,
                    details={
                        "kind": one.kind,
                        "subject": one.subject,
                        "policy": policy,
                        "done": one.done,
                        "found": one.found,
                        **events.kernel_details(seen),
                    },
                ),
            )
            for one in news
        ]
        self.keep(point, msgspec.structs.replace(memory, drift=record), entries)

    def orphan(
        self, point: Point, hook: ObservedHook, seen: ObservedChain, policy: OrphanPolicy
    ) -> None:
        """Pins that nobody remembers or desires were found; said once for each of their kind."""
        body = events.chain_body(
            "chain.orphan",
            node=self._node,
            point=point,
            cause=None,
            before=self.memory(point).current,
            details={
                **events.kernel_details(seen),
                "policy": policy,
                "generations": sorted(hook.generations),
                "warnings": list(seen.warnings),
            },
        )
        occasion = f"{self._boot_id}|{hook.standing}|{policy}"
        event_id = events.sight_event_id(self._node, str(point), body.action, occasion=occasion)
        self.keep(point, self.memory(point), [(event_id, body)])

    def _see(
        self, action: events.ChainAction, point: Point, hook: ObservedHook, seen: ObservedChain
    ) -> None:
        current = self.memory(point).current
        self._sights += 1
        body = events.chain_body(
            action,
            node=self._node,
            point=point,
            cause=None,
            before=current,
            after=current.chain if current else None,
            details={
                **events.kernel_details(seen),
                "expected_program_id": current.program_id if current else 0,
                "foreign_program_id": hook.foreign_program_id,
            },
        )
        occasion = f"{self._start}|{self._sights}"
        event_id = events.sight_event_id(self._node, str(point), action, occasion=occasion)
        self.keep(point, self.memory(point), [(event_id, body)])


def _number(pending: Pending, memory: ChainMemory) -> int:
    """The chain's own generation that the change leads to, or that it takes off."""
    return pending.generation.number if pending.generation else memory.last_number


def _drift_after(
    memory: ChainMemory, pending: Pending, seen: ObservedChain, interface_index: int | None
) -> DriftRecord:
    """What was put there is as it shall be; what was accepted of its maps goes on with them."""
    if pending.generation is None:
        return memory.drift.after_removal()
    record = still_adopted(memory.drift, pending.generation)
    if pending.kind == "configure":
        return record.after_configuring()
    beside = tuple(one.program_id for one in (*seen.runs_after, *seen.runs_before))
    return record.after_attaching(tuple(sorted(beside)), interface_index or 0)


_CONFIRMATIONS: dict[ChangeKind, events.ChainAction] = {
    "attach": "chain.attach",
    "configure": "chain.configure",
    "detach": "chain.detach",
}
