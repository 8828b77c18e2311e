# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of a deployment that are others on some nodes: what holds there, and who said it."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from cli.deployment_document import parse_deployment
from cli.plan_view import render_plan
from cli.status import render_deployment
from cli.why import render_reasons
from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYTHING
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.fitness import InterfaceAbilities
from services.scheduler.status import deployment_status
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredProgram
from shared.contracts.link_options import LinkWishes
from shared.contracts.metrics import MetricSource
from shared.contracts.node_overlays import NodeOverlay, OverlaidSetting, SaidValue
from shared.contracts.selectors import LabelRule, NodeSelector, NodeShare
from shared.errors import RefusedError
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec, applied, told
from tests.support.configured_package import a_manifest, facts

EDGES = NodeSelector(labels={"role": "edge"})
BUSY = NodeSelector(rules=(LabelRule(label="load", operator="in", values=("high",)),))


def overlay(name: str = "edges", nodes: NodeSelector = EDGES, **fields: Any) -> NodeOverlay:
    """For nodes with role = edge."""
    return NodeOverlay(name=name, nodes=nodes, **fields)


def program_on(fleet: Fleet, node: str) -> DesiredProgram:
    """The one that the node is told to run on eth0."""
    (chain,) = fleet.desired[node].chains
    (program,) = chain.programs
    return program


def _shown(renderable: RenderableType) -> str:
    console = Console(width=200, file=StringIO(), force_terminal=False)
    console.print(renderable)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def refused(spec: DeploymentSpec, fleet: Fleet | None = None) -> dict[str, str]:
    """Path to rule."""
    with pytest.raises(RefusedError) as error:
        draft_application(fleet or a_fleet(), spec, a_package(), a_command())
    return {reason.path: reason.rule for reason in error.value.reasons}


LIMITS = a_spec(
    config={"limits": {"80": 100, "443": 100}},
    overlays=(
        overlay(config={"limits": {"80": 50, "22": 5}}),
        overlay("busy", BUSY, config={"limits": {"80": 10}}),
    ),
)


def test_later_overlays_win_entry_by_entry() -> None:
    """A node has what the deployment says, and over it each overlay that is for it."""
    nodes = (
        a_node("n1"),
        a_node("n2", role="edge"),
        a_node("n3", role="edge", load="high"),
        a_node("n4", load="high"),
    )

    fleet = applied(a_fleet(*nodes), LIMITS)

    assert {name: program_on(fleet, name).config["limits"] for name in fleet.nodes} == {
        "n1": {"80": 100, "443": 100},
        "n2": {"80": 50, "443": 100, "22": 5},
        "n3": {"80": 10, "443": 100, "22": 5},
        "n4": {"80": 10, "443": 100},
    }


