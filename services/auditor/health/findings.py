# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What needs attention about the log, by what was seen of it.

Pure.  Every finding has a ratio: from 1 on somebody should look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final, NamedTuple

from services.auditor.admission import Channel, Gap, Ranges
from services.auditor.disclosure import RESTRICTED, is_told_to_all
from services.auditor.health.clocks import ClockOffset
from services.auditor.health.limits import Limits
from shared.contracts.log_health import CONDITIONS, Condition

MIB: Final = 1024 * 1024
DAY: Final = timedelta(days=1)
SHOWN: Final = 3


class DatabaseRoom(NamedTuple):
    """What a database has of the disk that it is on."""

    used_bytes: int
    free_bytes: int | None
    """None: not known."""
    why: str = ""
    """Why it is not known."""


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """The auditor's state directory."""

    free_bytes: int
    log_bytes: int | None = None
    """None: the log is not there, but in a database."""
    copied_at: datetime | None = None
    """When it was copied last; None: never, or nobody left word."""
    database: DatabaseRoom | None = None
    """None: the log is in the directory."""

    @property
    def used_bytes(self) -> int | None:
        """By the log, wherever it is."""
        return self.log_bytes if self.database is None else self.database.used_bytes


@dataclass(frozen=True, slots=True)
class WitnessWord:
    """How one witness was heard."""

    name: str
    at: datetime | None = None
    """None: not since the start."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """One look."""

    now: datetime
    started_at: datetime
    signed_at: datetime | None = None
    """When the newest head was signed; None: not since the start."""
    stopped: str = ""
    """Why nothing is being kept; empty: it is."""
    lag_seconds: float | None = None
    """How long the oldest event waits; None: the stream does not say."""
    lag_events: int = 0
    gaps: Sequence[Gap] | None = None
    """Those that were found lately and are open; None: the log cannot be read."""
    disk: DiskSeen | None = None
    records: int = 0
    week_records: int | None = None
    """Kept in the last week, or in the time since the first record if that is shorter."""
    first_at: datetime | None = None
    """When the first record was received; None: there is none, or it cannot be read."""
    witnesses: Sequence[WitnessWord] = ()
    clocks: Sequence[ClockOffset] = ()


class Finding(NamedTuple):
    """One thing that was looked at."""

    condition: Condition
    summary: str
    ratio: float | None = None
    """None: it does not apply, or is not known."""
    value: float | None = None
    limit: float | None = None
    unit: str = ""


def find(facts: Facts, limits: Limits) -> list[Finding]:
    """Everything that was looked at, in the order of CONDITIONS."""
    return [_RULES[condition](facts, limits) for condition in CONDITIONS]


def open_gaps(gaps: Sequence[Gap], missing: Mapping[Channel, Ranges]) -> list[Gap]:
    """Those of the gaps that did not close: what is missing may still come, what is lost never."""

    def is_open(gap: Gap) -> bool:
        left = missing.get(gap.channel, ())
        return any(first <= gap.last and gap.first <= last for first, last in left)

    return [gap for gap in gaps if gap.kind != "missing" or is_open(gap)]


@dataclass(slots=True)
class LagMarks:
    """Where the stream's end was, and when: what tells how long its events wait."""

    _marks: list[tuple[int, datetime]] = field(default_factory=list)

    def waited_seconds(self, *, end: int, recorded: int, now: datetime) -> float:
        """How long the log has not reached what the stream held; 0: it has everything."""
        if self._marks and self._marks[-1][0] > end:
            self._marks.clear()  # it is another stream
        self._marks = [mark for mark in self._marks if mark[0] > recorded]
        if end > recorded and (not self._marks or end > self._marks[-1][0]):
            self._marks.append((end, now))
        return (now - self._marks[0][1]).total_seconds() if self._marks else 0.0


def _intake(facts: Facts, _: Limits) -> Finding:
    if facts.stopped:
        return Finding("intake", f"nothing is being kept: {facts.stopped}", 1.0)
    return Finding("intake", "what comes is being kept", 0.0)


def _lag(facts: Facts, limits: Limits) -> Finding:
    if facts.lag_seconds is None:
        return Finding("lag", "the stream does not say how far it goes")
    waiting = f"{facts.lag_events} events wait in the stream, the oldest {facts.lag_seconds:.0f} s"
    summary = waiting if facts.lag_events else "no event waits in the stream"
    return _over("lag", facts.lag_seconds, limits.lag_seconds, "seconds", summary)


def _gaps(facts: Facts, limits: Limits) -> Finding:
    if facts.gaps is None:
        return Finding("gaps", "the log cannot be read")
    if not facts.gaps:
        return _over("gaps", 0, 1, "gaps", f"no gap of the last {limits.gap_days:g} days is open")
    shown = [
        f"{gap.channel.emitter} {gap.kind} {gap.first}-{gap.last}"
        if is_told_to_all(gap)
        else f"{RESTRICTED} {gap.kind}"
        for gap in facts.gaps
    ]
    return _over("gaps", len(shown), 1, "gaps", f"{len(shown)} open: {_some(shown)}")


