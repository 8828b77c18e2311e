# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which packets the program judges, and places that several processors take at once."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.node_executor.adapters.map_access import entries, update
from tests.support.package_programs import RunningProgram, running
from tests.support.packets import SYN, ipv4, ipv6, tagged, tcp

pytestmark = pytest.mark.kernel

PORT = 80
DROP = 0
SENDERS = 4


@pytest.fixture
def limiter() -> Iterator[RunningProgram]:
    """The program, without any limit; nothing tells it of connections."""
    with running("connection-limit", "connection-limit", "xdp") as program:
        yield program


def _limit(limiter: RunningProgram, connections: int) -> None:
    value = struct.pack("=II", connections, DROP)
    update(limiter.map("cl_limits"), struct.pack("=H", PORT), value)


def _from(port: int, packet: bytes) -> bytes:
    """The packet from another source port."""
    at = len(packet) - 20
    return packet[:at] + struct.pack("!H", port) + packet[at + 2 :]


def _taken(limiter: RunningProgram) -> int:
    (value,) = (value for _, value in entries(limiter.map("cl_ports")))
    return int.from_bytes(value[:8], "little")


@pytest.mark.parametrize("wrap", [ipv4, ipv6, lambda inner: tagged(ipv6(inner))])
def test_a_syn_that_is_sent_again_has_its_place_already(
    limiter: RunningProgram, wrap: Callable[[bytes], bytes]
) -> None:
    """Only another connection takes another one."""
    _limit(limiter, 2)
    syn = wrap(tcp(PORT, SYN))

    verdicts = [limiter.verdict(_from(port, syn)) for port in (1, 1, 2, 1, 3, 2)]

    assert verdicts == ["pass", "pass", "pass", "pass", "drop", "pass"]
    assert _taken(limiter) == 2


def test_several_processors_take_exactly_as_many_places(limiter: RunningProgram) -> None:
    """Threads that begin connections side by side: none too many, and no place is lost."""
    _limit(limiter, 700)
    syn = ipv4(tcp(PORT))

    def passed(sender: int) -> int:
        ports = range(10_000 * sender + 1, 10_000 * sender + 401)
        return sum(limiter.verdict(_from(port, syn)) == "pass" for port in ports)

    with ThreadPoolExecutor(SENDERS) as threads:
        counts = list(threads.map(passed, range(SENDERS)))

    assert limiter.number("cl_received") == SENDERS * 400
    assert limiter.number("cl_received") - limiter.number("cl_dropped") == sum(counts)
    assert sum(counts) >= 700
    assert _taken(limiter) <= 700


def test_a_port_is_closed_and_opened_live(limiter: RunningProgram) -> None:
    """A limit of 0 lets none through; a raised one lets more through at once."""
    syn = ipv4(tcp(PORT))
    verdicts = []
    for limit in (0, 1, 2):
        _limit(limiter, limit)
        verdicts.append([limiter.verdict(_from(port, syn)) for port in (1, 2, 3)])

    assert verdicts == [
        ["drop", "drop", "drop"],
        ["pass", "drop", "drop"],
        ["pass", "pass", "drop"],
    ]
