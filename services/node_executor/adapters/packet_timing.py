# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long a program takes for a packet, by the kernel's own measure (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.programs import run_packet

MAX_REPEATS: Final = 1000
BUDGET_NS: Final = 2_000_000
"""For one packet: what takes longer is run less often, and once at least."""


def ns_per_packet(program_id: int, packets: Iterable[bytes]) -> int:
    """Nanoseconds that the program takes for a packet, mean over the packets; 0: there are none.

    Every run after a packet's first one sees it as the one before left it.

    Raises:
        KernelFaultError: The kernel does not run the program over a packet.
    """
    with kernel_info.program_by_id(program_id) as program:
        means = []
        for packet in packets:
            first_ns = run_packet(program, packet).duration_ns
            repeat = min(MAX_REPEATS, max(1, BUDGET_NS // max(first_ns, 1)))
            means.append(run_packet(program, packet, repeat=repeat).duration_ns)
    return round(sum(means) / len(means)) if means else 0
