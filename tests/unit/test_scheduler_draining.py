# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that are emptied: who may leave when, what is waited for, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.cordoning import CordonError, cordon_node, drain_node, uncordon_node
from services.scheduler.draining import drained, drained_event, is_drained
from shared.contracts.rollouts import RolloutSpec
from shared.errors import Refusal
from tests.fleets import a_spec, observing, removed
from tests.support.draining import DrainingFleet


def _careful(name: str = "edge", share: int | str = 1, **fields: Any) -> Any:
    return a_spec(name, rollout=RolloutSpec(max_unavailable=share), **fields)


def test_a_node_is_emptied_and_then_drained() -> None:
    """It is over when the node was read back to run nothing, and said once."""
    world = DrainingFleet(a_spec(order=10), _careful("other", order=20))
    world.given(drain_node, "n1")

    assert world.step() == {"n1": ("edge", "other")}
    assert world.waits("n1") == {"": "it has not acted upon it yet"}
    assert not is_drained(world.labels["n1"], world.seen)
    world.act()

    assert is_drained(world.labels["n1"], world.seen)
    event_id, body = drained_event(world.labels["n1"])
    assert (event_id, body.action, body.outcome) == (
        "command-0011.complete",
        "node.drain",
        "succeeded",
    )
    world.keep(drained(world.labels["n1"], at="2026-01-01T00:00:00Z"))
    assert not is_drained(world.labels["n1"], world.seen)
    assert [len(one.chains[0].programs) for one in world.fleet.desired.values()] == [0, 2, 2]


def test_no_more_nodes_are_emptied_than_may_be_away() -> None:
    """The first asked is the first; the second waits until that one is back."""
    world = DrainingFleet(_careful())
    world.given(drain_node, "n2")
    world.given(drain_node, "n1")

    assert world.step() == {"n2": ("edge",)}
    assert world.waits("n1") == {
        "edge": "1 of its 3 nodes are away and no more than 1 may be: n2 is drained"
    }
    world.act()
    world.given(uncordon_node, "n2")
    assert world.waits("n1") == {
        "edge": "1 of its 3 nodes are away and no more than 1 may be: n2 is not confirmed"
    }
    world.act()
    assert world.step() == {"n1": ("edge",)}


@pytest.mark.parametrize(
    ("share", "leaving"), [(2, {"n1", "n2"}), ("34%", {"n1", "n2"}), ("100%", {"n1", "n2", "n3"})]
)
def test_a_share_is_of_the_deployments_nodes(share: int | str, leaving: set[str]) -> None:
    """Rounded up."""
    world = DrainingFleet(_careful(share=share))
    for node in ("n1", "n2", "n3"):
        world.given(drain_node, node)

    assert set(world.step()) == leaving


def test_a_node_that_is_away_anyhow_takes_nothing() -> None:
    """Its drain needs no room; that of another has none."""
    world = DrainingFleet(_careful())
    world.silent = {"n1"}
    world.given(drain_node, "n1")
    world.given(drain_node, "n2")

    assert world.step() == {"n1": ("edge",)}
    assert world.waits("n1") == {"": "it is silent"}
    assert world.waits("n2") == {
        "edge": "1 of its 3 nodes are away and no more than 1 may be: n1 is drained"
    }


def test_a_node_where_it_failed_is_away() -> None:
    """And is named with why."""
    world = DrainingFleet(_careful())
    world.observed["n3"] = observing(
        world.fleet.desired["n3"], refusal=Refusal(code="hook_owned", message="taken")
    )
    world.given(drain_node, "n1")

    assert world.step() == {}
    assert world.waits("n1")["edge"].endswith("no more than 1 may be: n3 refuses it")


def test_what_does_not_run_there_any_more_leaves_at_once() -> None:
    """Removed, or not meant for the node."""
    world = DrainingFleet(_careful(names=["n1", "n2"]), _careful("gone", order=20))
    world.given(drain_node, "n1")
    world.fleet = removed(world.fleet, "gone", at=30)
    world.silent = {"n2"}

    assert world.step() == {"n1": ("gone",)}


def test_a_cordon_ends_a_drain_where_it_is() -> None:
    """What left stays away, what stays is left alone."""
    world = DrainingFleet(_careful("edge", order=10), _careful("other", order=20))
    world.given(drain_node, "n2")
    world.step()
    world.given(drain_node, "n1")
    world.given(cordon_node, "n1")

    assert world.step() == {}
    assert world.labels["n1"].cordon is not None
    assert world.labels["n1"].cordon.stays == ("edge", "other")
    with pytest.raises(CordonError, match="n2 is being drained already"):
        world.given(drain_node, "n2")


def test_a_drained_node_says_so_where_deployments_leave_it_out() -> None:
    """And is whole again without its cordon."""
    world = DrainingFleet(a_spec())
    before = world.fleet.desired["n1"].chains[0].programs
    world.given(drain_node, "n1")
    world.step()

    assert world.fleet.nodes["n1"].left == {"edge"}
    world.given(uncordon_node, "n1")

    assert world.fleet.desired["n1"].chains[0].programs == before
