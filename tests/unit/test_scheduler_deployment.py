# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The life of a deployment, and what a change would do, before it is made."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from services.scheduler.acceptance import (
    Draft,
    RecordTooLargeError,
    draft_application,
    draft_removal,
)
from services.scheduler.deployment import (
    NoEarlierRevisionError,
    UnknownDeploymentError,
    accepted_event,
    refused_event,
    rollback_target,
)
from services.scheduler.desired_state import Fleet
from shared.contracts.deployments import KEPT_REVISIONS, DeploymentSpec
from shared.contracts.health import HealthSpec, MetricCondition
from shared.contracts.node_overlays import NodeOverlay
from shared.contracts.rollouts import ChangeWindow, RolloutSpec
from shared.contracts.selectors import NodeSelector
from shared.errors import Reason, Refusal, RefusedError, VerificationError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    applied,
    removed,
)


def _draft(fleet: Fleet, spec: DeploymentSpec, *, version: str = "1.0.0", at: int = 9) -> Draft:
    return draft_application(fleet, spec, a_package(spec.package, version), a_command(at))


def _changes(draft: Draft) -> dict[str, list[tuple[str, str]]]:
    return {
        f"{chain.node}/{chain.interface}/{chain.hook}": [
            (one.deployment, one.change) for one in chain.programs
        ]
        for chain in draft.plan.chains
    }


def test_a_revision_pins_what_the_constraint_resolved_to() -> None:
    """What ran can be said later, whatever was published since."""
    draft = _draft(a_fleet(), a_spec(version="^1"), version="1.4.2", at=3)

    revision = draft.record.revisions[-1]
    assert (revision.revision, revision.version, revision.spec.version) == (1, "1.4.2", "^1")
    assert revision.command_id == "command-0003"
    assert [(one.node, one.interface) for one in revision.placements] == [("n1", "eth0")]


def test_only_the_newest_revision_holds_what_it_resolved_to() -> None:
    """History stays small."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(), at=2)

    revisions = fleet.deployments["edge"].revisions
    assert [one.resolved is not None for one in revisions] == [False, True]
    assert [len(one.placements) for one in revisions] == [0, 1]


def test_history_keeps_the_newest_revisions() -> None:
    """Numbers go on when the oldest are forgotten."""
    fleet = a_fleet()
    for number in range(1, KEPT_REVISIONS + 4):
        fleet = applied(fleet, a_spec(), at=number)

    numbers = [one.revision for one in fleet.deployments["edge"].revisions]
    assert numbers == list(range(4, KEPT_REVISIONS + 4))


def test_numbers_go_on_after_a_removal() -> None:
    """A name used again is not a deployment with another history."""
    fleet = removed(applied(a_fleet(), a_spec(), at=1), "edge", at=2)

    draft = _draft(fleet, a_spec())

    assert [one.revision for one in draft.record.revisions] == [1, 2]
    assert draft.record.removed is False


def test_an_instance_begins_anew_after_a_removal_and_with_another_package_or_hook() -> None:
    """And stays one through versions, places, options and configuration."""
    fleet = a_fleet()
    instances = []
    for at, (spec, version) in enumerate(
        (
            (a_spec(), "1.0.0"),
            (a_spec(order=7), "1.1.0"),
            (a_spec(package="other"), "1.0.0"),
            (a_spec(), "1.0.0"),
            (a_spec(), "1.0.1"),
        )
    ):
        fleet = applied(fleet, spec, version=version, at=at)
        instances.append(fleet.desired["n1"].chains[0].programs[0].instance)
    fleet = removed(fleet, "edge", at=8)

    again = _draft(fleet, a_spec())

    assert instances == [0, 0, 3, 4, 4]
    assert again.record.revisions[-1].instance == 6
    assert [one.instance for one in again.record.revisions] == [0, 0, 3, 4, 4, 6]
    assert again.desired["n1"].chains[0].programs[0].instance == 6


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_rollback_brings_the_instance_of_its_revision_back(*, is_removed: bool) -> None:
    """So that a node which keeps its generation goes on with its maps."""
    fleet = applied(a_fleet(), a_spec(), at=1)
    before = fleet.desired["n1"].chains[0].programs
    fleet = (
        removed(fleet, "edge", at=2) if is_removed else applied(fleet, a_spec(package="b"), at=2)
    )
    target = rollback_target(fleet.deployments["edge"], name="edge", to_revision=0)

    draft = draft_application(
        fleet, target.spec, a_package(target.spec.package), a_command(3), rollback_of=target
    )

    after = draft.desired["n1"].chains[0].programs
    assert [msgspec.structs.replace(one, revision=1) for one in after] == list(before)
    assert ("maps start anew" in " ".join(draft.plan.warnings)) is False


def test_removing_what_is_not_there_is_refused() -> None:
    """Never was, or removed already."""
    with pytest.raises(UnknownDeploymentError):
        draft_removal(a_fleet(), "edge", a_command())
    with pytest.raises(UnknownDeploymentError):
        draft_removal(removed(applied(a_fleet(), a_spec()), "edge", at=2), "edge", a_command(3))


def test_rollback_goes_to_the_revision_before_the_current() -> None:
    """Without a number, what ran before runs again."""
    fleet = applied(applied(a_fleet(), a_spec(order=1), at=1), a_spec(order=2), at=2)

    target = rollback_target(fleet.deployments["edge"], name="edge", to_revision=0)

    assert target.spec.order == 1


def test_rollback_of_a_removed_deployment_brings_its_last_revision_back() -> None:
    """What ran before a removal is the last revision."""
    fleet = removed(applied(a_fleet(), a_spec(order=5)), "edge", at=2)

    target = rollback_target(fleet.deployments["edge"], name="edge", to_revision=0)

    assert target.revision == 1


@pytest.mark.parametrize(
    ("to_revision", "rule"),
    [(2, "is the current revision"), (7, "is not a kept revision")],
)
def test_rollback_to_a_revision_that_cannot_be_brought_back_is_refused(
    to_revision: int, rule: str
) -> None:
    """With the revisions that can."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(), at=2)

    with pytest.raises(NoEarlierRevisionError) as caught:
        rollback_target(fleet.deployments["edge"], name="edge", to_revision=to_revision)

    (reason,) = caught.value.reasons
    assert (reason.path, reason.rule, reason.allowed) == ("to_revision", rule, [1])


