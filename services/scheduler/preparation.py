# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The next revision of one deployment: whether it fits its package, its hook and its nodes.

Pure.  Of other deployments nothing is said here; `acceptance` judges what all of them are together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial

from services.scheduler.audiences import Sight
from services.scheduler.chain_order import check_order
from services.scheduler.choosing import choice_warnings, with_choice
from services.scheduler.deployment import (
    CommandFacts,
    check_same_archive,
    next_record,
)
from services.scheduler.desired_state import (
    Derived,
    Fleet,
)
from services.scheduler.expiry import check_expiry
from services.scheduler.fitness import Demand, demand_for
from services.scheduler.hook_terms import refuse_unfit_terms
from services.scheduler.node_overlays import (
    Applying,
    applying,
    check_overlays,
    overlaid,
    overlay_warnings,
)
from services.scheduler.overlay_checks import refuse_unfit_overlays
from services.scheduler.placement import NodeView, Placing, place
from services.scheduler.plan_difference import (
    neighbour_warnings,
    order_warnings,
    version_warnings,
)
from services.scheduler.program_choice import resolve_program, verdict_warnings
from services.scheduler.revocation import check_on_revoked
from services.scheduler.rollout.beginning import check_rollout
from services.scheduler.rollout.description import overtaken_sentences
from services.scheduler.rollout.policy_effects import has_rules
from services.scheduler.rollout.succession import begun
from services.scheduler.selection import check_selectors
from services.scheduler.unchanged import kept_sentences, with_kept
from services.scheduler.wanted_places import current_revision
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import (
    DeploymentRecord,
    DeploymentRevision,
    DeploymentSpec,
    ResolvedProgram,
)
from shared.errors import Reason, RefusedError


@dataclass(frozen=True, slots=True)
class Prepared:
    """One application that fits its package and the nodes; of other deployments nothing is said."""

    spec: DeploymentSpec
    package: PackageVersion
    resolved: ResolvedProgram
    placing: Placing
    previous: DeploymentRevision | None
    record: DeploymentRecord
    is_rollback: bool

    def nodes(self, fleet: Fleet) -> list[NodeView]:
        """Those where it has a place."""
        return [fleet.nodes[name] for name in {one.node for one in self.placing.places}]

    def warnings(self, fleet: Fleet, end: Derived, sight: Sight) -> tuple[str, ...]:
        """What is allowed and yet worth a look.

        Args:
            fleet: As it is.
            end: What the nodes would be told.
            sight: What may be spoken of.
        """
        newest = self.record.revisions[-1]
        return (
            *overtaken_sentences(fleet.deployments.get(self.record.key)),
            *kept_sentences(self.record, _platforms(self.record, fleet)),
            *version_warnings(self.previous, self.spec, self.package, is_rollback=self.is_rollback),
            *order_warnings(self.previous, newest),
            *neighbour_warnings(newest, end.desired, sight),
            *verdict_warnings(self.resolved, self.spec.hook),
            *choice_warnings(self.spec, self.placing),
            *overlay_warnings(self.spec, self.nodes(fleet)),
            *dict.fromkeys(
                f"it stays on {one.node}, where it runs already, although {one.why}"
                for one in self.placing.kept
            ),
        )


def prepare(
    fleet: Fleet,
    spec: DeploymentSpec,
    package: PackageVersion,
    facts: CommandFacts,
    *,
    rollback_of: DeploymentRevision | None = None,
) -> Prepared:
    """The deployment's next revision, which depends on no other deployment.

    Raises:
        RefusedError: It fits the package or the nodes badly.
    """
    if rollback_of is not None:
        check_same_archive(rollback_of, package)
    resolved = _resolved(spec, package, at=facts.at)
    refuse_unfit_overlays(spec, resolved, package, fleet.nodes.values())

    @cache
    def wanted(which: Applying) -> Demand:
        return demand_for(*overlaid(spec, resolved, which))

    placing = place(
        spec,
        fleet.nodes.values(),
        wanted=demand_for(spec, resolved),
        wanted_on=(lambda node: wanted(applying(spec, node))) if spec.overlays else None,
        running=_running_places(spec, package, resolved, fleet),
    )
    placing = with_choice(placing, spec, fleet)
    previous = fleet.deployments.get(spec.key)
    record = next_record(
        previous,
        spec=spec,
        package=package,
        resolved=resolved,
        placements=placing.places,
        choice=placing.choice,
        facts=facts,
        rollback_of=rollback_of,
    )
    record = with_kept(record, current_revision(previous), package.manifest)
    return Prepared(
        spec=spec,
        package=package,
        resolved=resolved,
        placing=placing,
        previous=current_revision(previous),
        record=begun(record, previous, fleet.nodes, is_looked_at=has_rules(record, fleet)),
        is_rollback=rollback_of is not None,
    )


def _resolved(spec: DeploymentSpec, package: PackageVersion, *, at: str) -> ResolvedProgram:
    """The program, if the deployment and its package go together, whatever the nodes are.

    Raises:
        RefusedError: They do not; with every reason of every rule, and the code of the first.
    """
    refused: list[RefusedError] = []
    for check in (
        partial(refuse_unfit_terms, spec),
        partial(check_selectors, spec),
        partial(check_overlays, spec),
        partial(check_order, spec),
        partial(check_on_revoked, spec),
        partial(check_expiry, spec, at=at),
        partial(check_rollout, spec.rollout, name=spec.key),
    ):
        try:
            check()
        except RefusedError as error:
            refused.append(error)
    try:
        resolved = resolve_program(spec, package)
    except RefusedError as error:
        refused.append(error)
    else:
        if not refused:
            return resolved
    if len(refused) == 1:
        raise refused[0]
    said = "; ".join(one.message for one in refused)
    raise RefusedError(said, _distinct(refused), code=refused[0].refusal_code)


def _distinct(refused: Iterable[RefusedError]) -> list[Reason]:
    """All reasons in their order; what two rules say alike is said once."""
    found: list[Reason] = []
    for error in refused:
        for one in error.reasons or (Reason(path="", rule=error.message),):
            if all((one.path, one.rule) != (known.path, known.rule) for known in found):
                found.append(one)
    return found


def _platforms(record: DeploymentRecord, fleet: Fleet) -> set[str]:
    """Of the nodes that the newest revision is placed on."""
    return {fleet.nodes[one.node].platform for one in record.revisions[-1].accepted_for}


def _running_places(
    spec: DeploymentSpec,
    package: PackageVersion,
    resolved: ResolvedProgram,
    fleet: Fleet,
) -> dict[str, set[str]]:
    """Node to the interfaces where this deployment has this very program already."""
    found: dict[str, set[str]] = {}
    known = fleet.deployments.get(spec.key)
    if known is None or known.removed:
        return found
    for name, node in fleet.desired.items():
        view = fleet.nodes.get(name)
        file = resolved.on_platform(view.platform if view else "").object
        for chain in node.chains:
            if chain.hook == spec.hook and any(
                program.deployment == spec.key
                and program.signed.archive_sha256 == package.signed.archive_sha256
                and (program.object, program.function) == (file, resolved.function)
                for program in chain.programs
            ):
                found.setdefault(name, set()).add(chain.place)
    return found
