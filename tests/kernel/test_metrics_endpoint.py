# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics of programs that run, as Prometheus scrapes them from an executor."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.contracts.metrics import MetricSource
from tests.support.executors import Wire, a_chain, a_program, send_frames
from tests.support.node_fleets import Fleet

CONFIG = {"limits": {"80": 5, "443": 6, "9000": 100}}
METRICS = {
    "packets": MetricSource(map="packets"),
    "rate": MetricSource(map="packets", aggregation="rate", samples=60),
    "peak": MetricSource(map="packets", aggregation="max-rate", samples=60),
    "mean": MetricSource(map="limits", key="*", aggregation="average", samples=3),
    "web": MetricSource(map="limits", key="80..443", each_key=True),
    "log2": MetricSource(map="settings", key="*", aggregation="histogram"),
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def port(fleet: Fleet) -> int:
    """Where the fleet's executor serves metrics, with l3afd's names too."""
    fleet.stop()
    chosen = _free_port()
    fleet.settings |= {
        "NODE_EXECUTOR_METRICS_LISTEN": f"127.0.0.1:{chosen}",
        "NODE_EXECUTOR_L3AFD_NAMES": "true",
    }
    fleet.start()
    return chosen


def scraped(port: int) -> dict[tuple[str, str], float]:
    """Sample's name and its key or map, to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (one.name, one.labels.get("key", one.labels.get("map_name", ""))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def test_a_scrape_shows_what_programs_count(fleet: Fleet, wire: Wire, port: int) -> None:
    """Scalars, rates, averages, series by key and histograms, read from the kernel's maps."""
    program = a_program("one", config=CONFIG, metrics=METRICS)
    await fleet.observed(await fleet.desire(a_chain(wire.name, program)))
    before = await _until_sampled(fleet, port)
    send_frames(wire.peer, 30)

    found = before
    while not found.get(("l3af_counter_peak_max_rate", ""), 0):
        await asyncio.sleep(0.1)
        found = scraped(port)

    assert found["l3af_counter_packets", ""] - before["l3af_counter_packets", ""] == 30
    assert 0 < found["l3af_counter_rate_rate", ""] <= found["l3af_counter_peak_max_rate", ""] <= 31
    assert found["l3af_counter_mean_average", ""] == 111
    assert found["l3af_counter_web", "80"] == 5
    assert found["l3af_counter_web", "443"] == 6
    assert ("l3af_counter_web", "9000") not in found
    assert found["l3af_program_packets_total", ""] >= 30
    assert found["l3afd_BPFMonitorMap", "packets_0_scalar"] == found["l3af_counter_packets", ""]
    assert found["l3afd_BPFRunning", ""] == 1
    assert found["l3afd_BPFStartCount", ""] == 1


async def _until_sampled(fleet: Fleet, port: int) -> dict[tuple[str, str], float]:
    """A scrape after two samples, so that there are rates."""
    found: dict[tuple[str, str], float] = {}

    async def is_sampled() -> bool:
        try:
            found.update(scraped(port))
        except urllib.error.URLError:
            return False
        return ("l3af_counter_rate_rate", "") in found

    await fleet.until(is_sampled)
    return found


async def test_a_metric_that_fails_harms_no_other(fleet: Fleet, wire: Wire, port: int) -> None:
    """It is reported by its name; the others and the chain go on."""
    metrics = {
        **METRICS,
        "bad": MetricSource(map="packets", member="x"),
        "worse": MetricSource(map="gone", aggregation="average"),
    }
    program = a_program("one", config=CONFIG, metrics=metrics)
    await fleet.observed(await fleet.desire(a_chain(wire.name, program)))

    found = await _until_sampled(fleet, port)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        unreadable = next(one for one in families if one.name == "l3af_metric_unreadable")
    assert {one.labels["metric"] for one in unreadable.samples} == {"bad", "worse"}
    assert found["l3af_chain_attached", ""] == 1
    assert found["l3af_counter_web", "80"] == 5
