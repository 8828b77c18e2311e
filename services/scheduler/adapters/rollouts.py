# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Brings every rollout on: tells the core what happened, and writes what it says.

Level-triggered: after a start, the core learns from what is stored where each rollout is.  A step's
record and its events are one write of the outbox, so neither is there without the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.health_questions import Answer, HealthQuestions
from services.scheduler.adapters.pace import Pace
from services.scheduler.execution import RECONCILE_SECONDS, RETRY_SECONDS, Execution
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.core import Instruction, RolloutCore
from services.scheduler.rollout.health_watches import Question
from services.scheduler.rollout.news import News
from shared.adapters.bus import Bus
from shared.adapters.outbox import Outbox
from shared.contracts.base import Accepted
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.events import Actor
from shared.contracts.rollout_policy import RolloutPolicy
from shared.errors import FaultError, RefusedError
from shared.outbox_records import Change, Decision

LOOK_SECONDS: Final = 5.0
"""While a rollout goes on: nobody says that a node fell silent."""
GATHER_SECONDS: Final = 0.01
"""What nodes say within it is looked at together."""

_log = structlog.get_logger()


class Rollouts:
    """All that go on."""

    def __init__(
        self,
        bus: Bus,
        *,
        records: FleetRecords,
        outbox: Outbox,
        execution: Execution,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing goes on yet.

        Args:
            bus: The scheduler's.
            records: What is known of the fleet.
            outbox: The scheduler's.
            execution: Whose lock guards records.
            now: The scheduler's clock.
        """
        self._records: Final = records
        self._outbox: Final = outbox
        self._execution: Final = execution
        self._now: Final = now
        self._bus: Final = bus
        self._core, self._news = self._begun()
        self._questions: Final = HealthQuestions(bus)
        self._answers: Final[list[Answer]] = []
        self._is_rolling = False
        self._pace: Final = Pace()

    def _begun(self) -> tuple[RolloutCore, News]:
        """Knowing nothing: what was known would be held on to while nothing needs it."""
        actor = Actor(key=self._bus.key, role=self._bus.role, attested=False)
        return RolloutCore(actor=actor), News()

    async def keep_acting(self) -> None:
        """For ever: every rollout goes on as soon as it may."""
        while True:
            self._records.rollouts_concerned.clear()
            try:
                await self.act()
                pause_seconds = self._pause_seconds()
            except FaultError as fault:
                _log.warning("rollouts_interrupted", why=fault.message)
                pause_seconds = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._records.rollouts_concerned.wait()
            if self._is_rolling:
                await asyncio.sleep(GATHER_SECONDS)
                await self._pace.rest()

    async def act(self) -> None:
        """Every rollout went on as far as it may now.

        Raises:
            FaultError: Something could not be written; call again.
        """
        while True:
            fleet = self._records.fleet
            was_rolling = self._is_rolling
            self._is_rolling = any(map(is_rolling, fleet.deployments.values()))
            if not self._is_rolling:
                if was_rolling:
                    self._core, self._news = self._begun()
                return
            with self._pace.thinking():
                silent = {
                    node: self._records.silence(node).is_silent
                    for node in fleet.nodes
                    if not self._records.is_heard(node)
                }
                events = self._news.since(
                    fleet, self._records.observed, silent, self._execution.conflicts
                )
                events += self._answers
                self._answers.clear()
                instructions = self._core.handle(events, self._now())
            if not instructions:
                break
            await self._perform_all(instructions, fleet.policy)
        for question in self._core.questions(self._now()):
            self._bus.spawn(self._ask(question))

    async def _ask(self, question: Question) -> None:
        """What is said of the health of a rollout is told to the core, as it comes."""

        def tell(answer: Answer) -> None:
            self._answers.append(answer)
            self._records.rollouts_concerned.set()

        await self._questions.ask(question, self._records.fleet.audiences, tell)

    async def _perform_all(self, steps: Iterable[Instruction], policy: RolloutPolicy) -> None:
        """The steps are written in their order; from one on whose record or policy moved, none is.

        Raises:
            FaultError: One could not be written.
        """
        is_undone = False
        for one in steps:
            async with self._execution.change():
                is_current = self._records.policies.policy is policy
                if not is_current or self._known(one) is not one.before:
                    break
                is_undone |= not await self._perform(one)
        if is_undone:
            raise FaultError("a step is still to be written")

    async def _perform(self, one: Instruction) -> bool:
        """Whether the step is written; nobody else changes the record meanwhile."""
        if not one.events:
            return await self._records.rewrite_deployment(one.after)
        decision = Decision(
            reply=Accepted(command_id=one.step_id),
            change=Change(
                DEPLOYMENTS, one.key, one.after, revision=self._records.revision_of(one.key)
            ),
            events=one.events,
            audience=self._records.fleet.audiences.of(one.before.space),
        )
        try:
            is_done = await self._outbox.step(decision, step_id=one.step_id)
        except RefusedError as error:
            _log.error("rollout_step_refused", deployment=one.key, why=error.message)
            return False
        if self._known(one) is one.before:
            await self._records.reread_deployments()
        for event in one.events if is_done else ():
            _log.info(
                "rollout_step",
                deployment=one.key,
                action=event.action,
                why=event.reason,
                wave=event.details["wave"],
            )
        return is_done

    def _known(self, one: Instruction) -> object:
        return self._records.fleet.deployments.get(one.key)

    def _pause_seconds(self) -> float:
        if not self._is_rolling:
            return RECONCILE_SECONDS
        due = self._core.due
        if due is None:
            return LOOK_SECONDS
        return max(0.0, min(LOOK_SECONDS, (due - self._now()).total_seconds()))
