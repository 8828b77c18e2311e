# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a change of desired chains does, for somebody who decides whether to make it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.chain_changes import changed_chains, takes_part
from services.scheduler.placement import NodeView
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, DeploymentSpec
from shared.contracts.desired import DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import StagedChain
from shared.contracts.node_overlays import OverlaidNodes
from shared.contracts.planned_chains import PlannedChain, ProgramPlace
from shared.contracts.probes import ProbeTarget
from shared.contracts.rollout_policy import PolicyEffect
from shared.contracts.scheduler import DeploymentPlan, ExcludedNode
from shared.versions import parse_version

ChangedChain = tuple[str, DesiredChain | None, DesiredChain | None]
"""Node, chain before, chain after."""
PLACES_SHOWN: Final = 800
"""Of programs and chains in one plan: at some 300 bytes each, a quarter of a message."""
EXCLUDED_SHOWN: Final = 500
Change = Literal["kept", "added", "changed", "removed"]


def describe_plan(
    spec: DeploymentSpec,
    package: PackageVersion,
    *,
    changes: Collection[ChangedChain],
    sight: Sight,
    excluded: tuple[ExcludedNode, ...] = (),
    warnings: tuple[str, ...] = (),
    overlaid: tuple[OverlaidNodes, ...] = (),
    policy: tuple[PolicyEffect, ...] = (),
) -> DeploymentPlan:
    """Every chain that the deployment is or was part of and that changes."""
    chains = shown_chains(planned_chains(changes, sight))
    return DeploymentPlan(
        deployment=spec.key,
        version=package.version,
        archive_sha256=package.signed.archive_sha256,
        chains=chains,
        more_chains=len(changes) - len(chains),
        excluded=excluded[:EXCLUDED_SHOWN],
        more_excluded=len(excluded[EXCLUDED_SHOWN:]),
        warnings=warnings,
        overlaid=overlaid,
        policy=policy,
    )


def chains_with(
    keys: Collection[str], before: Mapping[str, DesiredNode], after: Mapping[str, DesiredNode]
) -> list[ChangedChain]:
    """By node and hook point, each chain with one of the deployments that `after` changes."""
    return [
        (node, old, new)
        for node in sorted(after)
        for old, new in changed_chains(before.get(node), after[node]).values()
        if any(takes_part(key, old, new) for key in keys)
    ]


def planned_chains(changes: Iterable[ChangedChain], sight: Sight) -> Iterable[PlannedChain]:
    """The changes as they are shown."""
    return (_planned(node, old, new, sight) for node, old, new in changes)


def shown_chains(chains: Iterable[PlannedChain]) -> tuple[PlannedChain, ...]:
    """As many of the first chains as have room in a message; at least one."""
    shown: list[PlannedChain] = []
    places = 0
    for chain in chains:
        places += len(chain.programs) + 1
        if shown and places > PLACES_SHOWN:
            break
        shown.append(chain)
    return tuple(shown)


def with_trials(
    chains: Iterable[PlannedChain], trials: Mapping[str, Iterable[StagedChain]]
) -> Iterable[PlannedChain]:
    """The chains with what nodes found when they tried them.

    Args:
        chains: Of a plan, as far as whoever asked sees them.
        trials: By node.
    """
    found = {
        (node, one.netns, one.interface, one.hook): one
        for node, tried in trials.items()
        for one in tried
    }
    for chain in chains:
        trial = found.get((chain.node, chain.netns, chain.interface, chain.hook))
        yield chain if trial is None else _with_trial(chain, trial)


def _with_trial(chain: PlannedChain, trial: StagedChain) -> PlannedChain:
    tried = {one.deployment: one for one in trial.programs}
    programs = tuple(
        msgspec.structs.replace(
            place, instructions=one.instructions, object_sha256=one.object_sha256
        )
        if not place.restricted and (one := tried.get(place.deployment)) is not None
        else place
        for place in chain.programs
    )
    is_whole = not any(place.restricted for place in programs)
    verified = trial.verified_instructions if is_whole else 0
    return msgspec.structs.replace(chain, programs=programs, verified_instructions=verified)


def with_estimates(
    chains: Iterable[PlannedChain],
    deployments: Mapping[str, DeploymentRecord],
    nodes: Mapping[str, NodeView],
) -> Iterable[PlannedChain]:
    """The chains with what is known of programs that no node tried.

    Args:
        chains: Of a plan, with what nodes found.
        deployments: As they will be, by key.
        nodes: By name; what each gets is for its platform.
    """
    for chain in chains:
        programs = tuple(
            place
            if place.instructions or place.restricted or chain.node not in nodes
            else _with_estimate(place, deployments, nodes[chain.node].platform)
            for place in chain.programs
        )
        yield msgspec.structs.replace(chain, programs=programs)


