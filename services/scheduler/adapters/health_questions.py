# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Asks nodes by which numbers a rollout is judged, and gates whether a wave is well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from services.scheduler.audiences import Audiences
from services.scheduler.rollout.health import GateAnswer
from services.scheduler.rollout.health_watches import GateAnswered, NodeMeasured, Question
from shared.adapters.bus import Bus
from shared.contracts.gates import ASK_GATE, AskGate
from shared.contracts.health import ExternalGate
from shared.contracts.node_health import READ_HEALTH, ReadHealth
from shared.deployment_keys import space_of
from shared.errors import FaultError, RefusedError

READ_SECONDS: Final = 5.0
NODES_AT_ONCE: Final = 32

Answer = NodeMeasured | GateAnswered

_log = structlog.get_logger()


class HealthQuestions:
    """Over the scheduler's connection."""

    def __init__(self, bus: Bus) -> None:
        """Nobody is asked."""
        self._bus: Final = bus
        self._few: Final = asyncio.Semaphore(NODES_AT_ONCE)
        self._awaited: Final[set[tuple[str, int, int, str]]] = set()
        """Deployment, revision, wave and whose answer."""

    async def ask(
        self, question: Question, audiences: Audiences, tell: Callable[[Answer], None]
    ) -> None:
        """Everybody was asked; what was said in time was told as it came.

        Whose answer to the same question is still awaited is not asked once more.

        Args:
            question: Whom to ask what.
            audiences: Who sees the deployment; a gate that does not is not asked.
            tell: Takes what was said.
        """
        async with asyncio.TaskGroup() as group:
            for name in question.nodes:
                reading = partial(self._read, name, question, tell)
                group.create_task(self._once(question, f"node/{name}", reading))
            if question.gate is not None and question.about is not None:
                gate, about = question.gate, question.about
                asking = partial(self._ask_gate, gate, about, question, audiences, tell)
                group.create_task(self._once(question, f"gate/{gate.name}", asking))

    async def _once(
        self, question: Question, whom: str, asking: Callable[[], Awaitable[None]]
    ) -> None:
        same = (question.deployment, question.revision, question.wave, whom)
        if same in self._awaited:
            return
        self._awaited.add(same)
        try:
            await asking()
        finally:
            self._awaited.discard(same)

    async def _read(self, node: str, question: Question, tell: Callable[[Answer], None]) -> None:
        request = ReadHealth(deployment=question.deployment, metrics=question.metrics)
        try:
            async with self._few:
                reading = await self._bus.request(
                    READ_HEALTH.at(node=node), request, timeout_seconds=READ_SECONDS
                )
        except (FaultError, RefusedError) as error:
            _log.warning("health_not_read", node=node, why=error.message)
            return
        if reading.node == node:
            tell(NodeMeasured(question.deployment, question.revision, reading))
        else:
            _log.warning("health_not_read", node=node, why="it speaks of another node")

    async def _ask_gate(
        self,
        gate: ExternalGate,
        about: AskGate,
        question: Question,
        audiences: Audiences,
        tell: Callable[[Answer], None],
    ) -> None:
        answer = await self._gate_answer(gate, about, audiences)
        tell(GateAnswered(question.deployment, question.revision, question.wave, answer))

    async def _gate_answer(
        self, gate: ExternalGate, about: AskGate, audiences: Audiences
    ) -> GateAnswer:
        if not audiences.seen_by(gate.name).sees(space_of(about.deployment)):
            return GateAnswer(is_well=None, reason="it is no member of the deployment's space")
        try:
            said = await self._bus.request(
                ASK_GATE.at(name=gate.name), about, timeout_seconds=gate.timeout_seconds
            )
        except (FaultError, RefusedError) as error:
            _log.warning("gate_silent", gate=gate.name, why=error.message)
            return GateAnswer(is_well=None, reason=error.message)
        return GateAnswer(is_well=said.well, reason=said.reason)
