# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran at a moment, as the parts that a bill of materials is made of.

Pure.  Everything is from what nodes read back and the audit log holds; nothing is asked of the
catalog, which may have forgotten it.

Rules:
 * A package is one part, however often it ran; so is an object of it.
 * A hook point is a part that depends on what ran there; the order is in its properties.
 * A package of one name and version with two archives is two parts.
 * What nobody said is not made up: without a digest, a licence or a list of programs there is none,
   and the bill says that it is incomplete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shared.contracts.inventory import HookRun, RunningProgram


@dataclass(slots=True)
class RanObject:
    """One object that was loaded."""

    sha256: str
    licences: dict[str, None] = field(default_factory=dict)
    """SPDX expressions that were declared for it; one, unless somebody said it twice."""
    elected: dict[str, None] = field(default_factory=dict)
    elf_strings: dict[str, None] = field(default_factory=dict)
    """What it told kernels in its `license` section."""


@dataclass(slots=True)
class RanPackage:
    """One archive of which programs ran."""

    name: str
    version: str
    archive_sha256: str
    """Empty: said by a release that did not say it."""
    objects: dict[str, RanObject] = field(default_factory=dict)
    """By digest."""
    programs: dict[str, None] = field(default_factory=dict)
    deployments: dict[str, None] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What tells it apart from all others."""
        return f"{self.name}@{self.version}#{self.archive_sha256[:12]}"

    @property
    def declared(self) -> tuple[str, ...]:
        """Expressions that were declared for what was loaded of it."""
        return tuple(dict.fromkeys(one for part in self.objects.values() for one in part.licences))

    @property
    def elected(self) -> tuple[str, ...]:
        """Which choices were taken."""
        return tuple(dict.fromkeys(one for part in self.objects.values() for one in part.elected))


@dataclass(frozen=True, slots=True)
class RanHookPoint:
    """One hook point, and what ran there."""

    run: HookRun
    packages: tuple[str, ...]
    """References, first to run first."""

    @property
    def name(self) -> str:
        """As `node/netns/interface/hook`."""
        place = self.run.place
        return "/".join(filter(None, (place.node, place.netns, place.interface, place.hook)))

    @property
    def is_complete(self) -> bool:
        """Whether it is known what ran there."""
        return self.run.reading.running is not None


@dataclass(frozen=True, slots=True)
class RanThen:
    """Everything that ran at a moment."""

    at: str
    """RFC 3339 UTC."""
    tree_size: int
    """Leaves of the log when it was asked."""
    node: str
    """Empty: every node."""
    packages: tuple[RanPackage, ...]
    """By name, version and archive."""
    hook_points: tuple[RanHookPoint, ...]
    """Those where something of ours ran, by name."""

    @property
    def is_complete(self) -> bool:
        """Whether it is known of every hook point what ran there."""
        return all(one.is_complete for one in self.hook_points)

    @property
    def title(self) -> str:
        """What the bill is of."""
        return f"eBPF programs of {self.node or 'the fleet'} at {self.at}"


def ran_then(runs: Iterable[HookRun], *, at: str, tree_size: int, node: str = "") -> RanThen:
    """The parts, whatever the order of the runs."""
    packages: dict[tuple[str, str, str], RanPackage] = {}
    points: list[RanHookPoint] = []
    for run in runs:
        if not run.reading.program_id:
            continue
        found = [_noted(packages, one) for one in run.reading.running or ()]
        points.append(RanHookPoint(run, tuple(one.reference for one in found)))
    return RanThen(
        at=at,
        tree_size=tree_size,
        node=node,
        packages=tuple(one for _, one in sorted(packages.items())),
        hook_points=tuple(sorted(points, key=lambda one: one.name)),
    )


def licences_of(point: RanHookPoint) -> Iterator[str]:
    """What each of its programs told this kernel, first to run first; empty: not said."""
    for one in point.run.reading.running or ():
        yield one.licence.elf if one.licence is not None else ""


def _noted(packages: dict[tuple[str, str, str], RanPackage], program: RunningProgram) -> RanPackage:
    key = (program.package, program.version, program.archive_sha256)
    package = packages.setdefault(key, RanPackage(*key))
    package.programs[program.program] = None
    package.deployments[program.deployment] = None
    part = package.objects.setdefault(program.object_sha256, RanObject(program.object_sha256))
    licence = program.licence
    if licence is not None:
        for told, kept in (
            (licence.declared, part.licences),
            (licence.elected, part.elected),
            (licence.elf, part.elf_strings),
        ):
            if told:
                kept[told] = None
    return package
