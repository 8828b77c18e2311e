# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler asks of others: the catalog for a version, the nodes for a trial of chains."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NoAnswerInTimeError
from shared.contracts.catalog import RESOLVE_PACKAGE, PackageResolved, ResolvePackage
from shared.contracts.desired import DesiredChain
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.node import STAGE_CHAINS, ChainsStaged, StageChains, StagedChain
from shared.contracts.reviews import (
    FIND_REVOKED,
    MAX_NAMES_ASKED,
    FindRevoked,
    RevokedVersion,
)
from shared.errors import FaultError, RefusedError

RESOLVE_SECONDS: Final = 5.0
STAGE_ATTEMPTS_SECONDS: Final = (5.0, 15.0)
"""A node that died with the request is asked again; fetching, verifying and linking a long chain on
a slow node fits into the second attempt."""
NODES_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Trials:
    """What came of a trial of chains, by node."""

    errors: Mapping[str, RefusedError | FaultError]
    """Empty if every node can load its chains."""
    staged: Mapping[str, tuple[StagedChain, ...]]


class Neighbours:
    """The catalog and the node executors."""

    def __init__(self, bus: Bus) -> None:
        self._bus: Final = bus

    async def resolve(
        self,
        package: str,
        constraint: str,
        channel: str = "stable",
        *,
        space: Audience = PUBLIC,
        without: str = "",
    ) -> PackageResolved:
        """The newest version that meets the constraint, with a ticket to read its archive.

        It is one of `space`, or one that everybody sees, and never `without`.

        Raises:
            RefusedError: There is no such package or version.
            FaultError: The catalog does not answer.
        """
        request = ResolvePackage(
            name=package, constraint=constraint, channel=channel, space=space, without=without
        )
        return await self._bus.request(RESOLVE_PACKAGE, request, timeout_seconds=RESOLVE_SECONDS)

    async def find_revoked(self, packages: Sequence[str]) -> list[RevokedVersion]:
        """The versions of these packages that must not run.

        Raises:
            RefusedError: It may not be asked.
            FaultError: The catalog does not answer.
        """
        found: list[RevokedVersion] = []
        for first in range(0, len(packages), MAX_NAMES_ASKED):
            request = FindRevoked(packages=tuple(packages[first : first + MAX_NAMES_ASKED]))
            answer = await self._bus.request(FIND_REVOKED, request, timeout_seconds=RESOLVE_SECONDS)
            found += answer.revoked
        return found

    async def stage(
        self,
        staging: Mapping[str, tuple[DesiredChain, ...]],
        tickets: dict[str, str],
        members: Mapping[Audience, tuple[str, ...]],
    ) -> Trials:
        """What the nodes found when they tried their chains, and what went wrong.

        Args:
            staging: What each node shall load.
            tickets: Archive digest to the catalog's ticket.
            members: Of each audience of a chain that is not public.
        """
        gate = asyncio.Semaphore(NODES_AT_ONCE)

        async def trial(
            node: str, chains: tuple[DesiredChain, ...]
        ) -> RefusedError | FaultError | ChainsStaged:
            told = sorted({chain.audience for chain in chains} - {PUBLIC})
            request = StageChains(
                chains=chains,
                tickets=tickets,
                members={audience: members.get(audience, ()) for audience in told},
            )
            async with gate:
                return await self._stage_on(node, request)

        results = await asyncio.gather(*(trial(*item) for item in staging.items()))
        tried = dict(zip(staging, results, strict=True))
        return Trials(
            errors={
                node: one
                for node, one in tried.items()
                if isinstance(one, RefusedError | FaultError)
            },
            staged={
                node: one.chains for node, one in tried.items() if isinstance(one, ChainsStaged)
            },
        )

    async def _stage_on(
        self, node: str, request: StageChains
    ) -> RefusedError | FaultError | ChainsStaged:
        problem = NoAnswerInTimeError(f"{node} did not answer")
        for seconds in STAGE_ATTEMPTS_SECONDS:
            try:
                return await self._bus.request(
                    STAGE_CHAINS.at(node=node), request, timeout_seconds=seconds
                )
            except NoAnswerInTimeError as error:
                problem = error
            except (RefusedError, FaultError) as error:
                return error
        return problem
