# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What needs attention about the log, and from when on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.admission import Channel, Gap
from services.auditor.health.clocks import LOOKS_TO_BE_BEHIND, WINDOW, ClockOffset, ClockOffsets
from services.auditor.health.findings import (
    MIB,
    DatabaseRoom,
    DiskSeen,
    Facts,
    Finding,
    LagMarks,
    WitnessWord,
    find,
    open_gaps,
)
from services.auditor.health.limits import Limits, parse_limits
from shared.contracts.log_health import CONDITIONS, Condition
from shared.errors import RefusedError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NODE = Channel("node/host-1", "public")
FINE = Facts(
    now=NOW,
    started_at=NOW - DAY,
    signed_at=NOW - timedelta(seconds=20),
    lag_seconds=0.0,
    gaps=(),
    disk=DiskSeen(100_000 * MIB, log_bytes=70 * MIB, copied_at=NOW - DAY),
    records=70_000,
    week_records=7_000,
    first_at=NOW - 70 * DAY,
    witnesses=[WitnessWord("w", NOW - timedelta(seconds=30))],
    clocks=[ClockOffset("catalog", 0.01, 5)],
)


def ratio(condition: Condition, **changes: object) -> float:
    """Of one finding, after these changes."""
    return found(condition, **changes).ratio or 0.0


def found(condition: Condition, **changes: object) -> Finding:
    """One finding, after these changes."""
    facts = replace(FINE, **changes)  # type: ignore[arg-type] # each test names fields of Facts
    return next(one for one in find(facts, Limits()) if one.condition == condition)


def test_a_log_in_order_needs_nothing() -> None:
    """Every condition is looked at, in the order that is told, and none is near its limit."""
    findings = find(FINE, Limits())
    assert tuple(one.condition for one in findings) == CONDITIONS
    assert all(one.ratio is not None and one.ratio < 0.8 for one in findings)


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ("intake", {"stopped": "the disk is full"}),
        ("lag", {"lag_seconds": 60.0, "lag_events": 5}),
        ("gaps", {"gaps": [Gap("expired", Channel("stream", ""), 1, 9, 0)]}),
        ("disk", {"disk": DiskSeen(255 * MIB)}),
        ("disk", {"disk": DiskSeen(0)}),
        ("disk", {"disk": DiskSeen(1 << 40, database=DatabaseRoom(1, 255 * MIB))}),
        ("disk", {"disk": DiskSeen(255 * MIB, database=DatabaseRoom(1, 1 << 40))}),
        ("disk", {"disk": DiskSeen(255 * MIB, database=DatabaseRoom(1, None, "far away"))}),
        ("checkpoint", {"signed_at": NOW - timedelta(minutes=3)}),
        ("checkpoint", {"signed_at": None}),
        ("witness", {"witnesses": [WitnessWord("a", NOW), WitnessWord("b", NOW - DAY)]}),
        ("witness", {"witnesses": [WitnessWord("a", None, "no route")]}),
        ("backup", {"disk": DiskSeen(1 << 40, 1, copied_at=NOW - 7 * DAY)}),
        ("backup", {"disk": DiskSeen(1 << 40, 1)}),
        ("clock", {"clocks": [ClockOffset("node/a", -30.0, 1)]}),
        ("clock", {"clocks": [ClockOffset("node/a", 30.0, LOOKS_TO_BE_BEHIND)]}),
    ],
)
def test_each_condition_needs_attention_at_its_limit(
    condition: Condition, changes: dict[str, object]
) -> None:
    """That condition, and none that does not follow from the same facts."""
    facts = replace(FINE, **changes)  # type: ignore[arg-type] # as above
    bad = [one.condition for one in find(facts, Limits()) if one.ratio and one.ratio >= 1]
    assert condition in bad
    assert set(bad) <= {condition, "backup"}


def test_room_is_measured_by_the_pace_of_the_last_week() -> None:
    """A thousand records of a KiB each day: 14 days need 14,000 KiB, and never less than fixed."""
    busy = {"week_records": 7_000_000, "records": 70_000_000}
    needed = found("disk", **busy, disk=DiskSeen(10_000 * MIB, log_bytes=70_000_000 * 1024)).limit
    assert needed == pytest.approx(14_000_000 * 1024 / MIB)
    assert found("disk").limit == Limits().disk_mib


