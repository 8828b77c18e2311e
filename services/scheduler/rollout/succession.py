# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an accepted revision makes of a rollout that goes on, and how its own begins.

Pure.

Rules:
 * A revision that is accepted while another is on its way sets out from what every node has.  Of
   revisions that nodes still have, MAX_EARLIER are kept; with more, nothing further is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import base_of, earlier_when_next
from services.scheduler.rollout.beginning import first_state
from shared.contracts.deployments import MAX_EARLIER, DeploymentRecord
from shared.contracts.errors import ErrorCode
from shared.contracts.health import HealthSpec
from shared.errors import Reason, RefusedError


class RolloutUnderWayError(RefusedError):
    """Too many revisions of the deployment are on their way."""

    code: ClassVar[ErrorCode] = "conflict"


def begun(
    record: DeploymentRecord,
    previous: DeploymentRecord | None,
    nodes: Mapping[str, NodeView],
    *,
    is_looked_at: bool = False,
) -> DeploymentRecord:
    """The record, whose newest revision is at the beginning of its way.

    Args:
        record: With the new revision.
        previous: As it is now; None: the deployment is new.
        nodes: All of the fleet, by name.
        is_looked_at: Whether there is more to wait for than the deployment says.

    Raises:
        RolloutUnderWayError: Nodes have too many revisions of it already.
        RolloutTermsError: The rollout cannot reach what it was accepted for.
    """
    newest = record.revisions[-1]
    base = base_of(previous)
    state = first_state(
        newest.spec.rollout,
        newest.accepted_for,
        nodes,
        revision=newest.revision,
        at=newest.at,
        base_revision=base.revision if base is not None else 0,
        is_looked_at=is_looked_at or newest.spec.health != HealthSpec(),
    )
    earlier = earlier_when_next(previous, nodes) if state is not None else ()
    if len(earlier) > MAX_EARLIER:
        reason = Reason(
            path="name",
            rule="a rollout that goes on must be over before a further revision begins",
            got=[one.revision.revision for one in earlier],
        )
        raise RolloutUnderWayError(
            f"{record.key}: nodes have {len(earlier)} revisions of it; wait until its rollout is"
            " over, or abort it",
            [reason],
        )
    return msgspec.structs.replace(record, rollout=state, earlier=earlier)
