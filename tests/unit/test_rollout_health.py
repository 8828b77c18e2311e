# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What makes a wave fail, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.rollout.health import GateAnswer, Verdict, judge, weigh
from services.scheduler.rollout.health_numbers import baseline_of
from shared.contracts.health import (
    AbsentEvent,
    CpuGuard,
    DropGuard,
    ExternalGate,
    HealthSpec,
    MetricCondition,
    VerifierBounds,
)
from shared.contracts.node_health import EventCount
from tests.support.node_readings import a_period, a_reading, a_view, a_world

WAVE = ("n1",)
DRIFT = EventCount(
    action="chain.drift", outcome="observed", concerns=True, count=2, newest="event-7"
)


def judged(spec: HealthSpec, baseline: dict[str, float] | None = None, **later: Any) -> Verdict:
    """The verdict on one node after its first period."""
    return judge(spec, WAVE, a_world(a_period("n1", **later)), baseline or {})


def said(verdict: Verdict) -> list[tuple[str, str]]:
    """Where and what."""
    return [(one.path, one.rule) for one in verdict.reasons]


def test_a_program_that_drops_everything_is_named_with_its_node_and_numbers() -> None:
    """The evidence says where, how many packets, and what would have been accepted."""
    verdict = judged(HealthSpec(drops=DropGuard(max_share=0.05)), packets=1000, dropped=1000)

    assert verdict.state == "failing"
    (reason,) = verdict.reasons
    assert (reason.path, reason.rule) == (
        "nodes.n1.eth0.drops.max_share",
        "drops 1000 of 1000 packets",
    )
    assert (reason.got, reason.allowed) == (1.0, 0.05)


def test_few_packets_are_no_evidence_of_drops() -> None:
    """Fewer than `min_packets` are not judged."""
    spec = HealthSpec(drops=DropGuard(max_share=0.05, min_packets=100))

    assert judged(spec, packets=99, dropped=99).state == "healthy"
    assert judged(spec, packets=100, dropped=99).state == "failing"


def test_a_firewall_that_always_dropped_half_is_well_until_it_drops_more() -> None:
    """Drops are compared with what they were before the wave."""
    spec = HealthSpec(drops=DropGuard(max_increase=0.1))
    before = baseline_of(spec, {"n1": a_period("n1", revision=1, packets=1000, dropped=500)})

    assert judged(spec, before, packets=1000, dropped=590).state == "healthy"
    assert said(judged(spec, before, packets=1000, dropped=610)) == [
        ("health.drops.max_increase", "the wave drops 61 % of packets, before it 50 %")
    ]


def test_a_program_that_was_nowhere_before_dropped_nothing() -> None:
    """The first revision is compared with none of the packets dropped."""
    spec = HealthSpec(drops=DropGuard(max_increase=0.1))

    assert judged(spec, packets=1000, dropped=101).state == "failing"


def test_counters_over_a_swap_tell_nothing() -> None:
    """Packets of the earlier revision are not held against the newer one."""
    spec = HealthSpec(drops=DropGuard(max_share=0.05))
    period = a_period("n1", packets=1000, dropped=1000)
    swapped = type(period)(a_reading("n1", 100.0, revision=1), period.later)

    verdict = judge(spec, WAVE, a_world(swapped), {})

    assert verdict.state == "undecided"
    assert said(verdict) == [("nodes.n1.eth0", "runs, and no whole period has passed since")]


def test_counters_that_began_anew_are_counted_from_zero() -> None:
    """A smaller number is all that was counted since."""
    spec = HealthSpec(metrics=(MetricCondition(metric="l3af.packets_in", maximum=10.0),))
    period = type(a_period("n1"))(
        a_reading("n1", 100.0, packets=5000), a_reading("n1", 110.0, packets=90)
    )

    assert judge(spec, WAVE, a_world(period), {}).state == "healthy"


@pytest.mark.parametrize(
    ("guard", "baseline", "path"),
    [
        (CpuGuard(max_nanoseconds=99), {}, "nodes.n1.eth0.cpu.max_nanoseconds"),
        (CpuGuard(max_factor=1.5), {"l3af.nanoseconds": 60.0}, "health.cpu.max_factor"),
        (CpuGuard(max_share=0.5), {}, "nodes.n1.cpu.max_share"),
        (CpuGuard(max_increase=0.5), {"l3af.cpu_share": 0.2}, "health.cpu.max_increase"),
    ],
)
def test_time_out_of_bounds_is_named_by_its_bound(
    guard: CpuGuard, baseline: dict[str, float], path: str
) -> None:
    """A packet's time and a node's processors each have an absolute and a relative bound."""
    verdict = judged(HealthSpec(cpu=guard), baseline, time=(1000, 10), cpu=(20.0, 15.0))

    assert verdict.state == "failing"
    assert [one.path for one in verdict.reasons] == [path]


def test_packets_whose_time_nobody_took_are_not_judged() -> None:
    """Without samples there is no time for a packet."""
    assert judged(HealthSpec(cpu=CpuGuard(max_nanoseconds=1)), packets=500).state == "healthy"


def test_a_metric_is_held_against_its_bounds_on_every_place() -> None:
    """One place of many is enough."""
    spec = HealthSpec(metrics=(MetricCondition(metric="errors", maximum=5.0),))
    world = a_world(a_period("n1", metrics={"errors": 1}), a_period("n2", metrics={"errors": 6}))

    assert said(judge(spec, ("n1", "n2"), world, {})) == [
        ("health.metrics[0]", "errors on n2/eth0 is 6, more than 5")
    ]


