# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which maps of a running instance the next generation takes over, and under which name.

Pure.

Rules:
 * A map is taken over if type, sizes, flags and the structure of keys and values are the same;
   where BTF does not tell the structure, sizes and flags decide.
 * If they are not the same, the package (or the deployment) says what happens to that map:
   `refuse` (nothing changes, which is what is done if nothing is said), `fresh` (the new version
   begins with an empty map) or `migrate:<map>` (it goes on with the content of another map of the
   version that runs, which must have the same shape; the package vouches for its meaning).
 * A map that the running version does not have takes the content of the one that `migrate` names,
   if there is that one: so a map is renamed.
 * Timers in a map run the code of the program that started them.  The same code goes on with such
   a map; other code begins with an empty one, and the old timers end with the generation before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from services.node_executor.map_types import MapOfMaps, MapTypes
from shared.bytecode.map_declarations import map_type_name
from shared.contracts.package_manifest import MapPolicy
from shared.errors import Reason

_RING_BUFFERS = frozenset((27, 31))
_DEVICE_MAPS = frozenset((14, 25))
"""devmap and devmap_hash (kernel/bpf/devmap.c, dev_map_init_map)."""
_READ_ONLY_FOR_PROGRAMS = 1 << 7
"""BPF_F_RDONLY_PROG."""
_MIGRATE = "migrate:"
_REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class MapShape:
    """What of a map must be the same for its content to be of use."""

    type_number: int
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int
    """0 in a declaration: the kernel decides."""
    flags: int
    types: MapTypes | None = None
    """None: BTF does not tell."""
    of_maps: MapOfMaps | None = None
    """What a map of maps holds, where that was declared."""

    def says(self) -> dict[str, object]:
        """For people."""
        return {
            "type": map_type_name(self.type_number),
            "key_size_bytes": self.key_size_bytes,
            "value_size_bytes": self.value_size_bytes,
            "max_entries": self.max_entries,
            **({"structure": self.types.structure[:16]} if self.types else {}),
        }


@dataclass(frozen=True, slots=True)
class CarryOver:
    """What becomes of the maps of one instance."""

    taken: Mapping[str, str] = field(default_factory=dict)
    """Map of the new version to the map of the running one that it goes on with."""
    fresh: frozenset[str] = frozenset()
    """Maps of the new version that begin empty although the running one has a map of that name."""
    problems: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_carry_over(
    deployment: str,
    *,
    declared: Mapping[str, MapShape],
    running: Mapping[str, MapShape],
    policies: Mapping[str, MapPolicy],
    is_same_code: bool,
) -> CarryOver:
    """What becomes of the maps of one instance.

    Args:
        deployment: How refusals call the instance.
        declared: Maps that the next generation's code declares.
        running: Maps that the instance has.
        policies: By map, as the package and the deployment say.
        is_same_code: Whether the next generation's code is the one that runs.
    """
    taken: dict[str, str] = {}
    fresh: set[str] = set()
    problems: list[Reason] = []
    warnings: list[str] = []
    for name, shape in sorted(declared.items()):
        path = f"{deployment}.maps.{name}"
        if shape.types is not None and shape.types.has_timers and name in running:
            if is_same_code and agrees(shape, running[name]):
                taken[name] = name
                warnings.append(_TIMERS_STAY.format(path=path))
            else:
                fresh.add(name)
                warnings.append(_TIMERS_END.format(path=path))
            continue
        policy = policies.get(name, _REFUSE)
        source = policy.removeprefix(_MIGRATE) if policy.startswith(_MIGRATE) else ""
        if name in running and agrees(shape, running[name]):
            taken[name] = name
        elif source and source in running:
            if agrees(shape, running[source], has_meaning=False):
                taken[name] = source
            else:
                problems.append(_mismatch(path, source, shape, running[source]))
        elif name in running and policy == "fresh":
            fresh.add(name)
            warnings.append(f"{path} begins empty: its layout is another than before")
        elif name in running:
            problems.append(_mismatch(path, name, shape, running[name]))
    problems += _taken_twice(deployment, taken)
    return CarryOver(taken, frozenset(fresh), tuple(problems), tuple(warnings))


def agrees(declared: MapShape, running: MapShape, *, has_meaning: bool = True) -> bool:
    """Whether the content of `running` is what a map like `declared` holds.

    Args:
        declared: Sizes of 0 are left to libbpf and fit any.
        running: A map in the kernel.
        has_meaning: Whether the names of members count.
    """
    # libbpf rounds ring buffers up to whole pages when it makes them.
    is_ring = declared.type_number in _RING_BUFFERS
    has_room = is_ring and declared.max_entries <= running.max_entries
    fits = (
        declared.type_number == running.type_number
        and kernel_flags(declared.type_number, declared.flags)
        == kernel_flags(running.type_number, running.flags)
        and declared.key_size_bytes in (0, running.key_size_bytes)
        and declared.value_size_bytes in (0, running.value_size_bytes)
        and (declared.max_entries in (0, running.max_entries) or has_room)
    )
    if not fits or declared.types is None or running.types is None:
        return fits
    if has_meaning:
        return declared.types.structure == running.types.structure
    return declared.types.shape == running.types.shape


def kernel_flags(type_number: int, flags: int) -> int:
    """The flags that a map has in the kernel, which makes device maps read-only for programs."""
    return flags | _READ_ONLY_FOR_PROGRAMS if type_number in _DEVICE_MAPS else flags


def _mismatch(path: str, source: str, declared: MapShape, running: MapShape) -> Reason:
    return Reason(
        path=path,
        rule=(
            f"has another layout than the map {source} that holds this instance's state; say"
            " on_layout_change: fresh begins with an empty map, migrate:<map> goes on with another"
            " one of the same shape"
        ),
        got=declared.says(),
        allowed=running.says(),
    )


def _taken_twice(deployment: str, taken: Mapping[str, str]) -> Iterator[Reason]:
    sources: Collection[str] = list(taken.values())
    for name, source in taken.items():
        if name != source and list(sources).count(source) > 1:
            yield Reason(
                path=f"{deployment}.maps.{name}",
                rule=f"migrates from the map {source}, which another map goes on with",
                got=source,
            )


_TIMERS_STAY = (
    "{path} holds timers: those that run keep the code of the generation that set them, and keep it"
    " loaded, until they end or are set again"
)
_TIMERS_END = (
    "{path} holds timers and the code is another: it begins empty, and the old timers run until the"
    " generation before is given up"
)
