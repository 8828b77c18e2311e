# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several rollouts under one policy: who begins first, and who waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet
from services.scheduler.rollout.core import (
    DeploymentStored,
    Event,
    NodeObserved,
    NodeSeen,
    NodeTold,
    PolicyStored,
    RolloutCore,
)
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import PolicyRule, RolloutPolicy
from shared.contracts.rollouts import ChangeWindow
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec
from tests.support.rollout_world import SCHEDULER

NODES = [a_node(name) for name in ("n1", "n2", "n3")]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _accepted(policy: RolloutPolicy, *, order: Sequence[str]) -> list[DeploymentRecord]:
    """New deployments, accepted in this order."""
    fleet: Fleet = replace(a_fleet(*NODES), policy=policy)
    records = []
    for number, name in enumerate(order):
        spec = a_spec(name, order=number + 1)
        record = draft_application(fleet, spec, a_package(), a_command(number + 1)).record
        fleet = fleet.with_deployment(record)
        records.append(record)
    return records


def _handled(policy: RolloutPolicy, records: Sequence[DeploymentRecord]) -> dict[str, Any]:
    """What the core says at once: of each deployment, how many nodes, or what it waits for."""
    core = RolloutCore(actor=SCHEDULER)
    known: list[Event] = [
        PolicyStored(policy),
        *map(NodeSeen, NODES),
        *map(DeploymentStored, records),
    ]
    said = {}
    for one in core.handle(known, NOW):
        state = one.after.rollout
        assert state is not None
        said[one.key] = state.released or state.why
    return said


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_what_was_accepted_first_begins_and_the_other_waits_for_it(order: tuple[str, ...]) -> None:
    """Also if both could begin when they are looked at, whatever their names."""
    policy = RolloutPolicy(rules=(PolicyRule(name="one-at-once", max_rollouts=1),))
    said = _handled(policy, _accepted(policy, order=order))
    first, second = order
    assert said[first] == len(NODES)
    assert said[second] == (
        f"1 rollout goes on, and no more than 1 may ({first}), "
        "says rule one-at-once of the rollout policy"
    )


def test_nodes_that_one_rollout_changes_leave_less_room_for_the_next() -> None:
    """Of the fleet no more than the rule says are changed at once, by all together."""
    policy = RolloutPolicy(rules=(PolicyRule(name="most", max_unavailable=2),))
    said = _handled(policy, _accepted(policy, order=("a", "b")))
    assert said["a"] == 2
    assert "no more than 2 may be" in said["b"]


def test_a_freeze_holds_what_would_be_everywhere_at_once() -> None:
    """The record says until when."""
    freeze = ChangeWindow(cron="0 0 1 1 *", duration_seconds=86_400)
    policy = RolloutPolicy(rules=(PolicyRule(name="new-year", freezes=(freeze,)),))
    said = _handled(policy, _accepted(policy, order=("a",)))
    assert "until 2026-01-02T00:00:00Z" in said["a"]


def test_nodes_that_refuse_what_another_deployment_told_them_take_room() -> None:
    """Whatever deployment is to blame, and until they confirm it."""
    policy = RolloutPolicy(rules=(PolicyRule(name="most", max_unavailable=2),))
    (record,) = _accepted(policy, order=("a",))
    core = RolloutCore(actor=SCHEDULER)
    told = DesiredNode(node="n3", generation=4, chains=())
    known: list[Event] = [PolicyStored(policy), *map(NodeSeen, NODES), NodeTold(told)]
    (one,) = core.handle([*known, DeploymentStored(record)], NOW)
    assert one.after.rollout is not None
    assert one.after.rollout.released == 1
    done = ObservedNode(node="n3", desired_generation=4, chains=(), at="")
    (one,) = core.handle([NodeObserved(done)], NOW)
    assert one.after.rollout is not None
    assert one.after.rollout.released == 2
