# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations with the core of rollouts: what happens in the fleet, and what it writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.scheduler.rollout.core import NodeHeard, NodeSilent, SpacesSeen
from shared.contracts.rollouts import ChangeWindow, RolloutSpec
from tests.fleets import a_node, a_spec, opened, seen_by
from tests.support.rollout_world import RolloutWorld, a_world

CANARY = RolloutSpec(strategy="canary")


def _running(rollout: RolloutSpec, **fields: Any) -> RolloutWorld:
    """Four nodes that run 1.0.0, and 1.1.0 accepted with this rollout."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.apply(a_spec(rollout=rollout, **fields), version="1.1.0")
    return world


def _on(world: RolloutWorld) -> list[str]:
    """The nodes that are told the new version."""
    return [name for name, version in world.versions().items() if version == "1.1.0"]


def test_a_canary_is_confirmed_before_the_others_are_told() -> None:
    """Its record, the others' records, and one event for each step."""
    world = _running(CANARY)
    before = {name: one for name, one in world.fleet.desired.items() if name != "n1"}

    assert _on(world) == ["n1"]
    assert {name: world.fleet.desired[name] for name in before} == before
    world.act("n1")
    assert _on(world) == ["n1", "n2", "n3", "n4"]
    world.act("n2", "n3")
    assert world.phase() == "rolling-out"
    world.act("n4")

    assert (world.phase(), world.record.earlier) == ("complete", ())
    assert world.actions() == ["release", "confirm", "release", "confirm", "complete"]
    assert [one.details["nodes"] for one in world.events if one.action == "rollout.release"] == [
        ["n1"],
        ["n2", "n3", "n4"],
    ]


def test_a_wave_bakes_and_the_last_one_too() -> None:
    """It is through when it was confirmed for so long without a break."""
    world = _running(RolloutSpec(strategy="canary", bake_seconds=60))
    world.act()
    assert (world.phase(), _on(world)) == ("baking", ["n1"])
    world.wait(59)
    assert _on(world) == ["n1"]
    world.wait(1)
    world.act()
    assert (world.phase(), world.state.wave) == ("baking", 1)
    world.wait(60)
    assert world.phase() == "complete"


def test_no_more_nodes_are_changed_than_may_be_unavailable() -> None:
    """A confirmed one makes room for the next."""
    world = _running(RolloutSpec(max_unavailable=2))
    assert _on(world) == ["n1", "n2"]
    world.act("n2")
    assert _on(world) == ["n1", "n2", "n3"]
    world.act("n1", "n3")
    assert _on(world) == ["n1", "n2", "n3", "n4"]
    world.act("n4")
    assert world.phase() == "complete"


def test_a_silent_node_counts_as_unavailable_and_is_not_waited_for() -> None:
    """Without room the rollout says for whom it waits, and goes on when that one returns."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.silence("n4")
    world.apply(a_spec(rollout=RolloutSpec(max_unavailable=1)), version="1.1.0")
    assert _on(world) == []
    assert world.state.why == "1 of 4 nodes are unavailable and no more than 1 may be: n4"

    world.hear("n4")
    world.act("n1")
    world.act("n2")
    assert _on(world) == ["n1", "n2", "n3"]
    world.silence("n3", "n4")
    assert _on(world) == ["n1", "n2", "n3"], "n3 was changed and is not confirmed"
    world.hear("n3")
    world.act("n3")
    assert _on(world) == ["n1", "n2", "n3", "n4"], "n4 is unavailable, whether it is changed or not"
    assert world.phase() == "complete"


def test_a_drained_node_counts_as_unavailable() -> None:
    """It is in no wave, and down by somebody's doing until it is uncordoned."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.see(replace(world.fleet.nodes["n4"], stays=frozenset(), left=frozenset({"edge"})))
    world.act()

    world.apply(a_spec(rollout=RolloutSpec(max_unavailable=1)), version="1.1.0")
    assert _on(world) == []
    assert world.state.why == "1 of 4 nodes are unavailable and no more than 1 may be: n4"

    world.see(a_node("n4"))
    world.until_quiet()
    assert (world.phase(), _on(world)) == ("complete", ["n1", "n2", "n3", "n4"])


