# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands about the rollout of a deployment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from services.scheduler.adapters.deciding import Deciding, command_facts
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.seeing import Seeing
from services.scheduler.deployment import CommandFacts, check_generation
from services.scheduler.rollout.commands import (
    aborted,
    answer,
    approved,
    override_event,
    paused,
    resumed,
    rolling_record,
    rollout_event,
)
from services.scheduler.rollout.policy import Others, hold, rules_of
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.deployments import DEPLOYMENTS, DeploymentRecord
from shared.contracts.events import EventBody
from shared.contracts.rollout_commands import (
    ABORT_ROLLOUT,
    APPROVE_ROLLOUT,
    PAUSE_ROLLOUT,
    RESUME_ROLLOUT,
    AbortRollout,
    ApproveRollout,
    PauseRollout,
    ResumeRollout,
    RolloutAnswered,
    RolloutCommand,
)
from shared.deployment_keys import deployment_key
from shared.outbox_records import Change, Decision


class RolloutCommands:
    """One method for each; the rules are in `rollout.commands`."""

    def __init__(self, *, records: FleetRecords, deciding: Deciding, seeing: Seeing) -> None:
        """Nothing is taken yet."""
        self._records: Final = records
        self._deciding: Final = deciding
        self._seeing: Final = seeing

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            PAUSE_ROLLOUT: self._deciding.command(PAUSE_ROLLOUT, self.pause),
            RESUME_ROLLOUT: self._deciding.command(RESUME_ROLLOUT, self.resume),
            ABORT_ROLLOUT: self._deciding.command(ABORT_ROLLOUT, self.abort),
            APPROVE_ROLLOUT: self._deciding.command(APPROVE_ROLLOUT, self.approve),
        }

    async def pause(
        self, command: PauseRollout, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RolloutAnswered]:
        """No further node is changed, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        return await self._done("deployment.pause", command, caller, facts, paused)

    async def resume(
        self, command: ResumeRollout, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RolloutAnswered]:
        """The rollout goes on, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)

        def go_on(record: DeploymentRecord, facts: CommandFacts) -> DeploymentRecord:
            return resumed(
                record,
                facts,
                override=command.override,
                policy=self._records.policies.policy,
                others=self._others(),
            )

        def overridden(record: DeploymentRecord) -> tuple[EventBody, ...]:
            if not command.override:
                return ()
            policy, others = self._records.policies.policy, self._others()
            rules = rules_of(record, policy, others)
            return (override_event(record, facts, hold(record, policy, others, now), rules),)

        return await self._done(
            "deployment.resume", command, caller, facts, go_on, beside=overridden
        )

    async def abort(
        self, command: AbortRollout, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RolloutAnswered]:
        """What was everywhere before is back, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        return await self._done("deployment.abort", command, caller, facts, aborted)

    async def approve(
        self, command: ApproveRollout, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RolloutAnswered]:
        """The wave has one more approval, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)

        def let_begin(record: DeploymentRecord, facts: CommandFacts) -> DeploymentRecord:
            return approved(
                record,
                facts,
                wave=command.wave,
                policy=self._records.policies.policy,
                others=self._others(),
            )

        return await self._done("deployment.approve", command, caller, facts, let_begin)

    async def _done(
        self,
        action: str,
        command: RolloutCommand,
        caller: Caller,
        facts: CommandFacts,
        change: Callable[[DeploymentRecord, CommandFacts], DeploymentRecord],
        *,
        beside: Callable[[DeploymentRecord], tuple[EventBody, ...]] = lambda _: (),
    ) -> Decision[RolloutAnswered]:
        async def accept() -> Decision[RolloutAnswered]:
            sequence = await self._records.reread_deployments()
            fleet = await self._seeing.fleet(caller, command.space)
            key = deployment_key(command.space, command.name)
            before = rolling_record(fleet.deployments.get(key), name=key)
            check_generation(before, name=key, if_generation=command.if_generation)
            after = change(before, facts)
            return Decision(
                reply=answer(after, facts.command_id),
                change=Change(DEPLOYMENTS, key, after, sequence),
                events=(rollout_event(action, before, after, facts), *beside(before)),
                audience=fleet.audiences.of(before.space),
            )

        return await self._deciding.decided(action, accept, facts, caller, named=command)

    def _others(self) -> Others:
        return Others(nodes=self._records.fleet.nodes)