def _disk(facts: Facts, limits: Limits) -> Finding:
    disk = facts.disk
    if disk is None:
        return Finding("disk", "the disk cannot be asked")
    database, daily = disk.database, _daily_bytes(facts)
    if database is None:
        return _room(disk.free_bytes, limits, daily, where="")
    own = _room(disk.free_bytes, limits, 0.0, where=" where the auditor keeps its state")
    if database.free_bytes is None:
        used = f"the database has {database.used_bytes / MIB:.0f} MiB"
        why = f"{own.summary}; {used}, what is free on its disk is not known: {database.why}"
        return own._replace(summary=why)
    there = _room(database.free_bytes, limits, daily, where=" where the database is")
    return max(there, own, key=lambda one: one.ratio or 0.0)


def _room(free_bytes: int, limits: Limits, daily_bytes: float, *, where: str) -> Finding:
    free_mib = free_bytes / MIB
    least_mib = max(limits.disk_mib, limits.disk_days * daily_bytes / MIB)
    days = free_bytes / daily_bytes if daily_bytes else inf
    pace = f", enough for {days:.0f} days at the pace of the last week" if days < inf else ""
    ratio = least_mib / free_mib if free_mib else inf
    summary = f"{free_mib:.0f} MiB are free{where}{pace}"
    return Finding("disk", summary, ratio, free_mib, least_mib, "MiB")


def _daily_bytes(facts: Facts) -> float:
    """How much the log grows in a day; of a log younger than a day, what there is of it."""
    disk, first_at = facts.disk, facts.first_at
    if disk is None or not disk.used_bytes or not facts.week_records or first_at is None:
        return 0.0
    days = min(max((facts.now - first_at) / DAY, 1.0), 7.0)
    return disk.used_bytes / max(facts.records, 1) * facts.week_records / days


def _checkpoint(facts: Facts, limits: Limits) -> Finding:
    seconds = (facts.now - (facts.signed_at or facts.started_at)).total_seconds()
    summary = f"the newest head was signed {seconds:.0f} s ago"
    if facts.signed_at is None:
        summary = f"no head was signed in the {seconds:.0f} s since the start"
    return _over("checkpoint", seconds, limits.checkpoint_seconds, "seconds", summary)


def _witness(facts: Facts, limits: Limits) -> Finding:
    if not facts.witnesses:
        return Finding("witness", "there is no witness")
    heard = [
        ((facts.now - (one.at or facts.started_at)).total_seconds(), one) for one in facts.witnesses
    ]
    seconds, oldest = max(heard, key=lambda one: one[0])
    why = f": {oldest.problem}" if oldest.problem else ""
    summary = f"{oldest.name} cosigned {seconds:.0f} s ago{why}"
    if oldest.at is None:
        summary = f"{oldest.name} has not cosigned in the {seconds:.0f} s since the start{why}"
    return _over("witness", seconds, limits.witness_seconds, "seconds", summary)


def _backup(facts: Facts, limits: Limits) -> Finding:
    disk = facts.disk
    if disk is None or (disk.log_bytes is None and disk.copied_at is None):
        return Finding("backup", "the log is in a database, which is copied by its own means")
    copied_at = disk.copied_at or facts.first_at
    if copied_at is None:
        return Finding("backup", "the log holds nothing yet")
    days = (facts.now - copied_at) / DAY
    summary = f"copied {days:.1f} days ago"
    if disk.copied_at is None:
        summary = f"never copied, and {days:.1f} days old"
    return _over("backup", days, limits.backup_days, "days", summary)


def _clock(facts: Facts, limits: Limits) -> Finding:
    wrong = [one for one in facts.clocks if one.is_off(limits.clock_seconds)]
    if wrong:
        shown = [
            f"{one.emitter} {abs(one.seconds):.0f} s {'ahead' if one.seconds < 0 else 'behind'}"
            for one in wrong
        ]
        worst = abs(wrong[0].seconds)
        return _over("clock", worst, limits.clock_seconds, "seconds", _some(shown))
    # What is off so far and may be a delay is not held against the emitter.
    ahead = max((-one.seconds for one in facts.clocks), default=0.0)
    summary = f"the clocks of the {len(facts.clocks)} emitters heard lately agree with this one"
    return _over("clock", max(ahead, 0.0), limits.clock_seconds, "seconds", summary)


def _over(condition: Condition, value: float, limit: float, unit: str, summary: str) -> Finding:
    return Finding(condition, summary, value / limit, value, limit, unit)


def _some(shown: Sequence[str]) -> str:
    more = len(shown) - SHOWN
    return ", ".join(shown[:SHOWN]) + (f" and {more} more" if more > 0 else "")


_RULES: Final[Mapping[Condition, Callable[[Facts, Limits], Finding]]] = {
    "intake": _intake,
    "lag": _lag,
    "gaps": _gaps,
    "disk": _disk,
    "checkpoint": _checkpoint,
    "witness": _witness,
    "backup": _backup,
    "clock": _clock,
}
