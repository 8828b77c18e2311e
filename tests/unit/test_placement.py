# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a deployment runs, and what is said of the nodes where it does not."""

from __future__ import annotations

import msgspec
import pytest

from services.scheduler.fitness import demand
from services.scheduler.placement import (
    NodeView,
    NoEligibleNodeError,
    place,
    places_on,
    view_node,
)
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.scheduler import NodeLabels
from tests.fleets import a_node, a_node_record, a_spec, rules


def _places(spec: DeploymentSpec, *nodes: NodeView) -> list[tuple[str, str]]:
    return [(one.node, one.interface) for one in place(spec, nodes).places]


def test_every_matching_interface_of_every_matching_node_is_a_place() -> None:
    """Globs select interfaces, labels select nodes, and the answer is sorted."""
    spec = a_spec(interfaces=("wan*", "eth0"), labels={"role": "edge"})
    nodes = [
        a_node("b", "wan1", "wan0", "lo", role="edge"),
        a_node("a", "eth0", role="edge"),
        a_node("c", "eth0", role="core"),
    ]

    assert _places(spec, *nodes) == [("a", "eth0"), ("b", "wan0"), ("b", "wan1")]


def test_node_names_are_matched_by_any_of_the_globs() -> None:
    """A node takes part when one of the name globs matches."""
    spec = a_spec(names=("edge-*", "lab"))

    assert _places(spec, a_node("edge-1"), a_node("lab"), a_node("db-1")) == [
        ("edge-1", "eth0"),
        ("lab", "eth0"),
    ]


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (a_node("web"), "its name matches none of n*"),
        (a_node("n2"), "it has no label role"),
        (a_node("n3", role="core"), "its label role is core, not edge"),
        (
            NodeView(
                name="n4", labels={"role": "edge"}, interfaces=("eth0",), features={"xdp": False}
            ),
            "its kernel has no xdp, which the hook xdp needs",
        ),
        (
            a_node("n5", "lo", "wan0", role="edge"),
            "no interface matches eth0 (it has lo, wan0)",
        ),
    ],
)
def test_an_excluded_node_is_named_with_the_first_requirement_it_fails(
    node: NodeView, why: str
) -> None:
    """Every node that is not reached says why, in the order name, labels, kernel, interface."""
    spec = a_spec(names=("n*",), labels={"role": "edge"})

    placing = place(spec, [a_node("n1", role="edge"), node])

    assert [(one.node, one.why) for one in placing.excluded] == [(node.name, why)]


def test_no_eligible_node_is_refused_with_a_reason_for_each_node() -> None:
    """A refusal can be understood without asking further."""
    spec = a_spec(labels={"role": "edge"})

    with pytest.raises(NoEligibleNodeError) as caught:
        place(spec, [a_node("n1"), a_node("n2", role="core")])

    assert caught.value.refusal_code == "no_eligible_node"
    assert rules(caught.value.reasons) == {
        "nodes.n1": "it has no label role",
        "nodes.n2": "its label role is core, not edge",
    }


def test_without_any_node_the_refusal_says_that_none_registered() -> None:
    """An empty fleet is not a riddle."""
    with pytest.raises(NoEligibleNodeError, match="no node ever registered"):
        place(a_spec(), [])


def test_an_interface_named_without_a_wildcard_must_exist_on_a_matching_node() -> None:
    """A misspelt interface is refused by name, even when others match."""
    spec = a_spec(interfaces=("eth0", "eht1"), names=("n1",))

    with pytest.raises(NoEligibleNodeError, match="eht1") as caught:
        place(spec, [a_node("n1", "eth0", "eth1"), a_node("n2", "eht1")])

    reason = caught.value.reasons[0]
    assert (reason.path, reason.got, reason.allowed) == (
        "interfaces[1]",
        "eht1",
        ["eth0", "eth1"],
    )


