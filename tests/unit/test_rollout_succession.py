# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What commands make of a deployment whose revision is on its way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import draft_application, draft_removal, draft_unstaged
from services.scheduler.completion import endings
from services.scheduler.deployment import NoEarlierRevisionError, rollback_target
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.joint_plan import draft_together
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.rollout.going_back import is_where_it_began, rolled_back
from services.scheduler.rollout.succession import RolloutUnderWayError
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.health import HealthSpec
from shared.contracts.rollouts import RolloutSpec, RolloutWave
from shared.errors import Reason, RefusedError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    all_observing,
    applied,
    reaching,
    removed,
)

CANARY = RolloutSpec(strategy="canary")
NODES = tuple(a_node(name) for name in ("n1", "n2", "n3"))


def _canary(version: str = "2.0.0", **state: Any) -> Fleet:
    """1.0.0 was everywhere; the next version is on n1, or as far as is said."""
    fleet = applied(a_fleet(*NODES), a_spec())
    fleet = applied(fleet, a_spec(rollout=CANARY), version=version, at=2)
    return reaching(fleet, **{"released": 1, **state})


def _versions(fleet: Fleet) -> dict[str, list[str]]:
    return {
        name: [one.version for chain in desired.chains for one in chain.programs]
        for name, desired in fleet.desired.items()
    }


def _record(fleet: Fleet) -> DeploymentRecord:
    return fleet.deployments["edge"]


def test_without_a_rollout_the_record_says_nothing_of_one() -> None:
    """Every node has the revision at once, as ever."""
    record = _record(applied(a_fleet(*NODES), a_spec()))

    assert (record.rollout, record.earlier) == (None, ())


def test_a_revision_begins_with_nobody_having_it() -> None:
    """What nodes have until then is kept with what it resolved to."""
    fleet = applied(a_fleet(*NODES), a_spec())

    fleet = applied(fleet, a_spec(rollout=CANARY), version="2.0.0", at=2)

    record = _record(fleet)
    assert record.rollout is not None
    assert (record.rollout.revision, record.rollout.base_revision) == (2, 1)
    assert [one.revision.resolved is not None for one in record.earlier] == [True]
    assert _versions(fleet) == {name: ["1.0.0"] for name in ("n1", "n2", "n3")}


def test_health_alone_makes_a_rollout() -> None:
    """There is something to wait for."""
    health = HealthSpec(bad_periods=2)

    assert _record(applied(a_fleet(*NODES), a_spec(health=health))).rollout is not None


def test_a_plan_is_that_of_the_end() -> None:
    """Every node tries its chain before the first is told anything."""
    fleet = applied(a_fleet(*NODES), a_spec())

    draft = draft_application(
        fleet, a_spec(rollout=CANARY), a_package(version="2.0.0"), a_command(2)
    )

    assert sorted(draft.staging) == ["n1", "n2", "n3"]
    assert [chain.programs[0].change for chain in draft.plan.chains] == ["changed"] * 3
    assert draft.reply("c").node_generations == {}
    assert not derive_desired(fleet.with_deployment(draft.record)).changed


def test_a_further_revision_sets_out_from_what_every_node_has() -> None:
    """And it would go back to what was everywhere last."""
    fleet = applied(_canary(), a_spec(rollout=CANARY), version="3.0.0", at=3)

    assert _versions(fleet) == {"n1": ["2.0.0"], "n2": ["1.0.0"], "n3": ["1.0.0"]}
    rollout = _record(fleet).rollout
    assert rollout is not None
    assert (rollout.revision, rollout.base_revision, rollout.released) == (3, 1, 0)


def test_a_revision_without_a_rollout_is_everywhere_at_once() -> None:
    """However many others were on their way."""
    fleet = applied(_canary(), a_spec(), version="3.0.0", at=3)

    assert _versions(fleet) == {name: ["3.0.0"] for name in ("n1", "n2", "n3")}
    assert (_record(fleet).rollout, _record(fleet).earlier) == (None, ())


def test_too_many_revisions_at_once_are_refused() -> None:
    """It is said what to do; nothing is changed."""
    fleet = _canary()
    for number, node in ((3, "n2"), (4, "n3")):
        fleet = applied(fleet, a_spec(rollout=CANARY), version=f"{number}.0.0", at=number)
        fleet = reaching(fleet, waves=(RolloutWave(nodes=(node,)),), released=1)
    assert _versions(fleet) == {"n1": ["2.0.0"], "n2": ["3.0.0"], "n3": ["4.0.0"]}

    with pytest.raises(RolloutUnderWayError, match="abort it"):
        applied(fleet, a_spec(rollout=CANARY), version="5.0.0", at=5)
    applied(fleet, a_spec(), version="5.0.0", at=5)


def test_two_deployments_that_are_in_conflict_at_the_end_are_refused() -> None:
    """Although no node has what the other is about to become."""
    fleet = applied(a_fleet(*NODES), a_spec(order=10))
    fleet = applied(fleet, a_spec(order=20, rollout=CANARY), version="2.0.0", at=2)

    for order in (10, 20):
        with pytest.raises(ChainConflictError):
            applied(fleet, a_spec("other", order=order), at=3)
    applied(fleet, a_spec("other", order=15), at=3)


def test_what_a_rollout_would_go_back_to_keeps_its_place() -> None:
    """Also when every node has the newest revision already."""
    fleet = applied(a_fleet(*NODES), a_spec(order=10))
    fleet = applied(fleet, a_spec(order=20, rollout=CANARY), version="2.0.0", at=2)
    fleet = reaching(fleet, wave=1, released=2)

    with pytest.raises(ChainConflictError):
        applied(fleet, a_spec("other", order=10), at=3)


