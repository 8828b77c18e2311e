# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A deployment's time, and its generation: what they let pass, and what follows when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.scheduler.deployment import (
    GenerationConflictError,
    check_generation,
    generation_of,
)
from services.scheduler.desired_state import Fleet
from services.scheduler.expiry import ExpiryError, alarm, expired, said, seconds_to_next
from shared.contracts.deployments import DeploymentRecord
from tests.fleets import a_fleet, a_spec, applied, removed, rules

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Before the first command of these tests."""
END = "2026-01-02T00:00:00Z"
AFTER = datetime(2026, 1, 2, tzinfo=UTC)


def _ending(**fields: str) -> Fleet:
    return applied(a_fleet(), a_spec(expiry=END, **fields))


@pytest.mark.parametrize("end", ["2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z"])
def test_what_is_over_is_not_applied(end: str) -> None:
    """Nor what ends at the very moment of the command."""
    with pytest.raises(ExpiryError) as caught:
        applied(a_fleet(), a_spec(expiry=end), at=1)

    assert rules(caught.value.reasons) == {"expiry": "is over"}


def test_an_end_that_is_no_moment_is_refused() -> None:
    """The contract's pattern lets the thirtieth of February pass."""
    with pytest.raises(ExpiryError, match="no moment"):
        applied(a_fleet(), a_spec(expiry="2026-02-30T00:00:00Z"))


def test_a_deployment_goes_when_its_time_is_over_and_not_before() -> None:
    """Unless it says otherwise; a moment before there is nothing to do but wait for it."""
    fleet = _ending()
    before = AFTER - timedelta(seconds=5)

    (one,) = expired(fleet, now=AFTER)

    assert expired(fleet, now=before) == []
    assert seconds_to_next(fleet, now=before) == 5.0
    assert (one.record.key, one.is_to_go) == ("edge", True)
    assert one.why == f"its expiry {END} is over"
    assert seconds_to_next(fleet, now=AFTER) is None


def test_nothing_is_said_of_what_was_removed_or_has_no_end() -> None:
    """It has nothing left that could end."""
    fleet = applied(removed(_ending(), "edge", at=2), a_spec("other", order=7), at=3)

    assert expired(fleet, now=AFTER) == []
    assert seconds_to_next(fleet, now=START) is None


def test_an_alarm_is_said_once_for_each_revision() -> None:
    """Once it is noted, the same revision is left alone, and a newer one is spoken of anew."""
    fleet = _ending(on_expiry="alarm", owner="net-team")
    (one,) = expired(fleet, now=AFTER)
    noted = said(fleet.deployments["edge"], one)
    assert noted is not None

    event_id, body = alarm(one)
    again = applied(
        fleet.with_deployment(noted), a_spec(expiry=END, on_expiry="alarm", order=3), at=2
    )

    assert event_id == "edge.expired.1"
    assert (body.action, body.details["owner"]) == ("deployment.alarm", "net-team")
    assert expired(fleet.with_deployment(noted), now=AFTER) == []
    assert [two.revision.revision for two in expired(again, now=AFTER)] == [2]
    assert said(again.deployments["edge"], one) is None


def test_the_command_that_ends_it_is_the_same_for_a_while() -> None:
    """A scheduler that died in the middle does it once; one that was refused asks again later."""
    (one,) = expired(_ending(), now=AFTER)

    ids = [one.command_id(AFTER + timedelta(seconds=seconds)) for seconds in (0, 59, 700)]

    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) <= 64


def test_a_generation_counts_accepted_commands() -> None:
    """Removals are among them, so that nobody takes what follows for what was."""
    fleet = a_fleet()
    generations = []
    for number in (1, 2):
        fleet = applied(fleet, a_spec(order=number), at=number)
        generations.append(generation_of(fleet.deployments["edge"]))
    fleet = removed(fleet, "edge", at=3)
    generations.append(generation_of(fleet.deployments["edge"]))
    fleet = applied(fleet, a_spec(), at=4)
    generations.append(generation_of(fleet.deployments["edge"]))

    assert generation_of(None) == 0
    assert generations == [1, 2, 3, 4]


@pytest.mark.parametrize(("is_removed", "generation"), [(False, 2), (True, 3)])
def test_a_record_of_an_earlier_release_has_a_generation_too(
    is_removed: bool, generation: int
) -> None:
    """Its revisions tell, and the removal that it holds."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(order=3), at=2)
    record = msgspec.structs.replace(fleet.deployments["edge"], removed=is_removed, generation=0)
    read = msgspec.json.decode(msgspec.json.encode(record), type=DeploymentRecord)

    assert generation_of(read) == generation


@pytest.mark.parametrize("believed", [0, 1, 3])
def test_a_command_for_another_generation_is_refused(believed: int) -> None:
    """With the generation that it is."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(order=3), at=2)

    with pytest.raises(GenerationConflictError) as caught:
        check_generation(fleet.deployments["edge"], name="edge", if_generation=believed)

    (reason,) = caught.value.reasons
    assert (reason.path, reason.got, reason.allowed) == ("if_generation", believed, 2)


@pytest.mark.parametrize("believed", [None, 2])
def test_a_command_for_this_generation_passes(believed: int | None) -> None:
    """And so does one that does not mind."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(order=3), at=2)

    check_generation(fleet.deployments["edge"], name="edge", if_generation=believed)
    check_generation(None, name="new", if_generation=0)
