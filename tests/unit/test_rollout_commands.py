# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts are paused, resumed, aborted and approved, by those who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.scheduler.rollout.commands import (
    OverrideRefusedError,
    RolloutConflictError,
    aborted,
    answer,
    approved,
    paused,
    rolling_record,
    rollout_event,
)
from services.scheduler.rollout.policy import Others
from services.scheduler.rollout.transitions import state_of
from shared.contracts.events import Actor
from shared.contracts.rollout_policy import PolicyRule, RolloutPolicy
from shared.contracts.rollouts import ChangeWindow, RolloutSpec
from shared.errors import RefusedError
from tests.fleets import a_command, a_spec
from tests.support.rollout_world import START, RolloutWorld, a_world

ADMINISTRATOR = Actor(key="UADMIN", role="administrator", attested=True)
FIRST = Actor(key="UACTOR", role="operator", attested=True)
NIGHT = ChangeWindow(cron="0 2 * * *", duration_seconds=3600)


def _running(rollout: RolloutSpec) -> RolloutWorld:
    """Four nodes that run 1.0.0, and 1.1.0 accepted with this rollout."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.apply(a_spec(rollout=rollout), version="1.1.0")
    return world


def _new(world: RolloutWorld) -> int:
    return list(world.versions().values()).count("1.1.0")


def test_a_paused_rollout_changes_no_node_until_it_is_resumed() -> None:
    """What has the new revision keeps it, and a wave that was baking bakes anew."""
    world = _running(RolloutSpec(strategy="canary", bake_seconds=60))
    world.act()
    world.wait(50)
    world.command(paused, reason="lunch")
    world.wait(1000)
    assert (_new(world), world.phase(), world.state.why) == (
        1,
        "paused",
        "operator paused it: lunch",
    )
    with pytest.raises(RolloutConflictError, match="paused already"):
        world.command(paused)

    world.resume()
    world.act()
    assert (_new(world), world.phase()) == (1, "baking")
    world.wait(59)
    assert _new(world) == 1
    world.wait(1)
    assert _new(world) == 4
    with pytest.raises(RolloutConflictError, match="not paused"):
        world.resume()


def test_a_wave_that_was_pulled_back_begins_anew_when_it_is_resumed() -> None:
    """With its deadline anew; what its nodes said of the last time is nothing to go by."""
    world = _running(RolloutSpec(strategy="canary", on_failure="roll-back-wave"))
    world.refusing["1.1.0"] = {"n1"}
    world.act()
    assert (_new(world), world.phase()) == (0, "paused")
    world.act()
    world.refusing.clear()
    world.resume()
    assert (_new(world), world.phase(), world.state.evidence) == (1, "rolling-out", ())
    world.until_quiet()
    assert world.phase() == "complete"


def test_an_aborted_rollout_brings_back_what_was_there() -> None:
    """In the name of who asked for it, also while it is paused."""
    for is_paused in (False, True):
        world = _running(RolloutSpec(strategy="canary"))
        others = {name: one for name, one in world.fleet.desired.items() if name != "n1"}
        if is_paused:
            world.command(paused)
        world.command(aborted, reason="wrong ticket", actor=ADMINISTRATOR)
        newest = world.record.revisions[-1]
        assert (world.phase(), world.state.why) == (
            "aborted",
            "administrator aborted it: wrong ticket",
        )
        assert (newest.version, newest.rollback_of, newest.actor_key) == ("1.0.0", 1, "UADMIN")
        assert _new(world) == 0
        assert {name: world.fleet.desired[name] for name in others} == others


def test_a_first_revision_that_is_aborted_is_removed() -> None:
    """There is nothing to bring back."""
    world = a_world()
    world.apply(a_spec(rollout=RolloutSpec(strategy="canary")))
    before = world.record
    world.command(aborted)
    assert (world.record.removed, world.versions()) == (True, {})
    event = rollout_event("deployment.abort", before, world.record, a_command(2))
    assert (event.before != "", event.after, event.details["to_revision"]) == (True, "", 0)


def test_others_than_who_asked_must_approve() -> None:
    """Each once, and only what is to begin."""
    world = _running(RolloutSpec(approvals=2))
    assert (_new(world), world.phase()) == (0, "waiting")
    with pytest.raises(RolloutConflictError, match="who asked for the revision"):
        world.approve(by=FIRST)
    world.approve()
    with pytest.raises(RolloutConflictError, match="approved it already"):
        world.approve()
    with pytest.raises(RolloutConflictError, match="not the wave"):
        world.approve(1, by=ADMINISTRATOR)
    assert _new(world) == 0
    world.approve(0, by=ADMINISTRATOR)
    assert _new(world) == 4
    assert [one.actor_key for one in world.state.approvals] == ["USECOND", "UADMIN"]


def test_nobody_approves_what_waits_for_no_approval() -> None:
    """Of a wave that has no gate, or that began."""
    window = _running(RolloutSpec(windows=(NIGHT,)))
    with pytest.raises(RolloutConflictError, match="nobody's approval"):
        window.approve()
    begun = _running(RolloutSpec(strategy="canary", gate="manual"))
    with pytest.raises(RolloutConflictError, match="not the wave"):
        begun.approve()
    begun.act()
    begun.approve(by=FIRST)
    assert _new(begun) == 4, "a gate is an operator's, whoever asked"


def test_what_was_approved_is_not_said_to_wait_for_it() -> None:
    """Whoever approves is told how the rollout is then; one that is paused stays so."""
    gated = _running(RolloutSpec(strategy="canary", gate="manual"))
    gated.act()
    assert "waits for an operator" in gated.state.why
    everything: dict[str, Any] = {
        "policy": gated.fleet.policy,
        "others": Others(nodes=gated.fleet.nodes),
    }
    facts = a_command(9, actor=ADMINISTRATOR)
    assert answer(approved(gated.record, facts, wave=1, **everything), "").why == ""

    gated.command(paused, reason="lunch")
    assert state_of(approved(gated.record, facts, wave=1, **everything)).why == gated.state.why


def test_an_administrator_overrides_windows_with_a_reason() -> None:
    """Nobody else, and it holds to the end of this rollout."""
    world = _running(RolloutSpec(windows=(NIGHT,), strategy="canary"))
    with pytest.raises(OverrideRefusedError) as caught:
        world.resume(override=True)
    assert [one.path for one in caught.value.reasons] == ["override", "reason"]
    world.resume(override=True, actor=ADMINISTRATOR, reason="the site is down")
    world.until_quiet()
    assert world.phase() == "complete"
    assert world.state.override is not None
    assert world.state.override.reason == "the site is down"


def test_the_rollout_policy_says_who_may_override_it() -> None:
    """A rule that names no role holds for everybody."""
    begun = (START - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    freeze = ChangeWindow(start=begun, duration_seconds=30 * 86_400)
    rule = PolicyRule(name="year-end", freezes=(freeze,), override=())
    world = a_world()
    world.govern(RolloutPolicy(rules=(rule,)))
    world.apply(a_spec())
    assert world.phase() == "waiting"
    with pytest.raises(OverrideRefusedError):
        world.resume(override=True, actor=ADMINISTRATOR, reason="why")
    world.govern(RolloutPolicy())
    assert world.phase() == "rolling-out"


def test_what_is_over_is_not_spoken_to() -> None:
    """The refusal says how it ended."""
    world = _running(RolloutSpec(strategy="canary"))
    world.until_quiet()
    with pytest.raises(RolloutConflictError) as caught:
        rolling_record(world.record, name="edge")
    assert caught.value.reasons[0].rule == ("no rollout of it goes on: revision 2 is complete")
    with pytest.raises(RefusedError) as unknown:
        rolling_record(None, name="edge")
    assert unknown.value.refusal_code == "not_found"