def test_rollback_without_an_earlier_revision_is_refused() -> None:
    """Neither for one revision nor for none."""
    fleet = applied(a_fleet(), a_spec())

    with pytest.raises(NoEarlierRevisionError, match="no earlier revision"):
        rollback_target(fleet.deployments["edge"], name="edge", to_revision=0)
    with pytest.raises(UnknownDeploymentError):
        rollback_target(None, name="edge", to_revision=0)


def test_rollback_to_an_archive_that_is_not_what_it_was_is_refused() -> None:
    """A version is immutable, so another archive under it means tampering."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(), version="2.0.0", at=2)
    target = fleet.deployments["edge"].revisions[0]
    package = a_package(version="1.0.0")
    signed = msgspec.structs.replace(package.signed, archive_sha256="0" * 64)
    tampered = msgspec.structs.replace(package, signed=signed)

    with pytest.raises(VerificationError, match="not what it was"):
        draft_application(fleet, target.spec, tampered, a_command(3), rollback_of=target)


def test_the_plan_says_what_happens_to_each_program() -> None:
    """Kept, added, changed and removed, in the order they run; removed ones last."""
    fleet = applied(a_fleet(a_node("n1", "eth0", "eth1")), a_spec("other", order=1), at=1)
    fleet = applied(fleet, a_spec("edge", interfaces=("eth0",)), at=2)

    draft = _draft(fleet, a_spec("edge", interfaces=("eth1",)), version="1.1.0")

    assert _changes(draft) == {
        "n1/eth0/xdp": [("other", "kept"), ("edge", "removed")],
        "n1/eth1/xdp": [("edge", "added")],
    }


def test_a_new_version_is_a_change_that_links_anew() -> None:
    """And a downgrade is worth a warning."""
    fleet = applied(a_fleet(), a_spec(), version="1.1.0")

    draft = _draft(fleet, a_spec(), version="1.0.0")

    assert _changes(draft) == {"n1/eth0/xdp": [("edge", "changed")]}
    assert draft.plan.chains[0].configuration_only is False
    assert draft.plan.warnings == ("the version goes down from 1.1.0 to 1.0.0",)


def test_going_on_after_a_verdict_that_ends_a_packets_way_is_warned_of() -> None:
    """The plan says it before anything runs; verdicts that let packets pass are silent."""
    draft = _draft(a_fleet(), a_spec(proceed_on=("pass", "drop")))

    assert [one.partition(":")[0] for one in draft.plan.warnings] == ["proceed_on has 'drop'"]
    assert _draft(a_fleet(), a_spec(proceed_on=("pass",))).plan.warnings == ()


def test_a_plan_that_changes_only_map_entries_says_so() -> None:
    """Then nothing is linked anew."""
    fleet = applied(a_fleet(), a_spec(config={"limits": {"80": 1}}))

    draft = _draft(fleet, a_spec(config={"limits": {"80": 2}}))

    assert _changes(draft) == {"n1/eth0/xdp": [("edge", "changed")]}
    assert draft.plan.chains[0].configuration_only is True


def test_deploying_the_same_again_keeps_the_program() -> None:
    """It is a new revision and changes nothing."""
    fleet = applied(a_fleet(), a_spec())

    draft = _draft(fleet, a_spec())

    assert _changes(draft) == {"n1/eth0/xdp": [("edge", "kept")]}
    assert draft.record.revisions[-1].revision == 2


def test_only_the_chains_of_the_deployment_are_staged() -> None:
    """Another deployment's new node does not stand in the way, nor does an emptied chain."""
    fleet = applied(a_fleet(), a_spec("other", hook="xdp", order=1, names=("n*",)), at=1)
    nodes = {**fleet.nodes, "n2": a_node("n2")}
    fleet = Fleet(fleet.deployments, nodes, fleet.desired)

    draft = _draft(fleet, a_spec("edge", names=("n1",)))

    assert list(draft.staging) == ["n1"]
    assert {chain.node for chain in draft.plan.chains} == {"n1"}


