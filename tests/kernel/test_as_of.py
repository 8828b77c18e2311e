# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""As-of equals reality: what the log says ran at a moment is what the kernel had then.

A run prints its seed; `L3AF_SEED` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.inventory import hook_runs
from services.auditor.records import parse_time_us
from services.node_executor.adapters import kernel_info
from services.node_executor.generations import Point
from services.node_executor.snapshots import CHANGED_SECONDS, Snapshots
from shared.contracts.desired import DesiredProgram
from shared.contracts.events import Event
from shared.identifiers import Hook
from tests.support.executors import VERSIONS, Executor, Wire, a_chain, a_program
from tests.support.log_stores import append
from tests.support.records import message_of

HOOKS: tuple[Hook, ...] = ("xdp", "tc-ingress", "tc-egress")
SEED = int(os.environ.get("L3AF_SEED") or secrets.randbits(32))
STEPS = 60
SOAK_STEPS = 500
MOMENTS = 100

Reality = dict[str, tuple[int, str, tuple[tuple[str, str], ...]]]
"""Hook to what the kernel has there: program, its tag, and the instances it was linked from."""


class Seen(NamedTuple):
    """What was read back, by whom no event was written, after the events up to a time."""

    time: str
    reality: Reality


class History:
    """A node that is changed at random, and what its kernel had after each step."""

    def __init__(self, executor: Executor, wire: Wire, *, seed: int) -> None:
        self.executor = executor
        self.seen: list[Seen] = []
        self._wire = wire
        self._rng = random.Random(seed)
        self._linked: dict[Hook, tuple[DesiredProgram, ...]] = dict.fromkeys(HOOKS, ())
        self._generation = 0
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def run(self, steps: int) -> None:
        """So many steps, each looked at."""
        for _ in range(steps):
            step = self._rng.choice(
                [self._change, self._change, self._change, self._clear, self._restart, self._say]
            )
            step()
            self._look()

    def _change(self) -> None:
        """Another chain; often one that differs in its configuration alone."""
        hook = self._rng.choice(HOOKS)
        names = self._rng.sample(("one", "two", "three"), self._rng.choice([1, 1, 2, 3]))
        versions = [version for version in VERSIONS if version != "3.0.0"]  # another map's size
        self._settle(
            hook,
            tuple(
                a_program(
                    name,
                    self._rng.choice(versions),
                    hook,
                    order=place,
                    revision=self._generation + 1,
                    config={"limits": {"80": self._rng.randrange(3)}},
                )
                for place, name in enumerate(names, start=1)
            ),
        )

    def _clear(self) -> None:
        self._settle(self._rng.choice(HOOKS), ())

    def _restart(self) -> None:
        self.executor.stop()
        self.executor.start()

    def _say(self) -> None:
        """A snapshot, as after a quarter of an hour."""
        self._now += timedelta(seconds=CHANGED_SECONDS)
        snapshots = Snapshots(
            node="n1", points=self.executor.points, store=self.executor.store, now=lambda: self._now
        )
        looked = [
            self.executor.points.describe(memory.point, None, desired_generation=self._generation)
            for memory in self.executor.points.memories()
        ]
        self._now += timedelta(seconds=CHANGED_SECONDS)
        snapshots.take_if_due(looked)

    def _settle(self, hook: Hook, programs: tuple[DesiredProgram, ...]) -> None:
        self._generation += 1
        chain = a_chain(
            self._wire.name, *programs, hook=hook, command=f"command-{self._generation}"
        )
        self.executor.settle(chain, Point(self._wire.name, hook), self._generation)
        self._linked[hook] = programs

    def _look(self) -> None:
        """The kernel itself is asked, and what was put there is remembered here."""
        if self.executor.newest is not None:
            self.seen.append(Seen(self.executor.newest.time, dict(self._reality())))

    def _reality(self) -> Any:
        for hook in HOOKS:
            observed = self.executor.kernel.observe(Point(self._wire.name, hook))
            if not observed.link_is_live:
                assert not self._linked[hook]
                continue
            with kernel_info.program_by_id(observed.link_program_id) as program:
                info = kernel_info.program_info(program.fd)
            instances = tuple((one.deployment, one.version) for one in self._linked[hook])
            yield hook, (info.id, info.tag, instances)


async def answers(events: list[Event], times: list[str], folder: Path) -> list[Reality]:
    """What the log says of each time, once it holds the events in this order."""
    store = SqliteStore.open(folder, origin="l3af.test/as-of")
    try:
        for start in range(0, len(events), 50):
            batch = events[start : start + 50]
            await append(
                store, [message_of(one, start + place) for place, one in enumerate(batch, start=1)]
            )
        found = []
        for time in times:
            stored, _, is_end = await store.sightings(
                parse_time_us(time), audiences=frozenset({"public"}), node="n1", after=None
            )
            assert is_end
            runs = hook_runs(stored)
            assert [run.difference for run in runs] == [""] * len(runs)
            found.append(
                {
                    run.place.hook: (
                        run.reading.program_id,
                        run.reading.program_tag,
                        tuple((one.deployment, one.version) for one in run.reading.running or ()),
                    )
                    for run in runs
                }
            )
        return found
    finally:
        await store.aclose()


def check_history(executor: Executor, wire: Wire, folder: Path, *, steps: int) -> None:
    """A history of so many steps, and MOMENTS of it at random, with events in any order."""
    sys.stderr.write(f"L3AF_SEED={SEED}\n")
    history = History(executor, wire, seed=SEED)
    history.run(steps)
    latest = {seen.time: seen.reality for seen in history.seen}
    rng = random.Random(SEED)
    times = rng.choices(sorted(latest), k=MOMENTS)
    events = executor.events()
    expected = [latest[time] for time in times]

    assert asyncio.run(answers(events, times, folder / "in-order")) == expected
    late = rng.sample(events, len(events))
    assert asyncio.run(answers(late, times, folder / "late")) == expected


def test_as_of_equals_reality(executor: Executor, wire: Wire, tmp_path: Path) -> None:
    """Changes, removals, restarts and snapshots: at any time the answer is the kernel's own."""
    check_history(executor, wire, tmp_path, steps=STEPS)


@pytest.mark.soak
def test_as_of_equals_reality_for_long(executor: Executor, wire: Wire, tmp_path: Path) -> None:
    """The same over 500 steps."""
    check_history(executor, wire, tmp_path, steps=SOAK_STEPS)
