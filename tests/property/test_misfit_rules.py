# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who goes together in a chain, whatever was asked for in whatever order."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application
from shared.contracts.deployments import DeploymentSpec
from shared.errors import RefusedError
from tests.fleets import a_command, a_fleet, a_package, a_spec, told

NAMES = ("a", "b", "c", "d")
CLOSED = ("drop",)


@st.composite
def wishes(draw: st.DrawFn) -> DeploymentSpec:
    """One deployment, which may end every way, and may ask for who does."""
    name = draw(st.sampled_from(NAMES))
    others = st.sampled_from([f"deployment:{one}" for one in NAMES if one != name])
    return a_spec(
        name,
        order=draw(st.integers(0, 5)),
        proceed_on=draw(st.sampled_from((CLOSED, ("pass",), ("drop", "pass")))),
        after=tuple(draw(st.sets(others, max_size=2))),
        before=tuple(draw(st.sets(others, max_size=1))),
    )


@given(history=st.lists(wishes(), max_size=12))
@settings(max_examples=80, deadline=None)
def test_nobody_is_unasked_behind_who_ends_every_way(history: list[DeploymentSpec]) -> None:
    """Whatever was accepted before, and whoever changes what it says of the others."""
    fleet = a_fleet()
    for number, spec in enumerate(history, start=1):
        with suppress(RefusedError):
            draft = draft_application(fleet, spec, a_package(), a_command(number))
            fleet = told(fleet.with_deployment(draft.record))

        for chain in (chain for node in fleet.desired.values() for chain in node.chains):
            specs = {key: one.revisions[-1].spec for key, one in fleet.deployments.items()}
            names = [one.deployment for one in chain.programs]
            for place, first in enumerate(names):
                for second in names[place + 1 :]:
                    assert (
                        specs[first].proceed_on != CLOSED
                        or f"deployment:{first}" in specs[second].after
                        or f"deployment:{second}" in specs[first].before
                    )
