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
from services.node_executor.event_audiences import (
    Entry,
    Said,
    audience_of,
    known_cause,
    nothing_seen,
    tellings,
)
from services.node_executor.generations import (
    ChainMemory,
    ChangeKind,
    Generation,
    Pending,
    Point,
    whole_digest,
)
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.recovery import OrphanPolicy, confirmed, is_repair
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy, ObservedDrift
from shared.contracts.events import PUBLIC
from shared.contracts.node import ObservedChain, OfflineMode
from shared.contracts.node_actions import ChainAction
from shared.errors import FaultError, Refusal, RefusedError


class Store(Protocol):
    """The durable journal and memory."""

    def journal(self, entries: Iterable[Entry], memory: ChainMemory | None = None) -> None:
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

    def keep(self, point: Point, memory: ChainMemory, entries: Iterable[Entry] = ()) -> None:
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
        entries = [
            Said(
                self._step_id(point, pending, memory, told.named("chain.request")),
                events.chain_body(
                    "chain.request",
                    node=self._node,
                    point=point,
                    cause=known_cause(pending.cause, told.audience),
                    before=memory.current if told.sees_before else None,
                    after=desired if told.sees_after else None,
                    details={"change": pending.kind, "steps": steps},
                ),
                told.audience,
            )
            for told in tellings(_chain(memory.current), desired)
        ]
        if self._is_strict and not is_repair(memory, desired):
            self.keep(point, memory, entries)
            if not all(self._store.has_published(one.event_id) for one in entries):
                raise NotAcknowledgedError(
                    f"{point}: the change waits until the audit stream has acknowledged its"
                    " request (offline mode strict)"
                )
        intended = msgspec.structs.replace(memory, pending=pending)
        self.keep(point, intended, entries)

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
        after = _chain(pending.generation)
        entries = []
        for told in tellings(_chain(memory.current), after):
            # Who may not see what came is told that what was there is gone.
            action = _CONFIRMATIONS[pending.kind if told.sees_after else "detach"]
            found = seen if told.sees_after else nothing_seen(seen)
            body = events.chain_body(
                action,
                node=self._node,
                point=point,
                cause=known_cause(pending.cause, told.audience),
                before=memory.current if told.sees_before else None,
                after=after if told.sees_after else None,
                details={**events.kernel_details(found), **details},
            )
            event_id = self._step_id(point, pending, memory, told.named(action))
            entries.append(Said(event_id, body, told.audience))
        settled = msgspec.structs.replace(
            confirmed(memory),
            boot_id=self._boot_id,
            attachment_reason=seen.attachment_reason,
            drift=_drift_after(memory, pending, seen, interface_index),
        )
        self.keep(point, settled, entries)

    def refuse(
        self, point: Point, desired: DesiredChain, *, desired_generation: int, error: RefusedError
    ) -> None:
        """The desired chain cannot run; said once for each desired generation."""
        refusal = error.refusal()
        memory = msgspec.structs.replace(
            self.memory(point),
            refusal=events.bounded(refusal),
            refused_sha256=whole_digest(desired),
            refused_audience=audience_of(desired, _chain(self.memory(point).current)),
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
    ) -> Said:
        """An event and its id, which `what` is a part of; a refusal may speak of both chains."""
        cause = desired.cause if desired else None
        before = self.memory(point).current
        audience = audience_of(desired, _chain(before))
        body = events.chain_body(
            "chain.change",
            node=self._node,
            point=point,
            cause=known_cause(cause, audience),
            before=before if audience_of(_chain(before)) in (PUBLIC, audience) else None,
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
        return Said(event_id, body, audience)

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
        audience = audience_of(_chain(current))
        entries = [
            Said(
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
                audience,
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
        audience = audience_of(_chain(self.memory(point).current))
        self.keep(point, self.memory(point), [Said(event_id, body, audience)])

    def _see(
        self, action: ChainAction, point: Point, hook: ObservedHook, seen: ObservedChain
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
        self.keep(point, self.memory(point), [Said(event_id, body, audience_of(_chain(current)))])

    def _step_id(self, point: Point, pending: Pending, memory: ChainMemory, action: str) -> str:
        """The id of one step of a change."""
        return events.change_event_id(
            self._node,
            point,
            action,
            desired_generation=pending.desired_generation,
            number=_number(pending, memory),
            command_id=pending.cause.command_id,
        )


def _chain(generation: Generation | None) -> DesiredChain | None:
    return generation.chain if generation else None


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


_CONFIRMATIONS: dict[ChangeKind, ChainAction] = {
    "attach": "chain.attach",
    "configure": "chain.configure",
    "detach": "chain.detach",
}
