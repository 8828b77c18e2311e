# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the rollout policy, and who sets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from services.scheduler.adapters.deciding import Deciding, command_facts
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.seeing import Seeing
from services.scheduler.rollout.policy_effects import try_policy
from services.scheduler.rollout.policy_setting import (
    ACTION,
    check_policy,
    next_policy,
    policy_event,
    shown_policy,
)
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.rollout_policy import (
    GET_ROLLOUT_POLICY,
    POLICY_KEY,
    ROLLOUT_POLICY,
    SET_ROLLOUT_POLICY,
    TRY_ROLLOUT_POLICY,
    GetRolloutPolicy,
    PolicyTried,
    RolloutPolicySet,
    RolloutPolicyShown,
    SetRolloutPolicy,
    TryRolloutPolicy,
)
from shared.moments import read_time
from shared.outbox_records import Change, Decision


class PolicyCommands:
    """One method for each; the rules are in the decision modules."""

    def __init__(
        self,
        *,
        records: FleetRecords,
        deciding: Deciding,
        seeing: Seeing,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing is taken yet."""
        self._records: Final = records
        self._deciding: Final = deciding
        self._seeing: Final = seeing
        self._now: Final = now

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            GET_ROLLOUT_POLICY: self.get_policy,
            TRY_ROLLOUT_POLICY: self.try_policy,
            SET_ROLLOUT_POLICY: self._deciding.command(SET_ROLLOUT_POLICY, self.set_policy),
        }

    async def get_policy(self, _request: GetRolloutPolicy, caller: Caller) -> RolloutPolicyShown:
        """The policy in force, as far as the caller sees it."""
        return shown_policy(self._records.policies.record, self._seeing.sight(caller))

    async def try_policy(self, request: TryRolloutPolicy, caller: Caller) -> PolicyTried:
        """What a policy would say of the deployments that the caller sees."""
        sight = self._seeing.sight(caller)
        if request.policy is not None:
            check_policy(request.policy, sight)
        return await asyncio.to_thread(  # a hundred rules with windows take seconds
            try_policy,
            self._records.fleet,
            request.policy or self._records.policies.policy,
            sight,
            at=read_time(request.at) if request.at else self._now(),
            deployment=request.deployment,
        )

    async def set_policy(
        self, command: SetRolloutPolicy, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RolloutPolicySet]:
        """The policy is in force, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)

        async def accept() -> Decision[RolloutPolicySet]:
            revision = await self._records.policies.reread()
            before = self._records.policies.record
            record = next_policy(
                before,
                command.policy,
                facts,
                self._seeing.sight(caller),
                if_generation=command.if_generation,
            )
            return Decision(
                reply=RolloutPolicySet(command_id=command_id, generation=record.generation),
                change=Change(ROLLOUT_POLICY, POLICY_KEY, record, revision=revision),
                events=(policy_event(record, before, facts),),
            )

        return await self._deciding.decided(ACTION, accept, facts, caller)
