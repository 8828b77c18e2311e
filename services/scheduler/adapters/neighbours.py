# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler asks of others: the catalog for a version, the nodes for a trial of chains."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from shared.adapters.bus import Bus
from shared.contracts.catalog import RESOLVE_PACKAGE, PackageResolved, ResolvePackage
from shared.contracts.node import STAGE_CHAINS, DesiredChain, StageChains
from shared.errors import FaultError, RefusedError

RESOLVE_SECONDS: Final = 5.0
STAGE_SECONDS: Final = 20.0
"""Fetching, verifying and linking a long chain on a slow node fits in."""
NODES_AT_ONCE: Final = 32


class Neighbours:
    """The catalog and the node executors."""

    def __init__(self, bus: Bus) -> None:
        self._bus: Final = bus

    async def resolve(self, package: str, constraint: str) -> PackageResolved:
        """The newest version that meets the constraint, with a ticket to read its archive.

        Raises:
            RefusedError: There is no such package or version.
            FaultError: The catalog does not answer.
        """
        request = ResolvePackage(name=package, constraint=constraint)
        return await self._bus.request(RESOLVE_PACKAGE, request, timeout_seconds=RESOLVE_SECONDS)

    async def stage(
        self, staging: Mapping[str, tuple[DesiredChain, ...]], tickets: dict[str, str]
    ) -> dict[str, RefusedError | FaultError]:
        """Node to what went wrong there; empty if every node can load its chains."""
        gate = asyncio.Semaphore(NODES_AT_ONCE)

        async def trial(
            node: str, chains: tuple[DesiredChain, ...]
        ) -> RefusedError | FaultError | None:
            request = StageChains(chains=chains, tickets=tickets)
            async with gate:
                try:
                    await self._bus.request(
                        STAGE_CHAINS.at(node=node), request, timeout_seconds=STAGE_SECONDS
                    )
                except (RefusedError, FaultError) as error:
                    return error
            return None

        results = await asyncio.gather(*(trial(*item) for item in staging.items()))
        return {
            node: error for node, error in zip(staging, results, strict=True) if error is not None
        }