def test_a_plan_of_several_is_that_of_the_end() -> None:
    """With the rollouts of all of them over."""
    fleet = applied(a_fleet(*NODES), a_spec(order=10))
    specs = [a_spec(order=20, rollout=CANARY), a_spec("other", order=30)]

    draft = draft_together(fleet, [(one, a_package(version="2.0.0")) for one in specs], a_command())

    assert [[one.order for one in chain.programs] for chain in draft.plan.chains] == [[20, 30]] * 3


def test_going_back_gives_every_node_what_it_had() -> None:
    """The one that had more gets the old program again; the others are told nothing."""
    before = applied(a_fleet(*NODES), a_spec())
    fleet = _canary()
    record = _record(fleet)
    target = rollback_target(record, name="edge", to_revision=0)
    assert target.revision == 1
    assert is_where_it_began(record, target)

    draft = draft_unstaged(fleet, rolled_back(record, a_command(3, reason="it drops")))

    assert (draft.staging, set(draft.desired)) == ({}, {"n1"})
    after = derive_desired(fleet.with_deployment(draft.record)).desired
    for name in ("n1", "n2", "n3"):
        assert [one.programs for one in after[name].chains] == [
            one.programs for one in before.desired[name].chains
        ]
    newest = draft.record.revisions[-1]
    assert (newest.revision, newest.rollback_of, newest.told_as) == (3, 1, 1)
    assert draft.record.rollout is not None
    assert (draft.record.rollout.phase, draft.record.rollout.revision) == ("rolled-back", 2)


def test_what_was_gone_back_to_goes_on_under_its_number() -> None:
    """Also when it is gone back to once more."""
    fleet = _canary()
    fleet = fleet.with_deployment(rolled_back(_record(fleet), a_command(3)))
    fleet = applied(fleet, a_spec(rollout=CANARY), version="2.0.0", at=4)

    record = rolled_back(_record(reaching(fleet, released=1)), a_command(5))

    newest = record.revisions[-1]
    assert (newest.revision, newest.rollback_of, newest.told_as) == (5, 3, 1)


def test_a_first_revision_that_goes_back_is_removed() -> None:
    """There is nothing that was everywhere, and rollback says so."""
    fleet = reaching(applied(a_fleet(*NODES), a_spec(rollout=CANARY)), released=1)
    assert list(fleet.desired) == ["n1"]
    with pytest.raises(NoEarlierRevisionError):
        rollback_target(_record(reaching(fleet)), name="edge", to_revision=0)

    record = rolled_back(_record(fleet), a_command(2))

    assert record.removed
    derived = derive_desired(fleet.with_deployment(record))
    assert [one.programs for one in derived.desired["n1"].chains] == [()]


def test_a_removal_ends_the_rollout() -> None:
    """On the nodes that had the new revision and on the others."""
    fleet = _canary()

    record = draft_removal(fleet, "edge", a_command(3)).record

    assert (record.removed, record.rollout, record.earlier) == (True, None, ())
    assert not any(_versions(removed(fleet, "edge", at=3)).values())


def test_a_command_is_not_over_while_its_rollout_goes_on() -> None:
    """Whatever runs as it should."""
    fleet = _canary()
    assert not endings(_record(fleet), fleet, all_observing(fleet))[1:]

    over = reaching(fleet, wave=1, released=2, phase="complete")

    found = endings(_record(over), over, all_observing(over))
    assert [(one.command_id, one.body.outcome) for one in found] == [
        ("command-0001", "failed"),
        ("command-0002", "succeeded"),
    ]


def test_a_command_whose_rollout_went_back_failed_with_the_evidence() -> None:
    """And the one that brought the old revision back succeeded."""
    fleet = _canary()
    record = rolled_back(_record(fleet), a_command(3))
    assert record.rollout is not None
    evidence = (Reason(path="nodes.n1.eth0", rule="drops too much"),)
    rollout = msgspec.structs.replace(record.rollout, why="not healthy", evidence=evidence)
    record = msgspec.structs.replace(record, rollout=rollout, unfinished=record.unfinished[1:])
    fleet = fleet.with_deployment(record)
    derived = derive_desired(fleet)
    fleet = Fleet(fleet.deployments, fleet.nodes, derived.desired)

    failed, succeeded = endings(record, fleet, all_observing(fleet))

    assert (failed.command_id, failed.body.outcome) == ("command-0002", "failed")
    assert [one.rule for one in failed.body.reasons] == ["not healthy", "drops too much"]
    assert failed.body.details["rollout"] == "rolled-back"
    assert (succeeded.command_id, succeeded.body.outcome) == ("command-0003", "succeeded")


def test_deployments_that_change_places_do_not_do_so_in_waves() -> None:
    """One could be on a node where the other still is; at once they can."""
    fleet = applied(a_fleet(*NODES), a_spec(order=10))
    fleet = applied(fleet, a_spec("other", order=20), at=2)
    specs = [a_spec(order=20), a_spec("other", order=10)]
    draft_together(fleet, [(one, a_package()) for one in specs], a_command(3))

    waves = [msgspec.structs.replace(one, rollout=CANARY) for one in specs]
    with pytest.raises(RefusedError, match="claims a place"):
        draft_together(fleet, [(one, a_package()) for one in waves], a_command(3))
