# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What people do to a rollout: they pause, resume, abort and approve it.

Pure.

Rules:
 * Only a rollout that goes on can be spoken to.
 * Whoever asked for the revision cannot approve it where others must; nobody approves twice.
 * What is resumed has its deadline anew, and bakes anew.
 * An override lets a rollout begin outside windows and inside freezes, with a reason; who may,
   the policy says, and of the deployment's own windows an administrator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.deployment import CommandFacts, known_record, state_digest
from services.scheduler.remarks import remarks
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.decision import gate_problem
from services.scheduler.rollout.going_back import ended, gone_back
from services.scheduler.rollout.policy import (
    Others,
    approvals_needed,
    override_problems,
    rules_of,
)
from services.scheduler.rollout.transitions import state_of
from shared.change_windows import Hold
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.rollout_commands import RolloutAnswered
from shared.contracts.rollout_policy import PolicyRule, RolloutPolicy
from shared.contracts.rollouts import RolloutApproval, RolloutOverride, RolloutState
from shared.errors import Reason, RefusedError
from shared.moments import render_time

OVERRIDING: Final = "administrator"
"""May let a rollout begin in spite of what its deployment says."""


class RolloutConflictError(RefusedError):
    """The rollout is not so that this could be done to it."""

    code: ClassVar[ErrorCode] = "conflict"


class OverrideRefusedError(RefusedError):
    """Whoever asks may not override."""

    code: ClassVar[ErrorCode] = "not_permitted"


def rolling_record(record: DeploymentRecord | None, *, name: str) -> DeploymentRecord:
    """The deployment, whose newest revision is on its way.

    Raises:
        UnknownDeploymentError: There is none of this name.
        RolloutConflictError: No rollout of it goes on.
    """
    known = known_record(record, name=name)
    if is_rolling(known):
        return known
    state = known.rollout
    over = f"revision {state.revision} is {state.phase}" if state is not None else "it went at once"
    reason = Reason(path="name", rule=f"no rollout of it goes on: {over}", got=name)
    raise RolloutConflictError(f"{name}: no rollout of it goes on", [reason])


def paused(record: DeploymentRecord, facts: CommandFacts) -> DeploymentRecord:
    """The deployment whose rollout changes no further node.

    Raises:
        RolloutConflictError: It is paused already.
    """
    state = state_of(record)
    if state.phase == "paused":
        raise _conflict(record, "phase", "it is paused already", state.why)
    return _commanded(record, facts, phase="paused", why=_because("paused", facts), evidence=())


def resumed(
    record: DeploymentRecord,
    facts: CommandFacts,
    *,
    override: bool,
    policy: RolloutPolicy,
    others: Others,
) -> DeploymentRecord:
    """The deployment whose rollout goes on where it was.

    Args:
        record: With a rollout that goes on.
        facts: Who asks.
        override: Whether windows and freezes count for nothing from now on.
        policy: In force.
        others: The fleet.

    Raises:
        RolloutConflictError: It is not paused, and no override is asked for.
        OverrideRefusedError: Who asks may not override, or says no reason.
    """
    state = state_of(record)
    if state.phase != "paused" and not override:
        raise _conflict(record, "phase", "it is not paused", state.phase)
    fields: dict[str, Any] = {"why": "", "evidence": (), "bad_periods": 0}
    if override:
        _refuse_override(record, facts, policy, others)
        fields["override"] = RolloutOverride(
            actor_key=facts.actor.key,
            actor_role=facts.actor.role,
            at=facts.at,
            reason=facts.reason,
        )
    if state.phase == "paused":
        has_begun = bool(state.wave_started_at)
        fields |= {
            "phase": "rolling-out" if has_begun else "waiting",
            "released_at": facts.at if has_begun else "",
            "healthy_since": "",
        }
    return _commanded(record, facts, **fields)


def approved(
    record: DeploymentRecord,
    facts: CommandFacts,
    *,
    wave: int | None,
    policy: RolloutPolicy,
    others: Others,
) -> DeploymentRecord:
    """The deployment whose next wave has one more approval.

    Args:
        record: With a rollout that goes on.
        facts: Who asks.
        wave: Which, counted from 0; None: the one that waits.
        policy: In force.
        others: The fleet.

    Raises:
        RolloutConflictError: The wave does not wait for an approval, or not for this one's.
    """
    state, revision = state_of(record), record.revisions[-1]
    number = state.wave if wave is None else wave
    if number != state.wave or state.wave_started_at:
        rule = "is not the wave that is to begin"
        raise _conflict(record, "wave", rule, number, allowed=state.wave)
    needed = approvals_needed(revision.spec, rules_of(record, policy, others))
    is_first = number == 0
    if not (needed if is_first else gate_problem(revision.spec.rollout, state)):
        raise _conflict(record, "wave", "it waits for nobody's approval", number)
    if is_first and facts.actor.key == revision.actor_key:
        rule = "who asked for the revision cannot approve it"
        raise _conflict(record, "actor", rule, facts.actor.role)
    if any((one.actor_key, one.wave) == (facts.actor.key, number) for one in state.approvals):
        raise _conflict(record, "actor", "approved it already", facts.actor.role)
    approval = RolloutApproval(
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        at=facts.at,
        wave=number,
        reason=facts.reason,
    )
    still = state.why if state.phase == "paused" else ""
    return _commanded(record, facts, approvals=(*state.approvals, approval), why=still)


