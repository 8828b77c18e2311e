# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who grants a waiver, when it is in force, what it is for, and what is said of its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.waiver_notices import told
from services.catalog.waiving import (
    Asker,
    OwnWaiverError,
    WaiverRequestError,
    WaiverStateError,
    granted_waiver,
    requested_waiver,
    revoked_waiver,
)
from shared.contracts.events import Actor
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.selectors import NodeSelector
from shared.contracts.waivers import (
    MAX_WAIVER_DAYS,
    WARNING_DAYS,
    GrantWaiver,
    RequestWaiver,
    RevokeWaiver,
    Waiver,
    WaiverScope,
)
from shared.errors import RefusedError
from shared.licensing.verdict import refusals
from shared.licensing.waivers import (
    Notice,
    Subject,
    covers,
    due_notices,
    in_force,
    lapsed,
    state_of,
    uncovered,
    waive,
    warning_kind,
)
from shared.moments import render_time

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONE = Subject("one", "1.4.0", "a" * 64)
HOURS = st.integers(min_value=-24 * 400, max_value=24 * 800)


def asker(name: str, *, attested: bool = True) -> Asker:
    """Somebody whose key is their name."""
    return Asker(Actor(key=f"U{name}", role="approver", attested=attested), name)


def a_request(days: float = 40, **changes: Any) -> RequestWaiver:
    """For every version of `one`."""
    scope = {"rule": "policy-groups", "package": "one", "versions": "*", **changes}
    expires_at = render_time(NOW + timedelta(days=days))
    return RequestWaiver(scope=WaiverScope(**scope), expires_at=expires_at, reason="a test")


def requested(days: float = 40, **changes: Any) -> Waiver:
    """By alice, now."""
    return requested_waiver(a_request(days, **changes), asker("alice"), command_id="c", now=NOW)


def granted(days: float = 40, **changes: Any) -> Waiver:
    """By bob, now."""
    return grant(requested(days, **changes), asker("bob"), NOW)


def grant(waiver: Waiver, by: Asker, now: datetime) -> Waiver:
    """The waiver granted."""
    return granted_waiver(waiver, GrantWaiver(waiver=waiver.id), by, command_id="g", now=now)


@given(name=st.sampled_from(["alice", "bob", "carol", ""]), attested=st.booleans())
def test_only_another_attested_principal_grants(name: str, *, attested: bool) -> None:
    """Neither key nor name may be the requester's; whoever nobody vouches for grants nothing."""
    by = asker(name, attested=attested)
    if name == "alice" or not attested:
        with pytest.raises(OwnWaiverError):
            grant(requested(), by, NOW)
    else:
        assert grant(requested(), by, NOW).granted_by == f"U{name}"


def test_the_same_name_under_another_key_is_the_same_principal() -> None:
    """One person with two roles does not decide alone."""
    by = Asker(Actor(key="Uother", role="approver", attested=True), "alice")

    with pytest.raises(OwnWaiverError):
        grant(requested(), by, NOW)


@given(hours=HOURS)
def test_an_expiry_lies_ahead_and_not_too_far(hours: int) -> None:
    """It is mandatory, so there is no other way to ask."""
    if 0 < hours <= MAX_WAIVER_DAYS * 24:
        assert state_of(requested(hours / 24), now=NOW) == "requested"
    else:
        with pytest.raises(WaiverRequestError) as caught:
            requested(hours / 24)
        assert [one.path for one in caught.value.reasons] == ["expires_at"]


def test_a_request_is_refused_with_everything_that_is_wrong() -> None:
    """No reason, no version, no node, no time."""
    scope = WaiverScope(rule="source-tags", package="one", nodes=NodeSelector(names=()))
    request = RequestWaiver(scope=scope, expires_at="2027-01-01T00:00:00")

    with pytest.raises(WaiverRequestError) as caught:
        requested_waiver(request, asker("alice"), command_id="c", now=NOW)

    assert [one.path for one in caught.value.reasons] == [
        "reason",
        "scope.versions",
        "scope.nodes.names",
        "expires_at",
    ]


@given(hours=HOURS, is_granted=st.booleans(), is_revoked=st.booleans())
def test_in_force_is_what_was_granted_and_has_not_ended(
    hours: int, *, is_granted: bool, is_revoked: bool
) -> None:
    """At no other moment, and an ended waiver takes no further command."""
    waiver = granted() if is_granted else requested()
    if is_revoked:
        waiver = revoked_waiver(
            waiver, RevokeWaiver(waiver=waiver.id), asker("bob"), command_id="r", now=NOW
        )
    now = NOW + timedelta(hours=hours)

    is_open = hours < 40 * 24 and not is_revoked
    assert bool(in_force([waiver], now=now)) == (is_open and is_granted)
    if not is_open or is_granted:
        with pytest.raises(WaiverStateError):
            grant(waiver, asker("carol"), now)


