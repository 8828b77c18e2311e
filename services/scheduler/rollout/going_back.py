# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout that goes back: the deployment has again, as a new revision, what was everywhere.

Pure.

Rules:
 * It goes back to the last revision that was everywhere, however many came after it.
 * The new revision is that one as it was resolved and placed, and nodes are told of it under the
   old number: one that never had anything newer sees no change, and one that had gets exactly what
   it was told before, its instance and so its maps and counters.
 * Without such a revision the deployment is removed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from services.scheduler.deployment import CommandFacts, appended, removed_record
from services.scheduler.rollout.assignment import base_of, is_rolling
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.rollouts import Phase, RolloutState


def gone_back(
    record: DeploymentRecord, state: RolloutState, facts: CommandFacts
) -> DeploymentRecord:
    """The deployment as it was before the rollout.

    Args:
        record: With a rollout that goes on.
        state: Of the rollout that is over by it.
        facts: Of who brings it back.
    """
    base = base_of(record)
    if base is None:
        removed = removed_record(record, name=record.name, facts=facts)
        return msgspec.structs.replace(removed, rollout=state)
    revision = msgspec.structs.replace(
        base,
        revision=record.revisions[-1].revision + 1,
        command_id=facts.command_id,
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        at=facts.at,
        reason=facts.reason,
        rollback_of=base.revision,
        told_as=base.told_as or base.revision,
    )
    return msgspec.structs.replace(appended(record, revision, facts), rollout=state)


def ended(state: RolloutState, phase: Phase, *, at: str, **fields: Any) -> RolloutState:
    """The rollout once it is over."""
    return msgspec.structs.replace(
        state, phase=phase, ended_at=at, step=state.step + 1, baseline={}, **fields
    )


def is_where_it_began(record: DeploymentRecord, revision: DeploymentRevision) -> bool:
    """Whether a rollout goes on, and the revision is the one that it would go back to."""
    base = base_of(record) if is_rolling(record) else None
    return base is not None and base.revision == revision.revision


def rolled_back(record: DeploymentRecord, facts: CommandFacts) -> DeploymentRecord:
    """The deployment as it was before the rollout that goes on, since somebody asked for it."""
    if record.rollout is None:
        raise AssertionError("unreachable: only a rollout that goes on goes back")
    why = "an operator rolled it back"
    why = f"{why}: {facts.reason}" if facts.reason else why
    return gone_back(record, ended(record.rollout, "rolled-back", at=facts.at, why=why), facts)
