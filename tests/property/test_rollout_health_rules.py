# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of judging a wave, for whatever its nodes say."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.rollout.health import Verdict, World, judge, weigh
from services.scheduler.rollout.health_numbers import Period, baseline_of
from shared.contracts.health import (
    AbsentEvent,
    CpuGuard,
    DropGuard,
    HealthSpec,
    MetricCondition,
)
from tests.support.node_readings import NEWEST, a_period, a_reading, a_view, a_world

NODES = ("n1", "n2", "n3", "n4")
ORDER = {"healthy": 0, "undecided": 1, "failing": 2}

shares = st.floats(0, 1)
periods = st.builds(
    lambda node, packets, part, errors, busy, revision: a_period(
        node,
        revision=revision,
        packets=packets,
        dropped=int(packets * part),
        metrics={"errors": errors},
        cpu=(10.0, 10.0 * busy),
        time=(packets * 50, packets),
    ),
    node=st.sampled_from(NODES),
    packets=st.integers(0, 10_000),
    part=shares,
    errors=st.integers(0, 100),
    busy=shares,
    revision=st.sampled_from((NEWEST - 1, NEWEST)),
)
fleets = st.lists(periods, max_size=4, unique_by=lambda one: one.later.node)
conditions = st.builds(
    MetricCondition,
    metric=st.sampled_from(("errors", "l3af.dropped", "l3af.cpu_share")),
    against=st.sampled_from(("nothing", "before", "rest")),
    compare=st.sampled_from(("difference", "factor")),
    maximum=st.none() | st.floats(0, 100),
    minimum=st.none() | st.floats(-1, 1),
)
specs = st.builds(
    HealthSpec,
    drops=st.none()
    | st.builds(
        DropGuard,
        max_share=st.none() | shares,
        max_increase=st.none() | shares,
        min_packets=st.integers(1, 200),
    ),
    cpu=st.none()
    | st.builds(CpuGuard, max_share=st.none() | shares, max_increase=st.none() | shares),
    metrics=st.lists(conditions, max_size=3).map(tuple),
    absent=st.just(()) | st.just((AbsentEvent(action="chain.drift"),)),
    bad_periods=st.integers(1, 4),
)
waves = st.frozensets(st.sampled_from(NODES), min_size=1)


def judged(spec: HealthSpec, nodes: Sequence[str], world: World) -> Verdict:
    """Against what the same nodes were like before."""
    before = {node: a_period(node, revision=1, packets=1000, dropped=100) for node in nodes}
    return judge(spec, nodes, world, baseline_of(spec, before))


@given(specs, waves, fleets, st.randoms())
def test_the_order_in_which_nodes_are_known_changes_nothing(
    spec: HealthSpec, wave: frozenset[str], fleet: list[Period], rng: st.DataObject
) -> None:
    """The same readings in another order lead to the same verdict, reasons included."""
    mixed = list(fleet)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    nodes = sorted(wave)

    assert judged(spec, nodes, a_world(*fleet)) == judged(spec, nodes[::-1], a_world(*mixed))


@given(specs, waves, fleets)
def test_a_node_outside_the_wave_is_never_bad(
    spec: HealthSpec, wave: frozenset[str], fleet: list[Period]
) -> None:
    """Without comparisons with the rest, what other nodes say does not matter."""
    own = [one for one in spec.metrics if one.against != "rest"]
    alone = HealthSpec(drops=spec.drops, cpu=spec.cpu, metrics=tuple(own), absent=spec.absent)
    inside = [one for one in fleet if one.later.node in wave]

    everything, within = a_world(*fleet), a_world(*inside)

    assert judged(alone, sorted(wave), everything) == judged(alone, sorted(wave), within)


