# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The limiter on the running kernel: which packets it judges, and how exactly it limits."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.node_executor.adapters import hooks
from tests.support.interfaces import a_veth
from tests.support.package_programs import RunningProgram, running
from tests.support.packets import (
    ACK,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ROUTING,
    SYN,
    UDP,
    ipv4,
    ipv6,
    tagged,
    tcp,
    udp,
)

pytestmark = pytest.mark.kernel

PORT = 80
LIMIT = 50
OVERLOAD_SECONDS = 2.3
CLOCK_SECONDS = 0.005
"""The receiving socket's clock against the program's: both are read within this."""
SO_TIMESTAMPNS = 35
"""include/uapi/asm-generic/socket.h"""

LIMITED = {
    "IPv4": ipv4(tcp(PORT)),
    "IPv4 with options": ipv4(tcp(PORT), options=bytes(8)),
    "IPv4 in a VLAN": tagged(ipv4(tcp(PORT))),
    "IPv4 in a provider VLAN": tagged(ipv4(tcp(PORT)), protocol=0x88A8),
    "IPv6": ipv6(tcp(PORT)),
    "IPv6 in a VLAN": tagged(ipv6(tcp(PORT))),
    "IPv6 with extension headers": ipv6(
        tcp(PORT), extensions=(HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT)
    ),
    "SYN with other flags": ipv4(tcp(PORT, SYN | 0x40 | 0x80)),
}
NOT_LIMITED = {
    "SYN and ACK": ipv4(tcp(PORT, SYN | ACK)),
    "ACK": ipv4(tcp(PORT, ACK)),
    "another port": ipv4(tcp(PORT + 1)),
    "UDP": ipv4(udp(PORT), UDP),
    "a later fragment": ipv4(tcp(PORT), fragment_offset=185),
    "a cut TCP header": ipv4(tcp(PORT)[:12]),
    "a cut IPv6 header": ipv6(b"")[:40],
    "a bad IPv4 header length": ipv4(tcp(PORT))[:14] + b"\x41" + ipv4(tcp(PORT))[15:],
    "two VLAN tags": tagged(tagged(ipv4(tcp(PORT)))),
    "no IP": bytes(12) + b"\x08\x06" + bytes(28),
}


@pytest.fixture
def limiter() -> Iterator[RunningProgram]:
    """The program, without any limit."""
    with running("rate-limit", "rate-limit", "xdp") as program:
        yield program


@pytest.mark.parametrize("packet", LIMITED.values(), ids=LIMITED.keys())
def test_a_new_connection_is_judged_by_its_port(limiter: RunningProgram, packet: bytes) -> None:
    """With limit 0 every SYN for the port is dropped and counted, however it is carried."""
    limiter.set_number("rl_limits", PORT, 0)

    assert limiter.verdict(packet) == "drop"
    assert (limiter.number("rl_received"), limiter.number("rl_dropped")) == (1, 1)


@pytest.mark.parametrize("packet", NOT_LIMITED.values(), ids=NOT_LIMITED.keys())
def test_what_is_no_new_connection_passes(limiter: RunningProgram, packet: bytes) -> None:
    """Everything else passes uncounted, even under limit 0."""
    limiter.set_number("rl_limits", PORT, 0)

    assert limiter.verdict(packet) == "pass"
    assert (limiter.number("rl_received"), limiter.number("rl_dropped")) == (0, 0)


def test_a_port_without_a_limit_is_not_touched(limiter: RunningProgram) -> None:
    """A port that the configuration does not name has no limit and no counter."""
    verdicts = {limiter.verdict(ipv4(tcp(PORT))) for _ in range(1000)}

    assert verdicts == {"pass"}
    assert limiter.number("rl_received") == 0