@given(
    scope=st.fixed_dictionaries(
        {
            "rule": st.sampled_from(["policy-groups", "source-tags"]),
            "package": st.sampled_from(["one", "two"]),
            "versions": st.sampled_from(["", "*", "^1.4", "=1.4.0", "<1.4", "2.0.0"]),
            "archive_sha256": st.sampled_from(["", "a" * 64, "b" * 64]),
        }
    ).filter(lambda one: one["versions"] or one["archive_sha256"]),
    names=st.sampled_from([("*",), ("n1",), ("edge-*",)]),
    labels=st.sampled_from([{}, {"zone": "a"}, {"zone": "b"}]),
)
def test_a_waiver_is_for_what_its_whole_scope_names(
    scope: dict[str, str], names: tuple[str, ...], labels: dict[str, str]
) -> None:
    """Rule, package, versions, archive, and on a node also its name and labels."""
    waiver = granted(40, **scope, nodes=NodeSelector(names=names, labels=labels))

    is_for = (
        scope["rule"] == "policy-groups"
        and scope["package"] == "one"
        and scope["versions"] in ("", "*", "^1.4", "=1.4.0")
        and scope["archive_sha256"] in ("", "a" * 64)
    )
    assert covers(waiver, "policy-groups", ONE) == is_for
    left = uncovered(["policy-groups"], ONE, [waiver], node="n1", labels={"zone": "a"})
    is_on = names != ("edge-*",) and labels in ({}, {"zone": "a"})
    assert left == ([] if is_for and is_on else ["policy-groups"])


@given(
    space=st.sampled_from(("public", "p_acme", "p_other")),
    mine=st.sampled_from(("public", "p_acme")),
)
def test_a_waiver_is_for_its_space_or_for_everybody(space: str, mine: str) -> None:
    """One of `public` is for the versions of every space, any other for those of its own."""
    waiver = granted(space=space, versions="*")
    subject = replace(ONE, space=mine)

    assert covers(waiver, "policy-groups", subject) == (space in ("public", mine))


@given(outcome=st.sampled_from(["passed", "noted", "review", "refused"]), hours=HOURS)
def test_what_is_waived_keeps_its_outcome_and_stops_nothing(outcome: Any, hours: int) -> None:
    """And names the waiver; what another rule refuses is refused all the same."""
    findings = (
        LicenceFinding(rule="policy-groups", outcome=outcome),
        LicenceFinding(rule="kernel-string", outcome="refused", path="x"),
    )
    verdict = LicenceVerdict(policy="p", policy_version="1", outcome="refused", findings=findings)
    waiver = granted()

    found = waive(verdict, ONE, in_force([waiver], now=NOW + timedelta(hours=hours)))

    is_waived = outcome in ("review", "refused") and hours < 40 * 24
    assert [one.outcome for one in found.findings] == [outcome, "refused"]
    assert found.findings[0].waiver == (waiver.id if is_waived else "")
    assert found.outcome == "refused"
    assert len(refusals(found)) == (2 if outcome == "refused" and not is_waived else 1)


@given(outcome=st.sampled_from(["passed", "noted", "review", "refused"]), hours=HOURS)
def test_what_a_waiver_let_in_is_refused_again_after_its_end(outcome: Any, hours: int) -> None:
    """Exactly as if it were published then; what was for review alone is not."""
    findings = (LicenceFinding(rule="policy-groups", outcome=outcome),)
    verdict = LicenceVerdict(policy="p", policy_version="1", outcome="refused", findings=findings)
    recorded = waive(verdict, ONE, [granted()])
    present = in_force([granted()], now=NOW + timedelta(hours=hours))

    is_refused_now = bool(refusals(waive(verdict, ONE, present)))

    assert lapsed(recorded, ONE, present) == (("policy-groups",) if is_refused_now else ())
    assert lapsed(recorded, ONE, [*present, granted(400 / 24)]) == ()
    assert lapsed(None, ONE, ()) == ()


@given(
    days=st.integers(min_value=1, max_value=100),
    looks=st.lists(st.integers(min_value=0, max_value=101 * 24), max_size=12).map(sorted),
)
def test_each_notice_is_said_once_however_often_is_looked(days: int, looks: list[int]) -> None:
    """Warnings 30, 7 and 1 days before, as far as they lay ahead when it was granted; its end."""
    waiver = granted(days)
    said: list[str] = []
    for hours in looks:
        for notice in due_notices([waiver], now=NOW + timedelta(hours=hours)):
            said.append(notice.kind)
            waiver = told(waiver, notice)

    assert len(said) == len(set(said))
    for ahead in WARNING_DAYS:
        was_looked = any((days - ahead) * 24 <= one < days * 24 for one in looks)
        assert (warning_kind(ahead) in said) == (was_looked and ahead < days)
    assert ("ended" in said) == any(one >= days * 24 for one in looks)


def test_a_revoked_waiver_ends_at_once_and_a_request_without_a_grant_says_nothing() -> None:
    """Nothing ever stood by the grace of a mere request."""
    waiver = granted()
    revoked = revoked_waiver(
        waiver, RevokeWaiver(waiver=waiver.id), asker("bob"), command_id="r", now=NOW
    )

    assert list(due_notices([revoked], now=NOW)) == [Notice(waiver.id, "ended")]
    assert not list(due_notices([requested()], now=NOW + timedelta(days=39)))
    assert not list(due_notices([requested()], now=NOW + timedelta(days=50)))


@given(text=st.text(max_size=40))
def test_any_text_for_an_expiry_is_a_time_or_refused(text: str) -> None:
    """Never anything else."""
    request = RequestWaiver(scope=a_request().scope, expires_at=text, reason="why")

    assert problems(request) in ([], ["expires_at"])


def problems(request: RequestWaiver) -> list[str]:
    """What is wrong with the request."""
    try:
        requested_waiver(request, asker("alice"), command_id="c", now=NOW)
    except RefusedError as error:
        return [one.path for one in error.reasons]
    return []
