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

from shared.contracts.inventory import ChainInRange, HookPlace, HookRun, RunningProgram


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
        return place_name(self.run.place)

    @property
    def is_complete(self) -> bool:
        """Whether it is known what ran there."""
        return self.run.reading.running is not None


@dataclass(frozen=True, slots=True)
class RanTogether:
    """One chain, wherever it ran within a range of time."""

    chain: ChainInRange
    packages: tuple[str, ...]
    """References, first to run first."""

    @property
    def is_complete(self) -> bool:
        """Whether it is known what it consisted of."""
        return self.chain.running is not None


@dataclass(frozen=True, slots=True)
class RanThen:
    """Everything that ran at a moment, or at any moment of a range."""

    at: str
    """RFC 3339 UTC; of a range the first moment behind it."""
    tree_size: int
    """Leaves of the log when it was asked."""
    node: str
    """Empty: every node."""
    packages: tuple[RanPackage, ...]
    """By name, version and archive."""
    hook_points: tuple[RanHookPoint, ...]
    """Of a moment: those where something of ours ran, by name."""
    since: str = ""
    """Of a range: its first moment."""
    chains: tuple[RanTogether, ...] = ()
    """Of a range: by key."""

    @property
    def is_complete(self) -> bool:
        """Whether it is known of every hook point what ran there."""
        points, chains = self.hook_points, self.chains
        return all(one.is_complete for one in points) and all(one.is_complete for one in chains)

    @property
    def title(self) -> str:
        """What the bill is of."""
        when = f"from {self.since} to {self.at}" if self.since else f"at {self.at}"
        return f"eBPF programs of {self.node or 'the fleet'} {when}"


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


def ran_between(
    chains: Iterable[ChainInRange],
    *,
    since: str,
    until: str,
    tree_size: int,
    node: str = "",
) -> RanThen:
    """The parts of everything that ran at any moment of a range, whatever the chains' order."""
    packages: dict[tuple[str, str, str], RanPackage] = {}
    found = []
    for chain in sorted(chains, key=lambda one: one.key):
        noted = [_noted(packages, one) for one in chain.running or ()]
        found.append(RanTogether(chain, tuple(one.reference for one in noted)))
    return RanThen(
        at=until,
        tree_size=tree_size,
        node=node,
        packages=tuple(one for _, one in sorted(packages.items())),
        hook_points=(),
        since=since,
        chains=tuple(found),
    )


def place_name(place: HookPlace) -> str:
    """As `node/netns/interface/hook`."""
    return "/".join(filter(None, (place.node, place.netns, place.interface, place.hook)))


def licences_of(running: Iterable[RunningProgram]) -> Iterator[str]:
    """What each of its programs told this kernel, first to run first; empty: not said."""
    for one in running:
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
