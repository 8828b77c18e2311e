# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Runs and run time of a chain, which the kernel counts while somebody wants it to."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor, bpf
from services.node_executor.adapters.programs import run_packet
from services.node_executor.exposition import families
from services.node_executor.generations import Point
from shared.contracts.node import ChainShown
from tests.support.executors import Executor, Wire, a_chain, a_program
from tests.support.scrapes import scraped

_ENABLE_STATS = 32
"""BPF_ENABLE_STATS, of run time: counted until its descriptor is closed."""
RUNS = 20


@pytest.fixture
def counted() -> Iterator[None]:
    """As `kernel.bpf_stats_enabled` does, for the length of the test."""
    with Descriptor(bpf(_ENABLE_STATS, struct.pack("<I", 0), action="counting runs")):
        yield


@pytest.mark.usefixtures("counted")
def test_runs_of_a_chain_and_their_time_are_read_from_the_kernel(
    executor: Executor, wire: Wire
) -> None:
    """Every run counts, and Prometheus gets both."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program()), point, 1)
    seen = executor.points.describe(point, None, desired_generation=0)
    with kernel_info.program_by_id(seen.program_id) as program:
        before = kernel_info.run_time(program.fd)
        for _ in range(RUNS):
            run_packet(program, bytes(64))
        after = kernel_info.run_time(program.fd)

    found = scraped(families("n1", [ChainShown(chain=seen)], {seen.program_id: after}))

    assert after.runs - before.runs >= RUNS
    assert after.nanoseconds > before.nanoseconds
    assert found["l3af_chain_runs_total", ""] == after.runs
    assert found["l3af_chain_run_seconds_total", ""] == pytest.approx(after.nanoseconds / 1e9)