def test_the_wave_of_a_silent_node_goes_on_without_it() -> None:
    """A canary that nobody hears of proves nothing; any other wave needs one node that answers."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.silence("n1", "n4")
    world.apply(a_spec(rollout=CANARY), version="1.1.0")
    assert (_on(world), world.state.why) == (["n1"], "no node of wave 1 answers")
    world.wait(100_000)
    assert world.phase() == "rolling-out", "who is silent has no deadline"
    world.hear("n1")
    world.act("n1", "n2", "n3")
    assert world.phase() == "complete"
    assert world.versions()["n4"] == "1.1.0"


def test_the_last_wave_needs_nobody_who_answers() -> None:
    """Those who are away get the revision when they return; a wave before others is waited for."""
    world = _running(RolloutSpec(strategy="canary", waves=(1,)))
    world.silence("n2", "n3", "n4")
    world.act("n1")
    assert (world.state.wave, world.state.why) == (1, "no node of wave 2 answers")
    world.hear("n2")
    world.act("n2")
    assert world.phase() == "complete"
    world.hear("n3", "n4")
    world.act()
    assert _on(world) == ["n1", "n2", "n3", "n4"]


def test_a_refusal_of_the_canary_brings_everything_back() -> None:
    """As a new revision; the others never saw the bad one, and the canary has its old instance."""
    world = _running(CANARY)
    world.refusing["1.1.0"] = {"n1"}
    others = {name: one for name, one in world.fleet.desired.items() if name != "n1"}
    first = world.told["n1"][0]
    world.act()

    newest = world.record.revisions[-1]
    assert (newest.revision, newest.rollback_of, newest.version) == (3, 1, "1.0.0")
    assert world.phase() == "rolled-back"
    assert world.state.why == "refused on n1"
    assert world.actions() == ["release", "rollback"]
    event = world.events[-1]
    assert (event.outcome, event.correlation) == ("failed", "command-0002")
    assert event.details["nodes"] == ["n1"]
    assert event.reasons[0].path == "nodes.n1.eth0"
    assert {name: world.fleet.desired[name] for name in others} == others
    back = world.fleet.desired["n1"]
    assert back.generation == first.generation + 2
    assert [one.programs for one in back.chains] == [one.programs for one in first.chains]
    assert world.record.unfinished[-1] == world.record.command_id
    assert world.record.generation == 3


def test_a_first_revision_that_fails_is_removed() -> None:
    """There is nothing to go back to."""
    world = a_world()
    world.refusing["1.0.0"] = {"n1"}
    world.apply(a_spec(rollout=CANARY))
    world.act()
    assert (world.record.removed, world.phase()) == (True, "rolled-back")
    assert world.versions() == {}
    assert list(world.told) == ["n1"], "the others never heard of it"


def test_only_the_wave_goes_back_if_the_deployment_says_so() -> None:
    """The earlier waves keep the new revision, until somebody resumes or aborts."""
    world = _running(RolloutSpec(strategy="canary", waves=(1,), on_failure="roll-back-wave"))
    world.refusing["1.1.0"] = {"n2"}
    world.act("n1")
    world.act("n2")
    assert (_on(world), world.phase(), world.state.released) == (["n1"], "paused", 0)
    assert world.events[-1].details["only_wave"] is True
    assert world.state.evidence[0].path == "nodes.n2.eth0"


def test_a_rollout_pauses_where_it_is_if_the_deployment_says_so() -> None:
    """Nothing goes on and nothing goes back."""
    world = _running(RolloutSpec(max_unavailable=2, on_failure="pause"))
    world.refusing["1.1.0"] = {"n1"}
    world.act("n1", "n2")
    assert (_on(world), world.phase()) == (["n1", "n2"], "paused")
    world.until_quiet()
    assert _on(world) == ["n1", "n2"]


def test_a_wave_that_is_not_confirmed_in_time_fails() -> None:
    """Every node that answers has so long after the last was changed."""
    world = _running(RolloutSpec(strategy="canary", timeout_seconds=30))
    world.wait(29)
    assert world.phase() == "rolling-out"
    world.wait(1)
    assert world.phase() == "rolled-back"
    assert world.state.why == "not confirmed within 30 s: n1"


def test_a_node_that_fails_while_its_wave_bakes_fails_the_wave() -> None:
    """And so does one of an earlier wave."""
    for node in ("n1", "n3"):
        world = _running(RolloutSpec(strategy="canary", bake_seconds=60))
        world.act()
        world.wait(60)
        world.act()
        world.refusing["1.1.0"] = {node}
        world.act()
        assert world.phase() == "rolled-back"


def test_a_canary_that_is_forgotten_proves_nothing() -> None:
    """What it had goes back, whether it was confirmed or not; a later wave does not need all."""
    for bake_seconds in (0, 60):
        world = _running(RolloutSpec(strategy="canary", bake_seconds=bake_seconds))
        others = {name: one for name, one in world.fleet.desired.items() if name != "n1"}
        if bake_seconds:
            world.act()
            assert world.phase() == "baking"
        world.see(replace(world.fleet.nodes["n1"], is_forgotten=True))
        assert (world.phase(), world.state.why) == ("rolled-back", "no node of wave 1 is left: n1")
        assert world.state.evidence[0].path == "nodes.n1"
        assert {name: world.fleet.desired[name] for name in others} == others

    world = _running(RolloutSpec(strategy="canary", waves=(1,)))
    world.act("n1")
    world.see(replace(world.fleet.nodes["n2"], is_forgotten=True))
    world.until_quiet()
    assert world.phase() == "complete"


def test_a_gate_waits_for_an_operator() -> None:
    """`canary` once, `manual` before every wave but the first."""
    canary = RolloutSpec(strategy="canary", waves=(1,), gate="canary")
    manual = RolloutSpec(strategy="canary", waves=(1,), gate="manual")
    for rollout, waves in ((canary, [1]), (manual, [1, 2])):
        world = _running(rollout)
        for wave in waves:
            world.act()
            assert world.phase() == "waiting"
            assert world.state.why == "it waits for an operator (l3af approve)"
            world.approve(wave)
        world.until_quiet()
        assert world.phase() == "complete"


def test_a_change_window_is_waited_for() -> None:
    """Nobody is told anything until it opens, and the core says when that is."""
    window = ChangeWindow(cron="0 2 * * *", duration_seconds=3600)
    world = _running(RolloutSpec(windows=(window,)))
    assert (_on(world), world.phase(), world.actions()) == ([], "waiting", ["wait"])
    assert world.core.due is not None
    world.wait((world.core.due - world.now).total_seconds())
    world.act()
    assert world.phase() == "complete"


def test_another_scheduler_goes_on_where_the_first_one_was() -> None:
    """What it decides follows from what is stored, at every step."""
    world = _running(RolloutSpec(strategy="canary", max_unavailable=1, bake_seconds=10))
    for _ in range(30):
        world.restart()
        world.act()
        world.wait(5)
    assert world.phase() == "complete"
    alone = _running(RolloutSpec(strategy="canary", max_unavailable=1, bake_seconds=10))
    for _ in range(30):
        alone.act()
        alone.wait(5)
    assert (world.record, world.events) == (alone.record, alone.events)


def test_after_a_start_nothing_is_concluded_of_whom_nobody_heard_yet() -> None:
    """A wave is not through without them, does not begin to bake anew, and no node is changed."""
    world = _running(RolloutSpec(strategy="canary", canary=2, bake_seconds=60))
    world.act("n1")
    world.handle(NodeSilent("n2", is_known=False))
    assert (world.phase(), world.state.why) == ("rolling-out", "")
    world.handle(NodeHeard("n2"))
    world.act("n2")
    since = world.state.healthy_since
    world.handle(*(NodeSilent(name, is_known=False) for name in world.fleet.nodes))
    world.wait(1000)
    assert (world.phase(), world.state.healthy_since, _on(world)) == ("baking", since, ["n1", "n2"])
    assert world.core.due is None, "time alone brings nothing any more"
    world.handle(*(NodeHeard(name) for name in world.fleet.nodes))
    assert _on(world) == ["n1", "n2", "n3", "n4"]
    assert "wait" not in world.actions()


def test_nodes_that_come_meanwhile_are_the_last_wave() -> None:
    """No more of them are changed at a time than may be unavailable."""
    world = _running(RolloutSpec(strategy="canary", max_unavailable=1))
    for name in ("n5", "n0"):
        world.join(a_node(name))
    world.act("n0", "n5")
    assert world.versions()["n0"] == "1.0.0"
    for name in ("n1", "n2", "n3", "n4"):
        world.act(name)
    assert (_on(world), world.state.wave) == (["n0", "n1", "n2", "n3", "n4"], 2)
    world.act("n0")
    assert (world.phase(), world.versions()["n5"]) == ("rolling-out", "1.1.0")
    world.act("n5")
    assert world.phase() == "complete"
    assert [one.details["waves"] for one in world.events][-3:] == [3, 3, 3]


def test_the_rollout_of_a_deployment_in_a_space_sees_what_its_members_see() -> None:
    """Also when the space opens meanwhile."""
    world = a_world()
    world.fleet, world.key = seen_by(world.fleet, r_1=["somebody"]), "r_1.edge"
    world.handle(SpacesSeen(world.fleet.audiences))
    world.apply(a_spec(space="r_1"))
    world.until_quiet()
    world.apply(a_spec(space="r_1", rollout=CANARY), version="1.1.0")
    world.act("n1")
    assert _on(world) == ["n1", "n2", "n3", "n4"]
    world.fleet = opened(world.fleet, "r_1")
    world.handle(SpacesSeen(world.fleet.audiences))
    world.until_quiet()
    assert world.phase() == "complete"


def test_a_wait_is_said_once_however_the_numbers_change() -> None:
    """They are in the record."""
    world = _running(RolloutSpec(max_unavailable=1, timeout_seconds=3600))
    world.act("n1")
    world.silence("n2")
    world.silence("n3")
    world.silence("n4")
    assert world.state.why.startswith("3 of 4 nodes are unavailable")
    assert world.actions().count("wait") == 1


def test_a_label_that_names_no_interface_any_more_is_not_waited_for() -> None:
    """What it named follows when the rollout is over, also of a deployment that is new there."""
    world = a_world(a_node(name, "eth0", "eth1", b="eth0", g="eth1") for name in ("n1", "n2"))
    colours = RolloutSpec(strategy="blue-green", blue="b", green="g")
    world.apply(a_spec(interfaces=("eth0", "eth1"), rollout=colours))
    world.act("n1")
    assert (world.phase(), world.state.wave) == ("rolling-out", 0)
    world.see(a_node("n2", "eth0", "eth1", b="eth0"))
    assert world.state.wave == 1
    world.until_quiet()
    assert world.phase() == "complete"
    assert len(world.fleet.desired["n2"].chains) == 2


def test_blue_green_changes_one_interface_of_every_node_first() -> None:
    """A place has one revision, a node may have two meanwhile."""
    world = a_world(a_node(name, "eth0", "eth1", b="eth0", g="eth1") for name in ("n1", "n2"))
    world.apply(a_spec(interfaces=("eth0", "eth1")))
    world.until_quiet()
    rollout = RolloutSpec(strategy="blue-green", blue="b", green="g", gate="manual")
    world.apply(a_spec(interfaces=("eth0", "eth1"), rollout=rollout), version="1.1.0")
    world.until_quiet()
    for name in ("n1", "n2"):
        places = {c.interface: c.programs[0].version for c in world.fleet.desired[name].chains}
        assert places == {"eth0": "1.0.0", "eth1": "1.1.0"}
    assert world.phase() == "waiting"
    world.approve(1)
    world.until_quiet()
    assert world.phase() == "complete"
