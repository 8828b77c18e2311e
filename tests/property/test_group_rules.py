# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of deployments that are applied together, for every fleet and every command."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.groups import still_to_come
from services.scheduler.joint_plan import draft_all
from services.scheduler.service import planning
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_package, a_spec, applied

PACKAGE = a_package()
PLANNING = planning(datetime(2026, 1, 1, tzinfo=UTC))
NAMES = ("edge", "guard", "tail", "wide")
SPECS = st.builds(
    a_spec,
    st.sampled_from(NAMES),
    order=st.integers(1, 6),
    interfaces=st.sampled_from([("eth0",), ("eth1",), ("eth*",)]),
    names=st.sampled_from([("n1",), ("n2",), ("*",)]),
)
COMMANDS = st.lists(SPECS, min_size=2, max_size=4, unique_by=lambda spec: spec.name)


def _fleet(there: list[DeploymentSpec]) -> Fleet:
    """Two nodes, and what of `there` finds its place."""
    fleet = a_fleet(a_node("n1", "eth0", "eth1"), a_node("n2", "eth0", "eth1"))
    for spec in there:
        try:
            fleet = applied(fleet, spec)
        except RefusedError:
            continue
    return fleet


def _records(fleet: Fleet, specs: list[DeploymentSpec]) -> tuple[DeploymentRecord, ...] | None:
    try:
        return draft_all(fleet, [(spec, PACKAGE) for spec in specs], PLANNING).records
    except RefusedError:
        return None


def _with_all(fleet: Fleet, records: tuple[DeploymentRecord, ...]) -> Fleet:
    for record in records:
        fleet = fleet.with_deployment(record)
    return fleet


@settings(max_examples=60)
@given(st.lists(SPECS, max_size=4), COMMANDS, st.randoms(use_true_random=False))
def test_the_order_within_a_command_means_nothing(
    there: list[DeploymentSpec], specs: list[DeploymentSpec], random: Random
) -> None:
    """Accepted or refused, and what nodes are told, are the same for every order."""
    fleet = _fleet(there)
    others = list(specs)
    random.shuffle(others)

    first, second = _records(fleet, specs), _records(fleet, others)

    assert (first is None) == (second is None)
    if first is not None and second is not None:
        told = derive_desired(_with_all(fleet, first))
        assert told.desired == derive_desired(_with_all(fleet, second)).desired
        assert told.conflicts == ()


@settings(max_examples=60)
@given(st.lists(SPECS, max_size=4), COMMANDS, st.data())
def test_a_part_is_never_taken_for_the_whole(
    there: list[DeploymentSpec], specs: list[DeploymentSpec], data: st.DataObject
) -> None:
    """Whichever of the records are stored, exactly the others are known to be still to come."""
    fleet = _fleet(there)
    records = _records(fleet, specs)
    if records is None:
        return
    stored = data.draw(st.sets(st.sampled_from(range(len(records)))))

    part = _with_all(fleet, tuple(records[place] for place in sorted(stored)))

    missing = {record.key for place, record in enumerate(records) if place not in stored}
    assert still_to_come(part.deployments) == (missing if stored else frozenset())
