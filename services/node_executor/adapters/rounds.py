# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When the kernel is compared with what is desired.

After a change, a link event or a request; and when none of these came for a while.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.node_executor.generations import point_of
from shared.contracts.node import ObservedNode
from shared.contracts.reconciliation import NodeReconciled

FIRST_RETRY_SECONDS: Final = 0.5
"""After a fault; doubled each time, up to the period."""


@dataclass(frozen=True, slots=True)
class Round:
    """One comparison of everything."""

    places: frozenset[str] | None
    """Interfaces that changed since the round before; None: any may have."""
    asked: tuple[asyncio.Future[None], ...]
    """Who waits for its end."""

    def end(self, error: Exception | None = None) -> None:
        """Everybody who waited knows that it is over."""
        for one in self.asked:
            if one.done():
                continue
            if error is None:
                one.set_result(None)
            else:
                one.set_exception(error)


class Rounds:
    """What asks for a round."""

    def __init__(self, *, period_seconds: float) -> None:
        """The first round looks at everything.

        Args:
            period_seconds: How often the kernel is compared with what is desired, without anybody
                asking.
        """
        self.period_seconds: Final = period_seconds
        self._wake = asyncio.Event()
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._places: set[str] | None = None
        self._asked: list[asyncio.Future[None]] = []

    def begin_retries_anew(self) -> None:
        """What failed before is no reason to wait long."""
        self._retry_seconds = FIRST_RETRY_SECONDS

    def next_retry_seconds(self) -> float:
        """How long to wait now that a round failed."""
        seconds = min(self._retry_seconds, self.period_seconds)
        self._retry_seconds = min(2 * seconds, self.period_seconds)
        return seconds

    def wake(self) -> None:
        """There is a reason to make a round."""
        self._wake.set()

    def links_changed(self, places: Iterable[str] | None) -> None:
        """These interfaces came, went or changed; None: any may have."""
        if places is None:
            self._places = None
        elif self._places is not None:
            self._places.update(places)
        self._wake.set()

    async def ask(self) -> None:
        """A round was made that began after the call; what it failed with is raised."""
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._wake.set()
        await asked

    def begin(self) -> Round:
        """What came until now is seen to by this round; what comes from now on by the next."""
        self._wake.clear()
        begun = Round(
            places=None if self._places is None else frozenset(self._places),
            asked=tuple(self._asked),
        )
        self._places = set()
        self._asked.clear()
        return begun

    async def wait(self, seconds: float) -> None:
        """Until there is a reason, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def reconciled(node: str, observed: ObservedNode | None, *, seconds: float) -> NodeReconciled:
    """What a round left, by what was read back after it."""
    chains = observed.chains if observed else ()
    return NodeReconciled(
        node=node,
        desired_generation=observed.desired_generation if observed else 0,
        states=dict(sorted(Counter(chain.state for chain in chains).items())),
        problems={
            str(point_of(chain)): chain.refusal.message
            for chain in chains
            if chain.refusal is not None
        },
        duration_ms=round(seconds * 1000, 3),
    )
