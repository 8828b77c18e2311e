# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The year in a store, and the records that it must have led to."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from dataclasses import dataclass, field
from random import Random

import pytest

from shared.contracts.events import PUBLIC
from tests.support.log_stores import LogPlace, PostgresPlace, SqlitePlace, append
from tests.support.postgres import PostgresServer
from tests.support.year_of_history.history import (
    AUDIENCES,
    EMBARGO,
    FULL,
    SMALL,
    History,
    year_of_history,
)
from tests.support.year_of_history.recomputed_log import Record, recorded

MOST_AT_ONCE = 400
IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
SEED = int(os.environ.get("L3AF_SEED", secrets.randbelow(1 << 32) if IS_SOAK else 1))
SIGHTS = (AUDIENCES, frozenset({PUBLIC}), frozenset({PUBLIC, EMBARGO}))


@dataclass(frozen=True, slots=True)
class KeptYear:
    """A year that was taken in."""

    place: LogPlace
    history: History
    records: list[Record] = field(repr=False)
    """As they are read a second time."""


async def keep(place: LogPlace, history: History, *, seed: int = 0) -> KeptYear:
    """The year goes through the real intake, in batches of any size, when it arrives."""
    rng = Random(seed)
    stream = history.stream
    async with place.open() as store:
        await store.start_stream("2026-01-01T00:00:00Z", last_sequence=0)
        first = 0
        while first < len(stream):
            batch = stream[first : first + rng.randint(1, MOST_AT_ONCE)]
            await append(store, [one.message for one in batch], now=batch[-1].at)
            first += len(batch)
    messages = (one.message for one in stream)
    records = recorded((one.subject, one.message_id, one.data) for one in messages)
    return KeptYear(place, history, records)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def year(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresServer,
) -> KeptYear:
    """The year, once in a store of each kind."""
    sys.stderr.write(f"\nL3AF_SEED={SEED}\n")

    async def kept() -> KeptYear:
        place: LogPlace
        if request.param == "sqlite":
            place = SqlitePlace(tmp_path_factory.mktemp("year"))
        else:
            place = PostgresPlace(await postgres.new_database())
        return await keep(place, year_of_history(FULL if IS_SOAK else SMALL, seed=SEED))

    return asyncio.run(kept())
