# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever heartbeats come when: who is away, and how often that changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.liveness import (
    RECENT_SECONDS,
    SILENT_AFTER_SECONDS,
    Hearing,
    heard,
    judge_silence,
)

STEP = 5
GAPS = st.one_of(
    st.lists(st.sampled_from([5, 10, 25, 30, 40, 70, 200, 700]), max_size=40),
    st.lists(st.sampled_from([40, 45, 50, 70]), min_size=15, max_size=40),
)
MOST_RETURNS = 6
"""In ten minutes: two at once, then after 60, 120, 240 s."""


def _history(gaps: list[int]) -> list[tuple[int, bool, bool]]:
    """At each step: whether three heartbeats were missed, and whether the node is silent."""
    beats, at = {0}, 0
    for gap in gaps:
        at += gap
        beats.add(at)
    hearing: Hearing | None = None
    history, last = [], 0
    for now in range(0, at + SILENT_AFTER_SECONDS + 2 * STEP, STEP):
        if now in beats:
            hearing, last = heard(hearing, at=now), now
        silence = judge_silence(hearing, started_at=0, now=now)
        history.append((now, now - last > SILENT_AFTER_SECONDS, silence.is_silent))
    return history


@given(GAPS)
def test_who_missed_three_heartbeats_is_silent_and_nobody_becomes_so_otherwise(
    gaps: list[int],
) -> None:
    """A node that counts as there is lost by missed heartbeats alone."""
    was_silent = False
    for _, has_missed, is_silent in _history(gaps):
        assert is_silent or not has_missed
        assert was_silent or has_missed or not is_silent
        was_silent = is_silent


@given(GAPS)
def test_a_node_that_flaps_is_not_found_each_time(gaps: list[int]) -> None:
    """However it comes and goes, in ten minutes it is found a handful of times at most."""
    history = _history(gaps)
    found = [
        now
        for (now, _, is_silent), (_, _, was_silent) in zip(history[1:], history, strict=False)
        if was_silent and not is_silent
    ]

    assert all(
        sum(first <= one < first + RECENT_SECONDS for one in found) <= MOST_RETURNS
        for first in found
    )


@given(GAPS)
def test_a_node_that_is_steady_is_back(gaps: list[int]) -> None:
    """Whatever it did before: ten minutes of heartbeats are enough."""
    calm = [10] * int(RECENT_SECONDS / 10)

    end = sum(gaps) + int(RECENT_SECONDS)

    assert (end, False, False) in _history([*gaps, *calm])
