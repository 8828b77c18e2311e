# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a node counts as away, and when as back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from services.scheduler.liveness import (
    LOST_SECONDS,
    SILENT_AFTER_SECONDS,
    STEADY_SECONDS,
    Hearing,
    Silence,
    heard,
    judge_silence,
)


def _hearing(moments: Iterable[float]) -> Hearing | None:
    hearing: Hearing | None = None
    for at in moments:
        hearing = heard(hearing, at=at)
    return hearing


def _judged(moments: Iterable[float], now: float) -> Silence:
    return judge_silence(_hearing(moments), started_at=10.0, now=now)


@pytest.mark.parametrize(
    ("moments", "now", "expected"),
    [
        ([100.0], 100.0 + SILENT_AFTER_SECONDS, (True, False)),
        ([100.0], 100.1 + SILENT_AFTER_SECONDS, (False, True)),
        ([], 10.0 + SILENT_AFTER_SECONDS, (False, False)),
        ([], 10.1 + SILENT_AFTER_SECONDS, (False, True)),
    ],
)
def test_a_node_is_silent_after_three_missed_heartbeats(
    moments: list[float], now: float, expected: tuple[bool, bool]
) -> None:
    """Alive needs a heartbeat; silent needs that one could have been heard."""
    silence = _judged(moments, now)

    assert (silence.is_alive, silence.is_silent) == expected


def test_a_node_that_was_lost_once_is_back_with_its_next_heartbeat() -> None:
    """A restart of its host is no reason to wait."""
    silence = _judged([100.0, 500.0], 500.0)

    assert (silence.is_silent, silence.losses, silence.why) == (False, 1, "")


def test_a_node_that_comes_and_goes_is_back_only_once_it_is_steady() -> None:
    """And it is said how often it was lost, and what is waited for."""
    flapping = [100.0, 140.0, 180.0]
    steady = [180.0 + 10 * beat for beat in range(1, int(STEADY_SECONDS / 10) + 1)]

    unsteady = _judged([*flapping, *steady[:-1]], steady[-2])
    back = _judged([*flapping, *steady], steady[-1])

    assert (unsteady.is_silent, unsteady.is_unsteady) == (True, True)
    assert unsteady.why == (
        "comes and goes: it was lost 2 times in 10 minutes, and counts as back after 60 s of "
        "heartbeats without a gap"
    )
    assert (back.is_silent, back.why) == (False, "")


def test_each_further_loss_doubles_what_is_asked_for() -> None:
    """Up to what is left of ten minutes."""
    asked = [
        _judged([100.0 + 40 * beat for beat in range(losses + 1)], 100.0 + 40 * losses)
        for losses in range(8)
    ]

    assert [one.steady_seconds for one in asked] == [0, 0, 60, 120, 240, 480, 480, 480]


def test_losses_of_long_ago_do_not_count() -> None:
    """A node that was lost twice last night is back at once today."""
    assert not _judged([100.0, 140.0, 180.0, 1000.0, 1040.0], 1040.0).is_silent


@pytest.mark.parametrize(
    ("moments", "now", "lasts_seconds"),
    [
        ([], 10.0 + SILENT_AFTER_SECONDS + LOST_SECONDS, LOST_SECONDS),
        ([100.0], 100.0 + SILENT_AFTER_SECONDS + 5, 5.0),
        ([100.0, 500.0], 500.0, 0.0),
        ([100.0, 140.0, 180.0, 220.0], 220.0, 50.0),
        ([100.0, 140.0, 180.0, 220.0], 225.0, 55.0),
    ],
)
def test_a_silence_lasts_until_the_node_counts_as_back(
    moments: list[float], now: float, lasts_seconds: float
) -> None:
    """Also while it comes and goes; others take its place when that takes too long."""
    silence = _judged(moments, now)

    assert silence.lasts_seconds == pytest.approx(lasts_seconds)
    assert silence.is_lost == (lasts_seconds >= LOST_SECONDS)
