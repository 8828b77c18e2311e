# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a thousand series cost: one scrape, and one look a second for those that look back.

Ten maps of a hundred entries on a real kernel; every number is compared with what was written.
"""

from __future__ import annotations

import statistics
import struct
import time
from contextlib import ExitStack
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from benchmarks.report import Row, report
from services.node_executor.actions import EntryChange
from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import MAP_CREATE, Descriptor, bpf
from services.node_executor.adapters.configured_maps import ConfiguredMaps
from services.node_executor.exposition import families
from services.node_executor.metric_windows import HeldMetric, MetricWindows
from services.node_executor.metrics_sampling import metric_value
from shared.configuration.entries import UNDECLARED
from shared.contracts.metrics import Aggregation, MetricSource
from shared.contracts.node import ChainShown, ObservedChain, ObservedProgram

MAPS: Final = 10
KEYS: Final = 100
ROUNDS: Final = 31
SCRAPE_MS: Final = 20.0
CORE_PERCENT: Final = 0.5
_HASH: Final = 1
PROGRAM: Final = ObservedProgram(
    deployment="edge",
    revision=1,
    package="many",
    version="1.0.0",
    archive_sha256="0" * 64,
    program="counts",
    order=1,
)


class _Given(Collector):
    """What was collected."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> list[Metric]:
        """All of it."""
        return self._found

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []


def a_map() -> Descriptor:
    """Of numbers by number."""
    request = struct.pack("<IIIIII", _HASH, 4, 8, KEYS, 0, 0).ljust(72, b"\0")
    return Descriptor(bpf(MAP_CREATE, request, action="making a map"))


def metrics(aggregation: Aggregation, map_ids: list[int]) -> list[HeldMetric]:
    """Every key of every map is a series."""
    source = MetricSource(map="m", key="*", each_key=True, aggregation=aggregation)
    return [
        HeldMetric("edge", f"m{number}", source, map_id, UNDECLARED)
        for number, map_id in enumerate(map_ids)
    ]


def scrape(kernel: ConfiguredMaps, held: list[HeldMetric], windows: MetricWindows) -> bytes:
    """From the kernel's maps to what Prometheus reads."""
    values = tuple(metric_value(kernel, one, windows) for one in held)
    chain = ObservedChain(interface="eth0", hook="xdp", state="attached", programs=(PROGRAM,))
    registry = CollectorRegistry()
    registry.register(_Given(list(families("n1", [ChainShown(chain=chain, metrics=values)], {}))))
    return bytes(generate_latest(registry))


def milliseconds(started: float) -> float:
    """Since then."""
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """The median of some rounds."""
    kernel, windows = ConfiguredMaps(), MetricWindows()
    scrapes: list[float] = []
    looks: list[float] = []
    with ExitStack() as opened:
        maps = [opened.enter_context(a_map()) for _ in range(MAPS)]
        ids = [kernel_info.map_info(one.fd).id for one in maps]
        for number, map_id in enumerate(ids):
            entries = [
                EntryChange(struct.pack("<I", key), None, struct.pack("<Q", number * KEYS + key))
                for key in range(KEYS)
            ]
            kernel.write_entries(map_id, entries)
        scalars, rates = metrics("scalar", ids), metrics("max-rate", ids)
        for number in range(ROUNDS):
            started = time.perf_counter()
            text = scrape(kernel, scalars, windows)
            scrapes.append(milliseconds(started))
            assert text.count(b"\nl3af_many_m") == MAPS * KEYS
            started = time.process_time()
            windows.sample(kernel, rates, float(number))
            looks.append(1000 * (time.process_time() - started))
        assert all(len(windows.values(one)) == KEYS for one in rates)
    look = statistics.median(looks)
    rows = [
        Row(f"scrape of {MAPS * KEYS} series", statistics.median(scrapes), "ms", target=SCRAPE_MS),
        Row(f"a look at {MAPS * KEYS} series", look, "ms"),
        Row("looking once a second", look / 10, "% of a core", target=CORE_PERCENT),
    ]
    report("metrics_scrape", rows)


if __name__ == "__main__":
    main()
