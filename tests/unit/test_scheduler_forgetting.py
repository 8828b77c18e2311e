# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node that was given up: who may, and what no longer waits for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.completion import endings
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.forgetting import ForgettingError, forget_node, forgotten_event
from services.scheduler.labelling import change_labels
from services.scheduler.liveness import Silence
from services.scheduler.placement import NoEligibleNodeError, view_node
from services.scheduler.status import deployment_status, node_status, view_places
from shared.contracts.scheduler import NodeLabels
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    applied,
    observing,
    rules,
    told,
)

ALIVE = Silence(seconds=1.0, is_silent=False)
SILENT = Silence(seconds=31.0, is_silent=True)
UNHEARD = Silence(seconds=None, is_silent=False)


def _forgetting(fleet: Fleet, name: str) -> Fleet:
    forgotten = replace(fleet.nodes[name], is_forgotten=True)
    return replace(fleet, nodes={**fleet.nodes, name: forgotten})


@pytest.fixture
def fleet() -> Fleet:
    """A deployment on n1 and n2, of which n2 was forgotten."""
    return _forgetting(applied(a_fleet(a_node("n1"), a_node("n2")), a_spec()), "n2")


@pytest.mark.parametrize("silence", [SILENT, UNHEARD])
def test_a_node_that_is_not_heard_can_be_forgotten(silence: Silence) -> None:
    """Its labels stay, for the day it is taken back."""
    current = NodeLabels(node="n2", labels={"role": "edge"})

    record = forget_node("n2", current, silence, undo=False, command_id="c")

    assert record == NodeLabels(node="n2", labels={"role": "edge"}, command_id="c", forgotten=True)


def test_a_node_that_is_alive_is_not_forgotten_but_can_be_taken_back() -> None:
    """What filters and answers is not lost."""
    with pytest.raises(ForgettingError, match="n2 is alive"):
        forget_node("n2", None, ALIVE, undo=False, command_id="c")

    forgotten = NodeLabels(node="n2", labels={}, forgotten=True)
    assert not forget_node("n2", forgotten, ALIVE, undo=True, command_id="c").forgotten


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_what_would_change_nothing_is_refused(is_forgotten: bool) -> None:
    """Forgetting twice, or taking back what was not forgotten."""
    current = NodeLabels(node="n2", labels={}, forgotten=is_forgotten)

    with pytest.raises(ForgettingError):
        forget_node("n2", current, SILENT, undo=not is_forgotten, command_id="c")


def test_labels_of_a_forgotten_node_do_not_take_it_back() -> None:
    """Only whoever forgot it does."""
    current = NodeLabels(node="n2", labels={}, forgotten=True)
    record = a_node_record("n2")

    labels = change_labels(record, current, to_set={"a": "1"}, to_remove=[], command_id="c")

    assert view_node(record, labels).is_forgotten


def test_nothing_is_placed_or_staged_on_a_forgotten_node(fleet: Fleet) -> None:
    """It is named among those left out, and its silence stops nobody."""
    draft = draft_application(fleet, a_spec(), a_package(version="1.1.0"), a_command(2))

    assert set(draft.staging) == set(draft.desired) == {"n1"}
    assert [(one.node, one.why) for one in draft.plan.excluded] == [("n2", "was forgotten")]


def test_a_deployment_for_forgotten_nodes_alone_is_refused(fleet: Fleet) -> None:
    """And says why."""
    with pytest.raises(NoEligibleNodeError) as caught:
        draft_application(fleet, a_spec(names=["n2"]), a_package(), a_command(2))

    assert rules(caught.value.reasons) == {
        "nodes.n1": "its name matches none of n2",
        "nodes.n2": "was forgotten",
    }


def test_what_a_forgotten_node_was_told_stays_until_it_is_taken_back(fleet: Fleet) -> None:
    """Should it be alive after all, it keeps filtering; back, it follows again."""
    gone = fleet.with_deployment(draft_removal(fleet, "edge", a_command(2)).record)
    after = told(gone)

    assert after.desired["n1"].chains[0].programs == ()
    assert after.desired["n2"] == fleet.desired["n2"]
    back = replace(after, nodes={**after.nodes, "n2": a_node("n2")})
    assert set(derive_desired(back).changed) == {"n2"}


def test_an_apply_ends_without_a_forgotten_node(fleet: Fleet) -> None:
    """And its event says who is missing."""
    record = fleet.deployments["edge"]

    (ending,) = endings(record, fleet, {"n1": observing(fleet.desired["n1"])})

    assert ending.body.outcome == "succeeded"
    assert (ending.body.details["place_count"], ending.body.details["forgotten"]) == (1, ["n2"])
    assert [view.node for view in view_places(record, fleet, {})] == ["n1"]


def test_a_removal_ends_without_a_forgotten_node(fleet: Fleet) -> None:
    """Neither what it was told nor what it last reported is waited for."""
    ran = {name: observing(desired) for name, desired in fleet.desired.items()}
    gone = told(fleet.with_deployment(draft_removal(fleet, "edge", a_command(2)).record))
    observed = {**ran, "n1": observing(gone.desired["n1"])}
    record = gone.deployments["edge"]

    outcomes = {one.event_id: one.body.outcome for one in endings(record, gone, observed)}

    assert outcomes["command-0002.complete"] == "succeeded"
    assert deployment_status(record, gone, observed, silences={}).places == ()


def test_a_node_says_whether_it_was_forgotten(fleet: Fleet) -> None:
    """So that lists can leave it out."""
    states = [
        node_status(a_node_record(name), fleet, None, SILENT).forgotten for name in ("n1", "n2")
    ]

    assert states == [False, True]


def test_the_event_says_which_way() -> None:
    """One action for both."""
    forgotten = NodeLabels(node="n2", labels={}, forgotten=True)
    event = forgotten_event(forgotten, None, a_command())
    back = forgotten_event(
        NodeLabels(node="n2", labels={}, forgotten=False), forgotten, a_command()
    )

    assert (event.action, event.outcome, event.node) == ("node.forget", "accepted", "n2")
    assert event.details == {"forgotten": True}
    assert (back.before, back.after) == (event.after, event.before)
    assert event.before != event.after
