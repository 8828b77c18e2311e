# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What happens at least when a version is revoked or its waiver ends, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.audiences import EVERYBODYS
from services.scheduler.rollout.consequences import consequences, way_of
from services.scheduler.rollout.policy_setting import PolicyError, check_policy
from services.scheduler.waiver_end import seconds_to_next, unwaived
from shared.contracts.deployments import OnWaiverExpired
from shared.contracts.rollout_policy import DeploymentSelector, PolicyRule, RolloutPolicy
from tests.property.test_licence_standing import NODES, NOW, a_waiver, deployed, under
from tests.support.rollout_records import a_rollout

WAYS = ("alarm", "replace:^1", "replace:^2", "stop")
ENDS: tuple[OnWaiverExpired, ...] = ("alarm", "stop")
GRAVITY = {"alarm": 0, "replace": 1, "stop": 2}


def _gravity(way: str) -> int:
    return GRAVITY[way_of(way)[0]]


@given(
    own=st.tuples(st.sampled_from(WAYS), st.sampled_from(ENDS)),
    asked=st.lists(
        st.tuples(
            st.none() | st.sampled_from(WAYS), st.none() | st.sampled_from(ENDS), st.booleans()
        ),
        max_size=4,
    ),
)
def test_the_gravest_of_what_is_said_happens(
    own: tuple[str, OnWaiverExpired],
    asked: list[tuple[str | None, OnWaiverExpired | None, bool]],
) -> None:
    """By the deployment, and by rules that concern it; of two alike, what was said first."""
    record = a_rollout("edge", None, on_revoked=own[0], on_waiver_expired=own[1])
    policy = RolloutPolicy(
        rules=tuple(
            PolicyRule(
                name=f"rule-{number}",
                deployments=DeploymentSelector(packages=("rate-*" if is_meant else "other",)),
                on_revoked=revoked,
                on_waiver_expired=waiver,
            )
            for number, (revoked, waiver, is_meant) in enumerate(asked)
        )
    )
    said = consequences(record, policy, {})
    ways = [own[0], *(way for way, _, is_meant in asked if is_meant and way is not None)]
    ends = [own[1], *(end for _, end, is_meant in asked if is_meant and end is not None)]
    gravest = max(map(_gravity, ways))
    assert said.on_revoked == next(way for way in ways if _gravity(way) == gravest)
    assert said.on_waiver_expired == ("stop" if "stop" in ends else "alarm")
    assert bool(said.rules) == ((said.on_revoked, said.on_waiver_expired) != own)


@given(
    lengths=st.tuples(*(st.integers(min_value=1, max_value=20) for _ in NODES)),
    day=st.integers(min_value=0, max_value=25),
    is_asked=st.booleans(),
)
def test_who_shall_stop_goes_when_the_first_of_its_waivers_ends(
    lengths: tuple[int, ...], day: int, *, is_asked: bool
) -> None:
    """Not before, not if nobody said so, and once more if the command was refused."""
    waivers = [a_waiver(name, days=days) for name, days in zip(NODES, lengths, strict=True)]
    fleet, record = deployed(waivers)
    rule = PolicyRule(name="strict", on_waiver_expired="stop")
    policy = RolloutPolicy(rules=(rule,) if is_asked else ())
    now = NOW + timedelta(days=day)
    seen = replace(under(fleet, waivers, day=day), policy=policy)
    gone = unwaived(seen)
    assert bool(gone) == (is_asked and day >= min(lengths))
    left = [days - day for days in lengths if days > day]
    until = min(left) * 86_400 if left and is_asked else None
    assert seconds_to_next(seen, now=now) == until
    for one in gone:
        assert one.record is record
        assert "policy-groups" in one.why
        assert "strict" in one.why
        later = now + timedelta(hours=1)
        assert one.command_id(now) == one.command_id(now) != one.command_id(later)


def test_a_replacement_that_is_no_constraint_is_refused_with_its_path() -> None:
    """As that of a deployment is."""
    policy = RolloutPolicy(rules=(PolicyRule(name="rule", on_revoked="replace:1.x"),))
    with pytest.raises(PolicyError) as caught:
        check_policy(policy, EVERYBODYS)
    assert [one.path for one in caught.value.reasons] == ["policy.rules[0].on_revoked"]
