# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of selecting nodes and interfaces, for every fleet."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.fitness import InterfaceAbilities
from services.scheduler.placement import NodeView, place
from services.scheduler.selection import is_selected, place_in_share, selector_mismatch
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.selectors import InterfaceSelector, LabelRule
from shared.errors import RefusedError
from tests.fleets import a_node, a_spec

KEYS, VALUES = ("role", "zone"), ("a", "b", "c")

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
sets = st.lists(st.sampled_from(VALUES), min_size=1, unique=True).map(tuple)
rules = st.one_of(
    st.builds(
        lambda label, operator, values: LabelRule(label=label, operator=operator, values=values),
        st.sampled_from(KEYS),
        st.sampled_from(("in", "not-in")),
        sets,
    ),
    st.builds(
        lambda label, operator: LabelRule(label=label, operator=operator),
        st.sampled_from(KEYS),
        st.sampled_from(("exists", "not-exists")),
    ),
)
names = st.text("abcdefgh0123456789", min_size=1, max_size=12)
routes = st.sampled_from([None, (), ("ipv4",), ("ipv6",), ("ipv4", "ipv6")])
interfaces = st.dictionaries(
    st.sampled_from(("eth0", "eth1", "wan0")),
    st.builds(
        lambda driver, found: InterfaceAbilities(driver, None, found),
        st.sampled_from(("ice", "veth")),
        routes,
    ),
    min_size=1,
)
selectors = st.one_of(
    st.sampled_from(("eth*", "wan0", "*")),
    st.builds(
        lambda glob, label, driver, default_route: InterfaceSelector(
            glob=glob, label=label, driver=driver, default_route=default_route
        ),
        st.sampled_from((None, "eth*")),
        st.sampled_from((None, "uplink")),
        st.sampled_from((None, "ice", "v*")),
        st.sampled_from((None, True, False)),
    ),
)


def _selected(node: NodeView, spec: DeploymentSpec) -> bool:
    return selector_mismatch(spec, node) is None


@given(labels, st.lists(rules, max_size=4))
def test_rules_are_sets(found: dict[str, str], asked: list[LabelRule]) -> None:
    """Each operator has its complement, and all rules hold together or the node is out."""
    node = replace(a_node(), labels=found)
    opposite = {"in": "not-in", "not-in": "in", "exists": "not-exists", "not-exists": "exists"}

    each = [_selected(node, a_spec(rules=(rule,))) for rule in asked]

    assert _selected(node, a_spec(rules=tuple(asked))) == all(each)
    for rule, holds in zip(asked, each, strict=True):
        other = LabelRule(label=rule.label, operator=opposite[rule.operator], values=rule.values)  # type: ignore[arg-type]
        assert _selected(node, a_spec(rules=(other,))) != holds
        if rule.operator == "in":
            assert holds == (found.get(rule.label) in rule.values)
        if rule.operator == "exists":
            assert holds == (rule.label in found)


@given(st.sets(names, min_size=1), names, st.integers(1, 100), st.integers(1, 100))
def test_a_share_depends_on_no_other_node_and_grows_by_joining(
    fleet: set[str], joining: str, percent: int, other: int
) -> None:
    """Whoever joins moves nobody, and a greater share holds the smaller one."""
    smaller, greater = sorted((percent, other))

    def chosen(among: set[str], share: int) -> set[str]:
        spec = a_spec(percent=share)
        return {name for name in among if _selected(a_node(name), spec)}

    assert chosen(fleet | {joining}, percent) - {joining} == chosen(fleet - {joining}, percent)
    assert chosen(fleet, smaller) <= chosen(fleet, greater)
    assert chosen(fleet, 100) == fleet


def test_a_share_is_about_as_large_as_it_says() -> None:
    """Of many nodes; and two deployments choose different ones."""
    fleet = [f"node-{number}" for number in range(4000)]

    first = {name for name in fleet if place_in_share("edge", name) < 25}
    second = {name for name in fleet if place_in_share("guard", name) < 25}

    assert 900 < len(first) < 1100
    assert 150 < len(first & second) < 350


@given(interfaces, st.lists(selectors, min_size=1, max_size=3), st.booleans())
def test_an_interface_is_meant_by_any_selector_and_by_all_it_says(
    found: dict[str, InterfaceAbilities], asked: list[str | InterfaceSelector], is_held: bool
) -> None:
    """One after another, by what each part alone would say."""
    node = replace(
        a_node("n1", *found, uplink="eth1"), interface_abilities=found, interfaces=tuple(found)
    )

    def means(one: str | InterfaceSelector, name: str) -> bool:
        return is_selected(name, a_spec(interfaces=(one,)), node, is_held=is_held)

    for name in found:
        together = is_selected(name, a_spec(interfaces=tuple(asked)), node, is_held=is_held)
        assert together == any(means(one, name) for one in asked)
        for one in asked:
            if isinstance(one, InterfaceSelector):
                parts = [
                    InterfaceSelector(**{field: value})
                    for field in InterfaceSelector.__struct_fields__
                    if (value := getattr(one, field)) is not None
                ]
                assert means(one, name) == all(means(part, name) for part in parts)


@given(
    st.dictionaries(names, labels, min_size=1, max_size=6),
    st.lists(rules, max_size=2),
    st.sampled_from((None, 30, 70)),
    st.randoms(use_true_random=False),
)
def test_where_a_deployment_runs_does_not_depend_on_the_order_of_nodes(
    fleet: dict[str, dict[str, str]],
    asked: list[LabelRule],
    percent: int | None,
    rng: random.Random,
) -> None:
    """Nor do the reasons why it does not run elsewhere, or is refused."""
    nodes = [replace(a_node(name), labels=found) for name, found in fleet.items()]
    spec = a_spec(rules=tuple(asked), percent=percent)

    def told(among: list[NodeView]) -> object:
        try:
            return place(spec, among)
        except RefusedError as error:
            return error.message, error.reasons

    shuffled = rng.sample(nodes, len(nodes))

    assert told(shuffled) == told(nodes)