def test_a_removal_stages_nothing_and_shows_what_goes() -> None:
    """A lost node must not keep a deployment alive."""
    fleet = applied(a_fleet(), a_spec())

    draft = draft_removal(fleet, "edge", a_command(2))

    assert draft.staging == {}
    assert _changes(draft) == {"n1/eth0/xdp": [("edge", "removed")]}
    assert draft.record.removed is True


def test_a_record_over_the_limit_of_its_bucket_is_refused() -> None:
    """Before anything is staged or written."""
    fleet = a_fleet(a_node("n1", *(f"e{number}" for number in range(900))))

    with pytest.raises(RecordTooLargeError) as caught:
        _draft(fleet, a_spec(interfaces=("e*",)))

    assert caught.value.refusal_code == "too_large"
    assert caught.value.reasons[0].path == "nodes.n1"


def test_of_a_rollout_that_is_too_large_it_is_said_what_takes_the_room() -> None:
    """Names without a pattern, of which nothing can be compressed; all at once they fit."""
    names = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(4000)]
    fleet = applied(a_fleet(*map(a_node, names)), a_spec())

    with pytest.raises(RecordTooLargeError) as caught:
        _draft(fleet, a_spec(rollout=RolloutSpec(strategy="canary")), version="1.1.0")

    assert [one.path for one in caught.value.reasons] == ["deployment", "rollout"]
    assert caught.value.reasons[1].got > caught.value.reasons[0].allowed / 2
    assert _draft(fleet, a_spec(), version="1.1.0").record.rollout is None


def test_the_reply_names_the_generation_that_holds_the_change() -> None:
    """A caller can wait for it."""
    reply = _draft(a_fleet(a_node("n1"), a_node("n2")), a_spec()).reply("command-0009")

    assert reply.node_generations == {"n1": 1, "n2": 1}
    assert (reply.name, reply.revision, reply.command_id) == ("edge", 1, "command-0009")


def test_the_accepted_event_says_who_what_and_before_and_after() -> None:
    """An auditor needs nothing else."""
    before = applied(a_fleet(), a_spec(order=1)).deployments["edge"]
    fleet = applied(a_fleet(), a_spec(order=1))
    facts = a_command(2, reason="faster")
    draft = draft_application(fleet, a_spec(order=2), a_package(), facts)

    event = accepted_event("deployment.apply", draft.record, before, facts)

    assert (event.action, event.outcome, event.correlation) == (
        "deployment.apply",
        "accepted",
        "command-0002",
    )
    assert event.actor == facts.actor
    assert (event.deployment, event.package, event.version) == ("edge", "rate-limit", "1.0.0")
    assert event.reason == "faster"
    assert event.before != event.after != ""
    assert event.details["places"] == [["n1", "eth0"]]


def test_the_refused_event_keeps_the_reasons() -> None:
    """What was refused, and why, is in the log."""
    refusal = Refusal(code="conflict", message="no", reasons=(Reason(path="order", rule="taken"),))

    event = refused_event("deployment.apply", refusal, a_command(), named=a_spec())

    assert (event.outcome, event.reasons) == ("refused", refusal.reasons)
    assert event.details == {"code": "conflict", "message": "no"}


def test_everything_that_is_wrong_with_a_deployment_is_said_at_once() -> None:
    """Of its order, its expiry, its rollout, its overlays and its package, each with its path."""
    night = ChangeWindow(cron="0 2 * * *", duration_seconds=60, time_zone="Mars/Phobos")
    spec = a_spec(
        expiry="2020-01-01T00:00:00Z",
        rollout=RolloutSpec(canary=1, windows=(night,)),
        health=HealthSpec(metrics=(MetricCondition(metric="nope", maximum=1),)),
        overlays=(NodeOverlay(name="x", nodes=NodeSelector(labels={"rack": "1"})),),
        config={"nomap": {"1": 1}},
    )
    with pytest.raises(RefusedError) as refused:
        draft_application(a_fleet(a_node()), spec, a_package(), a_command())
    assert [one.path for one in refused.value.reasons] == [
        "overlays[0]",
        "expiry",
        "rollout.windows[0].time_zone",
        "rollout.canary",
        "config.nomap",
        "health.metrics[0].metric",
    ]
    assert "its rollout contradicts itself" in refused.value.message
