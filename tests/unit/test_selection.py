# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What selects nodes and interfaces says why it does not select the others."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.scheduler.desired_state import Fleet
from services.scheduler.fitness import InterfaceAbilities
from services.scheduler.placement import NodeView, place, view_node
from services.scheduler.selection import SelectorError, selector_mismatch, selector_text
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.interfaces import Interface
from shared.contracts.selectors import InterfaceSelector, LabelRule
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_node_record, a_spec, applied, rules, told

ROUTED = InterfaceSelector(default_route=True)


def _rule(label: str, operator: str, *values: str) -> LabelRule:
    return msgspec.convert({"label": label, "operator": operator, "values": values}, LabelRule)


def _router(**routes: tuple[str, ...] | None) -> NodeView:
    """A node with these interfaces, and what it says of their default routes."""
    found = {name: InterfaceAbilities("ice", None, families) for name, families in routes.items()}
    return replace(a_node("n1", *routes), interface_abilities=found)


def _places(fleet: Fleet) -> list[str]:
    return [chain.place for chain in fleet.desired["n1"].chains if chain.programs]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (_rule("zone", "in", "fra", "ams"), "its label zone is lon, and must be zone in fra, ams"),
        (_rule("zone", "not-in", "lon"), "its label zone is lon, and must be zone not-in lon"),
        (_rule("zone", "not-exists"), "its label zone is lon, and must be zone not-exists"),
        (_rule("rack", "exists"), "it has no label rack"),
        (_rule("rack", "in", "r1"), "it has no label rack"),
        (_rule("zone", "in", "lon"), None),
        (_rule("rack", "not-in", "r1"), None),
        (_rule("rack", "not-exists"), None),
    ],
)
def test_a_rule_that_does_not_hold_is_the_reason(rule: LabelRule, why: str | None) -> None:
    """With what the label is."""
    assert selector_mismatch(a_spec(rules=(rule,)), a_node("n1", zone="lon")) == why


def test_a_node_outside_the_share_is_told_its_place() -> None:
    """So that one sees from which share on it would be in."""
    why = selector_mismatch(a_spec(percent=1), a_node("n1"))

    assert why is not None
    assert why.startswith("it is not among the 1 percent of nodes: its place is ")
    assert why.endswith(" of 100")


def test_a_selector_that_cannot_mean_anything_is_refused() -> None:
    """Every one of them, with its path."""
    spec = a_spec(
        rules=(_rule("a", "in"), _rule("b", "exists", "1"), _rule("c", "exists")),
        interfaces=("eth0", InterfaceSelector()),
    )

    with pytest.raises(SelectorError) as caught:
        applied(a_fleet(), spec)

    assert set(rules(caught.value.reasons)) == {
        "nodes.rules[0].values",
        "nodes.rules[1].values",
        "interfaces[1]",
    }


def test_a_label_of_the_node_names_the_interface() -> None:
    """A node without the label, or with a name that is not there, has none."""
    spec = a_spec(interfaces=(InterfaceSelector(label="uplink"),))
    nodes = [
        replace(view_node(a_node_record(name, "eth0", "eth1", **labels), None))
        for name, labels in (("n1", {"uplink": "eth1"}), ("n2", {}), ("n3", {"uplink": "eth7"}))
    ]

    placing = place(spec, nodes)

    assert [(one.node, one.interface) for one in placing.places] == [("n1", "eth1")]
    assert [one.node for one in placing.excluded] == ["n2", "n3"]
    assert "no interface matches label uplink (it has eth0, eth1)" in placing.excluded[0].why


def test_a_driver_and_a_glob_must_both_match() -> None:
    """What one selector says holds together; two selectors are two ways in."""
    record = msgspec.structs.replace(
        a_node_record(),
        interfaces=tuple(
            Interface(name=name, index=index, driver=driver)
            for index, (name, driver) in enumerate(
                (("eth0", "ice"), ("eth1", "veth"), ("wan0", "ice")), start=1
            )
        ),
    )
    node = view_node(record, None)

    def found(*interfaces: str | InterfaceSelector) -> list[str]:
        return [one.interface for one in place(a_spec(interfaces=interfaces), [node]).places]

    assert found(InterfaceSelector(glob="eth*", driver="ic?")) == ["eth0"]
    assert found(InterfaceSelector(driver="ice"), "eth1") == ["eth0", "eth1", "wan0"]


def test_a_chain_follows_the_default_route_and_waits_while_there_is_none() -> None:
    """An uplink that flaps costs no counters; one that moved is followed."""
    fleet = applied(a_fleet(_router(eth0=("ipv4",), eth1=())), a_spec(interfaces=(ROUTED,)), at=1)
    seen = [_places(fleet)]
    for routes in ({"eth0": (), "eth1": ()}, {"eth0": (), "eth1": ("ipv4",)}):
        fleet = told(replace(fleet, nodes={"n1": _router(**routes)}))
        seen.append(_places(fleet))

    assert seen == [["eth0"], ["eth0"], ["eth1"]]


def test_a_node_that_says_nothing_of_routes_has_no_such_interface() -> None:
    """Its executor is of an earlier release; nothing is guessed."""
    with pytest.raises(RefusedError) as caught:
        applied(a_fleet(_router(eth0=None)), a_spec(interfaces=(ROUTED,)))

    assert "no interface matches default route (it has eth0)" in caught.value.reasons[0].rule


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ("eth*", "eth*"),
        (ROUTED, "default route"),
        (InterfaceSelector(glob="e*", default_route=False), "glob e* and no default route"),
    ],
)
def test_a_selector_is_shown_as_one_reads_it(one: str | InterfaceSelector, text: str) -> None:
    """In reasons and explanations."""
    assert selector_text(one) == text


def test_records_of_earlier_releases_decode() -> None:
    """They have names, globs and labels alone."""
    stored = (
        b'{"name":"edge","package":"p","hook":"xdp","interfaces":["eth*"],'
        b'"nodes":{"labels":{"role":"edge"}}}'
    )

    spec = msgspec.json.decode(stored, type=DeploymentSpec)

    assert (spec.interfaces, spec.nodes.percent, spec.nodes.rules) == (("eth*",), None, ())
    assert msgspec.json.decode(msgspec.json.encode(spec), type=DeploymentSpec) == spec