def _with_estimate(
    place: ProgramPlace, deployments: Mapping[str, DeploymentRecord], platform: str
) -> ProgramPlace:
    record = deployments.get(place.deployment)
    resolved = record.revisions[-1].resolved if record is not None else None
    if resolved is None or place.change == "removed":
        return place
    count = resolved.instructions.get(resolved.on_platform(platform).object, 0)
    return msgspec.structs.replace(place, instructions=count, is_estimate=count > 0)


def version_warnings(
    previous: DeploymentRevision | None,
    spec: DeploymentSpec,
    package: PackageVersion,
    *,
    is_rollback: bool,
) -> tuple[str, ...]:
    """What is allowed and yet worth a look.

    Args:
        previous: The revision that runs now.
        spec: What shall run.
        package: The version that it resolved to.
        is_rollback: Whether an earlier revision comes back, with its instance.
    """
    if previous is None:
        return ()
    warnings = []
    if previous.spec.package == spec.package:
        path = "version"
        old = parse_version(previous.version, path=path)
        if parse_version(package.version, path=path) < old:
            warnings.append(f"the version goes down from {previous.version} to {package.version}")
    else:
        maps = (
            "maps go on only where the earlier generation is kept"
            if is_rollback
            else ("maps and counters start anew")
        )
        warnings.append(
            f"the package changes from {previous.spec.package} to {spec.package}: {maps}"
        )
    if previous.spec.hook != spec.hook:
        warnings.append(f"the hook changes from {previous.spec.hook} to {spec.hook}")
    return tuple(warnings)


def order_warnings(
    previous: DeploymentRevision | None, revision: DeploymentRevision
) -> tuple[str, ...]:
    """That a package moves its program within chains, where the deployment states no place."""
    states_none = revision.spec.order is None and revision.has_number
    if previous is None or not states_none or previous.order == revision.order:
        return ()
    moved = f"from {previous.order} to {revision.order}"
    why = "the deployment states no order, and the package decides"
    return (f"its place in the chain changes {moved}: {why}",)


def neighbour_warnings(
    revision: DeploymentRevision, after: Mapping[str, DesiredNode], sight: Sight
) -> tuple[str, ...]:
    """What it says it is before or after, and is nowhere with it, as far as `sight` goes."""
    spec = revision.spec
    said = dict.fromkeys((*spec.before, *spec.after))
    for node in {place.node for place in revision.accepted_for} if said else ():
        for chain in after[node].chains if node in after else ():
            if takes_part(spec.key, chain):
                for one in chain.programs:
                    if one.deployment != spec.key and sight.sees_deployment(one.deployment):
                        said.pop(f"deployment:{one.deployment}", None)
                        said.pop(f"package:{one.package}", None)
    return tuple(
        f"{one} is in no chain with it, so what it says of that has no effect yet" for one in said
    )


def _planned(
    node: str, old: DesiredChain | None, new: DesiredChain | None, sight: Sight
) -> PlannedChain:
    present = new or old
    if present is None:
        raise AssertionError("unreachable: a changed chain is there before or after")
    was = {program.deployment: program for program in (old.programs if old else ())}
    now = {program.deployment: program for program in (new.programs if new else ())}
    places = [_place(one, _change(was.get(key), one), sight) for key, one in now.items()]
    places += [_place(one, "removed", sight) for key, one in was.items() if key not in now]
    return PlannedChain(
        node=node,
        interface=present.interface,
        hook=present.hook,
        netns=present.netns,
        programs=tuple(places),
        configuration_only=_is_configuration_only(was, now)
        and _attachment(old) == _attachment(new),
        link=present.link,
        target=present.target,
    )


def _attachment(chain: DesiredChain | None) -> tuple[LinkOptions, ProbeTarget | None] | None:
    return (chain.link, chain.target) if chain else None


def _place(program: DesiredProgram, change: Change, sight: Sight) -> ProgramPlace:
    if not sight.sees_deployment(program.deployment):
        return ProgramPlace(
            deployment="",
            package="",
            version="",
            order=program.order,
            proceed_on=(),
            change=change,
            restricted=True,
        )
    return ProgramPlace(
        deployment=program.deployment,
        package=program.package,
        version=program.version,
        order=program.order,
        has_packages_order=program.has_packages_order,
        archive_sha256=program.signed.archive_sha256,
        proceed_on=program.proceed_on,
        change=change,
    )


def _change(old: DesiredProgram | None, new: DesiredProgram) -> Change:
    if old is None:
        return "added"
    same = msgspec.structs.replace(old, revision=new.revision) == new
    return "kept" if same else "changed"


def _is_configuration_only(
    was: Mapping[str, DesiredProgram], now: Mapping[str, DesiredProgram]
) -> bool:
    """Whether the same programs run in the same places with other values alone."""
    if set(was) != set(now):
        return False
    differing = [name for name in now if _change(was[name], now[name]) == "changed"]
    return bool(differing) and all(
        msgspec.structs.replace(
            was[name],
            revision=now[name].revision,
            config=now[name].config,
            variables=now[name].variables,
            companions=now[name].companions,
            metrics=now[name].metrics,
        )
        == now[name]
        for name in differing
    )
