# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where deployments stand with the licence policy: shown at once, and said once a change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.desired_state import Fleet
from services.scheduler.licence_standing import standing_change, use_events, violations
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.waivers import Waiver, WaiverScope
from shared.licensing.waivers import in_force
from shared.moments import render_time
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NODES = ("n1", "n2", "n3")


def a_waiver(node: str, *, days: int, rule: str = "policy-groups") -> Waiver:
    """In force on one node for so many days from now."""
    scope = {"rule": rule, "package": "rate-limit", "versions": "*", "nodes": {"names": [node]}}
    return Waiver(
        id=f"w-{node}",
        scope=msgspec.convert(scope, WaiverScope),
        reason="a test",
        expires_at=render_time(NOW + timedelta(days=days)),
        requested_by="Ua",
        requested_name="alice",
        requested_role="publisher",
        requested_at=render_time(NOW),
        granted_at=render_time(NOW),
    )


def under(fleet: Fleet, waivers: list[Waiver], *, day: int) -> Fleet:
    """The fleet as it is seen on a day."""
    known = in_force(waivers, now=NOW + timedelta(days=day))
    nodes = {name: replace(node, waivers=known) for name, node in fleet.nodes.items()}
    return replace(fleet, nodes=nodes)


def deployed(waivers: list[Waiver]) -> tuple[Fleet, DeploymentRecord]:
    """A deployment on every node, of a version that one rule was waived for."""
    finding = LicenceFinding(rule="policy-groups", outcome="refused", waiver="w-n1")
    verdict = LicenceVerdict(
        policy="p", policy_version="1.0.0", outcome="noted", findings=(finding,)
    )
    package = msgspec.structs.replace(a_package(), licences=verdict)
    fleet = under(a_fleet(*map(a_node, NODES)), waivers, day=0)
    draft = draft_application(fleet, a_spec(), package, a_command())
    return replace(fleet.with_deployment(draft.record), desired=draft.desired), draft.record


@given(
    lengths=st.tuples(*(st.integers(min_value=1, max_value=20) for _ in NODES)),
    looks=st.lists(st.integers(min_value=0, max_value=25), max_size=15),
)
def test_each_change_is_said_once_and_what_is_shown_is_the_present(
    lengths: tuple[int, ...], looks: list[int]
) -> None:
    """In whatever order it is looked, also when waivers come into force again."""
    waivers = [a_waiver(name, days=days) for name, days in zip(NODES, lengths, strict=True)]
    fleet, record = deployed(waivers)
    said: list[str] = []
    for day in looks:
        seen = under(fleet, waivers, day=day)
        ended = [name for name, days in zip(NODES, lengths, strict=True) if day >= days]
        assert [one.node for one in violations(record, seen)] == ended
        change = standing_change(record, seen)
        if change is not None:
            said.append(change.event_id)
            is_broken = bool(ended)
            assert change.body.action == ("licence.violate" if is_broken else "licence.comply")
            assert change.body.details["nodes"] == ended
            left = [f"w-{name}" for name in NODES if name not in ended]
            assert change.body.details["waivers"] == left
            record = change.record
        assert standing_change(record, seen) is None

    assert len(said) == len(set(said))


@given(covered=st.sets(st.sampled_from(NODES), min_size=1))
def test_it_is_placed_only_where_a_waiver_covers_it_and_each_use_is_said(covered: set[str]) -> None:
    """Other nodes are excluded with the rule; one event for each waiver."""
    fleet, record = deployed([a_waiver(name, days=9) for name in sorted(covered)])

    assert {one.node for one in record.revisions[-1].placements} == covered
    assert violations(record, fleet) == ()
    assert [one.details["nodes"] for one in use_events(record, fleet)] == [
        [name] for name in sorted(covered)
    ]


def test_a_waiver_for_another_rule_covers_nothing() -> None:
    """A deployment that runs by the grace of one violates when only another is left."""
    fleet, record = deployed([a_waiver("n1", days=9)])
    other = [a_waiver("n1", days=9, rule="source-tags")]

    assert [one.rule for one in violations(record, under(fleet, other, day=0))] == ["policy-groups"]


def test_a_removed_deployment_breaks_nothing_and_keeps_what_was_said() -> None:
    """So that the event of its next life has another id."""
    fleet, record = deployed([a_waiver("n1", days=9)])
    change = standing_change(record, under(fleet, [], day=0))
    assert change is not None
    gone = draft_removal(fleet.with_deployment(change.record), "edge", a_command(2)).record

    after = standing_change(gone, under(fleet.with_deployment(gone), [], day=0))

    assert after is not None
    assert (after.body.action, after.event_id) == ("licence.comply", "edge.licence.2")
