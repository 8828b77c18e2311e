# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs which version, and what would become of it if one were revoked.

Pure.

Rules:
 * What runs is what nodes read back; what shall run is what they are told.  Both are said.
 * Of deployments that whoever asks does not see nothing is said and nothing is counted.
 * What would happen is decided by what decides it when it happens (`revocation.affected`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.scheduler.audiences import Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.revocation import Affected, affected
from services.scheduler.rollout.assignment import assignment
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.node import ObservedNode
from shared.contracts.reviews import RevokedVersion
from shared.contracts.usage import (
    MAX_NODES_NAMED,
    MAX_USES,
    FleetUsage,
    ImpactedDeployment,
    PackageImpact,
    PackageUsers,
    SpaceUse,
    UsedPlace,
    VersionUse,
)
from shared.deployment_keys import space_of
from shared.errors import Reason
from shared.identifiers import Hook
from shared.versions import precedence

_SEPARATOR: Final = "|"
"""In no name of a deployment, node, package or hook, and in no version."""

Place = tuple[str, str, str, Hook]
"""Deployment, node, interface with its namespace, hook."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What would take the place of a version that is revoked."""

    version: str = ""
    """Empty: nothing would."""
    why_not: tuple[Reason, ...] = ()


def package_users(
    places: Sequence[UsedPlace], *, name: str, version: str, after: str, limit: int
) -> PackageUsers:
    """One page of the places, and what all of them come to.

    Args:
        places: All of the package, in order.
        name: The package.
        version: Only places that run it or shall; empty: all.
        after: Where the page begins.
        limit: Places in it.
    """
    places = [one for one in places if version in ("", one.running, one.told)]
    first = bisect_right(places, after, key=_key) if after else 0
    page = places[first : first + limit]
    versions = {one for place in places for one in (place.running, place.told) if one}
    return PackageUsers(
        name=name,
        version=version,
        versions=tuple(
            VersionUse(
                version=one,
                nodes_running=len({place.node for place in places if place.running == one}),
                nodes_told=len({place.node for place in places if place.told == one}),
            )
            for one in sorted(versions, key=precedence, reverse=True)
        ),
        deployments=tuple(sorted({place.deployment for place in places})),
        places=tuple(page),
        next=_key(page[-1]) if first + limit < len(places) else "",
    )


def used_places(
    name: str, fleet: Fleet, observed: Mapping[str, ObservedNode], sight: Sight
) -> list[UsedPlace]:
    """Every place of the package that is seen, in order."""
    found: dict[Place, UsedPlace] = {}
    for place, package, program, version in _running(observed):
        if package == name and sight.sees_deployment(place[0]):
            found[place] = _used(place, program, running=version)
    for place, package, program, version in _told(fleet):
        if package == name and sight.sees_deployment(place[0]):
            runs = found.get(place)
            running = runs.running if runs else ""
            found[place] = _used(place, program, running=running, told=version)
    return sorted(found.values(), key=_key)


def fleet_usage(observed: Mapping[str, ObservedNode], *, after: str) -> FleetUsage:
    """One page of how far every version is spread."""
    nodes: dict[tuple[str, str, str], set[str]] = {}
    for place, package, _, version in _running(observed):
        nodes.setdefault((package, version, space_of(place[0])), set()).add(place[1])
    keys = sorted(nodes, key=_SEPARATOR.join)
    first = bisect_right(keys, after, key=_SEPARATOR.join) if after else 0
    page = keys[first : first + MAX_USES]
    return FleetUsage(
        uses=tuple(
            SpaceUse(package=package, version=version, space=space, nodes=len(nodes[key]))
            for key in page
            for package, version, space in (key,)
        ),
        next=_SEPARATOR.join(page[-1]) if first + MAX_USES < len(keys) else "",
    )


def concerned(fleet: Fleet, *, name: str, version: str, sight: Sight) -> list[Affected]:
    """The deployments that are seen and would do something, by key."""
    archives = {
        (archive, record.space): RevokedVersion(
            package=name, version=version, archive_sha256=archive, at="", why="", space=record.space
        )
        for record in fleet.deployments.values()
        if sight.sees(record.space)
        for archive in _archives(record, name=name, version=version)
    }
    return [one for one in affected(fleet, archives.values()) if sight.sees(one.record.space)]


def package_impact(
    hit: Iterable[tuple[Affected, Replacement]],
    places: Sequence[UsedPlace],
    fleet: Fleet,
    *,
    name: str,
    version: str,
    sight: Sight,
) -> PackageImpact:
    """What would happen.

    Args:
        hit: The deployments, each with what would replace the version there.
        places: All of the package that are seen.
        fleet: All that is known.
        name: The package.
        version: The one that would be revoked.
        sight: Of whoever asks.
    """
    places = [one for one in places if version in (one.running, one.told)]
    alone = _alone(fleet)
    deployments = [_impacted(one, other, places, alone) for one, other in hit]
    keys = {one.deployment for one in deployments}
    return PackageImpact(
        name=name,
        version=version,
        node_count=len({one.node for one in places}),
        deployments=tuple(deployments),
        rollbacks=tuple(
            key
            for key, record in sorted(fleet.deployments.items())
            if key not in keys and sight.sees(record.space) and _had(record, name, version)
        ),
    )


def _impacted(
    one: Affected,
    replacement: Replacement,
    places: Sequence[UsedPlace],
    alone: frozenset[Place],
) -> ImpactedDeployment:
    own = [place for place in places if place.deployment == one.record.key]
    nodes = sorted({place.node for place in own})
    does = "alarm" if one.way == "replace" and not replacement.version else one.way
    points = {(place.deployment, place.node, place.interface, place.hook) for place in own}
    return ImpactedDeployment(
        deployment=one.record.key,
        space=one.record.space,
        revision=one.record.revisions[-1].revision,
        hook=one.spec.hook,
        on_revoked=one.on_revoked,
        does=does,
        replacement=replacement.version,
        why_not=replacement.why_not,
        node_count=len(nodes),
        nodes=tuple(nodes[:MAX_NODES_NAMED]),
        emptied=len(points & alone) if does == "stop" else 0,
    )


def _archives(record: DeploymentRecord, *, name: str, version: str) -> Iterator[str]:
    """Those of the version that the deployment runs somewhere."""
    now = assignment(record)
    for one in now.revisions if now is not None else ():
        revision = one.revision
        if revision.spec.package != name:
            continue
        if revision.version == version:
            yield revision.archive_sha256
        for kept in revision.resolved.kept.values() if revision.resolved else ():
            if kept.version == version:
                yield kept.signed.archive_sha256


def _had(record: DeploymentRecord, name: str, version: str) -> bool:
    return not record.removed and any(
        (one.spec.package, one.version) == (name, version) for one in record.revisions
    )


def _alone(fleet: Fleet) -> frozenset[Place]:
    """Where a program has its hook point to itself."""
    return frozenset(
        (chain.programs[0].deployment, name, chain.place, chain.hook)
        for name, node in fleet.desired.items()
        for chain in node.chains
        if len(chain.programs) == 1
    )


def _running(
    observed: Mapping[str, ObservedNode],
) -> Iterator[tuple[Place, str, str, str]]:
    for name, node in observed.items():
        for chain in node.chains:
            for program in chain.programs if chain.state != "absent" else ():
                place = (program.deployment, name, chain.place, chain.hook)
                yield place, program.package, program.program, program.version


def _told(fleet: Fleet) -> Iterator[tuple[Place, str, str, str]]:
    for name, node in fleet.desired.items():
        for chain in node.chains if not fleet.is_forgotten(name) else ():
            for program in chain.programs:
                place = (program.deployment, name, chain.place, chain.hook)
                yield place, program.package, program.program, program.version


def _used(place: Place, program: str, *, running: str, told: str = "") -> UsedPlace:
    deployment, node, interface, hook = place
    return UsedPlace(
        deployment=deployment,
        node=node,
        interface=interface,
        hook=hook,
        program=program,
        running=running,
        told=told,
    )


def _key(one: UsedPlace) -> str:
    return _SEPARATOR.join((one.deployment, one.node, one.interface, one.hook))
