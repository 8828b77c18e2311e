# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a command would do to the fleet, decided before anything is done.

A draft says which record to write, which desired records follow from it, and which chains each
node must prove it can load before the command may be accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.deployment import (
    CommandFacts,
    removed_record,
)
from services.scheduler.desired_state import (
    Derivation,
    Derived,
    Fleet,
    derive_desired,
)
from services.scheduler.groups import Refusals
from services.scheduler.misfits import Misfit, misfit_warnings, misfits, refuse_misfits
from services.scheduler.node_overlays import (
    overlaid_nodes,
)
from services.scheduler.place_conflicts import refuse_conflicts
from services.scheduler.plan_difference import (
    ChangedChain,
    chains_with,
    describe_plan,
    planned_chains,
    shown_chains,
)
from services.scheduler.preparation import Prepared, prepare
from services.scheduler.rollout.assignment import at_end, is_rolling
from services.scheduler.rollout.crossing import conflicts_to_come
from services.scheduler.rollout.description import planned_rollouts
from services.scheduler.rollout.policy_effects import effects_of
from shared.contracts.base import Bucket
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import (
    DEPLOYMENTS,
    DeploymentRecord,
    DeploymentRevision,
    DeploymentSpec,
)
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.errors import ErrorCode
from shared.contracts.scheduler import (
    AcceptedBeside,
    DeploymentAccepted,
    DeploymentPlan,
    ExcludedNode,
)
from shared.deployment_keys import split_key
from shared.errors import Reason, RefusedError

CHAIN_BYTES: Final = 4096
"""Of a chain, more than all that is not its programs."""
SPARE_BYTES: Final = 192 * 1024
"""A deployment's record travels inside the outbox's record, beside request, reply and event."""


class RecordTooLargeError(RefusedError):
    """What would have to be stored is over the limit of its bucket."""

    code: ClassVar[ErrorCode] = "too_large"


@dataclass(frozen=True, slots=True)
class Draft:
    """A change, ready to be staged and accepted."""

    record: DeploymentRecord
    also: tuple[DeploymentRecord, ...] = field(default=(), kw_only=True)
    """Of the other deployments that the same command changes."""
    plan: DeploymentPlan
    desired: Mapping[str, DesiredNode]
    """The records of the nodes that change, as they are when its rollout is over."""
    staging: Mapping[str, tuple[DesiredChain, ...]]
    """Node to the chains that must load there; without those that only become empty."""
    excluded: tuple[ExcludedNode, ...] = ()
    """Every node that is left out."""
    known: Derivation | None = None
    """What each node would run then."""
    silent: tuple[str, ...] = ()
    """Nodes that change and are away, so that they cannot try it before."""

    @property
    def records(self) -> tuple[DeploymentRecord, ...]:
        """Of all deployments that the command changes."""
        return (self.record, *self.also)

    def reply(self, command_id: str) -> DeploymentAccepted:
        """What the caller is told once it is accepted."""
        return DeploymentAccepted(
            command_id=command_id,
            name=self.record.name,
            space=self.record.space,
            revision=self.record.revisions[-1].revision,
            also=tuple(
                AcceptedBeside(name=one.name, space=one.space, revision=one.revisions[-1].revision)
                for one in self.also
            ),
            plan=self.plan,
            node_generations={name: node.generation for name, node in self.desired.items()}
            if not any(map(is_rolling, self.records))
            else {},
        )


def draft_application(
    fleet: Fleet,
    spec: DeploymentSpec,
    package: PackageVersion,
    facts: CommandFacts,
    *,
    rollback_of: DeploymentRevision | None = None,
    warnings: Sequence[str] = (),
    sight: Sight | None = None,
) -> Draft:
    """The fleet with `spec` as the deployment's next revision.

    Args:
        fleet: As it is.
        spec: The deployment.
        package: What it resolved to.
        facts: Of the command.
        rollback_of: The revision that is brought back.
        warnings: To be shown with the plan.
        sight: What the plan and a refusal may speak of; None: what all see who see the deployment.

    Raises:
        RefusedError: It fits the package, the nodes or the other deployments badly; with every
            reason of the first of these that it does not fit.
    """
    sight = sight or fleet.audiences.seen_in(spec.space)
    one = prepare(fleet, spec, package, facts, rollback_of=rollback_of)
    end, unfit = judge_end(fleet, [one], sight)
    changes = chains_with((spec.key,), fleet.desired, end.changed)
    plan = describe_plan(
        spec,
        package,
        changes=changes,
        sight=sight,
        excluded=one.placing.excluded,
        warnings=(*warnings, *one.warnings(fleet, end, sight), *misfit_warnings(unfit, sight)),
        overlaid=overlaid_nodes(spec, one.resolved, one.nodes(fleet)),
        policy=effects_of([one.record], fleet, at=facts.at),
    )
    return Draft(
        record=one.record,
        plan=msgspec.structs.replace(plan, rollouts=planned_rollouts([one.record])),
        desired=end.changed,
        staging=staging_of(changes),
        excluded=one.placing.excluded,
        known=end.known,
    )


