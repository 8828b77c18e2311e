# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps that all instances of a package on a node have in common, whatever hooks they are on.

Pure.

Rules:
 * A package says which of its maps these are (`node_maps`).
 * An instance that begins takes the map of one that runs, on this hook point or on another one; the
   first one makes it, and it is there as long as any of them pins it.
 * An instance goes on with the map that it has, as long as its layout agrees.  If a new version
   says another layout, instances that follow to that version find the new map.
 * An instance that begins with a layout that nobody has is refused like an upgrade to it, unless
   the package says that such a map begins empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.node_executor.generations import ChainMemory, MapKey, Point, point_of
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook
from shared.contracts.desired import DesiredChain
from shared.errors import Reason


def common_maps(
    desired: DesiredChain,
    memories: Iterable[ChainMemory],
    observe: Callable[[Point], ObservedHook],
) -> dict[MapKey, tuple[HeldMap, ...]]:
    """The maps that instances of the chain could have in common with what runs.

    Args:
        desired: The chain that is to be linked.
        memories: Of all hook points.
        observe: A hook point as it is; what is remembered of a map that it does not pin is of an
            earlier boot.

    Returns:
        By the instance that would take one, and the map's name.
    """
    found: dict[MapKey, tuple[HeldMap, ...]] = {}
    wanted = {program.package for program in desired.programs}
    own = point_of(desired)
    for memory in sorted(memories, key=lambda one: (one.point != own, one.point)):
        offered = _offered(memory, wanted)
        pins = observe(memory.point).map_pins if offered else {}
        for package, held in offered:
            if pins.get(MapKey(held.deployment, held.name)) != held.map_id:
                continue
            for program in desired.programs:
                is_own = memory.point == own and program.deployment == held.deployment
                if program.package == package and not is_own:
                    key = MapKey(program.deployment, held.name)
                    found[key] = (*found.get(key, ()), held)
    return found


def begun_twice(desired: DesiredChain, made: Iterable[MapKey]) -> list[Reason]:
    """Instances of one package that would each make a map that they have to have in common.

    Args:
        desired: The chain.
        made: Maps that a package calls common and that no instance has yet.
    """
    packages = {program.deployment: program.package for program in desired.programs}
    first: dict[tuple[str, str], str] = {}
    problems = []
    for key in made:
        maker = first.setdefault((packages[key.deployment], key.name), key.deployment)
        if maker != key.deployment:
            rule = f"{maker} has it, too, and begins in the same change: deploy one after the other"
            problems.append(Reason(path=f"{key.deployment}.maps.{key.name}", rule=rule))
    return problems


def _offered(memory: ChainMemory, wanted: set[str]) -> list[tuple[str, HeldMap]]:
    """The common maps of what runs on a hook point, each with its package."""
    if memory.current is None:
        return []
    packages = {one.deployment: one.package for one in memory.current.chain.programs}
    return [
        (packages[held.deployment], held)
        for held in memory.current.maps
        if held.is_common and packages.get(held.deployment) in wanted
    ]
