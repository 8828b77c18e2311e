# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a deployment while its nodes have different revisions."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from cli.plan_view import render_plan
from cli.status import render_deployment
from cli.why import render_reasons
from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYTHING
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.deployment import accepted_event
from services.scheduler.desired_state import Fleet
from services.scheduler.joint_plan import draft_together
from services.scheduler.licence_standing import use_events, violations
from services.scheduler.revocation import affected, packages_in_use, standing_alarm
from services.scheduler.rollout.assignment import at_end
from services.scheduler.rollout.description import NODES_SHOWN
from services.scheduler.status import deployment_status
from services.scheduler.unfit import stays, unfit_deployments
from services.scheduler.usage import concerned
from shared.contracts.deployments import Grace, RevocationAlarm
from shared.contracts.node import REDACTION
from shared.contracts.package_manifest import Needs
from shared.contracts.reviews import RevokedVersion
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    all_observing,
    applied,
    reaching,
    told,
)

CANARY = RolloutSpec(strategy="canary")
NODES = tuple(a_node(name) for name in ("n1", "n2", "n3"))


def _canary(*, first: dict[str, Any] | None = None, **fields: Any) -> Fleet:
    """1.0.0 is on n2 and n3, 2.0.0 on n1."""
    fleet = applied(a_fleet(*NODES), a_spec(**(first or {})))
    fleet = applied(fleet, a_spec(rollout=CANARY, **fields), version="2.0.0", at=2)
    return reaching(fleet, released=1)


def _shown(part: RenderableType) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(part)
    return text.getvalue()


def _why(fleet: Fleet, node: str, place: str = "eth0") -> str:
    found = chain_reasons(fleet, fleet.nodes[node], place, hook=None, sight=EVERYTHING)
    return _shown(render_reasons(found))


def _revoked(version: str) -> RevokedVersion:
    archive = a_package(version=version).signed.archive_sha256
    return RevokedVersion(
        package="rate-limit", version=version, archive_sha256=archive, at="", why="bad"
    )


def test_a_place_is_judged_by_the_revision_that_it_shall_have() -> None:
    """Nodes that are not released run what they shall, and it is said which revision that is."""
    fleet = _canary()

    status = deployment_status(fleet.deployments["edge"], fleet, all_observing(fleet), silences={})

    assert [(one.node, one.state, one.revision, one.observed_version) for one in status.places] == [
        ("n1", "running", 2, "2.0.0"),
        ("n2", "running", 1, "1.0.0"),
        ("n3", "running", 1, "1.0.0"),
    ]
    assert "running, revision 1" in _shown(render_deployment(status))


def test_a_node_that_was_released_and_not_told_is_pending() -> None:
    """Although it runs what it was told before."""
    fleet = _canary()
    record = fleet.deployments["edge"]
    assert record.rollout is not None
    further = msgspec.structs.replace(
        record, rollout=msgspec.structs.replace(record.rollout, wave=1, released=1)
    )

    status = deployment_status(
        further, fleet.with_deployment(further), all_observing(fleet), silences={}
    )

    assert [one.state for one in status.places] == ["running", "pending", "running"]


def test_why_says_with_which_wave_a_revision_comes() -> None:
    """Where it is, and where it is not yet."""
    fleet = _canary()

    assert "revision 2 came with wave 1 of 2" in _why(fleet, "n1")
    for words in (
        "500 edge revision 1: rate-limit 1.0.0",
        "revision 2 comes with wave 2 of 2; rolling-out at wave 1 of 2",
    ):
        assert words in _why(fleet, "n2")


def test_why_says_that_a_first_revision_comes_later() -> None:
    """And of a node that came after the waves were made, when."""
    fleet = reaching(applied(a_fleet(*NODES), a_spec(rollout=CANARY)), released=1, why="so")
    fleet = told(replace(fleet, nodes={**fleet.nodes, "n4": a_node("n4")}))

    comes = "revision 1 comes with wave 2 of 2; rolling-out at wave 1 of 2, so"
    assert f"not here: edge (xdp): {comes}" in _why(fleet, "n2")
    assert "edge (xdp): revision 1 comes when its rollout is over" in _why(fleet, "n4")


@pytest.mark.parametrize(
    ("node", "why"),
    [("n1", "it is for the interfaces wan*"), ("n2", "it is for the interfaces eth0")],
)
def test_why_says_what_keeps_each_revision_out(node: str, why: str) -> None:
    """Of the one that the node has, and not of another."""
    nodes = tuple(a_node(one, "eth0", "wan0") for one in ("n1", "n2"))
    fleet = applied(a_fleet(*nodes), a_spec())
    fleet = applied(fleet, a_spec(interfaces=("wan*",), rollout=CANARY), version="2.0.0", at=2)
    fleet = reaching(fleet, released=1)

    there, away = ("wan0", "eth0") if node == "n1" else ("eth0", "wan0")

    assert "edge revision" in _why(fleet, node, there)
    said = _why(fleet, node, away)
    assert (why in said) == (node == "n1")
    assert ("revision 2 comes with wave 2 of 2" in said) == (node == "n2")


def test_a_plan_shows_who_is_in_which_wave() -> None:
    """And what happens to a revision that is on its way already."""
    fleet = _canary()
    spec = a_spec(rollout=CANARY)

    draft = draft_application(fleet, spec, a_package(version="3.0.0"), a_command(3))

    shown = _shown(render_plan(draft.plan))
    for words in (
        "edge comes in 2 waves; if one fails, it goes back to revision 1",
        "wave 1, 1 node: n1",
        "wave 2, 2 nodes: n2, n3",
        "revision 2 is on its way (wave 1 of 2) and is overtaken",
    ):
        assert words in shown


