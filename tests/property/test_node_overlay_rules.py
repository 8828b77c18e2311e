# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of parameters that are others on some nodes, for every deployment and every node."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet
from services.scheduler.node_overlays import applying, overlaid, settings
from services.scheduler.program_choice import resolve_program
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredNode
from shared.contracts.link_options import LinkWishes
from shared.contracts.metrics import MetricSource
from shared.contracts.node_overlays import NodeOverlay
from shared.contracts.package_manifest import MapEntry
from shared.contracts.selectors import LabelRule, NodeSelector
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec, told

PACKAGES = [
    a_package(maps={"limits": entry})
    for entry in (
        MapEntry(),
        MapEntry(default={"7": 7}, mode="exact"),
        MapEntry(default={"7": 7}, mode="merge"),
    )
]
ENTRIES = st.dictionaries(st.sampled_from(["7", "80", "443"]), st.integers(0, 3), max_size=3)
SAID = st.fixed_dictionaries(
    {
        "config": st.one_of(st.just({}), ENTRIES.map(lambda one: {"limits": one})),
        "metrics": st.sampled_from([{}, {"dropped": MetricSource(map="drops", key="1")}]),
        "link": st.sampled_from([LinkWishes(), LinkWishes(counters=False), LinkWishes(frags="on")]),
    }
)
SELECTORS = st.builds(
    NodeSelector,
    labels=st.dictionaries(st.sampled_from("ab"), st.just("1"), max_size=1),
    names=st.sampled_from([("*",), ("n1", "n2"), ("*3",)]),
    rules=st.sampled_from([(), (LabelRule(label="b", operator="not-exists"),)]),
)
LABELS = st.dictionaries(st.sampled_from("ab"), st.just("1"))
FLEETS = st.tuples(LABELS, LABELS, LABELS).map(
    lambda found: a_fleet(
        *(a_node(f"n{number}", **labels) for number, labels in enumerate(found, start=1))
    )
)
EMPTY: dict[str, Any] = {"config": {}, "metrics": {}, "link": LinkWishes()}


def _overlay(name: str, nodes: NodeSelector, said: dict[str, Any]) -> NodeOverlay:
    entries = said["config"].get("limits", {})
    config = {"limits": entries} if entries else {}
    if {**said, "config": config} == EMPTY:
        config = {"limits": {"80": 9}}
    return NodeOverlay(name=name, nodes=nodes, **{**said, "config": config})


SPECS = st.builds(
    lambda said, overlays: a_spec(
        **said,
        overlays=tuple(_overlay(f"o{number}", *one) for number, one in enumerate(overlays)),
    ),
    SAID,
    st.lists(st.tuples(SELECTORS, SAID), max_size=4),
)


def _told(fleet: Fleet, spec: DeploymentSpec, package: Any) -> dict[str, DesiredNode]:
    draft = draft_application(fleet, spec, package, a_command())
    return dict(told(fleet.with_deployment(draft.record)).desired)


@given(FLEETS, SPECS, st.sampled_from(PACKAGES))
def test_a_node_has_what_it_would_have_if_the_deployment_said_the_same(
    fleet: Fleet, spec: DeploymentSpec, package: Any
) -> None:
    """One by one, whatever the package says: overlays are nothing but another way of saying it."""
    resolved = resolve_program(msgspec.structs.replace(spec, overlays=()), package)
    found = _told(fleet, spec, package)

    for name, node in fleet.nodes.items():
        same, whole = overlaid(spec, resolved, applying(spec, node))
        assert resolve_program(same, package) == whole
        assert same.overlays == ()
        assert found[name] == _told(fleet, same, package)[name]


@given(FLEETS, SPECS, st.sampled_from(PACKAGES))
def test_a_node_without_overlays_is_as_if_there_were_none(
    fleet: Fleet, spec: DeploymentSpec, package: Any
) -> None:
    """To the byte."""
    found = _told(fleet, spec, package)
    plain = _told(fleet, msgspec.structs.replace(spec, overlays=()), package)

    for name, node in fleet.nodes.items():
        if not applying(spec, node):
            assert msgspec.json.encode(found[name]) == msgspec.json.encode(plain[name])


@given(FLEETS, SPECS, st.sampled_from(PACKAGES))
def test_what_is_told_of_a_setting_is_what_the_node_has(
    fleet: Fleet, spec: DeploymentSpec, package: Any
) -> None:
    """And whoever has the last word is the last overlay for the node that says anything of it."""
    resolved = resolve_program(msgspec.structs.replace(spec, overlays=()), package)
    found = _told(fleet, spec, package)

    for name, node in fleet.nodes.items():
        which = applying(spec, node)
        names = [spec.overlays[place].name for place in which]
        (chain,) = found[name].chains
        (program,) = chain.programs
        for one in settings(spec, resolved, which):
            order = [said.by for said in one.instead_of if said.by.startswith("o")]
            assert [*order, one.by] == sorted([*order, one.by], key=names.index)
            if one.path.startswith("config.limits."):
                key = one.path.removeprefix("config.limits.")
                assert program.config["limits"][key] == one.value
            elif one.path.startswith("link."):
                assert getattr(chain.link, one.path.removeprefix("link.")) == one.value
