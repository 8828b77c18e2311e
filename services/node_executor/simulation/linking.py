# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A desired chain as one program of a simulated kernel.

Signatures and digests were checked before, as on any node; what a verifier would say is not known.
A program has the maps that its manifest names, and a section if it has variables to set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from services.node_executor.configuration import LIVE_SECTIONS
from services.node_executor.generations import MapKey, Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import Needs
from services.node_executor.simulation.kernel import SimulatedKernel
from shared.canonical import sha256_hex
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.inspection import ChainExplanation
from shared.contracts.licences import ProgramLicence, StatedLicence
from shared.contracts.node import ObservedProgram
from shared.contracts.package_manifest import PackageManifest

VERIFIED_INSTRUCTIONS = 10
"""Of every program: nobody verifies."""


class SimulatedChain:
    """A program that is loaded and attached to nothing."""

    def __init__(
        self,
        kernel: SimulatedKernel,
        maps: tuple[HeldMap, ...],
        programs: tuple[ObservedProgram, ...],
        taken: Mapping[MapKey, MapKey],
    ) -> None:
        """Loaded."""
        self._kernel = kernel
        self.maps, self.programs, self.taken = maps, programs, taken
        self.program_id = kernel.add_program(*(held.map_id for held in maps))
        self.segments: tuple[int, ...] = ()
        self.slots: Mapping[str, int] = {}
        self.warnings: tuple[str, ...] = ()
        self.verified_instructions = VERIFIED_INSTRUCTIONS * len(programs)
        self.explanation: ChainExplanation | None = None
        self.duration_ms: Mapping[str, float] = {}

    def close(self) -> None:
        """What is neither pinned nor attached is given up."""
        self._kernel.let_go(self.program_id)


def linker_of(kernel: SimulatedKernel) -> Callable[..., SimulatedChain]:
    """Makes chains programs of this kernel."""

    def link(
        _point: Point, desired: DesiredChain, packages: Sequence[OpenedPackage], *, needs: Needs
    ) -> SimulatedChain:
        taken: dict[MapKey, MapKey] = {}
        maps: list[HeldMap] = []
        for program, package in zip(desired.programs, packages, strict=True):
            for name in _map_names(program, package.manifest):
                key = MapKey(program.deployment, name)
                map_id = needs.carried.get(key, 0)
                if map_id and not needs.is_trial:
                    taken[key] = key
                else:
                    map_id = kernel.add_map()
                maps.append(HeldMap(deployment=program.deployment, name=name, map_id=map_id))
        programs = tuple(map(_observed, desired.programs, packages))
        return SimulatedChain(kernel, tuple(maps), programs, taken)

    return link


def _map_names(program: DesiredProgram, manifest: PackageManifest) -> Iterator[str]:
    yield from sorted({*manifest.maps, *(one.map for one in program.metrics.values())})
    if program.variables:
        yield LIVE_SECTIONS[0]


def _observed(program: DesiredProgram, package: OpenedPackage) -> ObservedProgram:
    stated = program.licence or StatedLicence(declared="")
    return ObservedProgram(
        deployment=program.deployment,
        revision=program.revision,
        package=program.package,
        version=program.version,
        archive_sha256=program.signed.archive_sha256,
        program=program.program,
        order=program.order,
        reason="the kernel is simulated",
        object_sha256=sha256_hex(package.files[program.object]),
        licence=ProgramLicence(
            declared=stated.declared,
            elected=stated.elected,
            policy=stated.policy,
            findings=stated.findings,
            waivers=stated.waivers,
            elf="",
        ),
    )
