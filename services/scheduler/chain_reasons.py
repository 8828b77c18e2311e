# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments and one interface of a node -> why its chains are what they are.

Pure.  It says what planning decided, and by the same functions: which deployments mean the
interface, what puts each program where it is, and for every other one the first thing that keeps it
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.scheduler.audiences import Sight
from services.scheduler.chain_planning import NodeChains, plan_node
from services.scheduler.choosing import why_not_chosen
from services.scheduler.desired_state import Fleet
from services.scheduler.fitness import interface_lack, node_lack
from services.scheduler.node_overlays import applying, settings
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.revision_facts import facts_of
from services.scheduler.rollout.assignment import Assignment, assignment
from services.scheduler.rollout.description import rollout_reason
from services.scheduler.selection import (
    place_in_share,
    selected_by,
    selector_mismatch,
    selector_text,
)
from services.scheduler.wanted_places import places_of
from shared.contracts.chain_reasons import (
    AbsentDeployment,
    ChainReasons,
    HookReasons,
    LinkReason,
    ProgramReasons,
)
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, DeploymentSpec
from shared.contracts.desired import DesiredProgram
from shared.contracts.link_options import LinkOptions, LinkWishes
from shared.identifiers import HOOKS, Hook, render_hook_point, split_place
from shared.node_labels import rule_text

_OPTIONS: Final = LinkWishes.__struct_fields__


def chain_reasons(
    fleet: Fleet, node: NodeView, place: str, *, hook: Hook | None, sight: Sight
) -> ChainReasons:
    """Why the chains of an interface are what they shall be now.

    Args:
        fleet: As it is.
        node: One of it.
        place: The interface in its written form, there or not.
        hook: Of one hook alone; None: of all.
        sight: As far as is told.
    """
    planned = plan_node(
        node, fleet.deployments.values(), fleet.desired.get(node.name), fleet.audiences
    )
    hooks = [one for one in HOOKS if hook in (None, one)]
    found = [_hook(fleet, planned, node, place, hook=one, sight=sight) for one in hooks]
    return ChainReasons(
        node=node.name,
        place=place,
        hooks=tuple(one for one in found if one.programs),
        absent=tuple(
            one for one in _absent(fleet, planned, node, place, sight) if one.hook in hooks
        ),
    )


def _hook(
    fleet: Fleet, planned: NodeChains, node: NodeView, place: str, *, hook: Hook, sight: Sight
) -> HookReasons:
    interface, netns = split_place(place)
    point = render_hook_point(interface, hook, netns)
    programs = planned.chains.get(point, ())
    seen = [one for one in programs if sight.sees_deployment(one.deployment)]
    wishes = {
        one.deployment: facts_of(_revision(fleet, one.deployment, node, place))
        .on(node)
        .revision.spec.link
        for one in seen
    }
    return HookReasons(
        hook=hook,
        programs=tuple(_program(fleet, node, place, one, sight) for one in programs),
        link=planned.options.get(point, LinkOptions()),
        link_reasons=tuple(
            LinkReason(option=option, deployments=asking)
            for option in _OPTIONS
            if (asking := tuple(key for key in wishes if getattr(wishes[key], option) is not None))
        ),
    )


def _program(
    fleet: Fleet, node: NodeView, place: str, program: DesiredProgram, sight: Sight
) -> ProgramReasons:
    if not sight.sees_deployment(program.deployment):
        return ProgramReasons(deployment="", order=program.order, restricted=True)
    revision = _revision(fleet, program.deployment, node, place)
    spec = revision.spec
    chosen = selected_by(place, spec, node, is_held=True)
    is_away = place not in node.interfaces
    by_selector = "" if chosen is None else selector_text(chosen)
    return ProgramReasons(
        deployment=program.deployment,
        order=program.order,
        revision=program.revision,
        package=program.package,
        version=program.version,
        archive_sha256=program.signed.archive_sha256,
        node=tuple(node_reasons(spec, node)),
        interface=f"{by_selector}, and it is away" if is_away else by_selector,
        place=tuple(_place_reasons(revision)),
        rollout=rollout_reason(fleet.deployments[program.deployment], node, place),
        settings=settings(spec, revision.resolved, applying(spec, node)),
        at=revision.at,
        by=f"{revision.actor_role} {revision.actor_key}".strip(),
        reason=revision.reason,
        owner=spec.owner,
        expiry=spec.expiry,
    )


