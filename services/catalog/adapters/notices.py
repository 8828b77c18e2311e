# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be handed on with a published version, from its archive."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.packages import Packages
from services.catalog.resolution import chosen_version
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.archive_files import ArchiveBytes
from shared.contracts.base import Endpoint
from shared.contracts.catalog import PackageVersion
from shared.contracts.notices import GET_NOTICE, GetNotice, PackageNotice
from shared.errors import FaultError
from shared.licensing.notices import package_notice
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.verdict import check_licences
from shared.package_archive import read_archive


class Notices:
    """Answers for every version that is published."""

    def __init__(self, packages: Packages, artifacts: Artifacts, policy: LicencePolicy) -> None:
        self._packages: Final = packages
        self._artifacts: Final = artifacts
        self._policy: Final = policy

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {GET_NOTICE: self.get_notice}

    async def get_notice(self, request: GetNotice, caller: Caller) -> PackageNotice:
        """The bundle of one version."""
        held = self._packages.find(request.name, self._packages.seen_by(caller, request.space))
        entry = chosen_version(held.record, name=request.name, version=request.version)
        version = await self._packages.whole(held, entry)
        archive = await self._artifacts.read(version.signed.archive_sha256)
        if archive is None:
            raise FaultError(f"the archive of {request.name} {version.version} is not stored")
        # In a thread, because a large archive takes long enough to make other callers wait.
        return await asyncio.to_thread(self._notice, version, archive)

    def _notice(self, version: PackageVersion, archive: ArchiveBytes) -> PackageNotice:
        files = read_archive(archive, version.manifest)
        package = LicensedPackage(
            version.manifest, version.elf, self._policy, version.source_licences
        )
        verdict = version.licences or check_licences(package)
        return package_notice(package, files, verdict.elections)
