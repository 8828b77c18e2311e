# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of probes: each row is shown by what is counted and by what the kernel holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from services.node_executor.generations import Point
from shared.errors import RefusedError
from tests.support.executors import Executor, pins_below
from tests.support.known_faults import Fault, table
from tests.support.probes import (
    GETPGID,
    a_probe,
    counted,
    getpgid,
    links_of,
    opened,
    own_objects,
    run_probe,
    until,
)

pytestmark = pytest.mark.kernel
UPDATES = 3
EVENTS = 5


class Bench:
    """An executor whose packages are probes, and its pins."""

    def __init__(self, executor: Executor, base: PurePosixPath) -> None:
        self.executor, self.base = executor, base


@pytest.fixture
def bench(executor: Executor, base: PurePosixPath) -> Bench:
    """Nothing runs."""
    executor.opened = opened
    return Bench(executor, base)


def _said_again(bench: Bench) -> None:
    node, chain = bench.executor, a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    point = run_probe(node, chain)
    first = node.kernel.observe(point)

    for generation in range(2, UPDATES + 2):
        run_probe(node, chain, generation)
    getpgid(EVENTS)

    assert node.kernel.observe(point) == first
    assert links_of(first.link_program_id) == [first.link_id]
    assert counted(node, point) == EVENTS


def _has_maps(bench: Bench) -> None:
    node = bench.executor
    point = run_probe(node, a_probe(GETPGID, "on_tracepoint", pid=os.getpid()))
    getpgid(EVENTS)

    assert {key.name for key in node.kernel.observe(point).map_pins} >= {"runs", "only"}
    assert counted(node, point) == EVENTS


def _does_not_load(bench: Bench) -> None:
    before, chain = own_objects(), a_probe(GETPGID, "refused")

    for generation in range(1, UPDATES + 1):
        with pytest.raises(RefusedError):
            run_probe(bench.executor, chain, generation)

    until(lambda: own_objects() <= before)
    assert pins_below(bench.base) == []
    assert bench.executor.kernel.observe(Point(chain.interface, chain.hook)).link_id == 0


def _removed(bench: Bench) -> None:
    node = bench.executor
    point = run_probe(node, a_probe(GETPGID, "on_tracepoint"))
    program_id = node.kernel.observe(point).link_program_id

    node.settle(None, point, 2)

    until(lambda: not node.kernel.is_loaded(program_id))
    assert links_of(program_id) == []
    assert pins_below(bench.base) == []


FAULTS: dict[str, Fault[Callable[[Bench], None]]] = {
    "said-again": Fault(
        "an update that lists a probe that runs",
        "starts it again each time: every event is counted once more",
        "one program, one link, each event once",
        _said_again,
    ),
    "has-maps": Fault(
        "a probe with maps",
        "never loads it",
        "its maps are configured, pinned and read like those of any program",
        _has_maps,
    ),
    "does-not-load": Fault(
        "a probe that the verifier refuses, again and again",
        "leaks what was loaded before it failed",
        "refused each time; no program, map, link or pin is left",
        _does_not_load,
    ),
    "removed": Fault(
        "a probe that is not listed any more",
        "goes on until the daemon ends",
        "link and program go",
        _removed,
    ),
}


@table(FAULTS)
def test_a_probe_is_there_once_or_not_at_all(
    bench: Bench, fault: Fault[Callable[[Bench], None]]
) -> None:
    """See the table."""
    fault.shows(bench)
