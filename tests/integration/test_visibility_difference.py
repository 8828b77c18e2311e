# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nobody who may not see it can tell an embargoed package from one that does not exist.

Every endpoint that a principal may ask is asked about both, by an administrator who is no member.
The replies' bytes and the events that follow are compared with every name, digest and id of one
kind replaced by what it stands for.  Beside that nothing is left out of a reply but the log's
size, how much of it was looked through and where to go on, which asking the auditor changes, and of
an event its own id, time, sequence and salt.  `make soak` asks a thousand times and compares how
long the answers take.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from shared.contracts.permissions import ALLOWED_ENDPOINTS
from tests.integration.conftest import Buses
from tests.support import secret_questions, secret_questions_elsewhere
from tests.support.differences import kolmogorov_smirnov
from tests.support.secret_questions import Row
from tests.support.secret_questions_elsewhere import ELSEWHERE
from tests.support.secret_world import HIDDEN, MISSING, World, a_wide_world

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
SEED: Final = int(os.environ.get("L3AF_SEED", "7"))
PAIRS: Final = 2
TIMED_PAIRS: Final = 1000
SIGNIFICANCE: Final = 0.01
ROWS: Final[Mapping[str, Row]] = {**secret_questions.ROWS, **secret_questions_elsewhere.ROWS}


@pytest.fixture
async def world(buses: Buses, tmp_path: Path) -> AsyncIterator[World]:
    """Catalog, scheduler, auditor and a node, and a secret that is published, runs and is recorded.

    All at its members' alone.
    """
    async with a_wide_world(buses, tmp_path) as world:
        yield world


def test_every_endpoint_that_anybody_may_ask_is_in_a_table() -> None:
    """One that is added has to be compared too, here or where it is said."""
    asked = {endpoint.subject for allowed in ALLOWED_ENDPOINTS.values() for endpoint in allowed}
    compared = {endpoint.subject for endpoint, _ in ROWS.values()}

    assert len(ROWS) == len(secret_questions.ROWS) + len(secret_questions_elsewhere.ROWS)
    assert compared.isdisjoint(ELSEWHERE)
    assert compared | set(ELSEWHERE) == asked
    assert all(Path(__file__).parents[2].joinpath(place).exists() for place in ELSEWHERE.values())


@pytest.mark.soak
async def test_a_secret_answers_as_what_does_not_exist(world: World) -> None:
    """Byte for byte, at every endpoint, and in the events that everybody hears.

    In the soak form, the times of a thousand answers of each kind, in turns at random, are of one
    distribution too.  A row that falls below is measured once more, as one of a hundred does by
    chance.
    """
    order = random.Random(SEED)
    for name, row in ROWS.items():
        for _ in range(PAIRS):
            answers = await _asked(world, row, order)
            (hidden, its_id, _), (missing, other_id, _) = answers[HIDDEN], answers[MISSING]
            assert hidden == missing, name
            if its_id:
                events = await world.said(its_id, world.hidden)
                assert events == await world.said(other_id, world.missing), name
    if IS_SOAK:
        assert await _told_apart_by_time(world, order) == []


async def _told_apart_by_time(world: World, order: random.Random) -> list[str]:
    lines, told_apart = [], []
    for name, row in ROWS.items():
        p_value = await _p_value(world, row, order)
        if p_value <= SIGNIFICANCE:
            p_value = await _p_value(world, row, order)
        lines.append(f"{name:20} p={p_value:.3f}")
        if p_value <= SIGNIFICANCE:
            told_apart.append(lines[-1])
    sys.stderr.write(f"\nL3AF_SEED={SEED}\n" + "\n".join(lines) + "\n")
    return told_apart


async def _p_value(world: World, row: Row, order: random.Random) -> float:
    seconds: dict[str, list[float]] = {HIDDEN: [], MISSING: []}
    for _ in range(TIMED_PAIRS):
        answers = await _asked(world, row, order)
        assert answers[HIDDEN][0] == answers[MISSING][0]
        for kind, (_text, _id, took) in answers.items():
            seconds[kind].append(took)
    return kolmogorov_smirnov(seconds[HIDDEN], seconds[MISSING])


async def _asked(world: World, row: Row, order: random.Random) -> dict[str, tuple[str, str, float]]:
    """Answers to both, one after another in an order by chance."""
    kinds = [world.hidden, world.missing]
    order.shuffle(kinds)
    return {kind.package: await world.answer(row, kind) for kind in kinds}
