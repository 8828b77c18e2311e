# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How every command of the scheduler is taken: one at a time, through the outbox, and answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from time import perf_counter_ns
from typing import Any, Final, TypeVar

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.seeing import Seeing
from services.scheduler.deployment import CommandFacts, Named, refused_event
from services.scheduler.execution import Execution
from shared.adapters.callers import Caller
from shared.adapters.outbox import Decide, Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Command, Endpoint, Message
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.events import PUBLIC
from shared.errors import Refusal, RefusedError
from shared.moments import render_time
from shared.outbox_records import Decision

_log = structlog.get_logger()

ReplyT = TypeVar("ReplyT", bound=Message)


class Deciding:
    """Takes commands for those who decide them."""

    def __init__(
        self, *, records: FleetRecords, outbox: Outbox, execution: Execution, seeing: Seeing
    ) -> None:
        """Nothing is taken yet."""
        self._records: Final = records
        self._outbox: Final = outbox
        self._execution: Final = execution
        self._seeing: Final = seeing

    def command(self, endpoint: Endpoint[Any, Any], decide: Decide[Any, Any]) -> Handler:
        """Serves the endpoint with what `decide` decides; no other command is decided meanwhile."""
        handler = self._outbox.command(endpoint, decide)

        async def perform(command: Command, caller: Caller) -> Message:
            asked_ns = perf_counter_ns()
            async with self._execution.change():
                started_ns = perf_counter_ns()
                reply = await handler(command, caller)
                _log.info(
                    "command_done",
                    subject=endpoint.subject,
                    command_id=command.command_id,
                    waited_ms=(started_ns - asked_ns) / 1e6,
                    duration_ms=(perf_counter_ns() - started_ns) / 1e6,
                )
                return reply

        return perform

    async def decided(
        self,
        action: str,
        accept: Callable[[], Awaitable[Decision[ReplyT]]],
        facts: CommandFacts,
        caller: Caller,
        *,
        named: Named | None = None,
        also: Sequence[DeploymentSpec] = (),
        node: str = "",
    ) -> Decision[ReplyT]:
        """What `accept` decides; a refusal is a decision too, and has its event.

        It goes to those who see the deployment's space.  Of one that the caller does not see,
        whether there is one or not, everybody is told no more than that somebody asked.
        """
        try:
            return await accept()
        except RefusedError as error:
            refusal = error.refusal()
            space = PUBLIC if named is None else named.space
            if not await self._seeing.sees(caller, space):
                told = Refusal(code=refusal.code, message="not found")
                return Decision(refusal=refusal, events=(refused_event(action, told, facts),))
            # Of another space, not even the name of a deployment is told.
            told_of = (named, *(one for one in also if one.space == space))
            events = tuple(
                refused_event(action, refusal, facts, node=node, named=one) for one in told_of
            )
            audience = self._records.fleet.audiences.of(space)
            return Decision(refusal=refusal, events=events, audience=audience)


def command_facts(command: Command, caller: Caller, command_id: str, now: datetime) -> CommandFacts:
    """Who asked for what, as records and events keep it."""
    return CommandFacts(
        command_id=command_id,
        actor=caller.actor(),
        at=render_time(now),
        reason=command.reason,
    )
