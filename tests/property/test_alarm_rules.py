# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Alarms about the log, for every course of events, restarts included."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.auditor.health.alarms import (
    ALARM,
    CLEAR_RATIO,
    LOOKS,
    RECOVER,
    Alarms,
    alarm_event,
    judge,
    recorded_occurrences,
)
from services.auditor.health.findings import Finding
from shared.contracts.events import Event, EventBody, draft_event

RATIOS = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 0.79, 0.8, 0.9, 0.99, 1.0, 1.5, 9.0]))
LOOKED = st.tuples(RATIOS, RATIOS)
STEPS = st.lists(st.one_of(LOOKED, st.just("restart"), st.just("restart early")), max_size=60)
TIME = "2026-01-02T03:04:05.000006Z"


def event(body: EventBody, event_id: str) -> Event:
    """As it is recorded."""
    return draft_event(
        body, event_id=event_id, emitter="auditor", sequence=1, time=TIME, salt=bytes(16)
    )


class Auditor:
    """One after another; what was said is in a stream, of which the log has a part."""

    def __init__(self) -> None:
        self.alarms = Alarms()
        self.stream: dict[str, Event] = {}
        self.times_said: dict[str, int] = {}

    def look(self, lag: float | None, disk: float | None) -> None:
        """What follows is said; the outbox lets an id through once."""
        findings = [Finding("lag", "", lag), Finding("disk", "", disk)]
        self.alarms, news = judge(self.alarms, findings)
        for said in news:
            body, event_id = alarm_event(said)
            self.times_said[event_id] = self.times_said.get(event_id, 0) + 1
            self.stream.setdefault(event_id, event(body, event_id))

    def restart(self, *, recorded: int) -> None:
        """Only what is recorded is known."""
        self.alarms = Alarms().recall(recorded_occurrences(list(self.stream.values())[:recorded]))


@given(STEPS)
def test_what_begins_ends_before_it_begins_again(steps: list[tuple[float, float] | str]) -> None:
    """Alternately and numbered without gaps, whatever moves about the limit and is restarted."""
    auditor = Auditor()
    for step in steps:
        if isinstance(step, str):
            is_early = step == "restart early"
            recorded = len(auditor.stream) - 1 if is_early else len(auditor.stream)
            auditor.restart(recorded=max(recorded, 0))
            if is_early:  # a moment later the log has the rest too
                auditor.alarms = auditor.alarms.recall(
                    recorded_occurrences(auditor.stream.values())
                )
        else:
            auditor.look(*step)

    for condition in ("lag", "disk"):
        said = [
            (one.data.action, one.data.details["number"])
            for one in auditor.stream.values()
            if one.data.details["condition"] == condition
        ]
        assert said == [((ALARM, RECOVER)[place % 2], place // 2 + 1) for place in range(len(said))]
    assert set(auditor.times_said.values()) <= {1}


@given(st.lists(LOOKED, max_size=30), st.lists(LOOKED, max_size=5))
def test_an_auditor_that_lacks_its_last_words_repeats_no_id(
    before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> None:
    """Nothing is recorded while the disk is full: what is said anew has the id that it had."""
    auditor = Auditor()
    for step in before:
        auditor.look(*step)
    known = set(auditor.stream)
    auditor.restart(recorded=0)
    for step in after:
        auditor.look(*step)
    auditor.alarms = auditor.alarms.recall(recorded_occurrences(auditor.stream.values()))

    for condition in ("lag", "disk"):
        said = [
            one for one in auditor.stream.values() if one.data.details["condition"] == condition
        ]
        actions = [one.data.action for one in said]
        assert all(one != other for one, other in pairwise(actions))
        assert auditor.alarms.stands(condition) == (actions[-1:] == [ALARM])
    assert known <= set(auditor.stream)


@given(st.lists(RATIOS, max_size=40))
def test_one_look_is_no_alarm_and_several_always_are(ratios: list[float | None]) -> None:
    """It stands after LOOKS bad looks in a row, and not after LOOKS clearly good ones."""
    alarms = Alarms()
    for ratio in ratios:
        was = alarms.stands("lag")
        alarms, news = judge(alarms, [Finding("lag", "", ratio)])
        if ratio is None or CLEAR_RATIO <= ratio < 1:
            assert alarms.stands("lag") == was
            assert not news
    for _ in range(LOOKS):
        alarms, _ = judge(alarms, [Finding("lag", "", 1.0)])
    assert alarms.stands("lag")
    for _ in range(LOOKS):
        alarms, _ = judge(alarms, [Finding("lag", "", 0.1)])
    assert not alarms.stands("lag")
