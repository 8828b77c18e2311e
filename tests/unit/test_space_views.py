# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How commands name deployments of a space, and show what one does not see."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from cli.chain_explain import NodesExplained, render_explained
from cli.chain_view import RESTRICTED, render_chains
from cli.node import render_node
from cli.node_ebpf import render_programs
from cli.plan_view import render_plan
from cli.rollout import named
from cli.status import render_list
from services.node_executor.disclosure import EVERYBODY, without_kernels_words
from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.liveness import Silence
from services.scheduler.status import deployment_status, node_status
from shared.contracts.ebpf import EbpfListed, EbpfProgram
from shared.contracts.events import PUBLIC
from shared.contracts.inspection import ChainExplained, ChainsExplained, PlaceExplained
from shared.contracts.node import ChainShown, ChainsShown
from shared.contracts.scheduler import DeploymentList
from tests.fleets import (
    a_command,
    a_fleet,
    a_node_record,
    a_package,
    a_spec,
    all_observing,
    applied,
    seen_by,
)

SECRET = "quiet-fix"
KEY = f"p_acme.{SECRET}"
MEMBERS = Sight(frozenset({PUBLIC, "p_acme"}))


def shown(part: RenderableType) -> str:
    """As it would be printed."""
    text = io.StringIO()
    Console(file=text, width=250).print(part)
    return text.getvalue()


@pytest.fixture
def fleet() -> Fleet:
    """A program of `p_acme` in front of everybody's."""
    fleet = applied(seen_by(a_fleet(), p_acme=["ann"]), a_spec(order=20))
    return applied(fleet, a_spec(SECRET, space="p_acme", order=10), at=2)


def test_a_deployment_is_asked_for_by_what_it_is_shown_as() -> None:
    """`SPACE.NAME`, and a name alone means the public one."""
    assert named(KEY) == {"name": SECRET, "space": "p_acme"}
    assert named("edge") == {"name": "edge", "space": PUBLIC}


def test_a_member_reads_the_space_with_every_name(fleet: Fleet) -> None:
    """In lists, plans and chains."""
    observed = all_observing(fleet)
    status = deployment_status(fleet.deployments[KEY], fleet, observed, silences={}, sight=MEMBERS)
    spec = a_spec(SECRET, space="p_acme", order=15)
    plan = draft_application(fleet, spec, a_package(), a_command(3), sight=MEMBERS).plan
    chains = ChainsShown(node="n1", chains=(ChainShown(chain=observed["n1"].chains[0]),))

    for part in (render_list(DeploymentList(deployments=(status,))), render_plan(plan)):
        assert KEY in shown(part)
    assert KEY in shown(render_chains(chains))


def test_a_stranger_reads_that_there_is_something(fleet: Fleet) -> None:
    """`restricted` and its place; nothing is shown as if it were not there, or as nothing."""
    silence = Silence(seconds=1.0, is_silent=False)
    node = node_status(a_node_record("n1"), fleet, all_observing(fleet)["n1"], silence)
    spec = a_spec("third", order=30)
    plan = draft_application(fleet, spec, a_package(), a_command(3)).plan
    chains = ChainsShown(node="n1", chains=(ChainShown(chain=node.chains[0]),))
    places = (PlaceExplained(deployment=KEY, order=10), PlaceExplained(deployment="edge", order=20))
    explained = EVERYBODY.explained(
        ChainExplained(interface="eth0", hook="xdp", places=places), fleet.desired["n1"].chains[0]
    )
    program = EbpfProgram(id=7, type="xdp", name=SECRET, tag="ab" * 8, managed=True, role="current")

    texts = [
        shown(render_node(node)),
        shown(render_plan(plan)),
        shown(render_chains(chains)),
        shown(
            render_explained(
                NodesExplained(nodes=(ChainsExplained(node="n1", chains=(explained,)),))
            )
        ),
        shown(
            render_programs(
                EbpfListed(node="n1", programs=(without_kernels_words(program),), total=1)
            )
        ),
    ]

    for text in texts:
        assert "restricted" in text
        assert SECRET not in text
        assert "p_acme" not in text
    assert RESTRICTED in texts[2]
    assert "edge" in texts[2]
