# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Scrapes beside the kernel's thread: they neither stand in its way nor fall with it."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.node_executor.adapters.metrics_endpoint import MetricsEndpoint, pause_seconds
from services.node_executor.disclosure import Readers
from shared.contracts.node_companions import CompanionShown, CompanionUsage, ObservedCompanion
from shared.errors import FaultError
from tests.unit.test_executor_hook_points import World
from tests.unit.test_executor_inspection import CounterMaps, a_sampler


class BusyThread:
    """A kernel's thread that is busy until it is told, or has no memory."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.is_free = asyncio.Event()
        self.asked = 0

    async def __call__(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What the call returns."""
        self.asked += 1
        if self.fails:
            raise FaultError("no memory")
        await self.is_free.wait()
        return call(*arguments, **options)


def an_endpoint(thread: BusyThread, *companions: CompanionShown) -> MetricsEndpoint:
    """Of a node on which nothing runs but these companions."""
    world = World()
    return MetricsEndpoint(
        companions=lambda: companions,
        node="n1",
        thread=thread,
        sampler=a_sampler(world, CounterMaps()),
        readers=Readers(world.points.memory),
        l3afd=None,
    )


async def test_scrapes_at_once_ask_the_kernel_once() -> None:
    """However many there are while it is busy, also those that were given up."""
    thread = BusyThread()
    endpoint = an_endpoint(thread)
    given_up = asyncio.create_task(endpoint._scraped(lambda: None))
    scrapes = [asyncio.create_task(endpoint._scraped(lambda: None)) for _ in range(5)]
    await asyncio.sleep(0)
    given_up.cancel()
    thread.is_free.set()

    found = await asyncio.gather(*scrapes)
    later = await endpoint._scraped(lambda: None)

    assert all(one is found[0] for one in found)
    assert later is not found[0]
    assert thread.asked == 2


@pytest.mark.parametrize(("took_seconds", "pause"), [(0.0, 1), (0.25, 1), (3.0, 12)])
def test_looks_leave_the_kernels_thread_to_others(took_seconds: float, pause: float) -> None:
    """Once a second, and where maps are so large that this is most of it, less often."""
    assert pause_seconds(took_seconds) == pause


async def test_without_memory_there_is_nothing_to_show_and_the_executor_goes_on() -> None:
    """The next scrape, and the next look, may have it again."""
    endpoint = an_endpoint(BusyThread(fails=True))

    await endpoint.look_back()
    with endpoint.served(("127.0.0.1", 0), lambda: None) as port:
        address = f"http://127.0.0.1:{port}/metrics"
        answer = await asyncio.to_thread(urllib.request.urlopen, address, timeout=10)
        with answer:
            assert answer.read() == b""


async def test_a_scrape_shows_what_companions_use() -> None:
    """Over HTTP, beside everything else."""
    companion = ObservedCompanion(
        deployment="edge", revision=1, companion="exporter", state="ready", restarts=2
    )
    usage = CompanionUsage(cpu_seconds=1.5, memory_bytes=4096, processes=3)
    shown = CompanionShown(interface="eth0", hook="xdp", companion=companion, usage=usage)
    thread = BusyThread()
    thread.is_free.set()

    with an_endpoint(thread, shown).served(("127.0.0.1", 0), lambda: None) as port:
        address = f"http://127.0.0.1:{port}/metrics"
        answer = await asyncio.to_thread(urllib.request.urlopen, address, timeout=10)
        with answer:
            text = answer.read().decode()

    read = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("companion") == "exporter"
    }
    assert read == {
        "l3af_companion_ready": 1,
        "l3af_companion_restarts_total": 2,
        "l3af_companion_cpu_seconds_total": 1.5,
        "l3af_companion_memory_bytes": 4096,
        "l3af_companion_processes": 3,
    }
