# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tries candidates of the catalog on this node's kernel, beside all else that the node does.

Rules:
 * Signatures and digests are verified here, as before every load.
 * A candidate is loaded by a process of its own, with bounded memory and time, which attaches
   nothing, pins nothing and uses maps of its own.  One candidate is tried at a time.
 * What the candidate is to blame for is reported; what it is not (a catalog that is away) is said
   to whoever asks again, and tried again then.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from services.node_executor.adapters.archives import Archives
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.trial_process import TrialFaultError, run_trial
from services.node_executor.package_test.reporting import could_not_be_tried, passed_or_not
from services.node_executor.packages import open_package
from services.node_executor.staging import Thread
from shared.adapters.callers import Caller
from shared.archive_files import ArchiveBytes
from shared.contracts.catalog import SignedPackage
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import PackageTested, RunPackageTests, TrialLimits
from shared.contracts.verification import (
    VERIFICATIONS,
    VerificationReport,
    VerificationTaken,
    VerifyOnNode,
    verification_key,
)
from shared.dsse import manifest_digest
from shared.errors import FaultError, RefusedError
from shared.package_tests import tried_part
from shared.trust.packages import Trust, check_package

RUNNER: Final = "services.node_executor.package_test"
MAX_WAITING: Final = 32
FETCHING_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 1.0
MEMORY_BYTES: Final = 2 << 30
"""Address space of the process that loads a candidate."""
MAP_BYTES: Final = 256 << 20
"""What the maps of one program of a candidate may take."""

log = structlog.get_logger()


class BusyVerifierError(FaultError):
    """Too many candidates wait already."""


class PackageVerification:
    """What the catalog asked this node to verify."""

    def __init__(
        self,
        *,
        bus: NodeBus,
        archives: Archives,
        thread: Thread,
        bcc_python: Path,
        trust: Callable[[], Trust],
        now: Callable[[], str],
    ) -> None:
        """Nothing is tried yet.

        Args:
            bus: This node's.
            archives: Where archives come from.
            thread: Opens archives.
            bcc_python: The interpreter that has bcc.
            trust: Whom to believe, at each moment.
            now: RFC 3339 UTC.
        """
        self._bus: Final = bus
        self._archives: Final = archives
        self._thread: Final = thread
        self._bcc_python: Final = bcc_python
        self._trust: Final = trust
        self._now: Final = now
        self._one_at_a_time: Final = asyncio.Lock()
        self._under_way: Final[dict[str, VerificationTaken]] = {}
        """By order, until it is reported."""
        self._problems: Final[dict[str, str]] = {}
        """Why the last attempt came to no report."""

    async def take(self, request: VerifyOnNode, _caller: Caller) -> VerificationTaken:
        """The candidate is being tried, or will be.

        Raises:
            VerificationError: A signature does not match.
            BusyVerifierError: Too many wait.
        """
        found = self._under_way.get(request.order)
        if found is not None:
            return found
        if len(self._under_way) >= MAX_WAITING:
            raise BusyVerifierError(f"{MAX_WAITING} candidates wait already; ask again")
        checked = check_package(request.signed, self._trust(), now=datetime.now(UTC))
        taken = VerificationTaken(
            state="waiting" if self._one_at_a_time.locked() else "running",
            problem=self._problems.pop(request.order, ""),
        )
        self._under_way[request.order] = taken
        self._bus.spawn(self._verify(request, checked.manifest))
        return taken

    async def _verify(self, request: VerifyOnNode, manifest: PackageManifest) -> None:
        order = request.order
        said = {"package": manifest.name, "version": manifest.version, "order": order}
        try:
            async with self._one_at_a_time:
                self._under_way[order] = VerificationTaken(state="running")
                report = await self._report(request, manifest)
            await self._send(report)
        except (RefusedError, FaultError) as error:
            log.warning("verification_not_reported", **said, why=error.message)
            self._problems[order] = error.message
            while len(self._problems) > MAX_WAITING:
                del self._problems[next(iter(self._problems))]
        else:
            log.info("package_verified", **said, outcome=report.outcome, problem=report.problem)
        finally:
            del self._under_way[order]

    async def _report(self, request: VerifyOnNode, manifest: PackageManifest) -> VerificationReport:
        report = VerificationReport(
            node=self._bus.name,
            kernel=platform.release(),
            machine=platform.machine(),
            package=manifest.name,
            version=manifest.version,
            manifest_sha256=manifest_digest(request.signed),
            order=request.order,
            outcome="failed",
            at="",
        )
        archive = await self._fetched(request.signed, request.ticket)
        try:
            opened = await self._thread(
                open_package,
                request.signed,
                archive,
                trust=self._trust(),
                now=datetime.now(UTC),
            )
            tested = await self._tested(
                *tried_part(manifest, opened.files), seconds=request.seconds
            )
        except RefusedError as error:
            made = could_not_be_tried(report, error.message)
        else:
            made = passed_or_not(report, tested)
        return msgspec.structs.replace(made, at=self._now())

    async def _fetched(self, signed: SignedPackage, ticket: str) -> ArchiveBytes:
        sha256 = signed.archive_sha256
        if await self._archives.missing([sha256]):
            await self._archives.bring(
                {sha256: ticket},
                held=frozenset,
                wait_seconds=FETCHING_SECONDS,
                then=lambda: None,
            )
        try:
            return await self._archives.take(sha256)
        except RefusedError as error:
            # Not the candidate's fault: the ticket may be old, or the catalog another one.
            raise TrialFaultError(f"the archive cannot be read: {error.message}") from error

    async def _tested(
        self, manifest: PackageManifest, archive: bytes, *, seconds: int
    ) -> PackageTested:
        """What became of every test and every load.

        Raises:
            RefusedError: The candidate cannot be tried, takes too long or ends its process.
            TrialFaultError: It could not be tried here, now.
        """
        order = RunPackageTests(
            manifest=manifest,
            archive=archive,
            loads_all=True,
            limits=TrialLimits(
                memory_bytes=MEMORY_BYTES, processor_seconds=seconds, map_bytes=MAP_BYTES
            ),
        )
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "NODE_EXECUTOR_BCC_PYTHON": str(self._bcc_python),
        }
        answer = await run_trial(
            (sys.executable, "-m", RUNNER),
            msgspec.json.encode(order),
            seconds=seconds,
            environment=environment,
        )
        return msgspec.json.decode(answer, type=PackageTested)

    async def _send(self, report: VerificationReport) -> None:
        """The report is stored; until the bus is there it is kept here."""
        key = verification_key(report.node, report.manifest_sha256)
        while True:
            try:
                await self._bus.bucket(VERIFICATIONS).put(key, report)
            except FaultError as fault:
                log.warning("verification_report_delayed", order=report.order, why=fault.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
