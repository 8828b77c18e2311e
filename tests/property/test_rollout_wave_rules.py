# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waves: every node once, in the right number, from every failure domain, whatever the order."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.rollout.beginning import RolloutTermsError, check_rollout, first_state
from services.scheduler.rollout.waves import Member, plan_waves, share_of
from shared.contracts.deployments import Placement
from shared.contracts.rollouts import RolloutSpec, Share, Strategy
from tests.fleets import a_node

SHARES: st.SearchStrategy[Share] = st.one_of(
    st.integers(1, 40), st.integers(1, 100).map(lambda number: f"{number}%")
)
MEMBERS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4), st.sampled_from(["", "r1", "r2", "r3"]), min_size=1
).map(lambda found: [Member(name, domain) for name, domain in found.items()])


@st.composite
def rollouts(draw: st.DrawFn) -> RolloutSpec:
    """Any that says nothing that contradicts itself."""
    strategy: Strategy = draw(st.sampled_from(get_args(Strategy)))
    fields: dict[str, Any] = {"failure_domain": draw(st.sampled_from([None, "rack"]))}
    if strategy in ("waves", "canary"):
        fields["waves"] = tuple(draw(st.lists(SHARES, min_size=strategy == "waves", max_size=4)))
        if fields["failure_domain"]:
            fields["across"] = draw(st.sampled_from(["each", "one-by-one"]))
    if strategy == "canary":
        fields["canary"] = draw(st.none() | SHARES)
    if strategy == "blue-green":
        fields |= {"blue": "blue-port", "green": "green-port"}
    return RolloutSpec(strategy=strategy, **fields)


@given(rollouts(), MEMBERS, st.randoms(use_true_random=False))
def test_every_node_is_in_one_wave_whatever_the_order(
    rollout: RolloutSpec, members: list[Member], rng: Any
) -> None:
    """No wave is empty, and the order of the nodes decides nothing."""
    waves = plan_waves(rollout, members)
    rng.shuffle(members)

    assert plan_waves(rollout, members) == waves
    check_rollout(rollout, name="edge")
    assert all(wave.names for wave in waves)
    names = [(wave.interface_label, name) for wave in waves for name in wave.names]
    assert len(names) == len(set(names))
    labels = ("green-port", "blue-port") if rollout.strategy == "blue-green" else ("",)
    assert set(names) == {(label, one.name) for label in labels for one in members}


@given(rollouts(), MEMBERS)
def test_each_wave_takes_its_share_until_none_is_left(
    rollout: RolloutSpec, members: list[Member]
) -> None:
    """The canary first; a percentage is of all the nodes, of one-by-one of the domain's."""
    waves = plan_waves(rollout, members)
    if rollout.strategy == "blue-green":
        assert [wave.interface_label for wave in waves] == ["green-port", "blue-port"]
        return
    domains = sorted({one.domain for one in members}) if rollout.across == "one-by-one" else [None]
    expected: list[int] = []
    shares: tuple[Share, ...] = rollout.waves
    if rollout.strategy == "canary":
        shares = (rollout.canary or 1, *shares)
    for domain in domains:
        left = total = sum(domain in (None, one.domain) for one in members)
        for size in [*(share_of(share, total) for share in shares), left]:
            expected += [min(size, left)] if left else []
            left -= min(size, left)
        shares = rollout.waves
    assert [len(wave.names) for wave in waves] == expected
    if domains != [None]:
        assert [wave.domain for wave in waves] == sorted(wave.domain for wave in waves)


@given(MEMBERS, st.lists(SHARES, min_size=1, max_size=4))
def test_each_domain_has_its_part_of_the_first_of_any_number(
    members: list[Member], shares: list[Share]
) -> None:
    """To less than one node, so that no domain is hit by more of a bad wave than the others."""
    rollout = RolloutSpec(strategy="waves", waves=tuple(shares), failure_domain="rack")
    domain_of = {one.name: one.domain for one in members}
    order = [domain_of[name] for wave in plan_waves(rollout, members) for name in wave.names]
    for domain in set(order):
        size = order.count(domain)
        for taken in range(len(order) + 1):
            assert abs(order[:taken].count(domain) - taken * size / len(order)) < 1


