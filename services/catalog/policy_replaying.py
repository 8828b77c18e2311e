# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of everything that is published when the installation has another licence policy.

Pure.  Nothing becomes of it: verdicts stay as they were recorded.  What the new policy would have
said is said once, in the audit log.

Rules:
 * A version is judged from what was recorded of it, with the waivers that are in force now.
 * Each space is told of its own versions alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.contracts.catalog import PackageVersion
from shared.contracts.events import EventBody
from shared.contracts.policy_replay import (
    REPLAY,
    REPLAY_CHANGES,
    PolicyInForce,
    ReplayChange,
)
from shared.contracts.waivers import Waiver
from shared.licensing.policies import LicencePolicy
from shared.licensing.replay import change_of_accepted, facts_of, pack_digest, rejudged
from shared.licensing.verdict import gravest
from shared.licensing.waivers import subject_of, waive
from shared.moments import render_time

MAX_NAMED: Final = 50
_ID_DIGITS: Final = 16


def policy_in_force(
    policy: LicencePolicy, before: PolicyInForce | None, *, now: datetime
) -> PolicyInForce | None:
    """What is to be recorded of the policy; None: it is the one that is recorded."""
    digest = pack_digest(policy)
    if before is not None and before.sha256 == digest:
        return None
    changes = 0 if before is None else before.changes + 1
    return PolicyInForce(
        name=policy.name,
        version=policy.version,
        sha256=digest,
        changes=changes,
        at=render_time(now),
    )


def step_id(after: PolicyInForce) -> str:
    """The same for the same change, whoever takes it up again."""
    return f"policy-replay-{after.changes}-{after.sha256[:_ID_DIGITS]}"


def version_change(
    version: PackageVersion, policy: LicencePolicy, waivers: Sequence[Waiver]
) -> ReplayChange:
    """What the policy would have made of a version that was accepted.

    Args:
        version: With the verdict that was recorded.
        policy: The new one.
        waivers: In force.
    """
    facts = facts_of(version.manifest, version.source_licences)
    if version.licences is None or facts.more_tags:
        return "unjudged"
    verdict = rejudged(facts, version.licences, policy, channels=version.channels)
    would = waive(verdict, subject_of(version), waivers).outcome
    return change_of_accepted(gravest(version.licences.findings), would)


@dataclass(slots=True)
class Replayed:
    """What is known of the versions of one space until now."""

    counts: Counter[ReplayChange] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)

    def take(self, version: PackageVersion, change: ReplayChange) -> None:
        """One more version."""
        self.counts[change] += 1
        if change == "would-refuse" and len(self.refused) < MAX_NAMED:
            self.refused.append(f"{version.manifest.name} {version.version}")


def replay_event(before: PolicyInForce, after: PolicyInForce, found: Replayed) -> EventBody:
    """What the audit log says.

    `details`: policy, policy_version and policy_sha256 of the new one, the same of the one before
    (`was_policy`, …), versions, counts by change, and refused: the first that would be.
    """
    return EventBody(
        action=REPLAY,
        outcome="observed",
        before=before.sha256,
        after=after.sha256,
        details={
            "policy": after.name,
            "policy_version": after.version,
            "policy_sha256": after.sha256,
            "was_policy": before.name,
            "was_policy_version": before.version,
            "was_policy_sha256": before.sha256,
            "versions": found.counts.total(),
            "counts": {one: found.counts[one] for one in REPLAY_CHANGES},
            "refused": found.refused,
        },
    )
