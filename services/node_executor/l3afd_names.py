# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of l3afd by its names, so that dashboards made for it go on working.

Pure.  Names, types and labels are l3afd's (docs/metrics.md); where it counted something else than
the name says, what the name says is counted.  Counts begin with the process.  Its labels do not
tell network namespaces, deployments and members of structs apart: of what has equal ones, the first
is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric, Sample, UnknownMetricFamily

from shared.contracts.events import EventBody
from shared.contracts.metrics import Aggregation
from shared.contracts.node import ChainShown

DIRECTIONS: Final[Mapping[str, str]] = {
    "xdp": "xdpingress",
    "tc-ingress": "ingress",
    "tc-egress": "egress",
}
_AGGREGATORS: Final[Mapping[Aggregation, str]] = {
    "scalar": "scalar",
    "max-rate": "max-rate",
    "average": "avg",
}
_NAMED_TWICE: Final = "BPFUpdateFailedCount"
"""l3afd declares its program as `bpf_program` and counts it as `ebpf_program`."""
_PLACE: Final = ("host", "ebpf_program", "direction", "interface_name", "ipv4_address")


class L3afdCounts:
    """What began, ended and changed, from the events of chains."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self._running: dict[tuple[str, str, str], dict[str, str]] = {}
        self.counts: Final[dict[str, Counter[tuple[str, str, str]]]] = {
            name: Counter() for name in _COUNTERS
        }
        """Metric to (program, hook, interface) to how often."""
        self.started_at: Final[dict[tuple[str, str, str], float]] = {}
        """(program, hook, interface) to seconds since 1970."""

    def note(self, body: EventBody, *, at_seconds: float) -> None:
        """One event more.

        Args:
            body: Of any event of the node.
            at_seconds: When it was made, since 1970.
        """
        if not body.action.startswith("chain."):
            return
        place = (body.netns, body.interface, body.hook)
        running = self._running.get(place, {})
        listed = {
            str(one["deployment"]): str(one["package"]) for one in body.details.get("programs", ())
        }
        if body.action == "chain.attach":
            self._changed(place, running, listed, at_seconds)
        elif body.action == "chain.adopt":
            self._running[place] = listed
        elif body.action == "chain.detach":
            self._changed(place, running, {}, at_seconds)
        elif body.action == "chain.configure":
            self._count("BPFUpdateCount", place, listed.values())
        elif body.action == "chain.change":
            is_update = listed.keys() <= running.keys()
            name = "BPFUpdateFailedCount" if is_update else "BPFDeployFailedCount"
            self._count(name, place, [body.package] if body.package else listed.values())

    def _changed(
        self,
        place: tuple[str, str, str],
        before: Mapping[str, str],
        after: Mapping[str, str],
        at_seconds: float,
    ) -> None:
        began = [package for name, package in after.items() if name not in before]
        ended = [package for name, package in before.items() if name not in after]
        self._count("BPFStartCount", place, began)
        self._count("BPFStopCount", place, ended)
        _, interface, hook = place
        for package in began:
            self.started_at[package, hook, interface] = at_seconds
        for package in ended:
            self.started_at.pop((package, hook, interface), None)
        self._running[place] = dict(after)

    def _count(self, name: str, place: tuple[str, str, str], packages: Iterable[str]) -> None:
        _, interface, hook = place
        self.counts[name].update((package, hook, interface) for package in packages)


def l3afd_families(
    host: str,
    sampled: Iterable[ChainShown],
    counts: L3afdCounts,
    addresses: Mapping[str, str],
) -> Iterator[Metric]:
    """The eight metrics of l3afd.

    Args:
        host: The node's name.
        sampled: Its hook points.
        counts: What happened.
        addresses: Interface to its first IPv4 address.
    """
    for name, found in counts.counts.items():
        # A counter of this library is called `..._total`, and l3afd's are not.
        is_twice = name == _NAMED_TWICE
        labels = (*_PLACE, "bpf_program") if is_twice else _PLACE
        counter = UnknownMetricFamily(f"l3afd_{name}", _COUNTERS[name], labels=labels)
        for (program, hook, interface), count in sorted(found.items()):
            place = [host, program, DIRECTIONS[hook], interface, addresses.get(interface, "")]
            counter.add_metric([*place, program] if is_twice else place, count)
        yield counter
    running = GaugeMetricFamily("l3afd_BPFRunning", "Whether it runs.", labels=(*_PLACE, "version"))
    started = GaugeMetricFamily("l3afd_BPFStartTime", "Seconds since 1970.", labels=_PLACE)
    monitored = GaugeMetricFamily(
        "l3afd_BPFMonitorMap",
        "Values of maps.",
        labels=("host", "ebpf_program", "map_name", "interface_name", "ipv4_address"),
    )
    for one in sampled:
        interface, hook = one.chain.interface, one.chain.hook
        address = addresses.get(interface, "")
        packages = {part.deployment: part.package for part in one.chain.programs}
        for part in one.chain.programs:
            if part.restricted:
                continue
            place = [host, part.package, DIRECTIONS[hook], interface, address]
            is_running = float(one.chain.state == "attached")
            running.add_metric([*place, part.version], is_running)
            at_seconds = counts.started_at.get((part.package, hook, interface))
            if at_seconds is not None:
                started.add_metric(place, at_seconds)
        for metric in one.metrics:
            aggregator = _AGGREGATORS.get(metric.aggregation)
            if metric.value is not None and aggregator:
                name = f"{metric.map}_{metric.key}_{aggregator}"
                package = packages.get(metric.deployment, "")
                monitored.add_metric([host, package, name, interface, address], metric.value)
    yield from map(_once, (running, started, monitored))


def _once(family: Metric) -> Metric:
    """The family with the first sample of those with equal labels: a scraper takes none twice."""
    first: dict[tuple[str, ...], Sample] = {}
    for sample in family.samples:
        first.setdefault(tuple(sample.labels.values()), sample)
    family.samples = list(first.values())
    return family


_COUNTERS: Final[Mapping[str, str]] = {
    "BPFStartCount": "Programs that began to run.",
    "BPFStopCount": "Programs that were taken off.",
    "BPFUpdateCount": "Configurations that were changed.",
    "BPFUpdateFailedCount": "Changes of running programs that failed.",
    "BPFDeployFailedCount": "Programs that could not be put on their hook.",
}