@given(specs, waves)
def test_what_is_not_known_is_never_well_and_never_bad(
    spec: HealthSpec, wave: frozenset[str]
) -> None:
    """A wave that runs and of which nothing was read is undecided if nodes have to be asked."""
    views = [a_view(node) for node in sorted(wave)]
    verdict = judged(spec, sorted(wave), a_world(views=views))

    assert verdict.state == ("undecided" if spec.asks_nodes else "healthy")
    assert bool(verdict.reasons) == spec.asks_nodes


@given(specs, waves, fleets)
def test_more_drops_never_make_a_wave_better(
    spec: HealthSpec, wave: frozenset[str], fleet: list[Period]
) -> None:
    """If all packets of the wave are dropped, the drop guard says at least what it said before."""
    only = HealthSpec(drops=spec.drops)
    worse = [
        a_period(
            one.later.node,
            revision=one.later.places[0].revision,
            packets=one.later.places[0].counters.packets_in,  # type: ignore[union-attr]
            dropped=one.later.places[0].counters.packets_in,  # type: ignore[union-attr]
        )
        for one in fleet
    ]

    before = judged(only, sorted(wave), a_world(*fleet)).state
    after = judged(only, sorted(wave), a_world(*worse)).state

    assert ORDER[after] >= ORDER[before]


@given(waves)
def test_a_wave_that_is_as_it_was_before_passes_every_comparison(wave: frozenset[str]) -> None:
    """No difference and a factor of one are within bounds that include them."""
    compared = HealthSpec(
        drops=DropGuard(max_increase=0.0),
        cpu=CpuGuard(max_factor=1.001, max_increase=0.0),
        metrics=(
            MetricCondition(metric="errors", against="before", maximum=0.0, minimum=0.0),
            MetricCondition(metric="l3af.dropped", against="before", compare="factor", maximum=1.0),
        ),
    )

    def said(node: str, revision: int) -> Period:
        return a_period(
            node,
            revision=revision,
            packets=1000,
            dropped=50,
            time=(5000, 100),
            cpu=(10.0, 5.0),
            metrics={"errors": 3},
        )

    before = {node: said(node, 1) for node in wave}
    now = [said(node, NEWEST) for node in sorted(wave)]

    verdict = judge(compared, sorted(wave), a_world(*now), baseline_of(compared, before))

    assert verdict == Verdict("healthy")


@given(specs, waves, fleets)
def test_every_failure_and_every_doubt_has_a_reason_that_says_where(
    spec: HealthSpec, wave: frozenset[str], fleet: list[Period]
) -> None:
    """Only what is healthy needs no words."""
    verdict = judged(spec, sorted(wave), a_world(*fleet))

    assert (verdict.state == "healthy") == (not verdict.reasons)
    assert all(one.path and one.rule for one in verdict.reasons)


@given(specs, st.lists(st.sampled_from(("healthy", "undecided", "failing")), max_size=12))
def test_a_failure_is_so_many_bad_periods_without_a_good_one_between(
    spec: HealthSpec, states: list[str]
) -> None:
    """A wave that is bad now and then never fails, unless one bad period is enough."""
    bad, failed_at = 0, None
    for index, state in enumerate(states):
        bad, has_failed = weigh(Verdict(state), bad, spec)  # type: ignore[arg-type]
        if has_failed:
            failed_at = index
            break

    runs, expected = 0, None
    for index, state in enumerate(states):
        runs = 0 if state == "healthy" else runs + (state == "failing")
        if state == "failing" and runs >= spec.bad_periods:
            expected = index
            break
    assert failed_at == expected


@given(specs, waves, fleets)
def test_a_period_that_saw_a_swap_tells_nothing_of_the_program(
    spec: HealthSpec, wave: frozenset[str], fleet: list[Period]
) -> None:
    """Drops of the earlier revision are never the newer one's fault."""
    only = HealthSpec(drops=spec.drops, metrics=spec.metrics)
    over = [Period(a_reading(one.later.node, 1.0, revision=NEWEST - 1), one.later) for one in fleet]

    assert judged(only, sorted(wave), a_world(*over)).state != "failing"
