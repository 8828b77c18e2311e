# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler keeps so that thousands of nodes do not cost it thousands of looks."""

from __future__ import annotations

import asyncio

from services.scheduler.adapters.pace import MAX_REST_SECONDS, REST, Pace
from services.scheduler.adapters.read_records import Gathered


def test_what_was_taken_stays_and_is_made_once_for_each_change() -> None:
    """A moment that somebody holds does not change; without a change there is no new one."""
    gathered: Gathered[int] = Gathered()
    gathered.put("a", 1)
    before = gathered.taken(dict)

    assert gathered.taken(dict) is before
    gathered.put("b", 2)
    assert (before, gathered.taken(dict)) == ({"a": 1}, {"a": 1, "b": 2})
    gathered.put_all({"c": 3})
    assert gathered.taken(dict) == gathered.values == {"c": 3}


async def test_who_thought_rests_longer_than_it_thought() -> None:
    """Work that is asked for all the time leaves most of the processor to others."""
    pace, loop = Pace(), asyncio.get_running_loop()
    with pace.thinking():
        began = loop.time()
        while loop.time() - began < 0.01:
            pass

    began = loop.time()
    await pace.rest()
    first = loop.time() - began
    await pace.rest()  # and has nothing to rest from any more

    assert first >= 0.9 * REST * 0.01
    assert MAX_REST_SECONDS < 1