@pytest.mark.parametrize(
    ("share", "total", "count"),
    [(1, 5, 1), (9, 5, 5), ("25%", 5, 2), ("1%", 5, 1), ("100%", 5, 5), ("50%", 0, 0)],
)
def test_percentages_are_rounded_up(share: Share, total: int, count: int) -> None:
    """A share of any nodes is at least one of them, and never more than all."""
    assert share_of(share, total) == count


def test_ten_thousand_nodes_are_packed_in_their_order() -> None:
    """A record has room for them, and `released` counts along the same order."""
    members = [Member(f"n{number}", f"r{number % 7}") for number in range(10_000)]
    rollout = RolloutSpec(strategy="canary", waves=("10%",), failure_domain="rack")
    waves = plan_waves(rollout, members)

    assert [len(wave.names) for wave in waves] == [1, 1000, 8999]
    assert waves[2].nodes == ()
    assert len(waves[2].packed_nodes) < 60_000
    assert len({name for wave in waves for name in wave.names}) == 10_000
    racks = {one.name: one.domain for one in members}
    assert [racks[name] for name in waves[1].names[:7]] != ["r0"] * 7


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"canary": 2}, "rollout.canary"),
    ({"waves": (1,)}, "rollout.waves"),
    ({"strategy": "waves"}, "rollout.waves"),
    ({"strategy": "waves", "waves": (1,), "across": "one-by-one"}, "rollout.failure_domain"),
    ({"across": "one-by-one", "failure_domain": "rack"}, "rollout.across"),
    ({"strategy": "blue-green", "green": "g"}, "rollout.blue"),
    ({"strategy": "blue-green", "green": "g", "blue": "g"}, "rollout.green"),
    ({"green": "g"}, "rollout.green"),
    ({"gate": "manual"}, "rollout.gate"),
]


@pytest.mark.parametrize(("fields", "path"), CONTRADICTIONS)
def test_what_a_strategy_does_not_use_is_refused_by_name(fields: dict[str, Any], path: str) -> None:
    """Nothing that somebody wrote is silently ignored."""
    with pytest.raises(RolloutTermsError) as caught:
        check_rollout(RolloutSpec(**fields), name="edge")
    assert [one.path for one in caught.value.reasons] == [path]


def test_what_reaches_every_node_at_once_has_no_state() -> None:
    """Until its health or a policy asks to be looked at."""
    nodes = {"n1": a_node("n1")}
    places = [Placement(node="n1", interface="eth0")]
    plain = RolloutSpec(failure_domain="rack", timeout_seconds=30)

    assert first_state(plain, places, nodes, revision=1, at="now") is None
    looked_at = first_state(plain, places, nodes, revision=2, at="now", is_looked_at=True)
    assert looked_at is not None
    assert (looked_at.phase, looked_at.wave, looked_at.released) == ("waiting", 0, 0)
    assert looked_at.waves[0].names == ("n1",)
    for rollout in (
        RolloutSpec(bake_seconds=1),
        RolloutSpec(max_unavailable=1),
        RolloutSpec(approvals=1),
    ):
        assert first_state(rollout, places, nodes, revision=1, at="now") is not None


def test_places_that_are_neither_blue_nor_green_are_refused() -> None:
    """Nobody would know when they get the revision."""
    nodes = {
        "n1": a_node("n1", "eth0", "eth1", b="eth0", g="eth1"),
        "n2": a_node("n2", "eth0", b="eth9"),
        "n3": a_node("n3", "eth0", b="eth0", g="eth0"),
    }
    places = [
        Placement(node="n1", interface="eth0"),
        Placement(node="n1", interface="eth1"),
        Placement(node="n2", interface="eth0"),
        Placement(node="n3", interface="eth0"),
    ]
    rollout = RolloutSpec(strategy="blue-green", blue="b", green="g")
    with pytest.raises(RolloutTermsError) as caught:
        first_state(rollout, places, nodes, revision=1, at="now")
    assert [one.path for one in caught.value.reasons] == ["nodes.n2", "nodes.n3"]
    state = first_state(rollout, places[:2], nodes, revision=1, at="now")
    assert state is not None
    assert [(one.interface_label, one.names) for one in state.waves] == [
        ("g", ("n1",)),
        ("b", ("n1",)),
    ]
