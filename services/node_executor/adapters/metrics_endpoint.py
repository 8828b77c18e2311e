# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`GET /metrics` for Prometheus, and the look once a second that rates and averages are made of.

The library serves in threads of its own; each scrape asks the event loop for what is shown.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.node_executor.adapters import kernel_info
from services.node_executor.companion_metrics import companion_families
from services.node_executor.disclosure import Readers
from services.node_executor.exposition import families
from services.node_executor.kernel_types import RunTime
from services.node_executor.l3afd_names import L3afdCounts, l3afd_families
from services.node_executor.metrics_sampling import Sampler
from services.node_executor.staging import Thread
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ChainShown
from shared.contracts.node_companions import CompanionShown
from shared.errors import FaultError, RefusedError

SAMPLE_SECONDS: Final = 1.0
REST: Final = 4
"""The kernel's thread has so many times as long for others as a look took."""
SCRAPE_SECONDS: Final = 5.0
"""How long a scrape waits for the kernel's thread."""
_SIOCGIFADDR: Final = 0x8915
_NAME_BYTES: Final = 15

log = structlog.get_logger()


class MetricsEndpoint:
    """What a scraper of this node sees."""

    def __init__(
        self,
        *,
        node: str,
        thread: Thread,
        sampler: Sampler,
        readers: Readers,
        companions: Callable[[], tuple[CompanionShown, ...]],
        l3afd: L3afdCounts | None,
    ) -> None:
        """Nothing is sampled or served.

        Args:
            node: Its name.
            thread: The kernel's.
            sampler: Reads hook points and maps; used in `thread` alone.
            readers: Who sees what: whoever scrapes has no name, and sees what everybody does.
            companions: What companions use, as everybody sees it.
            l3afd: What happened, if l3afd's names are wanted too.
        """
        self._node: Final = node
        self._thread: Final = thread
        self._sampler: Final = sampler
        self._readers: Final = readers
        self._companions: Final = companions
        self._l3afd: Final = l3afd
        self._scrape: asyncio.Task[list[Metric]] | None = None

    async def looking_back(self) -> None:
        """Samples what looks back, once a second; never ends by itself."""
        took_seconds = 0.0
        while True:
            await asyncio.sleep(pause_seconds(took_seconds))
            took_seconds = await self.look_back()

    async def look_back(self) -> float:
        """One more sample, if there is memory for it; returns how many seconds it took."""
        try:
            return await self._thread(self._look)
        except FaultError as error:
            log.warning("metrics_not_sampled", why=error.message)
            return 0.0

    def _look(self) -> float:
        began = monotonic()
        self._sampler.look_back(began)
        return monotonic() - began

    @contextmanager
    def served(
        self, address: tuple[str, int] | None, desired: Callable[[], DesiredNode | None]
    ) -> Iterator[int]:
        """Scrapes are answered; gives the port.

        Args:
            address: Host and port, 0 for any free one; None: nothing is served.
            desired: What is desired of the node now.

        Raises:
            FaultError: The address cannot be listened on.
        """
        if address is None:
            yield 0
            return
        loop = asyncio.get_running_loop()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Scrapes(lambda: self._scraped(desired), loop))
        try:
            server, thread = start_http_server(address[1], addr=address[0], registry=registry)
        except OSError as error:
            why = f"NODE_EXECUTOR_METRICS_LISTEN: {address[0]}:{address[1]}: {error.strerror}"
            raise FaultError(why) from error
        log.info("metrics_served", host=address[0], port=server.server_port)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    async def _scraped(self, desired: Callable[[], DesiredNode | None]) -> list[Metric]:
        """What there is now; whoever comes while somebody waits for it gets the same.

        The kernel's thread finishes what it was asked for: many scrapes at once must not stand in
        its way.
        """
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.create_task(self._thread(self._collected, desired()))
        return await asyncio.shield(self._scrape)

    def _collected(self, desired: DesiredNode | None) -> list[Metric]:
        sampled = self._readers.shown("", self._sampler.sample(desired))
        found = list(families(self._node, sampled, _run_times(sampled)))
        if self._l3afd is not None:
            interfaces = {one.chain.interface for one in sampled if not one.chain.netns}
            addresses = {one: _first_address(one) for one in interfaces}
            found += l3afd_families(self._node, sampled, self._l3afd, addresses)
        return [*found, *companion_families(self._node, self._companions())]


def pause_seconds(took_seconds: float) -> float:
    """Until the next look, of which one over maps of a million entries takes a second and more."""
    return max(SAMPLE_SECONDS, REST * took_seconds)


class _Scrapes(Collector):
    """Asks the event loop, from the library's thread."""

    def __init__(
        self,
        scraped: Callable[[], Coroutine[Any, Any, list[Metric]]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._scraped = scraped
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        """What there is now; nothing if the kernel's thread does not come to it in time."""
        asked = asyncio.run_coroutine_threadsafe(self._scraped(), self._loop)
        try:
            return asked.result(SCRAPE_SECONDS)
        except TimeoutError:
            asked.cancel()
            log.warning("scrape_timed_out", seconds=SCRAPE_SECONDS)
        except FaultError as error:
            log.warning("scrape_failed", why=error.message)
        return []

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before it is asked for."""
        return []


def _run_times(sampled: Iterable[ChainShown]) -> dict[int, RunTime]:
    found = {}
    for program_id in {one.chain.program_id for one in sampled if one.chain.program_id}:
        try:
            with kernel_info.program_by_id(program_id) as opened:
                counted = kernel_info.run_time(opened.fd)
        except (RefusedError, FaultError):
            continue
        if counted.runs:
            found[program_id] = counted
    return found


def _first_address(interface: str) -> str:
    """The interface's first IPv4 address (netdevice(7)); empty if it has none."""
    request = struct.pack("256s", interface.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])