def test_a_node_follows_its_labels() -> None:
    """One that comes to be meant by an overlay is told anew, and no other is."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), LIMITS)

    moved = replace(fleet, nodes={**fleet.nodes, "n2": a_node("n2", role="edge")})
    derived = derive_desired(moved)

    assert set(derived.changed) == {"n2"}
    assert program_on(told(moved), "n2").config["limits"]["80"] == 50


def test_variables_constants_and_metrics_are_others_too() -> None:
    """A variable that is part of the code stays one, and one that changes goes on changing."""
    package = msgspec.structs.replace(
        a_package("configured"), manifest=a_manifest(), elf=(facts(),)
    )
    metric = MetricSource(map="counts")
    kinds = {one.name: one.is_constant for one in facts().variables}
    constant = next(name for name in ("limit", "threshold") if kinds[name])
    live = next(name for name in ("limit", "threshold") if not kinds[name])
    spec = a_spec(
        package="configured",
        overlays=(overlay(variables={constant: 700, live: 800}, metrics={"seen": metric}),),
    )
    fleet = a_fleet(a_node("n1"), a_node("n2", role="edge"))

    draft = draft_application(fleet, spec, package, a_command())
    plain, edge = (
        program_on(told(fleet.with_deployment(draft.record)), name) for name in ("n1", "n2")
    )

    assert (edge.constants[constant], edge.variables[live]) == (700, 800)
    assert (plain.constants.get(constant), plain.variables[live]) != (700, 800)
    assert edge.variables.keys() == plain.variables.keys()
    assert (plain.metrics, edge.metrics) == ({}, {"seen": metric})


def test_link_options_of_an_overlay_are_those_of_its_nodes() -> None:
    """And what they ask of a driver is asked of these nodes alone."""

    def node(name: str, **labels: str) -> Any:
        plain = InterfaceAbilities("slow", ())
        return replace(a_node(name, **labels), interface_abilities={"eth0": plain})

    nodes = node("n1"), node("n2", role="edge"), a_node("n3", role="edge")
    spec = a_spec(overlays=(overlay(link=LinkWishes(attach="native")),))

    draft = draft_application(a_fleet(*nodes), spec, a_package(), a_command())
    fleet = told(a_fleet(*nodes).with_deployment(draft.record))

    assert [one.node for one in draft.excluded] == ["n2"]
    assert {name: one.chains[0].link.attach for name, one in fleet.desired.items()} == {
        "n1": "auto",
        "n3": "native",
    }


def test_who_set_what_is_told_with_what_it_set_aside() -> None:
    """By plan and status for all nodes, by `why` for one: the weakest first."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2", role="edge", load="high")), LIMITS)
    expected = (
        OverlaidSetting(path="config.limits.22", value=5, by="edges", instead_of=()),
        OverlaidSetting(
            path="config.limits.80",
            value=10,
            by="busy",
            instead_of=(
                SaidValue(by="deployment", value=100),
                SaidValue(by="edges", value=50),
            ),
        ),
    )

    planned = draft_application(fleet, LIMITS, a_package(), a_command(2)).plan.overlaid
    status = deployment_status(fleet.deployments["edge"], fleet, {}, silences={})
    why = chain_reasons(fleet, fleet.nodes["n2"], "eth0", hook=None, sight=EVERYTHING)
    elsewhere = chain_reasons(fleet, fleet.nodes["n1"], "eth0", hook=None, sight=EVERYTHING)

    (shown,) = planned
    assert (shown.overlays, shown.nodes, shown.node_count) == (("edges", "busy"), ("n2",), 1)
    assert shown.settings == expected
    assert status.overlaid == planned
    assert why.hooks[0].programs[0].settings == expected
    assert elsewhere.hooks[0].programs[0].settings == ()


def test_of_so_many_nodes_those_that_were_chosen_are_listed() -> None:
    """And an overlay that is for others of them alone is for none."""
    counted = msgspec.structs.replace(LIMITS, nodes=NodeShare(count=1))
    fleet = a_fleet(a_node("n1", role="edge"), a_node("n2", role="edge"))

    plan = draft_application(fleet, counted, a_package(), a_command()).plan

    (shown,) = plan.overlaid
    assert (len(shown.nodes), shown.node_count) == (1, 1)
    assert "the overlay busy is for none of its nodes" in plan.warnings


def test_people_read_who_has_the_last_word() -> None:
    """The strongest first, in plans, in a status and for one interface."""
    fleet = applied(a_fleet(a_node("n2", role="edge", load="high")), LIMITS)
    line = "config.limits.80 = 10 by busy, instead of 50 by edges, 100 by deployment"

    planned = render_plan(draft_application(fleet, LIMITS, a_package(), a_command(2)).plan)
    status = deployment_status(fleet.deployments["edge"], fleet, {}, silences={})
    why = chain_reasons(fleet, fleet.nodes["n2"], "eth0", hook=None, sight=EVERYTHING)

    for shown in (planned, render_deployment(status), render_reasons(why)):
        assert line in _shown(shown)
    assert "edge on n2: overlays edges, busy" in _shown(planned)


