# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why a node runs what it runs, and why it does not run the rest."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cli.explain import render_explained
from services.scheduler.audiences import EVERYTHING, Sight
from services.scheduler.cordoning import cordon_node, drain_node
from services.scheduler.draining import drain_steps
from services.scheduler.node_explanation import explain_node
from shared.contracts.node_reasons import NodeExplained
from shared.contracts.rollouts import RolloutSpec
from shared.contracts.scheduler import NodeLabels
from shared.errors import Refusal
from tests.fleets import a_node, a_spec, applied, observing, seen_by
from tests.support.draining import DrainingFleet


def _explained(
    world: DrainingFleet, node: str = "n1", *, sight: Sight = EVERYTHING
) -> NodeExplained:
    cordon = world.labels.get(node, NodeLabels(node=node, labels={})).cordon
    step = drain_steps(world.labels.values(), world.seen).get(node)
    return explain_node(
        world.fleet.nodes[node], world.seen, sight, cordon=cordon, waits=step.waits if step else ()
    )


def _shown(found: NodeExplained) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(render_explained(found))
    return text.getvalue()


def _why_not(found: NodeExplained) -> dict[str, str]:
    return {one.deployment: one.why_not for one in found.deployments if not one.places}


def test_what_runs_comes_first_with_what_made_it_so() -> None:
    """Its revision, its place, how that stands, and what it asks of nodes."""
    world = DrainingFleet(
        a_spec("zero", order=5, names=["n2"]), a_spec(names=["n*"], labels={"zone": "z0"}, order=10)
    )

    found = _explained(world)

    assert found.standing == ("it is there",)
    first, second = found.deployments
    assert (first.deployment, first.package, first.version) == ("edge", "rate-limit", "1.0.0")
    assert first.because == ("name matches n*", "label zone is z0")
    (place,) = first.places
    assert (place.place, place.hook, place.state, place.revision) == ("eth0", "xdp", "running", 1)
    assert (second.deployment, second.why_not) == ("zero", "its name matches none of n2")
    shown = _shown(found)
    assert "revision 1 eth0/xdp running" in shown
    assert "not here: zero (rate-limit): its name matches none of n2" in shown


def test_a_place_that_does_not_run_says_why() -> None:
    """In the node's words."""
    world = DrainingFleet(a_spec())
    refusal = Refusal(code="hook_owned", message="somebody else holds the hook")
    world.observed["n1"] = observing(world.fleet.desired["n1"], refusal=refusal)

    found = _explained(world)

    (place,) = found.deployments[0].places
    assert (place.state, place.why[0].rule) == ("failed", "somebody else holds the hook")
    assert "somebody else holds the hook" in _shown(found)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"labels": {"role": "core"}}, "it has no label role"),
        (
            {"interfaces": ("wan*",), "names": ["n*"]},
            "no interface matches wan* (it has eth0)",
        ),
    ],
)
def test_the_first_requirement_that_fails_is_said(fields: dict[str, Any], why: str) -> None:
    """As a plan says it."""
    world = DrainingFleet()
    more = {**world.fleet.nodes, "n9": a_node("n9", "eth0", "wan0", role="core")}
    world.fleet = applied(replace(world.fleet, nodes=more), a_spec(**fields))

    assert _why_not(_explained(world)) == {"edge": why}


def test_a_node_that_was_not_chosen_says_so() -> None:
    """Of a deployment for so many nodes."""
    world = DrainingFleet(a_spec(count=1))
    (other, *_) = sorted(set(world.fleet.nodes) - world.chosen())

    assert _why_not(_explained(world, other)) == {"edge": "it was not chosen (count = 1)"}


def test_a_node_that_is_lost_says_what_that_means() -> None:
    """And what becomes of it when it returns."""
    world = DrainingFleet(a_spec())
    world.lose("n1")

    assert _explained(world).standing == (
        "it has missed three heartbeats: it keeps what it was told, and follows when it returns",
        "it is lost: deployments for so many nodes go elsewhere",
    )


def test_a_cordoned_and_a_drained_node_say_since_when_and_what_is_waited_for() -> None:
    """With the operator's reason."""
    spec = a_spec(rollout=RolloutSpec(max_unavailable=1))
    world = DrainingFleet(spec)
    world.given(cordon_node, "n3")
    world.given(drain_node, "n1")
    world.given(drain_node, "n2")
    world.step()

    cordoned, first, second = (_explained(world, name) for name in ("n3", "n1", "n2"))

    since = "2026-01-01T00:00:11.000000Z"
    assert cordoned.standing[1:] == (
        f"it is cordoned since {since}, so nothing new is put on it: new disks",
    )
    assert first.standing[1:] == (
        "it is being drained since 2026-01-01T00:00:12.000000Z: new disks",
        "it has not acted upon it yet",
    )
    assert _why_not(first) == {"edge": "was drained"}
    assert second.standing[2] == (
        "edge does not leave yet: 1 of its 3 nodes are away and no more than 1 may be: "
        "n1 is drained"
    )


def test_a_node_that_waits_for_its_wave_says_so() -> None:
    """With the phase and what the rollout waits for."""
    world = DrainingFleet()
    rollout = RolloutSpec(strategy="canary", canary=1)
    world.fleet = applied(world.fleet, a_spec(rollout=rollout))

    (one,) = _explained(world, "n3").deployments

    assert one.places == ()
    assert one.why_not.startswith("revision 1 comes with wave 2 of 2; waiting at wave 1 of 2")


def test_what_is_not_seen_is_not_named() -> None:
    """Only that there is something more."""
    world = DrainingFleet()
    hidden = seen_by(world.fleet, p_acme=["ann"])
    world.fleet = applied(hidden, a_spec(space="p_acme"))

    found = _explained(world, sight=world.fleet.audiences.seen_in("public"))

    assert (found.deployments, found.unseen) == ((), True)
    assert "and something that you do not see" in _shown(found)
    assert [one.deployment for one in _explained(world).deployments] == ["p_acme.edge"]
