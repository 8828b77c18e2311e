# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What several specifications do together, applied as one.

Pure.  Only the end counts: two deployments may change places that they could not change one after
the other, and no node is told anything between.  With a rollout there is something between, which
must be possible too (`rollout.crossing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from services.scheduler.acceptance import (
    Draft,
    draft_application,
    judge_end,
    staging_of,
)
from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.deployment import CommandFacts, generation_of
from services.scheduler.desired_state import Fleet
from services.scheduler.groups import Refusals, check_named_once, facts_together
from services.scheduler.misfits import misfit_warnings
from services.scheduler.node_overlays import overlaid_nodes
from services.scheduler.plan_difference import (
    EXCLUDED_SHOWN,
    chains_with,
    planned_chains,
    shown_chains,
)
from services.scheduler.preparation import Prepared, prepare
from services.scheduler.rollout.description import planned_rollouts
from services.scheduler.rollout.policy_effects import effects_of
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.inspection import draft_digest
from shared.contracts.scheduler import DeploymentPlan

Specified = tuple[DeploymentSpec, PackageVersion]
"""What is applied, and the version that it resolved to."""


def draft_all(
    fleet: Fleet,
    specified: Sequence[Specified],
    facts: CommandFacts,
    *,
    warnings: Sequence[str] = (),
) -> Draft:
    """The fleet with all of `specified`, which are of one space, as their next revisions.

    Raises:
        RefusedError: One does not fit; with every reason of the first rule that is broken.
    """
    spec, package = specified[0]
    if len(specified) == 1:
        return draft_application(fleet, spec, package, facts, warnings=warnings)
    sight = fleet.audiences.seen_in(spec.space)
    return draft_together(fleet, specified, facts, sight, warnings=warnings)


def draft_together(
    fleet: Fleet,
    specified: Sequence[Specified],
    facts: CommandFacts,
    sight: Sight = EVERYBODYS,
    *,
    node: str = "",
    warnings: Sequence[str] = (),
) -> Draft:
    """One draft for all of `specified`, with its chains named as the nodes will keep them.

    What it speaks of is what `sight` goes to; what it lists, of one node alone if that is named.

    Raises:
        RefusedError: One of them is named twice, or does not fit what is there with the others.
    """
    specs = [spec for spec, _ in specified]
    names = [spec.key for spec in specs]
    check_named_once(specs)
    prepared = _prepared(fleet, specified, facts_together(facts, specs, fleet.deployments))
    end, unfit = judge_end(fleet, prepared, sight)
    changes = chains_with(names, fleet.desired, end.changed)
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
        dict.fromkeys(
            left_out
            for one in prepared
            for left_out in one.placing.excluded
            if node in ("", left_out.node)
        )
    )
    plan = DeploymentPlan(
        deployment=", ".join(names),
        version=", ".join(one.package.version for one in prepared),
        archive_sha256=", ".join(one.package.signed.archive_sha256 for one in prepared),
        chains=chains,
        more_chains=len(listed) - len(chains),
        excluded=excluded[:EXCLUDED_SHOWN],
        more_excluded=len(excluded[EXCLUDED_SHOWN:]),
        warnings=(
            *warnings,
            *(said for one in prepared for said in one.warnings(fleet, end, sight)),
            *misfit_warnings(unfit, sight),
        ),
        rollouts=planned_rollouts((one.record for one in prepared), node=node),
        overlaid=tuple(
            shown
            for one in prepared
            for shown in overlaid_nodes(
                one.spec,
                one.resolved,
                [view for view in one.nodes(fleet) if node in ("", view.name)],
            )
        ),
        generation=generation_of(fleet.deployments.get(names[0])) if len(names) == 1 else 0,
        policy=effects_of([one.record for one in prepared], fleet, at=facts.at),
    )
    return Draft(
        record=prepared[0].record,
        also=tuple(one.record for one in prepared[1:]),
        plan=plan,
        desired=end.changed,
        staging=staging,
        excluded=excluded,
        known=end.known,
    )


def _prepared(fleet: Fleet, specified: Sequence[Specified], facts: CommandFacts) -> list[Prepared]:
    prepared: list[Prepared] = []
    refusals = Refusals()
    for spec, package in specified:
        with refusals.of(spec.key):
            own = replace(facts, reason=facts.reason or spec.reason)
            prepared.append(prepare(fleet, spec, package, own))
    refusals.tell()
    return prepared
