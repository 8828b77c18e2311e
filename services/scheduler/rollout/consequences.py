# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What happens to a deployment when what it runs may run no more, by its own words and the policy.

Pure.

Rules:
 * A rule says what happens at least: going on with an alarm is less than a replacement, and that
   less than a stop.  The deployment may say more.
 * Of several replacements the deployment's own counts, then that of the first rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.scheduler.rollout.policy import LabelledNode, Others, rules_of
from shared.contracts.deployments import DeploymentRecord, OnWaiverExpired
from shared.contracts.rollout_policy import RolloutPolicy

REPLACE: Final = "replace:"

Way = Literal["stop", "replace", "alarm"]
_GRAVITY: Final[dict[Way, int]] = {"alarm": 0, "replace": 1, "stop": 2}


@dataclass(frozen=True, slots=True)
class Consequences:
    """Of one deployment."""

    on_revoked: str
    """As a deployment says it."""
    on_waiver_expired: OnWaiverExpired
    rules: tuple[str, ...] = ()
    """Names of those that ask for more than the deployment."""


def consequences(
    record: DeploymentRecord, policy: RolloutPolicy, nodes: Mapping[str, LabelledNode]
) -> Consequences:
    """What happens to the newest revision of a deployment.

    Args:
        record: The deployment.
        policy: In force, or offered.
        nodes: All of the fleet, by name.
    """
    spec = record.revisions[-1].spec
    revoked, waiver, asked = spec.on_revoked, spec.on_waiver_expired, list[str]()
    asking = tuple(one for one in policy.rules if one.on_revoked or one.on_waiver_expired)
    for rule in rules_of(record, RolloutPolicy(rules=asking), Others(nodes=nodes)):
        is_graver = rule.on_revoked is not None and _gravity(rule.on_revoked) > _gravity(revoked)
        if is_graver and rule.on_revoked is not None:
            revoked = rule.on_revoked
        is_stop = rule.on_waiver_expired == "stop" and waiver != "stop"
        if is_stop:
            waiver = "stop"
        if is_graver or is_stop:
            asked.append(rule.name)
    return Consequences(revoked, waiver, tuple(asked))


def way_of(on_revoked: str) -> tuple[Way, str]:
    """What is to be done, and of a replacement the constraint."""
    if on_revoked.startswith(REPLACE):
        return "replace", on_revoked.removeprefix(REPLACE)
    return ("stop", "") if on_revoked == "stop" else ("alarm", "")


def _gravity(on_revoked: str) -> int:
    return _GRAVITY[way_of(on_revoked)[0]]
