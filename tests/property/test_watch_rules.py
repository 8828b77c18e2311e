# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Watch rules: which records are alerts, whoever looks at them and however often."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.watching.alerts import alert_event
from services.auditor.watching.evaluation import (
    MOST_TIMES,
    MOST_VALUES,
    Alert,
    SeenRecord,
    Watcher,
)
from services.auditor.watching.rules import (
    DEFAULT_RULES,
    WatchGenerationError,
    WatchRulesError,
    next_rules,
    ready_rules,
)
from shared.contracts.events import PUBLIC, Actor
from shared.contracts.rollouts import ChangeWindow
from shared.contracts.watching import (
    ALERT,
    WATCH_STATE,
    SetWatchRules,
    Threshold,
    WatchRule,
    WatchRules,
    WatchState,
    WatchWindow,
)

ANN = Actor(key="UANN", role="administrator", attested=True)
SECOND_US = 1_000_000
NOON_US = 1_767_268_800 * SECOND_US
"""2026-01-01T12:00:00Z."""
REFUSED = WatchRule(
    name="refused",
    where='outcome == "refused"',
    threshold=Threshold(count=3, within_seconds=60, by="actor.key"),
)
ATTACHED = WatchRule(name="attached", actions=("chain.att*",), severity="high")
RULES = WatchRules(rules=(REFUSED, ATTACHED))


def a_record(index: int, **fields: Any) -> SeenRecord:
    """A believed record; `after` is seconds after noon."""
    at_us = NOON_US + int(fields.pop("after", index) * SECOND_US)
    audience = fields.pop("audience", PUBLIC)
    document = {"action": "package.publish", "outcome": "succeeded", "problem": "", **fields}
    return SeenRecord(index, audience, at_us, at_us, is_believed=True, document=document)


def refusal(index: int, key: str = "UEVE", **fields: Any) -> SeenRecord:
    """A record of somebody who was refused."""
    return a_record(index, outcome="refused", actor={"key": key}, **fields)


def alerts_of(watch: WatchRules, records: list[SeenRecord]) -> list[Alert]:
    """All that the records are, looked at once."""
    watcher = Watcher(ready_rules(watch))
    return [alert for record in records for alert in watcher.take(record)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["UANN", "UEVE"]),
        st.sampled_from([PUBLIC, "p_acme"]),
        st.sampled_from(["refused", "accepted"]),
        st.integers(0, 40),
    ),
    max_size=60,
)


def history(steps: list[tuple[str, str, str, int]]) -> list[SeenRecord]:
    """Records, each so many seconds after the one before."""
    records, at = [], 0
    for index, (key, audience, outcome, pause) in enumerate(steps):
        at += pause
        document = {"outcome": outcome, "actor": {"key": key}}
        records.append(a_record(index, after=at, audience=audience, **document))
    return records


@given(STEPS, st.data())
def test_whoever_goes_on_finds_what_one_would_have_found(
    steps: list[tuple[str, str, str, int]], data: st.DataObject
) -> None:
    """Cut anywhere, written down and read again, also with some records looked at twice."""
    records = history(steps)
    whole = alerts_of(RULES, records)

    cut = data.draw(st.integers(0, len(records)))
    first = Watcher(ready_rules(RULES))
    found = [alert for record in records[:cut] for alert in first.take(record)]
    stored = msgspec.json.encode(WatchState(position=cut, windows=first.windows))
    windows = msgspec.json.decode(stored, type=WatchState).windows
    for _ in range(2):  # the second one did not know that the first had said it
        second = Watcher(ready_rules(RULES), windows)
        again = [alert for record in records[cut:] for alert in second.take(record)]
        assert found + again == whole


@given(STEPS)
def test_an_alert_counts_what_a_reader_counts(steps: list[tuple[str, str, str, int]]) -> None:
    """Each key in each audience apart: so many within the time, and none between that said so."""
    records = history(steps)
    said: dict[tuple[str, str], bool] = {}
    expected = []
    for at, record in enumerate(records):
        if record.document["outcome"] != "refused":
            continue
        place = (record.audience, record.document["actor"]["key"])
        alike = [
            one
            for one in records[: at + 1]
            if (one.audience, one.document["actor"]["key"]) == place
            and one.document["outcome"] == "refused"
            and one.received_us > record.received_us - 60 * SECOND_US
        ]
        is_reached = len(alike) >= 3
        if is_reached and not said.get(place, False):
            expected.append(record.index)
        said[place] = is_reached
    assert [alert.index for alert in alerts_of(RULES, records)] == expected


def test_a_flood_is_said_once_and_again_after_it_was_over() -> None:
    """Three within a minute are one alert, however many follow; later it is another one."""
    flood = [refusal(index) for index in range(50)]
    later = [refusal(50 + index, after=1000 + index) for index in range(3)]

    found = alerts_of(RULES, [*flood, *later])

    assert [(one.index, one.count, one.value) for one in found] == [(2, 3, "UEVE"), (52, 3, "UEVE")]


def test_values_are_counted_apart_and_what_has_none_is_not_counted() -> None:
    """Two keys with two refusals each, and any number without one, are no alert."""
    records = [refusal(index, key=f"U{index % 2}") for index in range(4)]
    records += [a_record(4 + index, outcome="refused", after=4) for index in range(9)]

    assert alerts_of(RULES, records) == []


