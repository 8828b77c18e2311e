# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Cordoned nodes: who stays, who does not come, and what the end of a cordon brings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYTHING
from services.scheduler.cordoning import (
    CordonError,
    cordon_event,
    cordon_node,
    cordon_status,
    uncordon_node,
    without_removed,
)
from services.scheduler.desired_state import Fleet
from services.scheduler.forgetting import forget_node
from services.scheduler.labelling import change_labels
from services.scheduler.liveness import Silence
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.placement import NoEligibleNodeError, view_node
from shared.contracts.scheduler import NodeLabels
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    applied,
    orders,
    removed,
    rules,
    seen_by,
    told,
)

SILENT = Silence(seconds=99.0, is_silent=True)


def _cordoned(fleet: Fleet, node: str = "n1") -> tuple[Fleet, NodeLabels]:
    """The fleet once the node is cordoned and told, and what is stored of it."""
    record = cordon_node(node, None, fleet, a_command(9, reason="disk"))
    view = view_node(a_node_record(node), record)
    return told(replace(fleet, nodes={**fleet.nodes, node: view})), record


@pytest.fixture
def fleet() -> Fleet:
    """`edge` on n1 and n2."""
    return applied(a_fleet(view_node(a_node_record("n1"), None), a_node("n2")), a_spec(order=10))


def test_a_cordon_takes_nothing_off(fleet: Fleet) -> None:
    """Not one byte of what the node was told changes."""
    after, record = _cordoned(fleet)

    assert after.desired["n1"] == fleet.desired["n1"]
    assert record.cordon is not None
    assert record.cordon.stays == ("edge",)


def test_nothing_new_is_put_on_a_cordoned_node(fleet: Fleet) -> None:
    """It is named among those left out; alone, it makes the deployment be refused."""
    cordoned, _ = _cordoned(fleet)
    other = a_spec("other", order=20)

    draft = draft_application(cordoned, other, a_package(), a_command(10))

    assert set(draft.desired) == {"n2"}
    assert [(one.node, one.why) for one in draft.plan.excluded] == [("n1", "is cordoned")]
    with pytest.raises(NoEligibleNodeError) as caught:
        draft_application(cordoned, a_spec("other", names=["n1"]), a_package(), a_command(10))
    assert rules(caught.value.reasons)["nodes.n1"] == "is cordoned"


def test_what_is_there_follows_its_deployment(fleet: Fleet) -> None:
    """A new revision, and a removal."""
    cordoned, _ = _cordoned(fleet)

    newer = applied(cordoned, a_spec(order=10), version="1.1.0", at=10)
    gone = removed(newer, "edge", at=11)

    assert [one.revision for one in newer.desired["n1"].chains[0].programs] == [2]
    assert gone.desired["n1"].chains[0].programs == ()


def test_a_deployment_that_was_removed_does_not_come_back_under_its_name(fleet: Fleet) -> None:
    """It left the node, whoever uses its name next."""
    cordoned, record = _cordoned(fleet)
    gone = removed(cordoned, "edge", at=10)

    assert without_removed(record, cordoned) is None
    left = without_removed(record, gone)

    assert left is not None
    bare = replace(gone, nodes={**gone.nodes, "n1": view_node(a_node_record("n1"), left)})
    again = applied(bare, a_spec(order=10), at=11)
    assert again.desired["n1"].chains[0].programs == ()
    assert [one.revision for one in again.desired["n2"].chains[0].programs] == [2]


def test_the_end_of_a_cordon_brings_what_means_the_node(fleet: Fleet) -> None:
    """At once, in its order."""
    cordoned, record = _cordoned(fleet)
    more = applied(cordoned, a_spec("other", order=5), at=10)

    open_again = uncordon_node("n1", record, more, a_command(11))

    view = view_node(a_node_record("n1"), open_again)
    after = told(replace(more, nodes={**more.nodes, "n1": view}))
    assert orders(after, "n1") == {"eth0/xdp": ["other", "edge"]}


def test_a_cordon_does_not_end_in_a_contest(fleet: Fleet) -> None:
    """Both deployments are named; nothing is decided for the operator."""
    cordoned, record = _cordoned(fleet)
    elsewhere = replace(cordoned, nodes={"n1": cordoned.nodes["n1"]}, deployments={})
    rival = applied(a_fleet(a_node("n1")), a_spec("rival", order=10)).deployments["rival"]
    contested = replace(
        elsewhere, deployments={**cordoned.deployments, "rival": rival}, desired=cordoned.desired
    )

    with pytest.raises(ChainConflictError) as caught:
        uncordon_node("n1", record, contested, a_command(11))

    assert "rival" in caught.value.reasons[0].rule
    assert "edge" in caught.value.reasons[0].rule


def test_what_would_change_nothing_is_refused(fleet: Fleet) -> None:
    """Cordoning twice, or opening what is open."""
    _, record = _cordoned(fleet)

    with pytest.raises(CordonError, match="n1 is cordoned already"):
        cordon_node("n1", record, fleet, a_command(10))
    for current in (None, NodeLabels(node="n1", labels={})):
        with pytest.raises(CordonError, match="n1 is not cordoned"):
            uncordon_node("n1", current, fleet, a_command(10))


def test_labels_and_forgetting_leave_a_cordon_as_it_is(fleet: Fleet) -> None:
    """Only its own command ends it."""
    _, record = _cordoned(fleet)

    labelled = change_labels(
        a_node_record("n1"), record, to_set={"a": "1"}, to_remove=[], command_id="c"
    )
    forgotten = forget_node("n1", labelled, SILENT, undo=False, command_id="c")

    assert forgotten.cordon == record.cordon


def test_a_cordon_names_no_deployment_to_those_who_do_not_see_it() -> None:
    """Neither in the log nor to whoever asks for the node."""
    fleet = applied(seen_by(a_fleet(), p_acme=["ann"]), a_spec(space="p_acme"))
    record = cordon_node("n1", None, fleet, a_command(9))

    shown = cordon_status(record.cordon, fleet.audiences.seen_in("public"))
    whole = cordon_status(record.cordon, EVERYTHING)
    event = cordon_event("node.cordon", record, None, a_command(9))

    assert shown is not None
    assert whole is not None
    assert (shown.stays, whole.stays) == ((), ("p_acme.edge",))
    assert event.details == {"cordoned": True, "drains": False}
