# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The order of a chain, and who gets a place that two want."""

from __future__ import annotations

import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import derive_desired
from services.scheduler.place_conflicts import ChainConflictError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    applied,
    orders,
    removed,
    told,
)


def test_programs_run_by_ascending_order() -> None:
    """The order key decides, not the order in which deployments came."""
    fleet = applied(a_fleet(), a_spec("last", order=900), at=1)
    fleet = applied(fleet, a_spec("first", order=0), at=2)
    fleet = applied(fleet, a_spec("middle", order=500), at=3)

    assert orders(fleet) == {"eth0/xdp": ["first", "middle", "last"]}


def test_two_deployments_claiming_one_place_are_refused_and_both_are_named() -> None:
    """The refusal says which place, where, and who claims it."""
    fleet = applied(a_fleet(), a_spec("holder", order=7))

    with pytest.raises(ChainConflictError) as caught:
        draft_application(fleet, a_spec("newcomer", order=7), a_package(), a_command(2))

    assert caught.value.refusal_code == "conflict"
    assert caught.value.message == "newcomer claims a place in a chain that holder already has"
    assert [(one.path, one.rule) for one in caught.value.reasons] == [
        ("order", "place 7 of eth0/xdp on n1 is claimed by holder and newcomer")
    ]


def test_every_contested_place_is_named_at_once() -> None:
    """Two holders on two nodes give two reasons."""
    fleet = a_fleet(a_node("n1", side="a"), a_node("n2", side="b"))
    fleet = applied(fleet, a_spec("left", labels={"side": "a"}), at=1)
    fleet = applied(fleet, a_spec("right", labels={"side": "b"}), at=2)

    with pytest.raises(ChainConflictError, match="left, right") as caught:
        draft_application(fleet, a_spec("both"), a_package(), a_command(3))

    assert len(caught.value.reasons) == 2


def test_moving_onto_a_taken_place_is_refused() -> None:
    """A next revision is judged like a first one."""
    fleet = applied(a_fleet(), a_spec("one", order=1), at=1)
    fleet = applied(fleet, a_spec("two", order=2), at=2)

    with pytest.raises(ChainConflictError):
        draft_application(fleet, a_spec("two", order=1), a_package(), a_command(3))


@pytest.mark.parametrize(
    "fields", [{"order": 501}, {"hook": "tc-ingress"}, {"interfaces": ("eth1",)}]
)
def test_another_place_hook_or_interface_is_no_conflict(fields: dict[str, object]) -> None:
    """Only the same place of the same chain is contested."""
    fleet = applied(a_fleet(a_node("n1", "eth0", "eth1")), a_spec("holder"))
    package = a_package(programs=[a_package().manifest.programs[0]])
    if "hook" in fields:
        program = package.manifest.programs[0]
        package = a_package(
            programs=[
                type(program)(
                    name=program.name, object=program.object, function="f", hooks=("tc-ingress",)
                )
            ]
        )

    draft = draft_application(fleet, a_spec("other", **fields), package, a_command(2))

    assert draft.record.name == "other"


def test_a_place_that_a_removal_freed_can_be_taken() -> None:
    """A removed deployment holds nothing."""
    fleet = removed(applied(a_fleet(), a_spec("old"), at=1), "old", at=2)

    assert orders(applied(fleet, a_spec("new"), at=3)) == {"eth0/xdp": ["new"]}


def test_a_contest_that_nobody_deployed_is_won_by_the_holder() -> None:
    """A node that gets a second label keeps what it runs, and the other is reported left out."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    fleet = applied(fleet, a_spec("older", labels={"b": "1"}), at=1)
    fleet = applied(fleet, a_spec("holder", labels={"a": "1"}), at=2)

    nodes = {"n1": a_node("n1", a="1", b="1"), "n2": fleet.nodes["n2"]}
    derived = derive_desired(type(fleet)(fleet.deployments, nodes, fleet.desired))

    assert dict(derived.changed) == {}
    assert [(one.node, one.holder, one.left_out) for one in derived.conflicts] == [
        ("n1", "holder", "older")
    ]


def test_a_contest_on_a_new_node_is_won_by_the_older_revision() -> None:
    """Where nobody holds the place, whoever was accepted first has it."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    fleet = applied(fleet, a_spec("zz-older", labels={"a": "1"}), at=1)
    fleet = applied(fleet, a_spec("aa-newer", labels={"b": "1"}), at=2)

    both = a_node("n3", a="1", b="1")
    fleet = told(type(fleet)(fleet.deployments, {**fleet.nodes, "n3": both}, fleet.desired))

    assert orders(fleet, "n3") == {"eth0/xdp": ["zz-older"]}
