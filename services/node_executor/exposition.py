# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node's metrics as Prometheus knows them.

Pure.  Names follow prometheus.io/docs/practices/naming; each is documented in docs/metrics.md.
What cannot be read is left out and counted in `l3af_metric_unreadable`, and so is what has the name
of another metric: a scraper takes none twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from services.node_executor.kernel_types import RunTime
from shared.contracts.metrics import HistogramBucket
from shared.contracts.node import ChainShown, MetricValue, ObservedChain

NANOSECONDS: Final = 1e9
_PLACE: Final = ("node", "netns", "interface", "hook")
_NOT_ALLOWED: Final = re.compile(r"[^a-zA-Z0-9_]")


def families(
    node: str, sampled: Iterable[ChainShown], run_times: Mapping[int, RunTime]
) -> Iterator[Metric]:
    """Every metric of the node.

    Args:
        node: Its name.
        sampled: Its hook points.
        run_times: Program id to what the kernel counted; empty: it does not count.
    """
    # Probes that may not be named have no labels of their own, so there would be one series twice.
    shown = tuple(one for one in sampled if one.chain.interface)
    own = [*_chains(node, shown), *_counters(node, shown), *_run_times(node, shown, run_times)]
    yield from own
    yield from _metrics(node, shown, reserved={one.name for one in own})


def _place(node: str, chain: ObservedChain) -> list[str]:
    return [node, chain.netns, chain.interface, chain.hook]


def _chains(node: str, shown: Iterable[ChainShown]) -> Iterator[Metric]:
    attached = GaugeMetricFamily(
        "l3af_chain_attached", "Whether the desired chain is on its hook.", labels=_PLACE
    )
    generation = GaugeMetricFamily(
        "l3af_chain_generation", "Generation of the chain that runs.", labels=_PLACE
    )
    program = GaugeMetricFamily(
        "l3af_program_info",
        "1 for each program of a chain that runs.",
        labels=(*_PLACE, "deployment", "package", "version", "position"),
    )
    for one in shown:
        chain, place = one.chain, _place(node, one.chain)
        is_right = chain.state == "attached" and chain.refusal is None
        attached.add_metric(place, float(is_right))
        generation.add_metric(place, chain.generation)
        for position, part in enumerate(chain.programs):
            if part.restricted:
                continue
            labels = [*place, part.deployment, part.package, part.version, str(position)]
            program.add_metric(labels, 1)
    yield from (attached, generation, program)


def _counters(node: str, shown: Iterable[ChainShown]) -> Iterator[Metric]:
    labels = (*_PLACE, "deployment")
    packets = CounterMetricFamily(
        "l3af_program_packets", "Packets that reached the program.", labels=labels
    )
    went_on = CounterMetricFamily(
        "l3af_program_went_on", "Packets that the chain went on with.", labels=labels
    )
    verdicts = CounterMetricFamily(
        "l3af_program_verdicts", "Packets by the program's verdict.", labels=(*labels, "verdict")
    )
    sampled_seconds = CounterMetricFamily(
        "l3af_program_sampled_seconds", "Time that sampled packets took.", labels=labels
    )
    samples = CounterMetricFamily(
        "l3af_program_samples", "Packets whose time was taken.", labels=labels
    )
    missed = CounterMetricFamily(
        "l3af_chain_missed", "Packets that found the next segment missing.", labels=_PLACE
    )
    for one in shown:
        place = _place(node, one.chain)
        if one.counters.slots:
            missed.add_metric(place, one.counters.missed)
        for slot in one.counters.slots:
            own = [*place, slot.deployment]
            packets.add_metric(own, slot.packets_in)
            went_on.add_metric(own, slot.went_on)
            sampled_seconds.add_metric(own, slot.sampled_ns / NANOSECONDS)
            samples.add_metric(own, slot.samples)
            for verdict, count in slot.verdicts.items():
                verdicts.add_metric([*own, verdict], count)
    yield from (packets, went_on, verdicts, sampled_seconds, samples, missed)


def _run_times(
    node: str, shown: Iterable[ChainShown], run_times: Mapping[int, RunTime]
) -> Iterator[Metric]:
    seconds = CounterMetricFamily(
        "l3af_chain_run_seconds", "Time in the chain (kernel.bpf_stats_enabled).", labels=_PLACE
    )
    runs = CounterMetricFamily(
        "l3af_chain_runs", "Runs of the chain (kernel.bpf_stats_enabled).", labels=_PLACE
    )
    for one in shown:
        found = run_times.get(one.chain.program_id)
        if found is not None and one.chain.program_id:
            place = _place(node, one.chain)
            seconds.add_metric(place, found.nanoseconds / NANOSECONDS)
            runs.add_metric(place, found.runs)
    yield from (seconds, runs)


def _metrics(
    node: str, shown: Iterable[ChainShown], *, reserved: AbstractSet[str]
) -> Iterator[Metric]:
    """Of packages and deployments: a family for each package and metric.

    Args:
        node: Its name.
        shown: Its hook points.
        reserved: Names of other families, those of counters without `_total`.
    """
    labels = (*_PLACE, "deployment")
    unreadable = GaugeMetricFamily(
        "l3af_metric_unreadable",
        "1 for each metric that cannot be read.",
        labels=(*labels, "metric"),
    )
    found: dict[str, Metric] = {}
    taken: set[tuple[str, ...]] = set()
    for one in shown:
        packages = {part.deployment: part.package for part in one.chain.programs}
        for metric in one.metrics:
            own = [*_place(node, one.chain), metric.deployment]
            name = family_name(packages.get(metric.deployment, ""), metric)
            is_reserved = name.removesuffix("_total") in {*reserved, unreadable.name}
            family = found.get(name) or _family(name, metric, labels)
            is_other = (family.type == "histogram") != (metric.aggregation == "histogram")
            if metric.problem or is_reserved or is_other or (name, *own) in taken:
                unreadable.add_metric([*own, metric.metric], 1)
                continue
            taken.add((name, *own))
            _add(found.setdefault(name, family), own, metric)
    yield unreadable
    yield from found.values()


def family_name(package: str, metric: MetricValue) -> str:
    """`l3af_<package>_<metric>`, with the aggregation behind it unless it is the number itself."""
    behind = "" if metric.aggregation in ("scalar", "histogram") else f"_{metric.aggregation}"
    return _NOT_ALLOWED.sub("_", f"l3af_{package}_{metric.metric}{behind}")


def _family(name: str, metric: MetricValue, labels: tuple[str, ...]) -> Metric:
    about = f"{metric.aggregation} of map {metric.map}, key {metric.key}."
    if metric.aggregation == "histogram":
        return HistogramMetricFamily(name, about, labels=labels)
    if metric.aggregation == "scalar":
        return UnknownMetricFamily(name, about, labels=(*labels, "key"))
    return GaugeMetricFamily(name, about, labels=(*labels, "key"))


def _add(family: Metric, own: list[str], metric: MetricValue) -> None:
    if isinstance(family, HistogramMetricFamily):
        family.add_metric(own, _cumulative(metric.buckets), sum_value=None)
    elif isinstance(family, UnknownMetricFamily | GaugeMetricFamily):
        for key, value in metric.series.items():
            family.add_metric([*own, key], value)
        if metric.value is not None:
            family.add_metric([*own, ""], metric.value)


def _cumulative(buckets: Iterable[HistogramBucket]) -> list[tuple[str, float]]:
    bounds = [(str(float(one.upper_bound)), float(one.count)) for one in buckets]
    return [*bounds, ("+Inf", bounds[-1][1] if bounds else 0.0)]
