# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which companions a node runs, and with what: the exact set, from what is confirmed on its hooks.

Pure.

Rules:
 * A companion runs for each program of a confirmed chain whose signed manifest has it: one for each
   hook point and deployment.  What was only desired, or refused, has none.
 * All that it may do is the signed manifest's; a deployment gives values of arguments and nothing
   else.
 * It sees the maps of its own instance that outlive the program, global data aside.
 * A chain that ended with an earlier run of the kernel has no companions: ids of its maps mean
   others by now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final, NamedTuple

from services.node_executor.event_audiences import audience_of
from services.node_executor.generations import ChainMemory, Generation, Point
from shared.companion_arguments import executable_on, rendered_arguments, whole_arguments
from shared.contracts.catalog import SignedPackage
from shared.contracts.companions import MAX_COMPANIONS, CompanionCommand, CompanionSpec
from shared.contracts.desired import DesiredProgram
from shared.contracts.events import Audience
from shared.contracts.package_manifest import CompanionEntry, PackageManifest
from shared.deployment_keys import space_of
from shared.errors import RefusedError
from shared.identifiers import is_network, parse_hook_point

TOO_MANY: Final = f"this node runs {MAX_COMPANIONS} companions already, and no more"

ManifestOf = Callable[[SignedPackage], PackageManifest]


class CompanionPlace(NamedTuple):
    """One companion at one place of this node."""

    point: Point
    deployment: str
    companion: str

    def __str__(self) -> str:
        """Its id: `eth0/xdp/<deployment>/<companion>`."""
        return f"{self.point}/{self.deployment}/{self.companion}"


@dataclass(frozen=True, slots=True)
class WantedCompanion:
    """One companion that shall run."""

    place: CompanionPlace
    spec: CompanionSpec
    revision: int
    package: str
    version: str
    archive_sha256: str
    executable: str
    """Path in that archive."""
    signed: SignedPackage
    audience: Audience
    """Who is told what becomes of it."""


@dataclass(frozen=True, slots=True)
class CompanionNode:
    """What a companion is told of the node, and where executables lie there."""

    name: str
    platform: str
    folder: PurePath
    """Executables by their digest."""


def parse_place(companion_id: str) -> CompanionPlace | None:
    """The place that an id names; None: it is not one of ours."""
    parts = companion_id.rsplit("/", 2)
    if len(parts) != len(CompanionPlace._fields):
        return None
    try:
        interface, hook, netns = parse_hook_point(parts[0], path="id")
    except RefusedError:
        return None
    return CompanionPlace(Point(interface, hook, netns), parts[1], parts[2])


def wanted_companions(
    node: CompanionNode,
    memories: Iterable[ChainMemory],
    *,
    manifest_of: ManifestOf,
    boot_id: str,
) -> dict[str, WantedCompanion]:
    """Every companion that the node shall run, by id.

    Args:
        node: This one.
        memories: What is confirmed of every hook point.
        manifest_of: The manifest of a package that was verified here.
        boot_id: Names this run of the kernel.
    """
    found: dict[str, WantedCompanion] = {}
    for memory in memories:
        current = memory.current
        if current is None or memory.boot_id not in ("", boot_id):
            continue
        audience = audience_of(current.chain)
        for program in current.chain.programs:
            for one in _of_program(node, memory.point, current, program, manifest_of, audience):
                found[one.spec.id] = one
    return dict(sorted(found.items()))


def companions_told(
    wanted: Collection[str], lost: Collection[str], running: Collection[str]
) -> frozenset[str]:
    """Ids of what the supervisor is told: no more than it takes, and first what it runs already.

    Args:
        wanted: All that shall run.
        lost: Those whose executable cannot be had; one that runs goes on.
        running: Those that the supervisor knows.
    """
    possible = [one for one in wanted if one not in lost or one in running]
    return frozenset(sorted(possible, key=lambda one: one not in running)[:MAX_COMPANIONS])


def told_to(place: CompanionPlace, wanted: Mapping[str, WantedCompanion]) -> Audience:
    """Who is told of a companion; of one that nobody wants any more, those of its space."""
    known = wanted.get(str(place))
    return known.audience if known is not None else space_of(place.deployment)


def _of_program(  # noqa: PLR0917 because all of it is one place
    node: CompanionNode,
    point: Point,
    generation: Generation,
    program: DesiredProgram,
    manifest_of: ManifestOf,
    audience: Audience,
) -> Iterable[WantedCompanion]:
    manifest = manifest_of(program.signed)
    if not manifest.companions:
        return
    digests = {one.path: one.sha256 for one in manifest.files}
    maps = _visible_maps(generation, program.deployment)
    for name, entry in sorted(manifest.companions.items()):
        executable = executable_on(entry, node.platform)
        if not executable:
            continue
        place = CompanionPlace(point, program.deployment, name)
        sha256 = digests[executable]
        yield WantedCompanion(
            place=place,
            spec=_spec(node, place, entry, sha256, _arguments(program, name, entry), maps),
            revision=program.revision,
            package=program.package,
            version=program.version,
            archive_sha256=program.signed.archive_sha256,
            executable=executable,
            signed=program.signed,
            audience=audience,
        )


def _visible_maps(generation: Generation, deployment: str) -> dict[str, int]:
    """Names of files cannot have a dot on a BPF file system, and global data has one."""
    return {
        key.name: map_id
        for key, map_id in sorted(generation.pinned_maps.items())
        if key.deployment == deployment and "." not in key.name
    }


def _arguments(program: DesiredProgram, name: str, entry: CompanionEntry) -> tuple[str, ...]:
    told = program.companions.get(name)
    return rendered_arguments(told.arguments if told else whole_arguments({}, entry))


def _spec(  # noqa: PLR0917 because all of it is the specification
    node: CompanionNode,
    place: CompanionPlace,
    entry: CompanionEntry,
    sha256: str,
    arguments: tuple[str, ...],
    maps: dict[str, int],
) -> CompanionSpec:
    path = str(node.folder / sha256)

    def command(words: tuple[str, ...]) -> CompanionCommand:
        return CompanionCommand(sha256=sha256, path=path, arguments=(*words, *arguments))

    return CompanionSpec(
        id=str(place),
        name=place.companion,
        start=command(entry.start),
        stop=command(entry.stop) if entry.stop else None,
        update=command(entry.update) if entry.update else None,
        user=entry.user,
        capabilities=entry.capabilities,
        limits=entry.limits,
        readiness=entry.readiness,
        restart=entry.restart,
        stop_seconds=entry.stop_seconds,
        environment=_environment(node, place),
        maps=maps,
    )


def _environment(node: CompanionNode, place: CompanionPlace) -> dict[str, str]:
    point = place.point
    return {
        "L3AF_NODE": node.name,
        "L3AF_DEPLOYMENT": place.deployment,
        **({"L3AF_INTERFACE": point.interface} if is_network(point.hook) else {}),
        "L3AF_HOOK": point.hook,
        **({"L3AF_NETNS": point.netns} if point.netns else {}),
    }
