# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics as Prometheus reads them, by its own parser."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_PLACE = {"node", "netns", "interface", "hook", "host", "interface_name", "ipv4_address"}


class _Given(Collector):
    """What was collected."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._found

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand."""
        return ()


def scraped(
    found: Iterable[Metric], *, keeps: Collection[str] = ()
) -> dict[tuple[str, str], float]:
    """Each sample's name, and its labels without those of its place, to its value.

    Args:
        found: What is exposed.
        keeps: Labels of the place that are told as well.
    """
    registry = CollectorRegistry()
    registry.register(_Given(found))
    hidden = _PLACE - set(keeps)
    return {
        (
            sample.name,
            ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k not in hidden),
        ): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