def test_a_clock_that_is_ahead_hides_nothing() -> None:
    """What is counted is by the time of receipt: one event of next year changes nothing."""
    ahead = refusal(0)
    ahead = SeenRecord(0, PUBLIC, ahead.at_us * 2, ahead.received_us, True, ahead.document)

    found = alerts_of(RULES, [ahead, refusal(1), refusal(2)])

    assert [one.index for one in found] == [2]


def test_alerts_are_no_alerts() -> None:
    """A rule for everything meets everything but what it says itself."""
    everything = WatchRules(rules=(WatchRule(name="all"),))

    found = alerts_of(everything, [a_record(0), a_record(1, action=ALERT), a_record(2)])

    assert [one.index for one in found] == [0, 2]


def test_what_happens_in_a_window_is_no_alert() -> None:
    """By the emitter's clock, in the window's time zone; its end is outside."""
    window = ChangeWindow(cron="0 13 * * *", time_zone="Europe/Berlin", duration_seconds=3600)
    watch = WatchRules(rules=(msgspec.structs.replace(ATTACHED, outside=(window,)),))
    records = [
        a_record(index, action="chain.attach", after=after)
        for index, after in enumerate([-1, 0, 3599, 3600])
    ]

    assert [one.index for one in alerts_of(watch, records)] == [0, 3]


def test_what_is_kept_has_room_in_its_record() -> None:
    """As many rules, values and moments as there can be; the newest values stay."""
    rules = WatchRules(
        rules=tuple(
            WatchRule(
                name=f"rule-{number}",
                threshold=Threshold(count=1000, within_seconds=86_400, by="actor.key"),
            )
            for number in range(4)
        )
    )
    watcher = Watcher(ready_rules(rules))
    for index in range(3 * MOST_VALUES):
        watcher.take(refusal(index, key=f"{index:0200}", after=0))
    for index in range(MOST_TIMES):
        watcher.take(refusal(index, key="often", after=0))
    windows = watcher.windows

    assert len(windows) <= MOST_VALUES
    assert sum(len(one.times_us) for one in windows) <= MOST_TIMES
    assert windows[-1].value == "often"
    state = WatchState(position=1, windows=windows)
    assert len(msgspec.json.encode(state)) <= WATCH_STATE.max_value_bytes


def test_what_is_said_follows_from_rule_and_record() -> None:
    """The same id for the same record; another one for another record and for another rule."""
    first, second = alerts_of(
        RULES, [a_record(index, action="chain.attach", node="n1") for index in range(2)]
    )
    other = WatchRules(rules=(msgspec.structs.replace(ATTACHED, severity="low"),))
    (changed,) = alerts_of(other, [a_record(0, action="chain.attach", node="n1")])

    body, event_id, audience = alert_event(first, lambda told: told)
    assert (body.action, body.node, body.details["record"], audience) == (ALERT, "n1", 0, PUBLIC)
    assert alert_event(first, lambda told: told)[1] == event_id
    assert len({alert_event(one, str)[1] for one in (first, second, changed)}) == 3


def test_of_what_nobody_sees_everybody_is_told_the_number_alone() -> None:
    """A message on a subject without an audience, whatever it claims."""
    claimed = {"problem": "it is no event", "node": "secret", "package": "secret"}
    record = SeenRecord(7, "", NOON_US, NOON_US, is_believed=False, document=claimed)

    (alert,) = alerts_of(DEFAULT_RULES, [record])

    body, _, audience = alert_event(alert, lambda told: told)
    assert (audience, body.details["record"], body.details["rule"]) == (PUBLIC, 7, "not-believed")
    assert "secret" not in msgspec.json.encode(body).decode()


def test_everything_that_is_wrong_with_rules_is_said() -> None:
    """Each at its path; names are used once."""
    watch = WatchRules(
        rules=(
            WatchRule(name="a", where="outcome =="),
            WatchRule(name="a", threshold=Threshold(count=2, within_seconds=1, by="a b")),
            WatchRule(name="b", outside=(ChangeWindow(cron="no", duration_seconds=60),)),
        )
    )
    with pytest.raises(WatchRulesError) as refused:
        ready_rules(watch)

    assert sorted(one.path for one in refused.value.reasons) == [
        "watch.rules[0].where",
        "watch.rules[1].name",
        "watch.rules[1].threshold.by",
        "watch.rules[2].outside[0].cron",
    ]


def test_rules_of_another_generation_are_not_overwritten() -> None:
    """Whoever says which generation they know is refused if there is a newer one."""
    command = SetWatchRules(watch=RULES, if_generation=0)
    first = next_rules(None, command, command_id="c1", actor=ANN, at="2026-01-01T00:00:00Z")
    assert first.generation == 1
    with pytest.raises(WatchGenerationError, match="generation 1"):
        next_rules(first, command, command_id="c2", actor=ANN, at="2026-01-01T00:00:00Z")


def test_what_was_counted_for_a_rule_that_is_gone_is_given_up() -> None:
    """Windows of names that no rule has any more are not kept for ever."""
    gone = WatchWindow(rule="gone", audience=PUBLIC, times_us=(1,))
    assert Watcher(ready_rules(RULES), [gone]).windows == ()
