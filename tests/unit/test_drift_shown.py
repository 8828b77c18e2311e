# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Drift in the words of the command line."""

from __future__ import annotations

import pytest
from rich.console import Console

from cli.chain_view import drift_line, render_chains
from cli.status import render_list
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.drift import ObservedDrift
from shared.contracts.node import ChainShown, ChainsShown, ObservedChain
from shared.contracts.scheduler import DeploymentList, DeploymentPlaceStatus, DeploymentStatus

TAKEN = ObservedDrift(
    kind="hook-taken",
    subject="the hook",
    done="left-to-owner",
    found={
        "program_id": 7,
        "program_name": "theirs\x1b[31m",
        "pins": ["/sys/fs/bpf/theirs"],
        "processes": ["12 (agent)"],
    },
)
PINS = ObservedDrift(
    kind="pin-gone", subject="generations/3", done="repair", found={"pins": ["head", "l3af_slots"]}
)
ENTRIES = ObservedDrift(
    kind="map-changed", subject="limit/rl_limits", done="adopted", found={"entries": 2}
)


def text_of(renderable: object) -> str:
    """As a wide terminal shows it."""
    console = Console(width=300, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


@pytest.mark.parametrize(
    ("drift", "line"),
    [
        (PINS, "drift: pin-gone, generations/3; head, l3af_slots (repair)"),
        (ENTRIES, "drift: map-changed, limit/rl_limits; 2 entries (adopted)"),
    ],
)
def test_a_drift_is_one_line(drift: ObservedDrift, line: str) -> None:
    """Kind, subject, what was found, what is done."""
    assert drift_line(drift) == line


def test_names_that_others_chose_cannot_write_on_the_terminal() -> None:
    """Who holds the hook is said, without control characters."""
    line = drift_line(TAKEN)

    assert "\x1b" not in line
    assert "held by 12 (agent)" in line
    assert "/sys/fs/bpf/theirs" in line
    assert line.endswith("(left-to-owner)")


def test_chains_and_places_say_their_drift() -> None:
    """Both commands, and a list of places names the kinds."""
    chain = ObservedChain(interface="eth0", hook="xdp", state="failed", drift=(TAKEN, PINS))
    place = DeploymentPlaceStatus(node="n1", interface="eth0", state="failed", chain=chain)
    status = DeploymentStatus(
        name="limit",
        revision=1,
        removed=False,
        version="1.0.0",
        package="rate-limit",
        hook="xdp",
        order=1,
        spec=DeploymentSpec(
            name="limit", package="rate-limit", hook="xdp", interfaces=("eth0",), order=1
        ),
        places=(place,),
        revisions=(),
    )

    shown = text_of(render_chains(ChainsShown(node="n1", chains=(ChainShown(chain=chain),))))
    listed = text_of(render_list(DeploymentList(deployments=(status,))))

    assert "drift: pin-gone" in shown
    assert "failed, drift: hook-taken, pin-gone" in listed