def test_a_metric_of_one_key_per_second_is_what_it_grew() -> None:
    """Keys have numbers of their own; without a key their sum counts."""
    metrics = {"by-port": {"80": 200.0, "443": 40.0}}
    one = HealthSpec(
        metrics=(MetricCondition(metric="by-port", key="80", per_second=True, maximum=19.0),)
    )
    both = HealthSpec(metrics=(MetricCondition(metric="by-port", per_second=True, maximum=24.0),))

    assert said(judged(one, metrics=metrics)) == [
        ("health.metrics[0]", "by-port{80}/s on n1/eth0 is 20, more than 19")
    ]
    assert judged(both, metrics=metrics).state == "healthy"


def test_a_metric_is_compared_with_the_rest_of_the_fleet() -> None:
    """Only places that still have the earlier revision are the rest."""
    spec = HealthSpec(
        metrics=(MetricCondition(metric="errors", against="rest", compare="factor", maximum=2.0),)
    )
    canary = a_period("n1", metrics={"errors": 30})
    earlier = a_period("n2", revision=1, metrics={"errors": 10})
    released = a_period("n3", metrics={"errors": 10})

    assert said(judge(spec, WAVE, a_world(canary, earlier), {})) == [
        ("health.metrics[0]", "errors, 30, against 10 elsewhere: the factor is 3, more than 2")
    ]
    assert judge(spec, WAVE, a_world(canary, released), {}).state == "healthy"


def test_a_metric_that_cannot_be_read_leaves_the_wave_undecided() -> None:
    """It is neither good nor bad."""
    spec = HealthSpec(metrics=(MetricCondition(metric="errors", maximum=5.0),))

    verdict = judged(spec)

    assert verdict.state == "undecided"
    assert said(verdict) == [("health.metrics[0]", "errors cannot be read on n1/eth0")]


def test_an_event_that_must_not_be_is_named_with_its_id() -> None:
    """Events of the period count; those before it do not."""
    spec = HealthSpec(absent=(AbsentEvent(action="chain.drift"),))
    earlier = a_reading("n1", 100.0, events=[DRIFT])
    later = a_reading("n1", 110.0, events=[DRIFT])
    old = type(a_period("n1"))(earlier, later)

    assert said(judged(spec, events=[DRIFT])) == [
        ("health.absent[0]", "n1 said chain.drift (observed), last in event event-7")
    ]
    assert judge(spec, WAVE, a_world(old), {}).state == "healthy"


def test_events_of_other_deployments_count_only_if_the_whole_node_is_meant() -> None:
    """The scope says whose events must be absent."""
    other = EventCount(
        action="chain.drift", outcome="observed", concerns=False, count=1, newest="event-8"
    )

    for scope, state in (("deployment", "healthy"), ("node", "failing")):
        spec = HealthSpec(absent=(AbsentEvent(action="chain.drift", scope=scope),))  # type: ignore[arg-type]
        assert judged(spec, events=[other]).state == state


def test_the_verifiers_statistics_have_bounds() -> None:
    """They are those of the chain that the kernel has."""
    spec = HealthSpec(verifier=VerifierBounds(max_instructions=1000, max_jited_bytes=4096))
    view = a_view("n1", verified_instructions=1001, jited_bytes=4097)

    assert said(judge(spec, WAVE, a_world(views=[view]), {})) == [
        (
            "nodes.n1.eth0.verifier.max_instructions",
            "the verifier walked 1001 instructions of the chain",
        ),
        (
            "nodes.n1.eth0.verifier.max_jited_bytes",
            "the chain has 4097 bytes of machine code",
        ),
    ]


@pytest.mark.parametrize(
    ("answer", "silence", "state"),
    [
        (None, "fail", "undecided"),
        (GateAnswer(is_well=True), "fail", "healthy"),
        (GateAnswer(is_well=False, reason="error budget spent"), "wait", "failing"),
        (GateAnswer(is_well=None), "wait", "undecided"),
        (GateAnswer(is_well=None), "fail", "failing"),
    ],
)
def test_a_gate_is_asked_answers_or_is_silent(
    answer: GateAnswer | None, silence: Any, state: str
) -> None:
    """What silence means, the deployment says."""
    spec = HealthSpec(gate=ExternalGate(name="slo", silence=silence))

    assert judge(spec, WAVE, a_world(views=[a_view("n1")], gate=answer), {}).state == state


def test_a_place_that_failed_is_bad_and_one_that_is_on_its_way_is_not_known() -> None:
    """What the kernels were read back to hold comes before all numbers."""
    plain = HealthSpec()

    for state, verdict in (("failed", "failing"), ("pending", "undecided")):
        world = a_world(views=[a_view("n1", state), a_view("n2", "failed")])
        assert judge(plain, WAVE, world, {}).state == verdict


def test_so_many_bad_periods_one_after_the_other_are_a_failure() -> None:
    """A good one takes them all away, one of which nothing is known none."""
    spec = HealthSpec(bad_periods=2)
    bad, unknown, good = Verdict("failing"), Verdict("undecided"), Verdict("healthy")

    assert weigh(bad, 0, spec) == (1, False)
    assert weigh(unknown, 1, spec) == (1, False)
    assert weigh(bad, 1, spec) == (2, True)
    assert weigh(good, 1, spec) == (0, False)
