# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What may be done to a node's labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.scheduler.labelling import (
    MAX_LABELS,
    LabelChangeError,
    UnknownNodeError,
    change_labels,
    known_node,
    labelled_event,
    refuse_label_conflicts,
)
from services.scheduler.place_conflicts import ChainConflictError
from shared.contracts.rollouts import RolloutSpec
from shared.contracts.scheduler import NodeLabels
from tests.fleets import a_command, a_fleet, a_node, a_node_record, a_spec, applied, rules

RECORD = a_node_record("n1", "eth0", site="a")


def _given(**labels: str) -> NodeLabels:
    return NodeLabels(node="n1", labels=labels)


def test_labels_are_set_over_those_that_were_given() -> None:
    """What is not named stays."""
    labels = change_labels(
        RECORD,
        _given(role="edge", tier="1"),
        to_set={"role": "core"},
        to_remove=["tier"],
        command_id="command-1",
    )

    assert (labels.labels, labels.command_id) == ({"role": "core"}, "command-1")


def test_a_label_of_the_nodes_own_can_be_covered() -> None:
    """An operator's word wins."""
    labels = change_labels(RECORD, None, to_set={"site": "b"}, to_remove=[], command_id="c")

    assert labels.labels == {"site": "b"}


def test_every_label_that_cannot_be_removed_is_named_with_why() -> None:
    """The node's own, one that is not there, and one that is also to be set."""
    with pytest.raises(LabelChangeError) as caught:
        change_labels(
            RECORD,
            _given(role="edge"),
            to_set={"role": "core"},
            to_remove=["site", "nothing", "role"],
            command_id="c",
        )

    assert rules(caught.value.reasons) == {
        "remove[0]": "comes from the node's own configuration",
        "remove[1]": "is not a label of the node",
        "remove[2]": "is also to be set",
    }


def test_a_change_of_nothing_is_refused() -> None:
    """A command that does nothing is a mistake."""
    with pytest.raises(LabelChangeError):
        change_labels(RECORD, None, to_set={}, to_remove=[], command_id="c")


def test_a_node_holds_a_limited_number_of_labels() -> None:
    """A record stays small."""
    many = {f"k{number}": "v" for number in range(MAX_LABELS + 1)}

    with pytest.raises(LabelChangeError) as caught:
        change_labels(RECORD, None, to_set=many, to_remove=[], command_id="c")

    assert caught.value.reasons[0].allowed == MAX_LABELS


def test_an_unknown_node_is_refused_by_name() -> None:
    """Only registered nodes have labels."""
    with pytest.raises(UnknownNodeError, match="n7"):
        known_node({"n1": RECORD}, "n7")


def test_labels_that_would_make_two_claim_one_place_are_refused() -> None:
    """And both are named, as when somebody deploys."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    fleet = applied(fleet, a_spec("left", labels={"a": "1"}), at=1)
    fleet = applied(fleet, a_spec("right", labels={"b": "1"}), at=2)
    record = a_node_record("n1", "eth0", a="1")

    with pytest.raises(ChainConflictError) as caught:
        refuse_label_conflicts(fleet, record, _given(b="1"))

    assert caught.value.reasons[0].rule == "place 500 of eth0/xdp is claimed by left and right"


def test_labels_that_would_make_two_meet_when_a_rollout_is_over_are_refused() -> None:
    """Although the node would not have its revision yet."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    fleet = applied(fleet, a_spec("left", labels={"a": "1"}), at=1)
    fleet = applied(fleet, a_spec("right", labels={"b": "1"}, order=7), at=2)
    canary = RolloutSpec(strategy="canary")
    fleet = applied(fleet, a_spec("right", labels={"b": "1"}, rollout=canary), at=3)
    record = a_node_record("n1", "eth0", a="1")

    with pytest.raises(ChainConflictError):
        refuse_label_conflicts(fleet, record, _given(b="1"))


def test_a_contest_that_was_there_before_does_not_forbid_a_label() -> None:
    """Only what the change itself brings about counts."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    fleet = applied(fleet, a_spec("left", labels={"a": "1"}), at=1)
    fleet = applied(fleet, a_spec("right", labels={"b": "1"}), at=2)
    contested = a_node("n1", a="1", b="1")
    fleet = replace(fleet, nodes={**fleet.nodes, "n1": contested})
    record = a_node_record("n1", "eth0", a="1", b="1")

    refuse_label_conflicts(fleet, record, _given(tier="2"))


def test_the_event_says_which_labels_the_node_has_now() -> None:
    """With digests of what operators had set before and after."""
    event = labelled_event(
        _given(role="edge"), None, {"role": "edge", "site": "a"}, a_command(reason="new rack")
    )

    assert (event.action, event.outcome, event.node) == ("node.label", "accepted", "n1")
    assert (event.before, event.reason) == ("", "new rack")
    assert event.details == {"labels": {"role": "edge", "site": "a"}}
