# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs a package, on the bus: for people, and in numbers for the catalog."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.neighbours import Neighbours
from services.scheduler.revocation import Affected
from services.scheduler.usage import (
    Replacement,
    concerned,
    fleet_usage,
    package_impact,
    package_users,
    used_places,
)
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.usage import (
    FIND_IMPACT,
    FIND_USERS,
    GET_USAGE,
    FindImpact,
    FindUsers,
    FleetUsage,
    GetUsage,
    PackageImpact,
    PackageUsers,
)
from shared.errors import RefusedError


class PackageUsage:
    """Answers from what the scheduler has at hand."""

    def __init__(self, records: FleetRecords, neighbours: Neighbours) -> None:
        self._records: Final = records
        self._neighbours: Final = neighbours

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            FIND_USERS: self.find_users,
            FIND_IMPACT: self.find_impact,
            GET_USAGE: self.get_usage,
        }

    async def find_users(self, request: FindUsers, caller: Caller) -> PackageUsers:
        """Where the package runs, as far as the caller sees deployments."""
        fleet = self._records.fleet
        sight = fleet.audiences.seen_by(caller.name)
        places = used_places(request.name, fleet, self._records.observed, sight)
        return package_users(
            places,
            name=request.name,
            version=request.version,
            after=request.after,
            limit=request.limit,
        )

    async def find_impact(self, request: FindImpact, caller: Caller) -> PackageImpact:
        """What would become of the deployments that the caller sees."""
        name, version, fleet = request.name, request.version, self._records.fleet
        sight = fleet.audiences.seen_by(caller.name)
        hit = concerned(fleet, name=name, version=version, sight=sight)
        replaced = await asyncio.gather(*(self._replacement(one) for one in hit))
        return package_impact(
            zip(hit, replaced, strict=True),
            used_places(name, fleet, self._records.observed, sight),
            fleet,
            name=name,
            version=version,
            sight=sight,
        )

    async def get_usage(self, request: GetUsage, _caller: Caller) -> FleetUsage:
        """Numbers by version and space."""
        return fleet_usage(self._records.observed, after=request.after)

    async def _replacement(self, one: Affected) -> Replacement:
        if one.way != "replace":
            return Replacement()
        try:
            found = await self._neighbours.resolve(
                one.spec.package,
                one.constraint,
                one.spec.channel,
                space=one.record.space,
                without=one.revoked.version,
            )
        except RefusedError as error:
            return Replacement(why_not=error.reasons)
        return Replacement(found.package.version)
