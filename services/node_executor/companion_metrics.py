# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What companions use, as telemetry and as Prometheus know it.

Pure.  Each name is documented in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shared.contracts.node_companions import CompanionShown

_LABELS: Final = ("node", "netns", "interface", "hook", "deployment", "companion")


def companion_values(shown: Iterable[CompanionShown]) -> dict[str, float | int]:
    """As `NodeMetrics.values` has them: `<place>/<hook>/<deployment>/companions/<name>/<what>`."""
    values: dict[str, float | int] = {}
    for one in shown:
        seen = one.companion
        name = f"{one.place}/{one.hook}/{seen.deployment}/companions/{seen.companion}"
        values[f"{name}/ready"] = int(seen.state == "ready")
        values[f"{name}/restarts"] = seen.restarts
        if one.usage is not None:
            values[f"{name}/cpu_seconds"] = one.usage.cpu_seconds
            values[f"{name}/memory_bytes"] = one.usage.memory_bytes
            values[f"{name}/processes"] = one.usage.processes
    return values


def companion_families(node: str, shown: Iterable[CompanionShown]) -> Iterator[Metric]:
    """One family for each number; of a companion that does not run, what is known of it."""
    ready = GaugeMetricFamily(
        "l3af_companion_ready", "Whether the companion does its work.", labels=_LABELS
    )
    restarts = CounterMetricFamily(
        "l3af_companion_restarts", "How often it was started anew.", labels=_LABELS
    )
    cpu_seconds = CounterMetricFamily(
        "l3af_companion_cpu_seconds", "Processor time of the run that goes on.", labels=_LABELS
    )
    memory = GaugeMetricFamily(
        "l3af_companion_memory_bytes", "Memory of its control group.", labels=_LABELS
    )
    processes = GaugeMetricFamily(
        "l3af_companion_processes", "Processes in its control group.", labels=_LABELS
    )
    for one in shown:
        seen = one.companion
        labels = [node, one.netns, one.interface, one.hook, seen.deployment, seen.companion]
        ready.add_metric(labels, float(seen.state == "ready"))
        restarts.add_metric(labels, seen.restarts)
        if one.usage is not None:
            cpu_seconds.add_metric(labels, one.usage.cpu_seconds)
            memory.add_metric(labels, one.usage.memory_bytes)
            processes.add_metric(labels, one.usage.processes)
    yield from (ready, restarts, cpu_seconds, memory, processes)
