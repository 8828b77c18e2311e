# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Makes chains ready: archives fetched, signatures and digests verified, programs linked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from services.node_executor.adapters.archives import Archives
from services.node_executor.adapters.kernel_facts import own_platform
from services.node_executor.generations import Point
from services.node_executor.packages import (
    OpenedPackage,
    PackageMismatchError,
    instance_problems,
    open_package,
    program_problems,
    unverified_warnings,
    with_origins,
)
from services.node_executor.preparation import Linked, Needs, Ready
from services.node_executor.staging import Thread
from shared.archive_files import ArchiveBytes
from shared.contracts.catalog import SignedPackage
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ObservedProgram
from shared.contracts.package_manifest import PackageManifest
from shared.errors import Reason
from shared.probe_targets import place_problems
from shared.trust.packages import Trust, check_package

KEPT_MANIFESTS: Final = 256


class Compiler(Protocol):
    """Makes objects of sources."""

    async def compiled(
        self, desired: DesiredChain, packages: Sequence[OpenedPackage]
    ) -> list[OpenedPackage]:
        """The packages, each with an object where its program is a source."""


class LinkedHere(Linked, Protocol):
    """A linked chain whose programs and warnings are still to be completed."""

    duration_ms: Mapping[str, float]
    programs: tuple[ObservedProgram, ...]
    warnings: tuple[str, ...]


class Linker(Protocol):
    """Makes a loaded program of a chain."""

    def __call__(
        self,
        point: Point,
        desired: DesiredChain,
        packages: Sequence[OpenedPackage],
        *,
        needs: Needs,
    ) -> LinkedHere:
        """Attached to nothing."""


class Preparer:
    """Touches no hook."""

    def __init__(
        self,
        *,
        archives: Archives,
        compiler: Compiler,
        link: Linker,
        thread: Thread,
        trust: Callable[[], Trust],
        now: Callable[[], datetime],
    ) -> None:
        """Nothing is prepared yet.

        Args:
            archives: Where archives come from.
            compiler: Of packages that hold sources.
            link: Loads chains; used in `thread` alone.
            thread: The kernel's.
            trust: Whom to believe, at each moment.
            now: Aware.
        """
        self._archives = archives
        self._compiler = compiler
        self._link = link
        self._thread = thread
        self._trust = trust
        self._now = now
        self._manifests: dict[SignedPackage, PackageManifest] = {}
        self._manifests_by: Trust | None = None
        """By whom they were checked."""

    async def check(self, desired: DesiredChain) -> None:
        """Every program is what its publisher signed, and is used as its manifest allows.

        Raises:
            VerificationError: A signature does not match.
            RefusedError: With everything that the manifests do not offer.
        """
        await self._thread(self._check, desired)

    async def link(self, point: Point, desired: DesiredChain, needs: Needs) -> Ready:
        """The chain as one loaded program; whoever gets it closes it.

        Raises:
            RefusedError: It cannot be verified, loaded or linked.
            FaultError: The catalog or the kernel failed.
        """
        started = time.perf_counter()
        archives: dict[str, ArchiveBytes] = {}
        for program in desired.programs:
            sha256 = program.signed.archive_sha256
            if sha256 not in archives:
                archives[sha256] = await self._archives.take(sha256)
        fetched = time.perf_counter()
        packages = await self._thread(self._opened, desired, archives)
        verified = time.perf_counter()
        packages = await self._compiler.compiled(desired, packages)
        compiled = time.perf_counter()
        linked = await self._thread(self._link, point, desired, packages, needs=needs)
        linked.programs = with_origins(linked.programs, packages)
        linked.warnings = (*linked.warnings, *unverified_warnings(desired.programs, packages))
        durations = {
            "fetch": (fetched - started) * 1000 + self._archives.downloaded_ms(archives),
            "verify": (verified - fetched) * 1000,
            **({"compile": (compiled - verified) * 1000} if _has_source(packages) else {}),
            **linked.duration_ms,
        }
        return Ready(linked, {phase: round(ms, 3) for phase, ms in durations.items()})

    def _check(self, desired: DesiredChain) -> None:
        problems: list[Reason] = list(instance_problems(desired.programs, path="chain"))
        problems += place_problems(desired)
        for index, program in enumerate(desired.programs):
            manifest = self._manifest(program.signed)
            path = f"chain[{index}]"
            problems += program_problems(
                program, manifest, hook=desired.hook, platform=own_platform(), path=path
            )
        if problems:
            first = f"{problems[0].path}: {problems[0].rule}"
            raise PackageMismatchError(
                f"the chain is not what its packages offer: {first}", problems
            )

    def _manifest(self, signed: SignedPackage) -> PackageManifest:
        """Verified once for the same bytes by the same keys: each load verifies it again."""
        trust = self._trust()
        if trust is not self._manifests_by:
            self._manifests.clear()
            self._manifests_by = trust
        manifest = self._manifests.get(signed)
        if manifest is None:
            manifest = check_package(signed, trust, now=self._now()).manifest
            if len(self._manifests) >= KEPT_MANIFESTS:
                self._manifests.clear()
            self._manifests[signed] = manifest
        return manifest

    def _opened(
        self, desired: DesiredChain, archives: Mapping[str, ArchiveBytes]
    ) -> list[OpenedPackage]:
        trust, now = self._trust(), self._now()
        opened = {
            program.signed: open_package(
                program.signed, archives[program.signed.archive_sha256], trust=trust, now=now
            )
            for program in desired.programs
        }
        return [opened[program.signed] for program in desired.programs]


def _has_source(packages: Sequence[OpenedPackage]) -> bool:
    return any(package.compilation is not None for package in packages)
