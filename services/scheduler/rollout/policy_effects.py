# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a rollout policy would say of deployments, if a revision of them were to begin.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.consequences import consequences
from services.scheduler.rollout.policy import (
    Others,
    approvals_needed,
    hold,
    is_governed,
    rules_of,
)
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.errors import ErrorCode
from shared.contracts.rollout_policy import PolicyEffect, PolicyTried, RolloutPolicy
from shared.errors import Reason, RefusedError
from shared.moments import read_time, render_time

EFFECTS_SHOWN: Final = 500


class UnknownDeploymentError(RefusedError):
    """There is none of this key that the caller sees."""

    code: ClassVar[ErrorCode] = "not_found"


def others_in(fleet: Fleet) -> Others:
    """What goes on in the fleet, without what only the nodes know."""
    rolling = {key: one for key, one in fleet.deployments.items() if is_rolling(one)}
    return Others(nodes=fleet.nodes, rolling=rolling)


def try_policy(
    fleet: Fleet, policy: RolloutPolicy, sight: Sight, *, at: datetime, deployment: str = ""
) -> PolicyTried:
    """By key, of those that are seen and were not removed.

    Args:
        fleet: As it is.
        policy: In force, or offered.
        sight: Of who asks.
        at: When they would begin.
        deployment: Key of the one that is asked about; empty: all.

    Raises:
        UnknownDeploymentError: There is no such deployment.
    """
    found = [
        record
        for key, record in sorted(fleet.deployments.items())
        if deployment in ("", key) and not record.removed and sight.sees(record.space)
    ]
    if deployment and not found:
        reason = Reason(path="deployment", rule="there is no such deployment", got=deployment)
        raise UnknownDeploymentError(f"{deployment}: there is no such deployment", [reason])
    others = others_in(fleet)
    return PolicyTried(
        at=render_time(at),
        effects=tuple(effect(one, policy, others, at) for one in found[:EFFECTS_SHOWN]),
        more=len(found[EFFECTS_SHOWN:]),
    )


def has_rules(record: DeploymentRecord, fleet: Fleet) -> bool:
    """Whether the policy may hold the newest revision of a deployment, whatever it says itself."""
    return is_governed(rules_of(record, fleet.policy, Others(nodes=fleet.nodes)))


def effects_of(
    records: Iterable[DeploymentRecord], fleet: Fleet, *, at: str
) -> tuple[PolicyEffect, ...]:
    """What would hold these if they were accepted at that moment, RFC 3339.

    Of deployments that no rule concerns, and that have neither windows nor approvals of their own,
    nothing is said.
    """
    said, others = [], others_in(fleet)
    for record in records:
        own = record.revisions[-1].spec.rollout
        if not (fleet.policy.rules or own.windows or own.freezes or own.approvals):
            continue
        found = effect(record, fleet.policy, others, read_time(at))
        if found.rules or found.approvals or found.why:
            said.append(found)
    return tuple(said)


def effect(
    record: DeploymentRecord, policy: RolloutPolicy, others: Others, at: datetime
) -> PolicyEffect:
    """What would hold the newest revision, if it were to begin then."""
    record = msgspec.structs.replace(record, rollout=None)
    rules = rules_of(record, policy, others)
    held = hold(record, policy, others, at)
    ends = consequences(record, policy, others.nodes)
    return PolicyEffect(
        deployment=record.key,
        rules=tuple(one.name for one in rules),
        approvals=approvals_needed(record.revisions[-1].spec, rules),
        why=held.why if held is not None else "",
        until=render_time(held.until) if held is not None and held.until is not None else "",
        on_revoked=ends.on_revoked,
        on_waiver_expired=ends.on_waiver_expired,
    )
