# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Settles the hook points of a node one after another; what fails at one holds up no other.

What the kernel thread is asked is asked of one hook point at a time, so that others get their turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
import structlog

from services.node_executor.adapters.memory_limits import MemoryLimitError, as_memory_limit
from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.chain_journal import ChainJournal, NotAcknowledgedError
from services.node_executor.changes import HookPoints
from services.node_executor.events import bounded
from services.node_executor.generations import Point, point_of
from services.node_executor.preparation import GenerationConflictError, Needs, Prepared
from services.node_executor.staging import Staging, Thread
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.errors import ErrorCode
from shared.contracts.node import ObservedChain
from shared.errors import FaultError, Refusal, RefusedError

log = structlog.get_logger()


class RemovalError(FaultError):
    """A chain that nobody wants could not be taken off; it is tried again."""


class Settling:
    """Makes hook points run what is desired, or keeps what ran before."""

    def __init__(
        self, *, thread: Thread, points: HookPoints, staging: Staging, journal: ChainJournal
    ) -> None:
        """Nothing is touched yet."""
        self._thread = thread
        self._journal = journal
        self._points = points
        self._staging = staging
        self.faults: dict[Point, Refusal] = {}
        """Hook points of the last round that could not be settled now, and why."""
        self.waits_for_acknowledgement = False
        """Whether some change waits for the audit stream."""
        self._in_vain: dict[Point, set[tuple[str, int]]] = {}
        """Plans of chains that could not be brought back, and the interfaces that refused them."""

    async def settle_all(
        self,
        wanted: DesiredNode,
        *,
        takes_off: bool,
        resting: Collection[Point],
        is_newest: Callable[[], bool],
    ) -> bool:
        """Whether every hook point was acted upon, and the desired record is still the newest.

        Args:
            wanted: What is desired.
            takes_off: Whether a chain that is not wanted is taken off.
            resting: Hook points where nothing has to be done.
            is_newest: Whether nothing else is desired by now.
        """
        chains = {point_of(chain): chain for chain in wanted.chains}
        self.faults = {}
        self.waits_for_acknowledgement = False
        unwanted = self._points.points() if takes_off else set()
        for point in resting:
            self._in_vain.pop(point, None)
        for point in sorted({*chains, *unwanted}.difference(resting)):
            if not is_newest():
                return False
            try:
                await self._settle(point, chains.get(point), wanted.generation)
            except StateStoreError:
                raise
            except RefusedError as error:  # of what ran before; the desired chain has its refusal
                log.warning("upholding_refused", **point._asdict(), why=error.message)
            except FaultError as error:
                fault = as_memory_limit(error)
                self.faults[point] = bounded(fault.refusal())
                if isinstance(fault, NotAcknowledgedError):
                    self.waits_for_acknowledgement = True
                log.warning("settling_failed", **point._asdict(), why=fault.message)
                if isinstance(fault, MemoryLimitError):
                    await self._say(point, chains.get(point), wanted.generation, fault)
        return is_newest() and not self.faults

    def with_fault(self, chain: ObservedChain) -> ObservedChain:
        """The hook point with the fault of the last round, if nothing else is wrong there."""
        fault = self.faults.get(point_of(chain))
        if fault is None or chain.refusal is not None:
            return chain
        return msgspec.structs.replace(chain, refusal=fault)

    async def _say(
        self, point: Point, chain: DesiredChain | None, generation: int, fault: FaultError
    ) -> None:
        """The journal has it; if not even that has memory, the next attempt says it."""
        refusal = fault.refusal()
        try:
            await self._thread(
                self._journal.fault, point, chain, desired_generation=generation, fault=refusal
            )
        except StateStoreError:
            raise
        except (FaultError, RefusedError) as error:
            log.warning("event_not_journaled", **point._asdict(), why=error.message)

    async def _settle(self, point: Point, chain: DesiredChain | None, generation: int) -> None:
        if chain is not None and self._points.is_refused(point, chain):
            await self._thread(self._points.uphold, point)
            await self._bring_back(point, chain, generation)
            return
        try:
            try:
                await self._change(point, chain, generation)
            except GenerationConflictError as conflict:
                log.info("decided_anew", **point._asdict(), why=conflict.message)
                await self._change(point, chain, generation)
        except RefusedError as error:
            log.info("chain_refused", **point._asdict(), code=error.refusal_code, why=error.message)
            if chain is None:
                raise RemovalError(error.message, error.reasons) from error
            await self._thread(
                self._points.refuse, point, chain, desired_generation=generation, error=error
            )
            await self._bring_back(point, chain, generation)

    async def _bring_back(self, point: Point, refused: DesiredChain, generation: int) -> None:
        """A confirmed chain runs if none does, though it has to be linked: the newest that can.

        As a chain does that is bound to a device which went, and is there anew.
        """
        memory = self._points.memory(point)
        refusal = memory.refusal
        if refusal is None:
            return
        for kept in memory.kept:
            needs = await self._thread(self._points.needs, point, kept.chain)
            if needs is None or (needs.standing and needs.standing.program_id):
                return
            attempt = (kept.plan_sha256, needs.interface_index)
            if attempt in self._in_vain.get(point, ()):
                continue
            try:
                await self._change(point, kept.chain, memory.desired_generation)
            except RefusedError as error:
                self._in_vain.setdefault(point, set()).add(attempt)
                log.warning("bringing_back_refused", **point._asdict(), why=error.message)
                continue
            log.info("brought_back", **point._asdict(), generation=kept.number)
            await self._thread(
                self._points.refuse,
                point,
                refused,
                desired_generation=generation,
                error=_as_error(refusal),
            )
            return

    async def _change(self, point: Point, chain: DesiredChain | None, generation: int) -> None:
        """What the point needs is found out, prepared and done; refused if it changed meanwhile."""
        prepared = Prepared()
        needs: Needs | None = None
        try:
            needs = await self._thread(self._points.needs, point, chain)
            if needs is not None and chain is not None:
                prepared = await self._staging.prepare(point, chain, needs)
            await self._thread(
                self._points.settle,
                point,
                chain,
                desired_generation=generation,
                prepared=prepared,
                decided_on=needs.standing if needs else None,
            )
        except NotAcknowledgedError:
            if chain is not None and needs is not None:
                await self._staging.put_by(point, chain, needs, prepared)
                prepared = Prepared()
            raise
        finally:
            if prepared.linked is not None:
                await self._thread(prepared.linked.close)


def _as_error(refusal: Refusal) -> RefusedError:
    """What was refused before, to be refused again in the same words."""
    code = msgspec.convert(refusal.code, ErrorCode)
    return RefusedError(refusal.message, refusal.reasons, code=code)
