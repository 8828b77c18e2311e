# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a deployment may ask of the health of a wave."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.program_choice import ProgramChoiceError, resolve_program
from services.scheduler.rollout.health_terms import health_problems
from shared.contracts.health import (
    COUNTED,
    AbsentEvent,
    CpuGuard,
    DropGuard,
    HealthSpec,
    MetricCondition,
    VerifierBounds,
)
from shared.contracts.link_options import LinkWishes
from shared.contracts.metrics import MetricSource
from shared.contracts.probes import TracepointTarget
from tests.fleets import a_package, a_spec

METRICS = {
    "errors": MetricSource(map="m"),
    "by-port": MetricSource(map="m", key="*", each_key=True),
    "peak": MetricSource(map="m", aggregation="maximum"),
    "sizes": MetricSource(map="m", aggregation="histogram"),
}
TIMED = LinkWishes(time_sample_period=64)


def a_condition(metric: str = "errors", **fields: Any) -> HealthSpec:
    """One condition with a bound."""
    return HealthSpec(metrics=(MetricCondition(metric=metric, **{"maximum": 1.0, **fields}),))


def refused(health: HealthSpec, **fields: Any) -> list[tuple[str, str]]:
    """Where it is refused, and why."""
    problems = health_problems(a_spec(health=health, **fields), METRICS)
    return [(one.path, one.rule) for one in problems]


@pytest.mark.parametrize(
    ("health", "fields"),
    [
        (HealthSpec(), {}),
        (HealthSpec(drops=DropGuard(max_share=0.1)), {}),
        (HealthSpec(cpu=CpuGuard(max_share=0.9)), {}),
        (HealthSpec(absent=(AbsentEvent(action="companion.oom"),)), {}),
        (HealthSpec(cpu=CpuGuard(max_nanoseconds=500)), {"link": TIMED}),
        (a_condition(), {}),
        (a_condition("by-port", key="80", per_second=True), {}),
        (a_condition("l3af.dropped", against="before", compare="factor"), {}),
    ],
)
def test_what_can_be_looked_at_is_taken(health: HealthSpec, fields: dict[str, Any]) -> None:
    """There is no problem."""
    assert refused(health, **fields) == []


@pytest.mark.parametrize(
    ("health", "path", "rule"),
    [
        (HealthSpec(drops=DropGuard()), "health.drops", "has no bound"),
        (HealthSpec(cpu=CpuGuard()), "health.cpu", "has no bound"),
        (HealthSpec(verifier=VerifierBounds()), "health.verifier", "has no bound"),
        (
            HealthSpec(cpu=CpuGuard(max_factor=2.0)),
            "health.cpu.max_factor",
            "needs packets whose time is taken: set link.time_sample_period",
        ),
        (a_condition(maximum=None), "health.metrics[0]", "has no bound"),
        (
            a_condition("erors"),
            "health.metrics[0].metric",
            "is no metric of the deployment or of its package",
        ),
        (
            a_condition("l3af.errors"),
            "health.metrics[0].metric",
            "is none of the numbers that are counted of every deployment",
        ),
        (
            a_condition("l3af.nanoseconds"),
            "health.metrics[0].metric",
            "needs packets whose time is taken: set link.time_sample_period",
        ),
        (
            a_condition("sizes"),
            "health.metrics[0].metric",
            "is a histogram, and not one number",
        ),
        (
            a_condition(key="80"),
            "health.metrics[0].key",
            "errors is one number for all keys: set each_key",
        ),
        (
            a_condition("peak", per_second=True),
            "health.metrics[0].per_second",
            "peak is a maximum, which does not grow",
        ),
        (
            a_condition("l3af.dropped", per_second=True, key="1"),
            "health.metrics[0].key",
            "l3af.dropped has no keys",
        ),
        (
            HealthSpec(absent=(AbsentEvent(action="chain.drfit"),)),
            "health.absent[0].action",
            "is nothing that a node says",
        ),
        (
            a_condition(compare="factor"),
            "health.metrics[0].compare",
            "is for conditions against `before` or `rest`",
        ),
    ],
)
def test_what_means_nothing_is_refused_by_name(health: HealthSpec, path: str, rule: str) -> None:
    """The refusal says where and why."""
    assert (path, rule) in refused(health)


def test_everything_is_refused_at_once() -> None:
    """All problems are listed; what would be accepted is said."""
    health = HealthSpec(
        drops=DropGuard(),
        metrics=(MetricCondition(metric="l3af.lost"), MetricCondition(metric="other")),
    )

    with pytest.raises(ProgramChoiceError) as caught:
        resolve_program(a_spec(health=health), a_package())

    reasons = {one.path: one for one in caught.value.reasons}
    assert len(caught.value.reasons) == 5
    assert reasons["health.metrics[0].metric"].allowed == list(COUNTED)
    assert reasons["health.metrics[1].metric"].allowed == ["dropped", *COUNTED]


def test_a_probe_drops_nothing_and_counters_must_be_on() -> None:
    """What sees no packets, or does not count them, cannot be judged by them."""
    probe = {
        "hook": "tracepoint",
        "interfaces": (),
        "attach": (TracepointTarget(category="sched", name="sched_switch"),),
    }
    health = HealthSpec(drops=DropGuard(max_share=0.1))
    counted = a_condition("l3af.went_on")

    assert refused(health, **probe) == [
        ("health.drops", "has no meaning on tracepoint, which sees no packets")
    ]
    assert refused(counted, link=LinkWishes(counters=False)) == [
        ("health.metrics[0].metric", "needs counters, which link.counters switches off")
    ]
