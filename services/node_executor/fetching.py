# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives are on the disk before anybody needs them: before a lock is held, before a link is made.

Touches nothing itself: archives, hook points and preparation are given.

Rules:
 * Nothing is fetched for a chain that is not what its packages offer, or that was refused before.
 * A fetch that fails refuses nothing here: whoever needs the archive is told why it is not there.
 * What runs, what a change leads to and what can be gone back to stays in the cache.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from services.node_executor.artifact_eviction import chain_archives, remembered_archives
from services.node_executor.generations import ChainMemory, Point, point_of
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.node import StageChains
from shared.errors import RefusedError

STAGING_SECONDS: Final = 20.0
"""How long a staging request waits for archives; they go on coming after that."""
SETTLING_SECONDS: Final = 1.0
"""How long the other hook points of the node wait for the archives of one."""


class Archives(Protocol):
    """Where archives come from."""

    def missing(self, wanted: Collection[str]) -> Awaitable[AbstractSet[str]]:
        """Which of them are not on the disk."""

    def bring(
        self,
        tickets: Mapping[str, str],
        *,
        held: Callable[[], AbstractSet[str]],
        wait_seconds: float,
        then: Callable[[], object],
    ) -> Awaitable[None]:
        """Each is on the disk, or it is remembered why not; late ones call `then`."""


class Offers(Protocol):
    """Knows what packages offer."""

    def check(self, desired: DesiredChain) -> Awaitable[None]:
        """Every program is what its publisher signed; refused with every difference."""


class Points(Protocol):
    """What is remembered of hook points."""

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""

    def is_refused(self, point: Point, desired: DesiredChain | None) -> bool:
        """Whether trying exactly this chain again is of no use."""


class Fetching:
    """Fetches what chains are made of."""

    def __init__(self, *, archives: Archives, offers: Offers, points: Points) -> None:
        """Nothing is fetched yet."""
        self._archives = archives
        self._offers = offers
        self._points = points

    async def for_staging(self, request: StageChains) -> None:
        """The archives of the request are on the disk, or were waited for long enough."""
        await self._fetch(
            request.chains, request.tickets, wait_seconds=STAGING_SECONDS, then=lambda: None
        )

    async def for_settling(self, desired: DesiredNode, *, then: Callable[[], object]) -> None:
        """The archives of the desired chains are on the disk, or were waited for long enough.

        `then` is called when one comes later.
        """
        chains = [
            chain for chain in desired.chains if not self._points.is_refused(point_of(chain), chain)
        ]
        await self._fetch(chains, {}, wait_seconds=SETTLING_SECONDS, then=then)

    async def _fetch(
        self,
        chains: Iterable[DesiredChain],
        tickets: Mapping[str, str],
        *,
        wait_seconds: float,
        then: Callable[[], object],
    ) -> None:
        chains = tuple(chains)
        missing = await self._archives.missing(chain_archives(chains))
        wanted: set[str] = set()
        for chain in chains:
            theirs = chain_archives([chain]) & missing
            if not theirs <= wanted and await self._is_offered(chain):
                wanted |= theirs
        if wanted:
            await self._archives.bring(
                {sha256: tickets.get(sha256, "") for sha256 in sorted(wanted)},
                held=self._remembered,
                wait_seconds=wait_seconds,
                then=then,
            )

    async def _is_offered(self, chain: DesiredChain) -> bool:
        try:
            await self._offers.check(chain)
        except RefusedError:
            return False
        return True

    def _remembered(self) -> AbstractSet[str]:
        points = self._points.points()
        return remembered_archives(self._points.memory(point) for point in points)