def aborted(record: DeploymentRecord, facts: CommandFacts) -> DeploymentRecord:
    """The deployment as it was before the rollout."""
    state = ended(state_of(record), "aborted", at=facts.at, why=_because("aborted", facts))
    return gone_back(record, state, facts)


def rollout_event(
    action: str, before: DeploymentRecord, after: DeploymentRecord, facts: CommandFacts
) -> EventBody:
    """What the audit log says of an accepted command about a rollout."""
    revision, state = before.revisions[-1], state_of(after)
    details: dict[str, Any] = {
        "revision": revision.revision,
        "generation": after.generation_now,
        "phase": state.phase,
        "wave": state.wave + 1,
        "waves": len(state.waves),
        **remarks(revision),
    }
    if state.override is not None and state.override != state_of(before).override:
        details["override"] = True
    if state.phase == "aborted":
        details["to_revision"] = state.base_revision
    return EventBody(
        action=action,
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        hook=revision.spec.hook,
        deployment=before.key,
        package=revision.spec.package,
        version=revision.version,
        before=state_digest(before),
        after=state_digest(after),
        details=details,
    )


def override_event(
    record: DeploymentRecord, facts: CommandFacts, held: Hold | None, rules: Iterable[PolicyRule]
) -> EventBody:
    """What the audit log says of windows and freezes that count for nothing from now on.

    `details`: revision, waited_for (what the rollout waited for), until, and rules (of the rollout
    policy, those with windows or freezes).

    Args:
        record: Before the command.
        facts: Of who overrides.
        held: What the rollout waited for; None: nothing.
        rules: Of the policy, those that concern it.
    """
    revision = record.revisions[-1]
    until = held.until if held is not None else None
    return EventBody(
        action="rollout.override",
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        hook=revision.spec.hook,
        deployment=record.key,
        package=revision.spec.package,
        version=revision.version,
        details={
            "revision": revision.revision,
            "waited_for": held.why if held is not None else "",
            "until": render_time(until) if until is not None else "",
            "rules": [one.name for one in rules if one.windows or one.freezes],
            **remarks(revision),
        },
    )


def answer(record: DeploymentRecord, command_id: str) -> RolloutAnswered:
    """What whoever gave the command is told."""
    state = state_of(record)
    return RolloutAnswered(
        command_id=command_id,
        name=record.name,
        space=record.space,
        revision=state.revision,
        generation=record.generation_now,
        phase=state.phase,
        wave=state.wave,
        waves=len(state.waves),
        why=state.why,
    )


def _commanded(record: DeploymentRecord, facts: CommandFacts, **fields: Any) -> DeploymentRecord:
    """The record with these fields of its rollout, marked with the command."""
    state: RolloutState = state_of(record)
    return msgspec.structs.replace(
        record,
        rollout=msgspec.structs.replace(state, step=state.step + 1, **fields),
        generation=record.generation_now + 1,
        written_by=facts.command_id,
    )


def _because(done: str, facts: CommandFacts) -> str:
    said = f"{facts.actor.role} {done} it"
    return f"{said}: {facts.reason}" if facts.reason else said


def _refuse_override(
    record: DeploymentRecord, facts: CommandFacts, policy: RolloutPolicy, others: Others
) -> None:
    problems = override_problems(record, policy, others, role=facts.actor.role)
    own = record.revisions[-1].spec.rollout
    if (own.windows or own.freezes) and facts.actor.role != OVERRIDING:
        rule = "the deployment's own windows and freezes are overridden by administrators"
        problems.append(Reason(path="override", rule=rule, got=facts.actor.role))
    if not facts.reason:
        problems.append(Reason(path="reason", rule="an override needs a reason"))
    if problems:
        raise OverrideRefusedError(f"{record.key}: cannot be overridden", problems)


def _conflict(
    record: DeploymentRecord, path: str, rule: str, got: object, *, allowed: object = None
) -> RolloutConflictError:
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return RolloutConflictError(f"{record.key}: {rule}", [reason])
