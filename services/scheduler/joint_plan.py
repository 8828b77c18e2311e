# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What several specifications would do together, applied one after another.

Pure.  Each sees the fleet as those before it would leave it, so that their conflicts are found; the
chains are those of the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.scheduler.acceptance import Draft, draft_application
from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.deployment import CommandFacts, generation_of
from services.scheduler.desired_state import Fleet, changed_chains, takes_part
from services.scheduler.plan_difference import planned_chains
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredChain
from shared.contracts.inspection import draft_digest
from shared.contracts.scheduler import DeploymentPlan, PlannedChain
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook


def draft_together(
    fleet: Fleet,
    specified: Sequence[tuple[DeploymentSpec, PackageVersion]],
    facts: CommandFacts,
    sight: Sight = EVERYBODYS,
) -> Draft:
    """One draft for all of `specified`, with its chains named as the nodes will keep them.

    What it speaks of is what `sight` goes to.

    Raises:
        RefusedError: One of them is named twice, or does not fit what is there with those before.
    """
    names = [spec.key for spec, _ in specified]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        rule = "may be named once in a plan"
        raise RefusedError(
            f"{', '.join(repeated)} {rule}",
            [Reason(path="also", rule=rule, got=name) for name in repeated],
        )
    ahead, drafts = fleet, []
    for spec, package in specified:
        drafts.append(draft_application(ahead, spec, package, facts, sight=sight))
        ahead = ahead.with_deployment(drafts[-1].record)
    last = drafts[-1]
    staging = _staging(names, fleet, last)
    shown: dict[tuple[str, str, Hook], PlannedChain] = {}
    for name in names:
        for chain in planned_chains(name, fleet.desired, last.desired, sight):
            shown.setdefault((chain.node, chain.place, chain.hook), chain)
    named = {
        (node, chain.place, chain.hook): draft_digest(chain)
        for node, chains in staging.items()
        for chain in chains
    }
    plan = DeploymentPlan(
        deployment=", ".join(names),
        version=", ".join(draft.plan.version for draft in drafts),
        archive_sha256=", ".join(draft.plan.archive_sha256 for draft in drafts),
        chains=tuple(
            msgspec.structs.replace(chain, draft=named.get(place, ""))
            for place, chain in sorted(shown.items())
        ),
        excluded=tuple(dict.fromkeys(one for draft in drafts for one in draft.plan.excluded)),
        warnings=tuple(one for draft in drafts for one in draft.plan.warnings),
        generation=generation_of(fleet.deployments.get(names[0])) if len(names) == 1 else 0,
    )
    return Draft(record=last.record, plan=plan, desired=last.desired, staging=staging)


def _staging(
    names: Sequence[str], fleet: Fleet, last: Draft
) -> dict[str, tuple[DesiredChain, ...]]:
    """Node to every chain that one of them is part of in the end, and that changes."""
    staging = {
        node: tuple(
            new
            for old, new in changed_chains(fleet.desired.get(node), record).values()
            if new is not None
            and new.programs
            and any(takes_part(name, old, new) for name in names)
        )
        for node, record in last.desired.items()
    }
    return {node: chains for node, chains in staging.items() if chains}
