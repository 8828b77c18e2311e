# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node executor has of its machine beside hook points: what a simulated node has not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

from services.node_executor.disclosure import EVERYBODY, Reader
from shared.adapters.callers import Caller
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.ebpf import EbpfListed, ListEbpf
from shared.contracts.inspection import PacketsTried, TryPackets
from shared.contracts.map_reading import MapShown, ReadMap
from shared.contracts.verification import VerificationTaken, VerifyOnNode


class HostListing(Protocol):
    """Lists the eBPF programs of the host, whoever loaded them."""

    def list(self, request: ListEbpf, reader: Reader = EVERYBODY) -> Awaitable[EbpfListed]:
        """As far as the reader sees them."""


class Links(Protocol):
    """Knows when interfaces come, go and change."""

    async def watching(self, changed: Callable[[frozenset[str] | None], None]) -> None:
        """Told of places that changed, None: any may have; never ends by itself."""


class MapShowing(Protocol):
    """Shows what maps of running programs hold."""

    def read(self, request: ReadMap, reader: Reader = EVERYBODY) -> MapShown:
        """The entries that were asked for."""


class PacketTrials(Protocol):
    """Tries chains with packets, beside the hook."""

    def chain(self, request: TryPackets) -> DesiredChain:
        """What is asked about."""

    def try_packets(self, request: TryPackets) -> Awaitable[PacketsTried]:
        """What the chain does to each packet."""


class Scrapes(Protocol):
    """Shows counters and metrics to a scraper."""

    async def looking_back(self) -> None:
        """Samples what looks back; never ends by itself."""

    def served(
        self, address: tuple[str, int] | None, desired: Callable[[], DesiredNode | None]
    ) -> AbstractContextManager[int]:
        """Scrapes are answered; gives the port, 0: nothing is served."""


class Verification(Protocol):
    """Tries candidates of the catalog."""

    def take(self, request: VerifyOnNode, caller: Caller) -> Awaitable[VerificationTaken]:
        """The candidate is being tried, or will be."""
