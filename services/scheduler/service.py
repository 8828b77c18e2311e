# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's shell: gather, ask the decisions, perform, reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import perf_counter_ns
from typing import Any, Final, TypeVar

import msgspec
import structlog

from services.scheduler.absence import without_silent
from services.scheduler.acceptance import Draft, draft_application, draft_removal, draft_unstaged
from services.scheduler.adapters.deciding import Deciding, command_facts
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.neighbours import Neighbours
from services.scheduler.adapters.node_commands import NodeCommands
from services.scheduler.adapters.policy_commands import PolicyCommands
from services.scheduler.adapters.questions import Questions
from services.scheduler.adapters.rollout_commands import RolloutCommands
from services.scheduler.adapters.seeing import Seeing
from services.scheduler.audiences import Sight
from services.scheduler.deployment import (
    CommandFacts,
    accepted_event,
    check_generation,
    rollback_target,
)
from services.scheduler.execution import Execution
from services.scheduler.groups import Refusals, check_generations, check_one_space
from services.scheduler.joint_plan import draft_all, draft_together
from services.scheduler.licence_standing import use_events
from services.scheduler.plan_difference import with_estimates, with_trials
from services.scheduler.rollout.going_back import is_where_it_began, rolled_back
from services.scheduler.staging import judge_staging, seen_errors
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint, Message
from shared.contracts.catalog import PackageResolved
from shared.contracts.chain_reasons import WHY_CHAINS
from shared.contracts.deployments import DEPLOYMENTS, DeploymentSpec
from shared.contracts.events import Actor
from shared.contracts.node import StagedChain
from shared.contracts.node_reasons import EXPLAIN_NODE
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_DEPLOYMENT,
    GET_NODE,
    LIST_DEPLOYMENTS,
    LIST_NODES,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    DeploymentAccepted,
    DeploymentPlan,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.deployment_keys import deployment_key
from shared.licensing.waivers import waived_rules
from shared.moments import render_time
from shared.outbox_records import Change, Decision

_log = structlog.get_logger()

ReplyT = TypeVar("ReplyT", bound=Message)


