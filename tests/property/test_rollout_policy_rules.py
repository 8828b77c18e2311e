# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rollout policy for whatever fleet: limits are kept, rules only add, and nobody is stuck."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.placement import NodeView
from services.scheduler.rollout.policy import Others, has_begun, hold, is_governed, room
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.rollout_policy import DeploymentSelector, PolicyRule, RolloutPolicy
from shared.contracts.rollouts import ChangeWindow, Phase, RolloutState, RolloutWave, Share
from shared.contracts.selectors import NodeSelector
from tests.support.rollout_records import a_rollout

SHARES: tuple[Share, ...] = (1, 3, "50%")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ZONES = ("a", "b", "")
NODES = {
    name: NodeView(name, labels={"zone": zone} if zone else {})
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b"), ("n5", ""))
}
PHASES: tuple[Phase, ...] = ("waiting", "rolling-out", "baking", "paused")
WINDOWS = (
    ChangeWindow(cron="0 11 * * *", duration_seconds=7200),
    ChangeWindow(cron="0 22 * * *", duration_seconds=7200, time_zone="Europe/Berlin"),
)

_windows = st.lists(st.sampled_from(WINDOWS), max_size=1).map(tuple)


@st.composite
def _rule(draw: st.DrawFn) -> PolicyRule:
    nodes = draw(st.sampled_from((NodeSelector(), NodeSelector(labels={"zone": "a"}))))
    packages = draw(st.sampled_from(((), ("rate-*",), ("other",))))
    is_by_domain = draw(st.booleans())
    return PolicyRule(
        name=draw(st.sampled_from(("one", "two"))),
        deployments=DeploymentSelector(packages=packages, nodes=nodes),
        windows=draw(_windows),
        freezes=draw(_windows),
        approvals=draw(st.integers(0, 2)),
        max_rollouts=draw(st.none() | st.integers(1, 3)),
        failure_domain="zone" if is_by_domain else None,
        max_rollouts_per_domain=draw(st.integers(1, 2)) if is_by_domain else None,
        max_unavailable=draw(st.none() | st.sampled_from(SHARES)),
    )


@st.composite
def _record(draw: st.DrawFn, name: str) -> DeploymentRecord:
    nodes = draw(st.lists(st.sampled_from(sorted(NODES)), min_size=1, max_size=4, unique=True))
    cut = draw(st.integers(0, len(nodes)))
    waves = tuple(RolloutWave(nodes=tuple(one)) for one in (nodes[:cut], nodes[cut:]) if one)
    phase = draw(st.sampled_from(PHASES))
    state = RolloutState(
        revision=1,
        phase=phase,
        waves=waves,
        wave=draw(st.integers(0, len(waves) - 1)),
        released=draw(st.integers(0, 2)),
    )
    return a_rollout(name, state, package=draw(st.sampled_from(("rate-limit", "other"))))


@st.composite
def _situation(draw: st.DrawFn) -> tuple[list[DeploymentRecord], RolloutPolicy, Others]:
    records = [draw(_record(f"d{number}")) for number in range(draw(st.integers(1, 5)))]
    rules = draw(st.lists(_rule(), max_size=3))
    down = draw(st.lists(st.sampled_from(sorted(NODES)), max_size=4, unique=True))
    others = Others(nodes=NODES, rolling={one.key: one for one in records}, unavailable=down)
    return records, RolloutPolicy(rules=tuple(rules)), others


@settings(max_examples=50)
@given(_situation(), st.integers(0, 48 * 60))
def test_who_is_let_through_breaks_no_limit(
    situation: tuple[list[DeploymentRecord], RolloutPolicy, Others], minutes: int
) -> None:
    """Whoever may begin leaves no more on their way than a rule that concerns it lets."""
    (record, *_), policy, others = situation
    now = NOW + timedelta(minutes=minutes)
    if hold(record, policy, others, now) is not None:
        return
    for rule in policy.rules:
        if not _concerns(rule, record):
            continue
        same = [one for one in others.rolling.values() if _concerns(rule, one)]
        state = record.rollout
        assert state is not None
        if rule.max_rollouts is not None and not has_begun(state):
            begun = [one for one in same if one.rollout and has_begun(one.rollout)]
            assert len(begun) < rule.max_rollouts
        if rule.max_unavailable is not None:
            assert room(record, policy, others)
        if not has_begun(state):
            assert rule.approvals <= 0


@settings(max_examples=50)
@given(_situation(), _rule(), st.integers(0, 48 * 60))
def test_a_further_rule_never_lets_more_through(
    situation: tuple[list[DeploymentRecord], RolloutPolicy, Others], rule: PolicyRule, minutes: int
) -> None:
    """What is held stays held when a rule is added, and the order of rules decides nothing."""
    (record, *_), policy, others = situation
    now = NOW + timedelta(minutes=minutes)
    more = RolloutPolicy(rules=(*policy.rules, rule))
    turned = RolloutPolicy(rules=tuple(reversed(more.rules)))
    before, after = hold(record, policy, others, now), hold(record, more, others, now)
    assert before is None or after is not None
    assert (after is None) == (hold(record, turned, others, now) is None)
    if after is not None:
        assert is_governed(more.rules)
        assert (hold(record, turned, others, now) or after).until == after.until


@given(_situation())
def test_limits_on_numbers_never_hold_all_of_those_that_began(
    situation: tuple[list[DeploymentRecord], RolloutPolicy, Others],
) -> None:
    """Of rollouts on their way some can go on, so that two never wait for each other."""
    records, policy, others = situation
    limits = RolloutPolicy(
        rules=tuple(
            msgspec.structs.replace(one, windows=(), freezes=(), approvals=0, max_unavailable=None)
            for one in policy.rules
        )
    )
    begun = [one for one in records if one.rollout and has_begun(one.rollout)]
    if begun and limits.rules:
        assert any(hold(one, limits, others, NOW) is None for one in begun)


@settings(max_examples=50)
@given(_situation(), st.integers(0, 48 * 60))
def test_until_is_when_time_no_longer_holds(
    situation: tuple[list[DeploymentRecord], RolloutPolicy, Others], minutes: int
) -> None:
    """A moment is named only if nothing but time holds, and then nothing holds at it."""
    (record, *_), policy, others = situation
    now = NOW + timedelta(minutes=minutes)
    held = hold(record, policy, others, now)
    if held is not None and held.until is not None:
        assert held.until > now
        assert hold(record, policy, others, held.until) is None


def _concerns(rule: PolicyRule, record: DeploymentRecord) -> bool:
    """Written down once more, by what the strategy above can draw."""
    revision = record.revisions[-1]
    package = {(): True, ("rate-*",): revision.spec.package == "rate-limit"}
    if not package.get(rule.deployments.packages, revision.spec.package == "other"):
        return False
    wanted = rule.deployments.nodes.labels.get("zone")
    zones = {NODES[one.node].labels.get("zone", "") for one in revision.accepted_for}
    return wanted is None or wanted in zones
