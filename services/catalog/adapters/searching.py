# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Search on the bus: what is published, as it is now, and how many nodes run it.

What changed is put into the index in the background, in slices, and before a question is answered;
so a start is not delayed by it, and who asks after their own command finds what it did.
"""

from __future__ import annotations

import asyncio
import gc
from time import perf_counter
from typing import Any, Final

import structlog

from services.catalog.adapters.package_index import PackageIndex
from services.catalog.adapters.packages import Packages
from services.catalog.adapters.ratings import Ratings
from services.catalog.resolution import chosen_version
from services.catalog.search.asking import search
from services.catalog.search.index import SearchIndex
from services.catalog.search.ranking import Known
from services.catalog.search.sharing import shared_with
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.search import (
    FIND_SHARING,
    SEARCH_PACKAGES,
    FindSharing,
    PackagesFound,
    PackageSharing,
    SearchPackages,
)
from shared.contracts.usage import GET_USAGE, GetUsage, SpaceUse
from shared.errors import FaultError, RefusedError

SLICE_SECONDS: Final = 0.005
"""How long others wait at most while what changed is put into the index, about."""
FROZEN_PACKAGES: Final = 500
"""After so many, what is in the index is no longer looked through for garbage: it stays."""
COUNT_SECONDS: Final = 30.0
USAGE_SECONDS: Final = 10.0

_log = structlog.get_logger()


class Searching:
    """Answers as far as the caller sees."""

    def __init__(
        self, bus: Bus, packages: Packages, known: PackageIndex, *, ratings: Ratings
    ) -> None:
        self._bus: Final = bus
        self._ratings: Final = ratings
        self._packages: Final = packages
        self._known: Final = known
        self._index: Final = SearchIndex()
        self._changed: Final[dict[tuple[Audience, str], None]] = {}
        self._woken: Final = asyncio.Event()
        self._uses: tuple[SpaceUse, ...] = ()
        self._known_beside = Known()
        self._unfrozen = 0
        self._is_counted = False
        self._rated = 0
        known.on_change(self._note)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {SEARCH_PACKAGES: self.search_packages, FIND_SHARING: self.find_sharing}

    async def search_packages(self, request: SearchPackages, caller: Caller) -> PackagesFound:
        """One page of what the caller sees."""
        await self._catch_up()
        seen = self._packages.seen_by(caller, request.space)
        return search(self._index, request, seen, self._beside())

    async def find_sharing(self, request: FindSharing, caller: Caller) -> PackageSharing:
        """Which packages that the caller sees declare the same shared maps."""
        await self._catch_up()
        held = self._packages.find(request.name, self._packages.seen_by(caller, request.space))
        entry = chosen_version(held.record, name=request.name, version=request.version)
        seen = self._packages.seen_by(caller)
        return PackageSharing(
            name=request.name,
            version=entry.version,
            space=entry.space,
            maps=shared_with(self._index, request.name, entry.facets.shared_maps, seen),
        )

    async def keep_up(self) -> None:
        """For ever: what changed is put into the index, soon."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            started = perf_counter()
            many = len(self._changed)
            await self._catch_up()
            _log.debug("search_caught_up", packages=many, seconds=perf_counter() - started)

    async def keep_counting(self) -> None:
        """For ever: how many nodes run what is asked of the scheduler."""
        while True:
            try:
                self._uses = await self._usage()
                self._is_counted = False
            except (FaultError, RefusedError) as error:
                # A scheduler of an earlier release, or none now; what was counted last stays.
                _log.debug("usage_not_read", why=error.message)
            await asyncio.sleep(COUNT_SECONDS)

    def _note(self, space: Audience, name: str) -> None:
        self._changed[space, name] = None
        self._woken.set()

    async def _catch_up(self) -> None:
        until = perf_counter() + SLICE_SECONDS
        while self._changed:
            (space, name), _ = self._changed.popitem()
            record = self._known.find(name, frozenset({space})).record
            if record.versions:
                self._index.put(record, space)
            else:
                self._index.drop(name, space)
            self._is_counted = False
            self._unfrozen += 1
            if self._unfrozen >= FROZEN_PACKAGES:
                gc.freeze()
                self._unfrozen = 0
            if perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + SLICE_SECONDS

    async def _usage(self) -> tuple[SpaceUse, ...]:
        found: list[SpaceUse] = []
        after = ""
        while True:
            page = await self._bus.request(
                GET_USAGE, GetUsage(after=after), timeout_seconds=USAGE_SECONDS
            )
            found += page.uses
            after = page.next
            if not after:
                return tuple(found)

    def _beside(self) -> Known:
        """What is known beside the records, of the versions that are there now."""
        if not self._is_counted or self._rated != self._ratings.changes:
            nodes: dict[int, dict[Audience, int]] = {}
            for use in self._uses:
                number = self._run_by(use)
                if number is not None:
                    nodes.setdefault(number, {})[use.space] = use.nodes
            stars: dict[int, tuple[int, int]] = {}
            for (name, space, version), total in self._ratings.totals.items():
                number = self._index.number_of(name, space, version)
                if number is not None:
                    stars[number] = total
            self._known_beside = Known(nodes=nodes, stars=stars)
            self._rated = self._ratings.changes
            self._is_counted = True
        return self._known_beside

    def _run_by(self, use: SpaceUse) -> int | None:
        """The version that a space means: its own, else the public one, else an open one."""
        others = sorted(self._known.spaces - {use.space, PUBLIC})
        for space in (use.space, PUBLIC, *others):
            number = self._index.number_of(use.package, space, use.version)
            if number is not None:
                return number
        return None
