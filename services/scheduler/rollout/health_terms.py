# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what a deployment says of health can be looked at.

Pure.

Rules:
 * A guard or a condition without a bound means nothing, and is refused.
 * A metric must be one of the deployment or of its package, with a number; a key one of many.
 * An event must be one that nodes say: a misspelt one would be absent for ever.
 * A program that sees no packets drops none; the time of packets is known where it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shared.contracts.deployments import DeploymentSpec
from shared.contracts.health import COUNTED, OF_NODES, CpuGuard, MetricCondition
from shared.contracts.metrics import MetricSource
from shared.contracts.node_actions import NODE_ACTIONS
from shared.errors import Reason
from shared.identifiers import is_probe

_OF_PACKETS: Final = frozenset(COUNTED) - OF_NODES


def health_problems(spec: DeploymentSpec, metrics: Mapping[str, MetricSource]) -> list[Reason]:
    """All that is said of health and cannot be looked at.

    Args:
        spec: The deployment.
        metrics: All that it has, those of its package included.
    """
    return [*_guards(spec), *_conditions(spec, metrics), *_events(spec)]


def _guards(spec: DeploymentSpec) -> Iterator[Reason]:
    health = spec.health
    if health.drops is not None:
        if is_probe(spec.hook):
            rule = f"has no meaning on {spec.hook}, which sees no packets"
            yield Reason(path="health.drops", rule=rule)
        else:
            yield from _counters_on(spec, "health.drops")
        if health.drops.max_share is None and health.drops.max_increase is None:
            yield _boundless("health.drops", "max_share", "max_increase")
    if health.cpu is not None:
        if health.cpu == CpuGuard():
            yield _boundless("health.cpu", *CpuGuard.__struct_fields__)
        for name in ("max_nanoseconds", "max_factor"):
            if getattr(health.cpu, name) is not None:
                yield from _timed(spec, f"health.cpu.{name}")
    if health.verifier is not None:
        bounds = health.verifier
        if bounds.max_instructions is None and bounds.max_jited_bytes is None:
            yield _boundless("health.verifier", "max_instructions", "max_jited_bytes")


def _counters_on(spec: DeploymentSpec, path: str) -> Iterator[Reason]:
    if spec.link.counters is False:
        yield Reason(path=path, rule="needs counters, which link.counters switches off")


def _timed(spec: DeploymentSpec, path: str) -> Iterator[Reason]:
    if is_probe(spec.hook):
        yield Reason(path=path, rule=f"has no meaning on {spec.hook}, which sees no packets")
    elif not spec.link.time_sample_period:
        rule = "needs packets whose time is taken: set link.time_sample_period"
        yield Reason(path=path, rule=rule, got=spec.link.time_sample_period)


def _conditions(spec: DeploymentSpec, metrics: Mapping[str, MetricSource]) -> Iterator[Reason]:
    for index, one in enumerate(spec.health.metrics):
        path = f"health.metrics[{index}]"
        if one.minimum is None and one.maximum is None:
            yield _boundless(path, "minimum", "maximum")
        if one.against == "nothing" and one.compare != "difference":
            rule = "is for conditions against `before` or `rest`"
            yield Reason(path=f"{path}.compare", rule=rule, got=one.compare)
        if one.metric.startswith("l3af."):
            yield from _counted(spec, one, path)
        else:
            yield from _own(one, metrics, path)


def _counted(spec: DeploymentSpec, one: MetricCondition, path: str) -> Iterator[Reason]:
    if one.metric not in COUNTED:
        rule = "is none of the numbers that are counted of every deployment"
        yield Reason(path=f"{path}.metric", rule=rule, got=one.metric, allowed=list(COUNTED))
    elif one.metric == "l3af.nanoseconds":
        yield from _timed(spec, f"{path}.metric")
    elif one.metric in _OF_PACKETS and is_probe(spec.hook):
        rule = f"has no meaning on {spec.hook}, which sees no packets"
        yield Reason(path=f"{path}.metric", rule=rule, got=one.metric)
    elif one.metric in _OF_PACKETS:
        yield from _counters_on(spec, f"{path}.metric")
    if one.key:
        yield Reason(path=f"{path}.key", rule=f"{one.metric} has no keys", got=one.key)
    if one.per_second:
        rule = f"{one.metric} is of one period already"
        yield Reason(path=f"{path}.per_second", rule=rule, got=True)


def _own(one: MetricCondition, metrics: Mapping[str, MetricSource], path: str) -> Iterator[Reason]:
    source = metrics.get(one.metric)
    if source is None:
        rule = "is no metric of the deployment or of its package"
        allowed = [*sorted(metrics), *COUNTED]
        yield Reason(path=f"{path}.metric", rule=rule, got=one.metric, allowed=allowed)
    elif source.aggregation == "histogram":
        rule = "is a histogram, and not one number"
        yield Reason(path=f"{path}.metric", rule=rule, got=one.metric)
    elif one.key and not source.each_key:
        rule = f"{one.metric} is one number for all keys: set each_key"
        yield Reason(path=f"{path}.key", rule=rule, got=one.key)
    elif one.per_second and source.aggregation != "scalar":
        rule = f"{one.metric} is a {source.aggregation}, which does not grow"
        yield Reason(path=f"{path}.per_second", rule=rule, got=True)


def _events(spec: DeploymentSpec) -> Iterator[Reason]:
    for index, one in enumerate(spec.health.absent):
        if one.action not in NODE_ACTIONS:
            rule = "is nothing that a node says"
            path = f"health.absent[{index}].action"
            yield Reason(path=path, rule=rule, got=one.action, allowed=list(NODE_ACTIONS))


def _boundless(path: str, *names: str) -> Reason:
    return Reason(path=path, rule="has no bound", allowed=f"one of {', '.join(names)}")
