# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`rate-limit` alone on its hook, with limits by port and by source."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

from services.node_executor.adapters.map_access import entries, update
from tests.support.package_programs import RunningProgram, running

SLOTS = 128
WAYS = 4


class Limiter(RunningProgram):
    """The program and its limits."""

    def set_source_limit(self, prefix: str, *, per_second: int, each: int) -> None:
        """So many connections a second for each network of `each` bits within the prefix."""
        network = ip_network(prefix)
        key = struct.pack("=I", network.prefixlen) + network.network_address.packed
        value = struct.pack("=II", per_second, each)
        update(self.map(f"rl_sources_v{network.version}"), key, value)

    def rings(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Of every window in use: the sum that it keeps, and what it counts in each slot."""
        for _, value in entries(self.map("rl_windows")):
            _, total, _, *counts = struct.unpack(f"=IIQ{SLOTS}I", value)
            yield total, tuple(counts)
        network = struct.Struct(f"=4I II Q {SLOTS}H")
        for _, value in entries(self.map("rl_networks")):
            for way in range(WAYS):
                *name, total, _newest = network.unpack_from(value, 8 + way * network.size)[:7]
                if name[4]:
                    yield total, network.unpack_from(value, 8 + way * network.size)[7:]


@contextmanager
def a_limiter() -> Iterator[Limiter]:
    """The program, without any limit."""
    with running("rate-limit", "rate-limit", "xdp") as program:
        yield Limiter(program.chain, program.hook)