def judge_end(
    fleet: Fleet, prepared: Sequence[Prepared], sight: Sight
) -> tuple[Derived, tuple[Misfit, ...]]:
    """What the nodes are told once all of `prepared` are accepted, and their rollouts over.

    With it, what does not go well together there and is allowed.

    Raises:
        RefusedError: They cannot be there with the other deployments, or with each other, or have
            no room; each with every reason.
    """
    ahead = fleet
    for one in prepared:
        ahead = ahead.with_deployment(at_end(one.record))
    derived = derive_desired(ahead)
    untold = conflicts_to_come(fleet, [one.record for one in prepared], derived)
    unfit = misfits(fleet, ahead, derived.changed, [one.spec.key for one in prepared])
    untried = list(unfit)
    conflicting, unfitting, large = Refusals(), Refusals(), Refusals()
    for one in prepared:
        key = one.spec.key
        mine = [conflict for conflict in untold if key in conflict.between]
        untold = [conflict for conflict in untold if conflict not in mine]
        with conflicting.of(key):
            refuse_conflicts(one.spec, mine, sight)
        pairs = [pair for pair in untried if key in pair.between]
        untried = [pair for pair in untried if pair not in pairs]
        with unfitting.of(key):
            refuse_misfits(one.spec, pairs, sight)
        with large.of(key):
            _refuse_too_large(one.record, derived.changed)
    conflicting.tell()
    unfitting.tell()
    large.tell()
    return derived, unfit


def draft_removal(fleet: Fleet, key: str, facts: CommandFacts) -> Draft:
    """The fleet without the deployment.

    Nothing is staged: a shorter chain of programs that run already must not wait for a node that
    is away, or no deployment of a lost node could ever be removed.

    Raises:
        RefusedError: There is no such deployment.
    """
    _, name = split_key(key)
    return draft_unstaged(fleet, removed_record(fleet.deployments.get(key), name=name, facts=facts))


def draft_unstaged(fleet: Fleet, record: DeploymentRecord) -> Draft:
    """The fleet with the record, of which nodes are told nothing that they did not run before."""
    derived = derive_desired(fleet.with_deployment(record))
    revision = record.revisions[-1]
    sight = fleet.audiences.seen_in(record.space)
    changes = chains_with((record.key,), fleet.desired, derived.changed)
    chains = shown_chains(planned_chains(changes, sight))
    plan = DeploymentPlan(
        deployment=record.key,
        version=revision.version,
        archive_sha256=revision.archive_sha256,
        chains=chains,
        more_chains=len(changes) - len(chains),
    )
    return Draft(record=record, plan=plan, desired=derived.changed, staging={})


def staging_of(changes: Iterable[ChangedChain]) -> dict[str, tuple[DesiredChain, ...]]:
    """Node to the chains that it must prove to load; those that only become empty need not."""
    staging: dict[str, list[DesiredChain]] = {}
    for node, _, new in changes:
        if new is not None and new.programs:
            staging.setdefault(node, []).append(new)
    return {node: tuple(chains) for node, chains in staging.items()}


def _refuse_too_large(record: DeploymentRecord, desired: Mapping[str, DesiredNode]) -> None:
    sizes: dict[int, int] = {}

    def size_of(program: DesiredProgram) -> int:
        # One object serves many nodes.
        if id(program) not in sizes:
            sizes[id(program)] = len(msgspec.json.encode(program))
        return sizes[id(program)]

    def is_small(node: DesiredNode) -> bool:
        programs = sum(size_of(one) for chain in node.chains for one in chain.programs)
        members = sum(len(name) + 3 for names in node.members.values() for name in names)
        rest = CHAIN_BYTES * (len(node.chains) + len(node.members) + 1)
        return programs + members + rest <= DESIRED.max_value_bytes

    too_large = _size_problems("deployment", DEPLOYMENTS, record, spare_bytes=SPARE_BYTES)
    problems = [
        *too_large,
        *(_names_again(record) if too_large else ()),
        *(
            problem
            for name, node in sorted(desired.items())
            if not is_small(node)
            for problem in _size_problems(f"nodes.{name}", DESIRED, node)
        ),
    ]
    if problems:
        raise RecordTooLargeError(f"{record.key}: too large to be stored", problems)


def _names_again(record: DeploymentRecord) -> Iterator[Reason]:
    """What a rollout takes of a record that is too large."""
    bare = msgspec.structs.replace(record, rollout=None, earlier=())
    size_bytes = len(msgspec.json.encode(record)) - len(msgspec.json.encode(bare))
    if record.rollout is not None:
        rule = (
            "its waves and what it may go back to name the nodes again and take so many bytes of"
            " it: make several deployments of it by labels, or none with waves"
        )
        yield Reason(path="rollout", rule=rule, got=size_bytes)


def _size_problems(
    path: str, bucket: Bucket[Any], record: msgspec.Struct, *, spare_bytes: int = 0
) -> list[Reason]:
    size_bytes = len(msgspec.json.encode(record))
    limit_bytes = bucket.max_value_bytes - spare_bytes
    if size_bytes <= limit_bytes:
        return []
    rule = f"a record of {bucket.name} is limited to {limit_bytes} bytes"
    return [Reason(path=path, rule=rule, got=size_bytes, allowed=limit_bytes)]