def test_a_plan_of_one_node_shows_its_wave() -> None:
    """Of each deployment that has waves."""
    specs = [a_spec(rollout=CANARY), a_spec("other", order=9)]

    draft = draft_together(
        a_fleet(*NODES), [(one, a_package()) for one in specs], a_command(), node="n2"
    )

    (planned,) = draft.plan.rollouts
    assert (planned.deployment, planned.base_revision) == ("edge", 0)
    assert [(one.nodes, one.more_nodes) for one in planned.waves] == [((), 1), (("n2",), 1)]


def test_a_plan_lists_so_many_nodes_of_all_waves() -> None:
    """Of all its deployments; how many more there are is said."""
    many = [a_node(f"n{number:04d}") for number in range(NODES_SHOWN)]
    specs = [a_spec(rollout=CANARY), a_spec("other", order=9, rollout=CANARY)]

    plan = draft_together(a_fleet(*many), [(one, a_package()) for one in specs], a_command()).plan

    listed = [[(len(one.nodes), one.more_nodes) for one in each.waves] for each in plan.rollouts]
    assert listed == [[(1, 0), (NODES_SHOWN - 1, 0)], [(0, 1), (0, NODES_SHOWN - 1)]]


def test_what_was_accepted_says_its_waves() -> None:
    """In the audit log."""
    fleet = applied(a_fleet(*NODES), a_spec())
    record = draft_application(fleet, a_spec(rollout=CANARY), a_package(), a_command(2)).record

    details = accepted_event("deployment.apply", record, None, a_command(2)).details

    assert (details["waves"], details["base_revision"]) == ([1, 2], 1)


def test_a_version_that_some_nodes_have_still_is_in_use() -> None:
    """What it would mean to revoke it is told of both versions, and both are looked at."""
    fleet = _canary()

    for version in ("1.0.0", "2.0.0"):
        hit = concerned(fleet, name="rate-limit", version=version, sight=EVERYTHING)
        assert [one.record.key for one in hit] == ["edge"]
    over = reaching(fleet, phase="complete")
    assert not concerned(over, name="rate-limit", version="1.0.0", sight=EVERYTHING)
    assert packages_in_use(_canary(first={"package": "old"})) == ("old", "rate-limit")


@pytest.mark.parametrize(
    ("said", "of_earlier", "of_newest"),
    [
        ("stop", "stop", "stop"),
        ("replace:>=2", "alarm", "replace"),
        ("alarm", "alarm", "alarm"),
    ],
)
def test_what_was_revoked_and_is_being_replaced_is_not_replaced_again(
    said: str, of_earlier: str, of_newest: str
) -> None:
    """What is to stop stops all the same."""
    fleet = _canary(on_revoked=said)

    assert [one.way for one in affected(fleet, [_revoked("1.0.0")])] == [of_earlier]
    assert [one.way for one in affected(fleet, [_revoked("2.0.0")])] == [of_newest]


def test_an_alarm_is_over_when_no_node_shall_run_what_it_was_about() -> None:
    """As soon as the rollout is."""
    archive = _revoked("1.0.0").archive_sha256
    record = msgspec.structs.replace(
        _canary().deployments["edge"],
        alarm=RevocationAlarm(version="1.0.0", archive_sha256=archive, at="", why="bad"),
    )

    assert standing_alarm(record) == record.alarm
    assert standing_alarm(at_end(record)) is None


def test_licence_standing_is_that_of_what_each_node_has() -> None:
    """The newest version was excused of a rule; nodes of the earlier one break none."""
    fleet = _canary()
    record = fleet.deployments["edge"]
    newest = record.revisions[-1]
    assert newest.resolved is not None
    grace = Grace(version="2.0.0", rules=("policy-groups",))
    resolved = msgspec.structs.replace(newest.resolved, grace=grace)
    newest = msgspec.structs.replace(newest, resolved=resolved)
    record = msgspec.structs.replace(record, revisions=(*record.revisions[:-1], newest))
    fleet = fleet.with_deployment(record)

    assert [one.node for one in violations(record, fleet)] == ["n1"]
    assert [one.node for one in violations(at_end(record), fleet)] == ["n1", "n2", "n3"]
    assert use_events(record, fleet) == ()


def test_what_stays_is_asked_of_the_revision_that_is_there() -> None:
    """A node that has an earlier one lacks nothing of what that needs."""
    able = {REDACTION: True, "xdp": True}
    fleet = applied(a_fleet(*(replace(one, features=able) for one in NODES)), a_spec())
    fleet = replace(
        fleet,
        nodes={
            name: replace(one, features=able | {"tcx": True}) for name, one in fleet.nodes.items()
        },
    )
    package = a_package(version="2.0.0", needs=Needs(features=("tcx",)))
    record = draft_application(fleet, a_spec(rollout=CANARY), package, a_command(2)).record
    fleet = reaching(told(fleet.with_deployment(record)), released=1)

    unable = {name: replace(one, features=able) for name, one in fleet.nodes.items()}
    fleet = replace(fleet, nodes=unable)

    assert {one.node for one in stays(fleet)} == {"n1"}
    assert [one.stays for one in unfit_deployments(fleet.nodes["n1"], fleet)] == [True]
    assert unfit_deployments(fleet.nodes["n2"], fleet) == ()
