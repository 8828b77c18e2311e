# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What several specifications would do together, applied one after another.

Pure.  Each sees the fleet as those before it would leave it, so that their conflicts are found; the
chains are those of the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from services.scheduler.acceptance import Draft, draft_application, staging_of
from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.deployment import CommandFacts, generation_of
from services.scheduler.desired_state import Fleet
from services.scheduler.plan_difference import (
    EXCLUDED_SHOWN,
    chains_with,
    planned_chains,
    shown_chains,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.inspection import draft_digest
from shared.contracts.scheduler import DeploymentPlan
from shared.errors import Reason, RefusedError


def draft_together(
    fleet: Fleet,
    specified: Sequence[tuple[DeploymentSpec, PackageVersion]],
    facts: CommandFacts,
    sight: Sight = EVERYBODYS,
    *,
    node: str = "",
) -> Draft:
    """One draft for all of `specified`, with its chains named as the nodes will keep them.

    What it speaks of is what `sight` goes to; what it lists, of one node alone if that is named.

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
        ahead = replace(ahead.with_deployment(drafts[-1].record), known=drafts[-1].known)
    last = drafts[-1]
    changes = chains_with(names, fleet.desired, last.desired)
    staging = staging_of(changes)
    listed = [one for one in changes if node in ("", one[0])]
    named = {
        (node, chain.place, chain.hook): draft_digest(chain)
        for node, chains in staging.items()
        for chain in chains
    }
    chains = shown_chains(
        msgspec.structs.replace(chain, draft=named.get((chain.node, chain.place, chain.hook), ""))
        for chain in planned_chains(listed, sight)
    )
    excluded = tuple(
        dict.fromkeys(one for draft in drafts for one in draft.excluded if node in ("", one.node))
    )
    plan = DeploymentPlan(
        deployment=", ".join(names),
        version=", ".join(draft.plan.version for draft in drafts),
        archive_sha256=", ".join(draft.plan.archive_sha256 for draft in drafts),
        chains=chains,
        more_chains=len(listed) - len(chains),
        excluded=excluded[:EXCLUDED_SHOWN],
        more_excluded=len(excluded[EXCLUDED_SHOWN:]),
        warnings=tuple(one for draft in drafts for one in draft.plan.warnings),
        generation=generation_of(fleet.deployments.get(names[0])) if len(names) == 1 else 0,
    )
    return Draft(
        record=last.record,
        plan=plan,
        desired=last.desired,
        staging=staging,
        excluded=excluded,
        known=last.known,
    )
