# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The machine around a simulated kernel: there is none, and whoever asks for it is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NoReturn, TypeVar

from services.node_executor.disclosure import EVERYBODY, Reader
from services.node_executor.packages import OpenedPackage
from services.node_executor.simulation.maps import NotSimulatedError
from services.node_executor.simulation.troubles import Troubles
from shared.adapters.callers import Caller
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.ebpf import EbpfListed, ListEbpf
from shared.contracts.inspection import PacketsTried, TryPackets
from shared.contracts.map_reading import MapShown, ReadMap
from shared.contracts.verification import VerificationTaken, VerifyOnNode

ResultT = TypeVar("ResultT")


class SimulatedThread:
    """Runs calls one after another, each for as long as the troubles say."""

    def __init__(self, troubles: Troubles, rng: Random) -> None:
        """Nothing is called yet."""
        self._troubles = troubles
        self._rng = rng
        self._turn = asyncio.Lock()

    async def __call__(
        self, call: Callable[..., ResultT], *arguments: Any, **options: Any
    ) -> ResultT:
        """What the call returns."""
        if not self._troubles.latency_ms:
            return call(*arguments, **options)
        async with self._turn:
            await asyncio.sleep(self._troubles.latency_seconds(self._rng))
            return call(*arguments, **options)


class NoMachine:
    """Hosts, packets, candidates, scrapes and links that a simulated node does not have."""

    def __init__(self, node: str) -> None:
        """Of this node."""
        self._node = node

    def chain(self, _request: TryPackets) -> DesiredChain:
        """Refused: no packet comes here."""
        self._refuse("tries no packets")

    def try_packets(self, _request: TryPackets) -> Awaitable[PacketsTried]:
        """Refused."""
        self._refuse("tries no packets")

    def read(self, _request: ReadMap, _reader: Reader = EVERYBODY) -> MapShown:
        """Refused: its maps have no types."""
        self._refuse("shows no maps")

    async def list(self, _request: ListEbpf, _reader: Reader = EVERYBODY) -> EbpfListed:
        """Refused: there is no host."""
        self._refuse("has no host whose programs could be listed")

    async def take(self, _request: VerifyOnNode, _caller: Caller) -> VerificationTaken:
        """Refused: there is no verifier."""
        self._refuse("has no verifier")

    async def watching(self, _changed: Callable[[frozenset[str] | None], None]) -> None:
        """Interfaces stay as they are."""
        await asyncio.Event().wait()

    async def looking_back(self) -> None:
        """Nobody scrapes."""
        await asyncio.Event().wait()

    @contextmanager
    def served(
        self, _address: tuple[str, int] | None, _desired: Callable[[], DesiredNode | None]
    ) -> Iterator[int]:
        """Nobody scrapes."""
        yield 0

    def _refuse(self, why: str) -> NoReturn:
        raise NotSimulatedError(f"{self._node} is simulated and {why}")


class NoCompiler:
    """Packages are what they are: of what is in an object, a simulated kernel reads nothing."""

    async def compiled(
        self, _desired: DesiredChain, packages: Sequence[OpenedPackage]
    ) -> list[OpenedPackage]:
        """The same."""
        return list(packages)