def test_the_room_of_a_database_is_judged_where_it_is_known() -> None:
    """By the pace at which it grows; where it is not known, that is said, and why."""
    busy = {"week_records": 7_000_000, "records": 70_000_000}
    used = 70_000_000 * 1024
    known = found("disk", **busy, disk=DiskSeen(1 << 40, database=DatabaseRoom(used, 1 << 30)))
    assert known.limit == pytest.approx(14_000_000 * 1024 / MIB)
    assert "1024 MiB are free where the database is" in known.summary
    unknown = DiskSeen(1 << 40, database=DatabaseRoom(used, None, "it is far away"))
    seen = found("disk", **busy, disk=unknown)
    assert seen.summary.endswith("what is free on its disk is not known: it is far away")
    assert (seen.ratio or 1) < 1


def test_a_new_log_is_not_due_for_copying_and_a_database_is_not_judged() -> None:
    """What was never copied is as old as its first record; PostgreSQL has means of its own."""
    new = DiskSeen(1 << 40, log_bytes=1)
    assert ratio("backup", disk=new, first_at=NOW - DAY) < 1
    assert found("backup", disk=DiskSeen(1 << 40)).ratio is None
    assert found("witness", witnesses=()).ratio is None


def test_what_cannot_be_looked_at_is_neither_good_nor_bad() -> None:
    """No ratio, so no alarm begins and none ends."""
    blind = replace(FINE, lag_seconds=None, gaps=None, disk=None)
    unknown = [one.condition for one in find(blind, Limits()) if one.ratio is None]
    assert unknown == ["lag", "gaps", "disk", "backup"]


def test_a_gap_that_was_filled_is_closed_and_what_expired_stays() -> None:
    """What is missing may still come."""
    missing, expired = Gap("missing", NODE, 5, 9, 0), Gap("expired", Channel("stream", ""), 1, 2, 0)
    assert open_gaps([missing, expired], {NODE: ((7, 7),)}) == [missing, expired]
    assert open_gaps([missing, expired], {NODE: ((10, 12),)}) == [expired]


def test_a_gap_of_a_space_is_told_without_its_place() -> None:
    """That there is one everybody may know; how many events a space has, nobody else."""
    gap = Gap("missing", Channel("node/n7", "r_0123456789abcdef"), 5, 9, 3)
    seen = found("gaps", gaps=[gap, Gap("missing", Channel("node/n8", "public"), 1, 2, 0)])
    assert (seen.value, seen.summary) == (2, "2 open: restricted missing, node/n8 missing 1-2")


def test_lag_is_how_long_the_oldest_event_waits() -> None:
    """However many came since; nothing waits once the log has what the stream had."""
    marks = LagMarks()
    later = NOW + timedelta(seconds=30)
    assert marks.waited_seconds(end=10, recorded=10, now=NOW) == 0
    assert marks.waited_seconds(end=20, recorded=10, now=NOW) == 0
    assert marks.waited_seconds(end=90, recorded=19, now=later) == 30
    assert marks.waited_seconds(end=90, recorded=20, now=later) == 0
    assert marks.waited_seconds(end=90, recorded=20, now=later + DAY) == DAY.total_seconds()
    assert marks.waited_seconds(end=3, recorded=0, now=later + DAY) == 0, "another stream"


def test_a_late_event_is_held_against_no_clock_until_all_are_late() -> None:
    """The least counts, an old one is forgotten, and the worst comes first."""
    clocks = ClockOffsets()
    clocks.note([("a", 500.0), ("a", 400.0), ("b", -3.0)], now=NOW)
    assert clocks.offsets() == [ClockOffset("a", 400.0, 1), ClockOffset("b", -3.0, 1)]
    assert not clocks.offsets()[0].is_off(30)
    clocks.note([("a", 0.5)], now=NOW + WINDOW)
    assert ClockOffset("a", 0.5, 2) in clocks.offsets()
    clocks.note([], now=NOW + 2 * WINDOW)
    assert clocks.offsets() == [ClockOffset("a", 0.5, 1)]
    clocks.note([], now=NOW + 9 * WINDOW)
    assert clocks.offsets() == []


def test_every_limit_that_cannot_be_is_named() -> None:
    """Unknown, no number, out of range: all at once; the others are as they are by default."""
    given = {"lag_secs": "1", "gap_days": "x", "look_seconds": "0", "backup_days": "2"}
    with pytest.raises(RefusedError) as refused:
        parse_limits(given)
    assert [reason.path.split()[1] for reason in refused.value.reasons] == list(given)[:3]
    assert parse_limits({"backup_days": "2"}) == Limits(backup_days=2)