def test_a_burst_gets_exactly_the_limit(limiter: RunningProgram) -> None:
    """Of many connections at once the first N pass, and the counters say so."""
    limiter.set_number("rl_limits", PORT, LIMIT)

    verdicts = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(4 * LIMIT)]

    assert verdicts == ["pass"] * LIMIT + ["drop"] * 3 * LIMIT
    assert limiter.number("rl_received") == 4 * LIMIT
    assert limiter.number("rl_dropped") == 3 * LIMIT


def test_ports_do_not_share_their_limits(limiter: RunningProgram) -> None:
    """Each port has its own window."""
    limiter.set_number("rl_limits", PORT, 1)
    limiter.set_number("rl_limits", 443, 2)
    packets = [ipv4(tcp(port)) for port in (PORT, 443, PORT, 443, 443)]

    verdicts = [limiter.verdict(packet) for packet in packets]

    assert verdicts == ["pass", "pass", "drop", "pass", "drop"]


def test_a_limit_changes_live(limiter: RunningProgram) -> None:
    """A raised limit lets more through at once; what was let through still counts."""
    limiter.set_number("rl_limits", PORT, 5)
    before = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(10)]
    limiter.set_number("rl_limits", PORT, 8)
    after = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(10)]

    assert before.count("pass") == 5
    assert after.count("pass") == 3


def test_the_limit_is_exact_on_several_processors(limiter: RunningProgram) -> None:
    """Threads that run the program side by side share one window and lose no count."""
    limiter.set_number("rl_limits", PORT, 1000)

    def passed(packet: bytes) -> int:
        return sum(limiter.verdict(packet) == "pass" for _ in range(2000))

    started = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        counts = list(threads.map(passed, [ipv4(tcp(PORT))] * 4))
    seconds = time.monotonic() - started

    assert limiter.number("rl_received") == 8000
    assert limiter.number("rl_dropped") == 8000 - sum(counts)
    assert 1000 <= sum(counts) <= 1000 * (1 + int(seconds))


def test_no_second_sees_more_than_the_limit(limiter: RunningProgram) -> None:
    """Real SYNs on a wire, ten times too many: at most N in any second, at least 31/32 of N."""
    limiter.set_number("rl_limits", PORT, LIMIT)
    with a_veth() as veth:
        attached = hooks.attach(limiter.chain.program, veth.index, "xdp", hook_point="test")
        with attached.link:
            sent, arrivals = _overload(veth.name, veth.peer, ipv4(tcp(PORT)))

    windows = zip(arrivals, arrivals[LIMIT:], strict=False)
    shortest_seconds = min((later - earlier for earlier, later in windows), default=1.0)
    assert shortest_seconds >= 1 - CLOCK_SECONDS
    assert len(arrivals) >= LIMIT * int(OVERLOAD_SECONDS) * 31 // 32
    assert limiter.number("rl_received") == sent
    assert limiter.number("rl_dropped") == sent - len(arrivals)


def _overload(interface: str, peer: str, packet: bytes) -> tuple[int, list[float]]:
    """How many were sent at ten times the limit, and when each that passed arrived."""
    stop = threading.Event()
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as receiver,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
        ThreadPoolExecutor(1) as threads,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        receiver.bind((interface, 0x0800))
        receiver.settimeout(0.2)
        sender.bind((peer, 0))
        arrivals = threads.submit(_arrivals, receiver, packet, stop)
        sent = 0
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < OVERLOAD_SECONDS:
            if sent < elapsed * 10 * LIMIT:
                sent += sender.send(packet) == len(packet)
            else:
                time.sleep(0.0005)
        stop.set()
        return sent, arrivals.result()


def _arrivals(receiver: socket.socket, packet: bytes, stop: threading.Event) -> list[float]:
    """Receive times until a timeout after `stop`."""
    times: list[float] = []
    while True:
        try:
            data, ancillary, *_ = receiver.recvmsg(2048, 64)
        except TimeoutError:
            if stop.is_set():
                return times
            continue
        if data == packet:
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            times.append(seconds + nanoseconds / 1e9)
