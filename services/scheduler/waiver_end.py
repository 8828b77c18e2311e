# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments that shall not go on when the licence waiver ends that they run by the grace of.

Pure.

Rules:
 * A deployment goes on, and an event says that it breaks a rule, unless it or the rollout policy
   says `stop`: then it is removed as soon as it runs on one node without a waiver in force.
 * A removal is for the generation that broke the rule: a newer one stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.scheduler.desired_state import Fleet
from services.scheduler.licence_standing import violations
from services.scheduler.rollout.assignment import assignment
from services.scheduler.rollout.consequences import consequences
from shared.canonical import canonical_digest
from shared.contracts.deployments import DeploymentRecord
from shared.licensing.waivers import expiry_of

AGAIN_SECONDS: Final = 600
"""How long a refused removal is not asked for again with the same answer."""
NODES_NAMED: Final = 5
_ID_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class Unwaived:
    """A deployment that is to go because nothing excuses it any more."""

    record: DeploymentRecord
    why: str
    """As the event of its removal says it."""

    def command_id(self, now: datetime) -> str:
        """The same for the same deed, so that a scheduler that died does it once."""
        window = int(now.timestamp()) // AGAIN_SECONDS
        parts = [self.record.key, self.record.generation_now, window]
        return f"unwaived-{canonical_digest(parts)[:_ID_DIGITS]}"


def unwaived(fleet: Fleet) -> list[Unwaived]:
    """The deployments that shall go now, by key."""
    found = []
    for record, rules in _strict(fleet):
        broken = violations(record, fleet)
        if broken:
            names = ", ".join(sorted({one.rule for one in broken}))
            nodes = sorted({one.node for one in broken})
            more = f" and {len(nodes) - NODES_NAMED} more" if len(nodes) > NODES_NAMED else ""
            by = f", as rules {', '.join(rules)} of the rollout policy ask" if rules else ""
            why = f"no waiver for {names} is in force on {', '.join(nodes[:NODES_NAMED])}{more}{by}"
            found.append(Unwaived(record, why))
    return found


def seconds_to_next(fleet: Fleet, *, now: datetime) -> float | None:
    """Until a waiver ends that somebody may have to go for; None: nobody has to."""
    if next(_strict(fleet), None) is None:
        return None
    waivers = {one.id: one for node in fleet.nodes.values() for one in node.waivers}
    left = [(expiry_of(one) - now).total_seconds() for one in waivers.values()]
    return min((one for one in left if one > 0), default=None)


def _strict(fleet: Fleet) -> Iterator[tuple[DeploymentRecord, tuple[str, ...]]]:
    """Deployments that waivers excuse and that go without, and the rules of the policy that ask."""
    is_asked = any(one.on_waiver_expired == "stop" for one in fleet.policy.rules)
    for _, record in sorted(fleet.deployments.items()):
        if record.removed or not record.revisions:
            continue
        if not is_asked and record.revisions[-1].spec.on_waiver_expired != "stop":
            continue
        now = assignment(record)
        if now is None or all(one.demand.excuses is None for one in now.revisions):
            continue
        said = consequences(record, fleet.policy, fleet.nodes)
        if said.on_waiver_expired == "stop":
            yield record, said.rules
