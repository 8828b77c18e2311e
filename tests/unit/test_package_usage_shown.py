# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs a package and what would become of it, as people read it."""

from __future__ import annotations

from typing import Any

from cli.package_users import ImpactShown, render_impact, render_sharing, render_users
from shared.contracts.package_records import SharedMap
from shared.contracts.search import PackageSharing, SharedMapUse, SharingPackage
from shared.contracts.usage import (
    ImpactedDeployment,
    PackageImpact,
    PackageUsers,
    UsedPlace,
    VersionUse,
)
from shared.errors import Reason
from tests.unit.test_package_views import printed

NOTHING = PackageSharing(name="one", version="1.0.0")
SHARING = PackageSharing(
    name="one",
    version="1.0.0",
    maps=(
        SharedMapUse(
            map=SharedMap(
                name="flows", type="hash", key_size_bytes=4, value_size_bytes=8, max_entries=64
            ),
            total=3,
            packages=(
                SharingPackage(name="two", version="2.0.0"),
                SharingPackage(name="six", version="6.0.0", differs=("max_entries",)),
            ),
        ),
    ),
)


def test_places_show_what_runs_and_what_shall() -> None:
    """And how to see more."""
    place = UsedPlace(
        deployment="edge\x1b[2J",
        node="n1",
        interface="eth0",
        hook="xdp",
        program="limiter",
        running="1.0.0",
    )
    found = PackageUsers(
        name="one",
        version="",
        versions=(VersionUse(version="1.0.0", nodes_running=7, nodes_told=0),),
        places=(place,),
        next="edge|n1|eth0|xdp",
    )

    words = printed(render_users(found))

    assert "nothing of it" in words
    assert "--after 'edge|n1|eth0|xdp'" in words
    assert "\x1b" not in words
    assert "nothing runs one 2.0.0" in printed(
        render_users(PackageUsers(name="one", version="2.0.0"))
    )


def test_each_deployment_is_shown_with_what_it_would_do() -> None:
    """Stopping, going on and being replaced, with the nodes."""
    fields: dict[str, Any] = {"revision": 1, "hook": "xdp", "node_count": 3, "nodes": ("n1", "n2")}
    deployments = (
        ImpactedDeployment(deployment="a", on_revoked="stop", does="stop", emptied=2, **fields),
        ImpactedDeployment(
            deployment="b", on_revoked="replace:^1", does="replace", replacement="1.1.0", **fields
        ),
        ImpactedDeployment(
            deployment="c",
            on_revoked="replace:^9",
            does="alarm",
            why_not=(Reason(path="constraint", rule="no version meets it"),),
            **fields,
        ),
    )
    impact = PackageImpact(
        name="one", version="1.0.0", node_count=9, deployments=deployments, rollbacks=("d",)
    )

    words = printed(render_impact(ImpactShown(impact=impact, sharing=SHARING)))

    assert "n1, n2 and 1 more" in words
    assert "stops; nothing of ours is left on 2 hook points" in words
    assert "is replaced by 1.1.0" in words
    assert "goes on, with an alarm: constraint: no version meets it" in words
    assert "two 2.0.0, six 6.0.0 (other max_entries) and 1 more" in words


def test_a_package_that_shares_nothing_says_so() -> None:
    """In a sentence."""
    assert "declares no map to be one for all" in printed(render_sharing(NOTHING))
