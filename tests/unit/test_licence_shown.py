# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What people are shown of waived rules, and of deployments that break them."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

from cli.package_licence import finding_table
from cli.status import render_list
from shared.contracts.licences import LicenceFinding
from shared.contracts.scheduler import (
    DeploymentList,
    DeploymentPlaceStatus,
    DeploymentStatus,
    LicenceViolation,
)
from tests.fleets import a_spec


def shown(renderable: RenderableType) -> str:
    """As on a wide terminal."""
    out = StringIO()
    Console(file=out, width=200).print(renderable)
    return out.getvalue()


def test_a_waived_finding_names_its_waiver() -> None:
    """Beside the outcome that it would have."""
    finding = LicenceFinding(rule="policy-groups", outcome="refused", waiver="w-1")

    assert "refused, waived by w-1" in shown(finding_table((finding,)))


def test_the_list_says_on_which_node_a_rule_is_broken() -> None:
    """A place runs all the same; the others are not mentioned."""
    places = tuple(
        DeploymentPlaceStatus(node=node, interface="eth0", state="running") for node in ("n1", "n2")
    )
    deployment = DeploymentStatus(
        name="edge",
        revision=1,
        removed=False,
        version="1.0.0",
        package="rate-limit",
        hook="xdp",
        order=500,
        spec=a_spec(),
        places=places,
        violations=(LicenceViolation(node="n2", rule="policy-groups"),),
    )

    lines = shown(render_list(DeploymentList(deployments=(deployment,)))).splitlines()

    assert lines[1].rstrip().endswith("running")
    assert lines[2].rstrip().endswith("running, breaks licence rule policy-groups")
