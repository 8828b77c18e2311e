# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments that are applied together: all of them or none, and seen whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest

from cli.history import history_of
from services.scheduler.completion import endings
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.groups import (
    check_generations,
    check_one_space,
    still_to_come,
)
from services.scheduler.joint_plan import draft_all
from services.scheduler.service import planning
from services.scheduler.status import deployment_status
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.rollouts import RolloutSpec
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_package, a_spec, applied, removed

PACKAGE = a_package()
PLANNING = planning(datetime(2026, 1, 1, tzinfo=UTC))


def together(fleet: Fleet, *specs: DeploymentSpec) -> tuple[DeploymentRecord, ...]:
    """What one command makes of the deployments."""
    return draft_all(fleet, [(spec, PACKAGE) for spec in specs], PLANNING).records


def with_all(fleet: Fleet, records: tuple[DeploymentRecord, ...]) -> Fleet:
    """The fleet once all of them are stored."""
    for record in records:
        fleet = fleet.with_deployment(record)
    return fleet


def test_two_deployments_change_places_in_one_command() -> None:
    """Only the end counts: one after the other, the first would find its place taken."""
    fleet = applied(applied(a_fleet(), a_spec("edge", order=10)), a_spec("guard", order=20))
    swapped = (a_spec("edge", order=20), a_spec("guard", order=10))

    with pytest.raises(RefusedError, match="already has"):
        draft_all(fleet, [(swapped[0], PACKAGE)], PLANNING)
    ahead = with_all(fleet, together(fleet, *swapped))

    (chain,) = derive_desired(ahead).desired["n1"].chains
    assert [program.deployment for program in chain.programs] == ["guard", "edge"]


def test_every_revision_says_what_it_was_applied_with() -> None:
    """By key and generation, the same in all of them; one alone says nothing."""
    fleet = applied(a_fleet(), a_spec("edge", order=10))

    records = together(fleet, a_spec("edge", order=11), a_spec("guard", order=20))

    assert [record.revisions[-1].together for record in records] == [{"edge": 2, "guard": 1}] * 2
    assert [record.generation for record in records] == [2, 1]
    (alone,) = together(fleet, a_spec("edge", order=12))
    assert alone.revisions[-1].together == {}


def test_the_history_says_what_a_revision_was_applied_with() -> None:
    """The others by their keys."""
    fleet = with_all(a_fleet(), together(a_fleet(), a_spec("edge"), a_spec("guard", order=9)))
    status = deployment_status(fleet.deployments["guard"], fleet, {}, silences={})

    (told,) = history_of(status).revisions

    assert told.together == ("edge",)


def test_each_deployment_of_a_command_has_a_rollout_of_its_own() -> None:
    """One may go in waves beside one that goes at once."""
    fleet = a_fleet(a_node("n1"), a_node("n2"))
    canary = a_spec("edge", order=1, rollout=RolloutSpec(strategy="canary"))

    first, second = together(fleet, canary, a_spec("guard", order=2))

    assert first.rollout is not None
    assert (len(first.rollout.waves), second.rollout) == (2, None)


@pytest.mark.parametrize("there", [1, 2])
def test_a_part_of_a_command_is_known_as_one(there: int) -> None:
    """Whichever of its records are stored: until all are, the others are known to be missing."""
    fleet = applied(a_fleet(), a_spec("edge", order=10))
    records = together(
        fleet, a_spec("edge", order=11), a_spec("guard", order=20), a_spec("tail", order=30)
    )

    for stored in combinations(records, there):
        missing = {record.key for record in records} - {record.key for record in stored}
        assert still_to_come(with_all(fleet, stored).deployments) == missing
    assert still_to_come(with_all(fleet, records).deployments) == frozenset()


def test_a_command_that_was_whole_stays_whole() -> None:
    """Later commands of each deployment, and removals, do not make it look like a part."""
    fleet = with_all(a_fleet(), together(a_fleet(), a_spec("edge"), a_spec("guard", order=9)))
    fleet = removed(applied(fleet, a_spec("edge", order=3)), "guard", at=2)

    assert still_to_come(fleet.deployments) == frozenset()


def test_each_deployment_of_a_command_has_an_ending_of_its_own() -> None:
    """Under ids that differ, also when a later command overtook them."""
    fleet = with_all(a_fleet(), together(a_fleet(), a_spec("edge"), a_spec("guard", order=9)))
    later = applied(applied(fleet, a_spec("edge", order=3)), a_spec("guard", order=4))

    ids = [
        one.event_id
        for key in ("edge", "guard")
        for one in endings(later.deployments[key], later, {})
    ]

    assert ids == ["plan-only.edge.complete", "plan-only.guard.complete"]


def test_a_refusal_has_the_reasons_of_all() -> None:
    """Each path is led by the deployment that it is about."""
    specs = [
        a_spec("edge", program="nonesuch"),
        a_spec("fine", order=7),
        a_spec("guard", interfaces=("wlan0",), order=9),
    ]

    with pytest.raises(RefusedError) as refused:
        together(a_fleet(a_node("n1", "eth0")), *specs)

    paths = [reason.path for reason in refused.value.reasons]
    assert {path.split(".")[0] for path in paths} == {"edge", "guard"}


def test_a_conflict_within_a_command_is_told_once() -> None:
    """Both are named in the one reason."""
    with pytest.raises(RefusedError) as refused:
        together(a_fleet(), a_spec("edge", order=5), a_spec("guard", order=5))

    (reason,) = refused.value.reasons
    assert reason.path == "edge.order"
    assert "edge and guard" in reason.rule


def test_generations_are_checked_of_all_and_of_nothing_else() -> None:
    """Every deployment that is not as believed is named, and so is one that is not applied."""
    deployments = applied(a_fleet(), a_spec("edge")).deployments
    specs = [a_spec("edge"), a_spec("guard", order=9)]

    check_generations(specs, deployments, if_generation=1, if_generations={"edge": 1, "guard": 0})
    with pytest.raises(RefusedError) as wrong:
        check_generations(specs, deployments, if_generation=2, if_generations={"guard": 4})
    with pytest.raises(RefusedError, match="tail is not among"):
        check_generations(specs, deployments, if_generation=None, if_generations={"tail": 0})

    assert [(one.path, one.got, one.allowed) for one in wrong.value.reasons] == [
        ("edge.if_generation", 2, 1),
        ("guard.if_generation", 4, 0),
    ]
    assert wrong.value.refusal_code == "conflict"


def test_a_command_is_of_one_space() -> None:
    """Without the name of the other one, which not everybody may know."""
    specs = [a_spec("edge"), a_spec("guard", space="r_red", order=9)]

    with pytest.raises(RefusedError) as refused:
        check_one_space(specs)

    (reason,) = refused.value.reasons
    assert (reason.path, reason.got) == ("also[0].space", None)