def node_reasons(spec: DeploymentSpec, node: NodeView) -> Iterator[str]:
    """What a deployment asks of nodes, and this one, where it is, meets."""
    if spec.nodes.names != ("*",):
        yield f"name matches {' or '.join(spec.nodes.names)}"
    yield from (f"label {key} is {value}" for key, value in sorted(spec.nodes.labels.items()))
    yield from map(rule_text, spec.nodes.rules)
    if spec.nodes.percent is not None:
        found = place_in_share(spec.key, node.name)
        yield f"place {found:.1f} of 100 is below {spec.nodes.percent} percent"
    if spec.nodes.count is not None:
        yield f"it was chosen (count = {spec.nodes.count})"


def _place_reasons(revision: DeploymentRevision) -> Iterator[str]:
    if revision.has_number:
        whose = "nobody says more"
        if revision.spec.order is not None:
            whose = "the deployment says so"
        elif revision.has_packages_order:
            whose = "its package says so"
        yield f"place {revision.order}: {whose}"
    yield from (f"before {one}" for one in revision.spec.before)
    yield from (f"after {one}" for one in revision.spec.after)


def _absent(
    fleet: Fleet, planned: NodeChains, node: NodeView, place: str, sight: Sight
) -> Iterator[AbsentDeployment]:
    left_out = {
        (one.left_out, one.hook): one for one in planned.conflicts if one.interface == place
    }
    for key, record in sorted(fleet.deployments.items()):
        now = assignment(record)
        if now is None or not sight.sees(record.space):
            continue
        hook = (now.facts_on(node, place) or now.newest).revision.spec.hook
        why = _why_absent(record, now, node, place, fleet)
        conflict = left_out.get((key, hook))
        if conflict is not None:
            why = _told(conflict, sight, place)
        if why is not None:
            yield AbsentDeployment(deployment=key, hook=hook, why=why)


def _why_absent(
    record: DeploymentRecord, now: Assignment, node: NodeView, place: str, fleet: Fleet
) -> str | None:
    """The first requirement that fails, or that it comes later; None: it is to be there."""
    had = now.facts_on(node, place)
    why = _why_not(had.revision, node, place, fleet) if had is not None else ""
    if why is None or had is now.newest:
        return why
    return _why_not(now.newest.revision, node, place, fleet) or rollout_reason(record, node, place)


def _told(conflict: PlaceConflict, sight: Sight, place: str) -> str:
    return conflict.told(sight, f"{place}/{conflict.hook}")


def _why_not(revision: DeploymentRevision, node: NodeView, place: str, fleet: Fleet) -> str | None:
    """The first requirement that fails; None: it is to be there."""
    if place in places_of(revision, node, fleet.desired.get(node.name)):
        return None
    mismatch = selector_mismatch(revision.spec, node)
    if mismatch is not None:
        return mismatch
    not_chosen = why_not_chosen(revision, node.name)
    if not_chosen:
        return not_chosen
    if place not in node.interfaces:
        return "the node has no such interface now"
    if selected_by(place, revision.spec, node) is None:
        wanted = " or ".join(map(selector_text, revision.spec.interfaces))
        return f"it is for the interfaces {wanted}"
    demand = facts_of(revision).on(node).demand
    return node_lack(demand, node) or interface_lack(demand, node, place) or "it cannot be there"


def _revision(fleet: Fleet, key: str, node: NodeView, place: str) -> DeploymentRevision:
    now = assignment(fleet.deployments[key])
    revision = now.on(node, place) if now is not None else None
    if revision is None:
        raise AssertionError("unreachable: who is in a chain was not removed")
    return revision
