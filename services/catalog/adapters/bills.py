# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a published version is made of, from its archive."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import msgspec

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.packages import Packages
from services.catalog.resolution import chosen_version
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.archive_files import ArchiveBytes
from shared.contracts.base import Endpoint
from shared.contracts.catalog import PackageVersion
from shared.contracts.errors import ErrorCode
from shared.contracts.sbom import GET_BILL, MAX_BILL_BYTES, BillFormat, BillShown, GetBill
from shared.errors import FaultError, Reason, RefusedError
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.verdict import check_licences
from shared.package_archive import read_archive
from shared.sbom.bill import package_bill
from shared.sbom.formats import DOCUMENTS


class BillTooLargeError(RefusedError):
    """The bill does not fit a reply."""

    code: ClassVar[ErrorCode] = "too_large"


class Bills:
    """Answers for every version that the caller sees."""

    def __init__(self, packages: Packages, artifacts: Artifacts, policy: LicencePolicy) -> None:
        self._packages: Final = packages
        self._artifacts: Final = artifacts
        self._policy: Final = policy

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {GET_BILL: self.get_bill}

    async def get_bill(self, request: GetBill, caller: Caller) -> BillShown:
        """The bill of one version, or the document."""
        seen = self._packages.seen_by(caller, request.space)
        held = self._packages.find(request.name, seen)
        entry = chosen_version(held.record, name=request.name, version=request.version)
        version = await self._packages.whole(held, entry)
        archive = await self._artifacts.read(version.signed.archive_sha256)
        if archive is None:
            raise FaultError(f"the archive of {request.name} {version.version} is not stored")
        # In a thread, because a large archive takes long enough to make other callers wait.
        return await asyncio.to_thread(self._bill, version, archive, request.format)

    def _bill(
        self, version: PackageVersion, archive: ArchiveBytes, wanted: BillFormat | None
    ) -> BillShown:
        files = read_archive(archive, version.manifest)
        package = LicensedPackage(
            version.manifest, version.elf, self._policy, version.source_licences
        )
        verdict = version.licences or check_licences(package)
        bill = package_bill(version, package, files, verdict.elections)
        shown = BillShown(document=DOCUMENTS[wanted]([bill])) if wanted else BillShown(bill=bill)
        size_bytes = len(msgspec.json.encode(shown))
        if size_bytes > MAX_BILL_BYTES:
            rule = "the bill is too large for a reply"
            reason = Reason(path="format", rule=rule, got=size_bytes, allowed=MAX_BILL_BYTES)
            raise BillTooLargeError(f"{bill.name} {bill.version}: {rule}", [reason])
        return shown
