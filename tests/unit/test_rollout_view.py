# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of a rollout: waves, nodes and reasons."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from cli.rollout_view import PLACES_SHOWN, render_progress, wave_lines
from cli.status import Overview, render_deployment, render_overview
from shared.contracts.rollouts import RolloutApproval
from shared.errors import Reason
from tests.support.rollout_statuses import a_place, a_state, a_status


def shown(part: RenderableType) -> str:
    """As off a terminal."""
    text = io.StringIO()
    Console(file=text, width=200).print(part)
    return text.getvalue()


def test_of_each_wave_those_are_counted_that_were_told() -> None:
    """A node by the worst of its places; what was not told yet has no state of its own."""
    places = [
        a_place("n1", "running"),
        a_place("n1", "failed"),
        a_place("n2", "pending"),
        a_place("n3", "running"),
        a_place("n4", "node-silent"),
    ]

    first, second, third = wave_lines(a_state(), places)

    assert (first.nodes, first.told, first.states["failed"], first.states["running"]) == (
        1,
        1,
        1,
        0,
    )
    assert (second.nodes, second.told, second.states["pending"], second.about) == (
        2,
        1,
        1,
        "rack-a",
    )
    assert (third.nodes, third.told, sum(third.states.values())) == (2, 0, 0)


@pytest.mark.parametrize(("phase", "told"), [("complete", [1, 2, 2]), ("rolled-back", [1, 0, 0])])
def test_what_is_over_counts_as_far_as_it_came(phase: Any, told: list[int]) -> None:
    """Everywhere once it is complete; of what went back, the waves that are through."""
    lines = wave_lines(a_state(phase=phase), ())

    assert [line.told for line in lines] == told


def test_a_deployment_shows_its_rollout_with_its_reasons() -> None:
    """Where it is, what it waits for, who approved, and the evidence."""
    state = a_state(
        phase="paused",
        why="metric drops rose",
        wave_started_at="2026-01-02T03:04:05.000000Z",
        evidence=(Reason(path="nodes.n2.eth0", rule="drops 9 of 10 packets"),),
        approvals=(
            RolloutApproval(
                actor_key="UABCDEFGHI", actor_role="operator", at="", wave=1, reason="looks well"
            ),
        ),
    )

    text = shown(render_deployment(a_status(state)))

    assert "revision 2: paused, wave 2 of 3: metric drops rose" in text
    assert "rack-a paused since 03:04:05" in text
    assert "nodes.n2.eth0: drops 9 of 10 packets" in text
    assert "wave 2 approved by operator UABCDEFG: looks well" in text


def test_a_list_says_what_is_on_its_way_and_nothing_of_what_is_over() -> None:
    """One line for each."""
    going = shown(render_overview(Overview(deployments=(a_status(a_state()),))))
    over = shown(render_overview(Overview(deployments=(a_status(a_state(phase="complete")),))))

    assert "edge revision 2: rolling-out, wave 2 of 3" in going
    assert "complete" not in over


def test_what_was_removed_is_not_said_to_be_everywhere() -> None:
    """Without a rollout, a deployment that is there went everywhere at once."""
    status = msgspec.structs.replace(a_status(a_state()), rollout=None)

    assert "it went everywhere at once" in shown(render_progress(status))
    assert "it is on no node" in shown(
        render_progress(msgspec.structs.replace(status, removed=True))
    )


def test_progress_names_places_that_are_not_as_wanted() -> None:
    """With their first reason, as many as have room, and how many more there are."""
    places = [a_place(f"x{number:02d}", "pending", "not yet", "no") for number in range(20)]

    text = shown(render_progress(a_status(a_state(), a_place("n1", "running"), *places)))

    assert text.count(": pending, not yet") == PLACES_SHOWN
    assert f"and {20 - PLACES_SHOWN} more places" in text
    assert "n1 eth0" not in text