def test_a_node_named_without_a_wildcard_must_have_registered() -> None:
    """A misspelt node is refused by name, even when others match."""
    with pytest.raises(NoEligibleNodeError, match="n7") as caught:
        place(a_spec(names=("n1", "n7")), [a_node("n1")])

    assert caught.value.reasons[0].path == "nodes.names[1]"
    assert caught.value.reasons[0].allowed == ["n1"]


def test_a_held_interface_stays_a_place_while_it_is_away() -> None:
    """A link that flaps does not take the deployment off the node."""
    node = a_node("n1", "lo")

    assert places_on(a_spec(), node) == []
    assert places_on(a_spec(), node, held=["eth0"]) == ["eth0"]


def test_a_held_interface_is_given_up_when_the_node_no_longer_matches() -> None:
    """Holding never outlives the selector."""
    spec = a_spec(labels={"role": "edge"})

    assert places_on(spec, a_node("n1"), held=["eth0"]) == []


def test_labels_set_by_operators_win_over_the_nodes_own() -> None:
    """A node cannot overrule what an operator said of it."""
    record = a_node_record("n1", role="edge", site="a")

    view = view_node(record, NodeLabels(node="n1", labels={"role": "core"}))

    assert view.labels == {"role": "core", "site": "a"}


def test_a_long_refusal_names_a_hundred_nodes_and_counts_the_others() -> None:
    """A refusal stays small enough to travel, whatever the size of the fleet."""
    nodes = [a_node(f"n{number}") for number in range(130)]

    with pytest.raises(NoEligibleNodeError) as caught:
        place(a_spec(labels={"role": "edge"}), nodes)

    assert len(caught.value.reasons) == 101
    assert caught.value.reasons[-1].rule == "30 more nodes are excluded"
    assert len(msgspec.json.encode(caught.value.refusal())) < 16 * 1024


def test_a_node_without_a_feature_that_the_package_needs_is_excluded_with_its_own_words() -> None:
    """Also one of a release that did not look for the feature."""
    able = NodeView(name="n1", interfaces=("eth0",), features={"bcc": True})
    unable = NodeView(
        name="n2",
        interfaces=("eth0",),
        features={"bcc": False},
        feature_notes={"bcc": "no kernel headers are installed"},
    )

    placing = place(
        a_spec(), [able, unable, a_node("n3")], wanted=demand(a_spec(), features=("bcc",))
    )

    assert [one.node for one in placing.places] == ["n1"]
    assert [(one.node, one.why) for one in placing.excluded] == [
        ("n2", "it has no bcc, which the package needs: no kernel headers are installed"),
        ("n3", "it has no bcc, which the package needs"),
    ]


def test_a_node_that_lost_a_feature_keeps_what_runs_there() -> None:
    """It was compiled; only new places need the compiler."""
    node = a_node("n1", "eth0", "eth1")
    spec = a_spec(interfaces=("eth*",))

    assert places_on(spec, node, held=["eth1"], wanted=demand(spec, features=("bcc",))) == ["eth1"]


def test_network_namespaces_are_selected_by_name_or_glob() -> None:
    """Only the empty name means the executor's own; no glob does."""
    node = a_node("n1", "eth0", "blue/eth0", "cust-1/eth0", "cust-2/eth1")

    def found(*namespaces: str) -> list[tuple[str, str]]:
        spec = a_spec(network_namespaces=namespaces)
        return [(one.netns, one.interface) for one in place(spec, [node]).places]

    assert found("") == [("", "eth0")]
    assert found("blue") == [("blue", "eth0")]
    assert found("*") == [("blue", "eth0"), ("cust-1", "eth0")]
    assert found("", "cust-*") == [("cust-1", "eth0"), ("", "eth0")]


def test_a_namespace_that_is_named_must_exist() -> None:
    """A misspelt name would be ignored otherwise."""
    with pytest.raises(NoEligibleNodeError) as caught:
        place(a_spec(network_namespaces=("bleu",)), [a_node("n1", "eth0", "blue/eth0")])

    assert caught.value.reasons[0].path == "network_namespaces[0]"
    assert caught.value.reasons[0].allowed == ["blue"]
