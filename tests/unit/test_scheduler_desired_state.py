# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What each node is told, and that it is told again only when something changed."""

from __future__ import annotations

from dataclasses import replace

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
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


def _with_nodes(fleet: Fleet, *nodes: NodeView) -> Fleet:
    return replace(fleet, nodes={node.name: node for node in nodes})


def test_the_first_record_of_a_node_has_generation_one() -> None:
    """And it holds the package's signed manifest and the cause."""
    fleet = applied(a_fleet(), a_spec(config={"limits": {"80": 100}}), at=4)

    desired = fleet.desired["n1"]
    (program,) = desired.chains[0].programs
    assert desired.generation == 1
    assert desired.chains[0].cause.command_id == "command-0004"
    assert (program.function, program.config) == ("limiter", {"limits": {"80": 100}})
    assert program.signed == a_package().signed


def test_a_node_without_any_deployment_has_no_record() -> None:
    """Nothing is written for nodes that nobody uses."""
    assert a_fleet().desired == {} == derive_desired(a_fleet()).desired


def test_a_change_raises_only_the_generation_of_the_nodes_it_changes() -> None:
    """Others are not even written."""
    fleet = applied(a_fleet(a_node("n1", a="1"), a_node("n2")), a_spec("all"), at=1)

    derived = derive_desired(
        fleet.with_deployment(
            draft_application(
                fleet, a_spec("some", labels={"a": "1"}, order=1), a_package(), a_command(2)
            ).record
        )
    )

    assert {name: node.generation for name, node in derived.changed.items()} == {"n1": 2}


def test_an_unchanged_chain_keeps_its_cause() -> None:
    """The cause of a chain is the command that last changed that chain."""
    fleet = applied(a_fleet(a_node("n1", "eth0", "eth1")), a_spec("one"), at=1)
    fleet = applied(fleet, a_spec("two", interfaces=("eth1",)), at=2)

    causes = {chain.interface: chain.cause.command_id for chain in fleet.desired["n1"].chains}
    assert causes == {"eth0": "command-0001", "eth1": "command-0002"}


def test_a_removal_is_the_cause_of_the_shorter_chain() -> None:
    """Whoever took a program away is named."""
    fleet = applied(a_fleet(), a_spec("one", order=1), at=1)
    fleet = applied(fleet, a_spec("two", order=2), at=2)
    fleet = removed(fleet, "one", at=3)

    (chain,) = fleet.desired["n1"].chains
    assert [program.deployment for program in chain.programs] == ["two"]
    assert chain.cause.command_id == "command-0003"


def test_an_emptied_chain_stays_so_that_the_node_knows_why_it_detaches() -> None:
    """Nothing of ours is said, not just left unsaid."""
    fleet = removed(applied(a_fleet(), a_spec("one"), at=1), "one", at=2)

    desired = fleet.desired["n1"]
    assert desired.generation == 2
    assert orders(fleet) == {"eth0/xdp": []}
    assert desired.chains[0].cause.command_id == "command-0002"


def test_an_emptied_chain_goes_with_its_interface() -> None:
    """A node with short-lived interfaces does not collect them for ever."""
    fleet = removed(applied(a_fleet(), a_spec("one"), at=1), "one", at=2)

    fleet = told(_with_nodes(fleet, a_node("n1", "lo")))

    assert fleet.desired["n1"].chains == ()


def test_a_new_node_that_matches_gets_the_deployment_without_a_new_revision() -> None:
    """Desired state follows the fleet; the cause is the revision's command."""
    fleet = applied(a_fleet(), a_spec("one"), at=1)

    fleet = told(_with_nodes(fleet, a_node("n1"), a_node("n2")))

    assert orders(fleet, "n2") == {"eth0/xdp": ["one"]}
    assert fleet.desired["n2"].chains[0].cause.command_id == "command-0001"
    assert fleet.desired["n1"].generation == 1


def test_a_new_interface_that_matches_gets_the_deployment() -> None:
    """An interface that appears is not left open."""
    fleet = applied(a_fleet(), a_spec("one", interfaces=("eth*",)), at=1)

    fleet = told(_with_nodes(fleet, a_node("n1", "eth0", "eth1")))

    assert orders(fleet) == {"eth0/xdp": ["one"], "eth1/xdp": ["one"]}


def test_an_interface_that_goes_away_keeps_its_chain() -> None:
    """Whether accepted with it or added later: it may come back, with its counters."""
    fleet = applied(a_fleet(), a_spec("one", interfaces=("eth*",)), at=1)
    fleet = told(_with_nodes(fleet, a_node("n1", "eth0", "eth1")))

    away = told(_with_nodes(fleet, a_node("n1", "lo")))

    assert away.desired == fleet.desired


def test_a_next_revision_gives_up_the_interfaces_that_are_away() -> None:
    """Deploying again says what is wanted now."""
    fleet = applied(a_fleet(a_node("n1", "eth0", "eth1")), a_spec("one", interfaces=("eth*",)))
    fleet = _with_nodes(fleet, a_node("n1", "eth0"))

    fleet = applied(fleet, a_spec("one", interfaces=("eth*",)), at=2)

    assert orders(fleet) == {"eth0/xdp": ["one"]}


def test_a_node_that_no_longer_matches_loses_the_deployment() -> None:
    """Removing a label takes effect like removing the deployment there."""
    fleet = applied(a_fleet(a_node("n1", a="1")), a_spec("one", labels={"a": "1"}))

    fleet = told(_with_nodes(fleet, a_node("n1")))

    assert orders(fleet) == {"eth0/xdp": []}


def test_a_node_that_vanished_from_the_inventory_keeps_what_it_was_told() -> None:
    """An unreadable inventory must not take a data path down."""
    fleet = applied(a_fleet(), a_spec("one"))

    assert told(_with_nodes(fleet)).desired == fleet.desired
