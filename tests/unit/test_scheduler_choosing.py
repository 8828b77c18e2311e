# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments for so many nodes: which these are, how they are spread, what is said of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYTHING
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.choosing import PACKED_FROM
from services.scheduler.desired_state import Fleet
from services.scheduler.selection import SelectorError
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec, applied, rules

ZONES = ("a", "a", "a", "b", "b", "c")


def _zoned(*zones: str) -> Fleet:
    return a_fleet(*(a_node(f"n{index}", zone=zone) for index, zone in enumerate(zones, 1)))


def _running(fleet: Fleet, key: str = "edge") -> set[str]:
    return {
        name
        for name, node in fleet.desired.items()
        if any(one.deployment == key for chain in node.chains for one in chain.programs)
    }


def _zones(fleet: Fleet) -> list[str]:
    return sorted(fleet.nodes[name].labels["zone"] for name in _running(fleet))


def test_a_deployment_is_on_so_many_nodes_and_says_which_others_it_leaves_out() -> None:
    """Of those that can run it; the others are told why."""
    fleet = replace(_zoned(*ZONES), nodes={**_zoned(*ZONES).nodes, "n7": a_node("n7", "eth9")})

    draft = draft_application(fleet, a_spec(count=2), a_package(), a_command())

    assert len(draft.staging) == 2
    left_out = {one.node: one.why for one in draft.excluded}
    assert set(left_out) | set(draft.staging) == set(fleet.nodes)
    assert left_out.pop("n7").startswith("no interface matches")
    assert set(left_out.values()) == {"2 other nodes were chosen"}


@pytest.mark.parametrize(
    ("count", "zones"),
    [(1, None), (3, ["a", "b", "c"]), (4, None), (5, ["a", "a", "b", "b", "c"])],
)
def test_nodes_are_spread_over_failure_domains(count: int, zones: list[str] | None) -> None:
    """No domain has two more than another that could have one."""
    fleet = applied(_zoned(*ZONES), a_spec(count=count, spread="zone"))

    found = _zones(fleet)

    assert len(found) == count
    assert zones in (None, found)


def test_a_next_revision_stays_on_its_nodes() -> None:
    """Also with more nodes, and with other ones that came meanwhile."""
    first = applied(_zoned("a", "b", "c"), a_spec(count=2, spread="zone"))
    grown = replace(first, nodes={**first.nodes, **_zoned(*ZONES).nodes, **first.nodes})

    second = applied(grown, a_spec(count=2, spread="zone"), version="1.1.0", at=2)
    third = applied(second, a_spec(count=4, spread="zone"), version="1.1.0", at=3)

    assert _running(second) == _running(first)
    assert _running(second) < _running(third)


def test_who_ran_it_everywhere_before_keeps_it_where_it_runs() -> None:
    """A deployment of every node that becomes one of so many moves nothing."""
    fleet = applied(a_fleet(*map(a_node, ("n1", "n2"))), a_spec())
    grown = replace(fleet, nodes={**fleet.nodes, "n3": a_node("n3"), "n4": a_node("n4")})

    after = applied(grown, a_spec(count=2), at=2)

    assert _running(after) == {"n1", "n2"}


def test_a_next_revision_is_spread_anew() -> None:
    """Of a domain that has too many, some give way; the others stay."""
    first = applied(_zoned("a", "a", "a"), a_spec(count=3, spread="zone"))
    back = replace(first, nodes=_zoned(*ZONES).nodes)

    second = applied(back, a_spec(count=3, spread="zone"), version="1.1.0", at=2)

    assert _zones(second) == ["a", "b", "c"]
    assert len(_running(second) & _running(first)) == 1


def test_lost_nodes_are_chosen_last() -> None:
    """And only if there are too few others."""
    fleet = replace(_zoned("a", "a", "a"), lost=frozenset({"n1", "n2"}))

    assert _running(applied(fleet, a_spec(count=1))) == {"n3"}
    assert len(_running(applied(fleet, a_spec(count=2)))) == 2


def test_too_few_nodes_are_warned_of() -> None:
    """The deployment is accepted, and grows with the fleet."""
    draft = draft_application(_zoned("a", "b"), a_spec(count=3), a_package(), a_command())

    assert "2 of 3 nodes can run it; others get it as soon as there are any" in draft.plan.warnings


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"count": 2, "percent": 50}, "nodes.percent"), ({"spread": "zone"}, "nodes.spread")],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], path: str) -> None:
    """By its path."""
    with pytest.raises(SelectorError) as caught:
        draft_application(a_fleet(), a_spec(**fields), a_package(), a_command())

    assert set(rules(caught.value.reasons)) == {path}


def test_a_node_says_whether_it_was_chosen() -> None:
    """`why` has it among the reasons, or as the reason why not."""
    fleet = applied(_zoned("a", "b"), a_spec(count=1))
    (chosen,) = _running(fleet)
    (other,) = set(fleet.nodes) - {chosen}

    here = chain_reasons(fleet, fleet.nodes[chosen], "eth0", hook=None, sight=EVERYTHING)
    there = chain_reasons(fleet, fleet.nodes[other], "eth0", hook=None, sight=EVERYTHING)

    assert here.hooks[0].programs[0].node == ("it was chosen (count = 1)",)
    assert [one.why for one in there.absent] == ["it was not chosen (count = 1)"]


def test_a_choice_of_many_is_packed() -> None:
    """A record has room for thousands."""
    fleet = a_fleet(*(a_node(f"n{index:04d}") for index in range(3000)))

    record = draft_application(fleet, a_spec(count=2000), a_package(), a_command()).record

    choice = record.revisions[-1].choice
    assert choice is not None
    assert (choice.nodes, len(choice.names), len(choice.packed_nodes) < 12_000) == ((), 2000, True)
    assert len(choice.names) > PACKED_FROM