def test_overlays_are_written_as_a_list_of_tables() -> None:
    """With the same fields as the deployment, and `nodes` as it has them."""
    written = """
        name = "edge"
        package = "rate-limit"
        hook = "xdp"
        interfaces = ["eth0"]
        [[overlays]]
        name = "edges"
        nodes.labels = { role = "edge" }
        config.limits = { 80 = 50 }
        [[overlays]]
        name = "busy"
        nodes.rules = [{ label = "load", operator = "in", values = ["high"] }]
        link.counters = false
    """

    spec = parse_deployment(written.encode(), form="TOML", what="edge.toml")

    assert spec.overlays == (
        overlay(config={"limits": {"80": 50}}),
        overlay("busy", BUSY, link=LinkWishes(counters=False)),
    )


def test_what_a_package_says_is_set_aside_by_name() -> None:
    """Where the deployment says nothing."""
    spec = a_spec(overlays=(overlay(metrics={"dropped": MetricSource(map="drops", key="1")}),))
    fleet = a_fleet(a_node("n1", role="edge"))

    (shown,) = draft_application(fleet, spec, a_package(), a_command()).plan.overlaid

    (setting,) = shown.settings
    assert (setting.path, setting.by) == ("metrics.dropped", "edges")
    assert [one.by for one in setting.instead_of] == ["package"]


def test_an_overlay_that_is_for_no_node_is_remarked() -> None:
    """It may be for one that comes."""
    plan = draft_application(a_fleet(), LIMITS, a_package(), a_command()).plan

    assert [one for one in plan.warnings if "overlay" in one] == [
        "the overlay edges is for none of its nodes",
        "the overlay busy is for none of its nodes",
    ]


def test_what_an_overlay_cannot_say_is_refused_with_its_place() -> None:
    """All problems of all overlays at once, whether there is a node for them or not."""
    found = refused(
        a_spec(
            overlays=(
                overlay(config={"nonesuch": {"1": 1}, "limits": {"99999": 1}}),
                overlay("busy", variables={"nonesuch": 1}),
                overlay("late", link=LinkWishes(position="first")),
            )
        )
    )

    assert set(found) == {
        "overlays[0].config.nonesuch",
        "overlays[0].config.limits.99999",
        "overlays[1].variables.nonesuch",
        "overlays[2].link.position",
    }


def test_overlays_that_cannot_mean_anything_are_refused() -> None:
    """Two of one name, one that sets nothing, one with a name that is somebody else's."""
    broken = LabelRule(label="role", operator="in")
    found = refused(
        a_spec(
            overlays=(
                overlay(config={"limits": {"80": 1}}),
                overlay(config={"limits": {"80": 2}}),
                overlay("empty"),
                overlay("package", NodeSelector(rules=(broken,)), config={"limits": {"80": 3}}),
            )
        )
    )

    assert set(found) == {
        "overlays[1].name",
        "overlays[2]",
        "overlays[3].name",
        "overlays[3].nodes.rules[0].values",
    }


def test_overlays_that_meet_on_a_node_are_judged_together() -> None:
    """What each may say alone, both may not where they meet; and where they do not, they may."""
    spec = a_spec(
        hook="tc-ingress",
        overlays=(
            overlay(link=LinkWishes(attach="cls_bpf")),
            overlay("busy", BUSY, link=LinkWishes(position="first")),
        ),
    )
    program = msgspec.structs.replace(a_package().manifest.programs[0], hooks=("xdp", "tc-ingress"))
    package = a_package(programs=[program])
    apart = a_fleet(a_node("n1", role="edge"), a_node("n2", load="high"))
    meeting = a_fleet(a_node("n1", role="edge", load="high"))

    draft_application(apart, spec, package, a_command())
    with pytest.raises(RefusedError) as error:
        draft_application(meeting, spec, package, a_command())

    (reason,) = error.value.reasons
    assert reason.path == "overlays[1].link.position"
    assert "where edges and busy apply" in reason.rule


def test_a_platform_is_not_left_alone_if_overlays_change() -> None:
    """Its nodes would go on with what the old ones said."""
    fleet = applied(a_fleet(a_node("n1", role="edge")), LIMITS)
    changed = msgspec.structs.replace(LIMITS, overlays=(overlay(config={"limits": {"80": 51}}),))

    after = applied(fleet, changed, version="1.1.0", at=2)

    assert program_on(after, "n1").config["limits"]["80"] == 51
    assert program_on(after, "n1").revision == 2