class SchedulerService:
    """One method for each endpoint; the rules are in the decision modules."""

    def __init__(
        self,
        *,
        records: FleetRecords,
        neighbours: Neighbours,
        outbox: Outbox,
        execution: Execution,
        now: Callable[[], datetime],
    ) -> None:
        self._records: Final = records
        self._now: Final = now
        self._neighbours: Final = neighbours
        self._seeing: Final = Seeing(records)
        self._deciding: Final = Deciding(
            records=records, outbox=outbox, execution=execution, seeing=self._seeing
        )
        self._node_commands: Final = NodeCommands(records=records, deciding=self._deciding)
        self._policy_commands: Final = PolicyCommands(
            records=records, deciding=self._deciding, seeing=self._seeing, now=now
        )
        self._rollout_commands: Final = RolloutCommands(
            records=records, deciding=self._deciding, seeing=self._seeing
        )
        self._questions: Final = Questions(
            records=records, execution=execution, seeing=self._seeing
        )

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            PLAN_DEPLOYMENT: self.plan_deployment,
            APPLY_DEPLOYMENT: self._deciding.command(APPLY_DEPLOYMENT, self.apply_deployment),
            ROLL_BACK_DEPLOYMENT: self._deciding.command(
                ROLL_BACK_DEPLOYMENT, self.roll_back_deployment
            ),
            REMOVE_DEPLOYMENT: self._deciding.command(REMOVE_DEPLOYMENT, self.remove_deployment),
            LIST_DEPLOYMENTS: self._questions.list_deployments,
            GET_DEPLOYMENT: self._questions.get_deployment,
            **self._node_commands.endpoints(),
            **self._rollout_commands.endpoints(),
            **self._policy_commands.endpoints(),
            LIST_NODES: self._questions.list_nodes,
            GET_NODE: self._questions.get_node,
            WHY_CHAINS: self._questions.why_chains,
            EXPLAIN_NODE: self._questions.explain_node,
        }

    async def plan_deployment(self, request: PlanDeployment, caller: Caller) -> DeploymentPlan:
        """What applying would do; staged on the nodes, changes nothing."""
        specs = (request.spec, *request.also)
        for spec in specs:
            await self._seeing.refuse_unseen(caller, spec.space)
        sight = self._seeing.sight(caller)
        resolved, _sequence = await self._resolve(specs)
        specified = [(spec, one.package) for spec, one in zip(specs, resolved, strict=True)]
        warnings = [text for one in resolved for text in one.warnings]
        draft = draft_together(
            self._records.fleet,
            specified,
            planning(self._now()),
            sight,
            node=request.node,
            warnings=warnings,
        )
        draft = without_silent(draft, self._records.silence)
        staged = await self._stage(draft, sight, *resolved)
        fleet = self._records.fleet
        chains = with_estimates(
            with_trials(draft.plan.chains, staged),
            {**fleet.deployments, **{one.key: one for one in draft.records}},
            fleet.nodes,
        )
        return msgspec.structs.replace(draft.plan, chains=tuple(chains))

    async def apply_deployment(
        self, command: ApplyDeployment, caller: Caller, command_id: str, now: datetime
    ) -> Decision[DeploymentAccepted]:
        """The deployments are what the specifications say, or the refusal why none of them is."""
        facts = command_facts(command, caller, command_id, now)
        specs, spec = (command.spec, *command.also), command.spec
        if not facts.reason and len(specs) == 1:
            facts = replace(facts, reason=spec.reason)

        async def accept() -> Decision[DeploymentAccepted]:
            started_ns = perf_counter_ns()
            check_one_space(specs)
            await self._seeing.refuse_unseen(caller, spec.space)
            resolved, sequence = await self._resolve(specs)
            resolved_ns = perf_counter_ns()
            check_generations(
                specs,
                self._records.fleet.deployments,
                if_generation=command.if_generation,
                if_generations=command.if_generations,
            )
            draft = draft_all(
                self._records.fleet,
                [(one, found.package) for one, found in zip(specs, resolved, strict=True)],
                facts,
                warnings=[text for one in resolved for text in one.warnings],
            )
            draft = without_silent(draft, self._records.silence)
            drafted_ns = perf_counter_ns()
            sight = self._records.fleet.audiences.seen_in(spec.space)
            await self._stage(draft, sight, *resolved)
            _log.info(
                "deployment_staged",
                deployments=[one.key for one in specs],
                command_id=command_id,
                nodes=len(draft.staging),
                resolve_ms=(resolved_ns - started_ns) / 1e6,
                draft_ms=(drafted_ns - resolved_ns) / 1e6,
                stage_ms=(perf_counter_ns() - drafted_ns) / 1e6,
            )
            return self._accepted("deployment.apply", draft, facts, sequence)

        return await self._deciding.decided(
            "deployment.apply", accept, facts, caller, named=spec, also=command.also
        )

    async def roll_back_deployment(
        self, command: RollBackDeployment, caller: Caller, command_id: str, now: datetime
    ) -> Decision[DeploymentAccepted]:
        """An earlier revision is back as a new one, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)

        async def accept() -> Decision[DeploymentAccepted]:
            sequence = await self._records.reread_deployments()
            fleet = await self._seeing.fleet(caller, command.space)
            record = fleet.deployments.get(deployment_key(command.space, command.name))
            check_generation(record, name=command.name, if_generation=command.if_generation)
            target = rollback_target(record, name=command.name, to_revision=command.to_revision)
            if record is not None and is_where_it_began(record, target):
                draft = draft_unstaged(fleet, rolled_back(record, facts))
                return self._accepted("deployment.rollback", draft, facts, sequence)
            resolved = await self._package(target.spec, target.version)
            fleet = self._records.fleet
            draft = draft_application(
                fleet, target.spec, resolved.package, facts, rollback_of=target
            )
            draft = without_silent(draft, self._records.silence)
            sight = fleet.audiences.seen_in(command.space)
            await self._stage(draft, sight, resolved)
            return self._accepted("deployment.rollback", draft, facts, sequence)

        return await self._deciding.decided(
            "deployment.rollback", accept, facts, caller, named=command
        )

    async def remove_deployment(
        self, command: RemoveDeployment, caller: Caller, command_id: str, now: datetime
    ) -> Decision[DeploymentAccepted]:
        """The deployment holds no place, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)

        async def accept() -> Decision[DeploymentAccepted]:
            sequence = await self._records.reread_deployments()
            fleet = await self._seeing.fleet(caller, command.space)
            key = deployment_key(command.space, command.name)
            check_generation(
                fleet.deployments.get(key), name=key, if_generation=command.if_generation
            )
            draft = draft_removal(fleet, key, facts)
            return self._accepted("deployment.remove", draft, facts, sequence)

        return await self._deciding.decided(
            "deployment.remove", accept, facts, caller, named=command
        )

    async def _resolve(self, specs: Sequence[DeploymentSpec]) -> tuple[list[PackageResolved], int]:
        """The package versions; meanwhile deployments are read, whose bucket sequence is given."""
        refusals = Refusals()
        found: dict[str, PackageResolved] = {}

        async def resolve(spec: DeploymentSpec) -> None:
            with refusals.of(spec.key):
                found[spec.key] = await self._package(spec)

        sequence, _ = await asyncio.gather(
            self._records.reread_deployments(), asyncio.gather(*map(resolve, specs))
        )
        refusals.tell()
        return [found[spec.key] for spec in specs], sequence

    async def _package(self, spec: DeploymentSpec, version: str = "") -> PackageResolved:
        """The version; if it needs waivers, those are known as they are now."""
        wanted = version or spec.version
        resolved = await self._neighbours.resolve(
            spec.package, wanted, spec.channel, space=spec.space
        )
        if waived_rules(resolved.package.licences):
            await self._records.reread_waivers()
        return resolved

    async def _stage(
        self, draft: Draft, sight: Sight, *resolved: PackageResolved
    ) -> Mapping[str, tuple[StagedChain, ...]]:
        """What the nodes found when they tried their chains."""
        tickets = {one.package.signed.archive_sha256: one.ticket for one in resolved}
        members = self._records.fleet.audiences.members
        name = ", ".join(record.name for record in draft.records)
        trials = await self._neighbours.stage(draft.staging, tickets, members)
        judge_staging(name, seen_errors(trials.errors, draft.staging, sight))
        return trials.staged

    def _accepted(
        self, action: str, draft: Draft, facts: CommandFacts, sequence: int
    ) -> Decision[DeploymentAccepted]:
        fleet = self._records.fleet
        first, *also = (
            Change(DEPLOYMENTS, one.key, one, sequence, self._records.revision_of(one.key))
            for one in draft.records
        )
        return Decision(
            reply=draft.reply(facts.command_id),
            # The first is about the whole bucket, which the decision has looked at.
            change=replace(first, revision=None),
            also=tuple(also),
            events=tuple(
                event
                for one in draft.records
                for event in (
                    accepted_event(
                        action, one, fleet.deployments.get(one.key), facts, silent=draft.silent
                    ),
                    *use_events(one, fleet),
                )
            ),
            audience=fleet.audiences.of(draft.record.space),
        )


def planning(now: datetime) -> CommandFacts:
    """A plan is drafted as if a command had come, and is never written."""
    actor = Actor(key="", role="", attested=False)
    return CommandFacts(command_id="plan-only", actor=actor, at=render_time(now))
