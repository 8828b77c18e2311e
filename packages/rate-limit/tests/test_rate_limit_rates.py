# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How exactly the limiter limits: on a wire, on several processors, at 100,000 SYNs a second."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from lab.measurement import counting, send
from services.node_executor.adapters import hooks
from services.node_executor.adapters.programs import run_packet
from tests.support.interfaces import DEADLINE_SECONDS, a_veth
from tests.support.limiters import Limiter, a_limiter
from tests.support.package_programs import on_a_host
from tests.support.packets import ipv4, ipv6, tagged, tcp

pytestmark = pytest.mark.kernel

PORT = 80
LIMIT = 50
OVERLOAD_SECONDS = 2.3
CLOCK_SECONDS = 0.005
"""The receiving socket's clock against the program's: both are read within this."""
SO_TIMESTAMPNS = 35
"""include/uapi/asm-generic/socket.h"""

SOURCES = ("10.0.0.1", "10.0.0.2")
FLOOD_PER_SECOND = 100_000
FLOOD_LIMIT = 60_000
FLOOD_SECONDS = 2.4
"""In the middle of a burst, so that a window that is too long shows."""
SENDERS = 2
ERROR = 0.01


@pytest.fixture
def limiter() -> Iterator[Limiter]:
    """The program, without any limit."""
    with a_limiter() as program:
        yield program


def test_the_limit_is_exact_on_several_processors(limiter: Limiter) -> None:
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


def test_no_second_sees_more_than_the_limit(limiter: Limiter) -> None:
    """Real SYNs on a wire, ten times too many: at most N in any second, at least 127/128 of N."""
    limiter.set_number("rl_limits", PORT, LIMIT)
    with a_veth() as veth:
        attached = hooks.attach(limiter.chain.program, veth.index, "xdp", hook_point="test")
        with attached.link:
            sent, arrivals = _overload(veth.name, veth.peer, ipv4(tcp(PORT)))

    windows = zip(arrivals, arrivals[LIMIT:], strict=False)
    shortest_seconds = min((later - earlier for earlier, later in windows), default=1.0)
    assert shortest_seconds >= 1 - CLOCK_SECONDS
    assert len(arrivals) >= LIMIT * int(OVERLOAD_SECONDS) * 127 // 128
    _wait_until(lambda: limiter.number("rl_received") == sent)
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


def test_a_host_of_the_lab_is_limited_by_source_and_port(limiter: Limiter) -> None:
    """What its IP layer got and what was dropped is what was sent, and both limits held."""
    limiter.set_source_limit("198.19.0.0/16", per_second=LIMIT, each=32)
    limiter.set_number("rl_limits", PORT, LIMIT // 10)
    with on_a_host(limiter) as host:
        with counting(host) as arrivals:
            sent = send(host, ports=(PORT, 443), rate=1000, count=400)
            _wait_until(lambda: limiter.number("rl_received") == sent.sent)
        passed = arrivals.result()

    # Packets may arrive over a longer time than they were sent in.
    full_seconds = int(sent.seconds + 1) + 1
    assert passed.lost_in_socket == 0
    assert passed.counted + limiter.number("rl_dropped") == sent.sent
    assert LIMIT <= passed.counted <= LIMIT * full_seconds
    assert passed.counted_by_port[PORT] <= LIMIT // 10 * full_seconds
    assert limiter.number("rl_port_dropped") + limiter.number("rl_src_dropped") == limiter.number(
        "rl_dropped"
    )


def _wait_until(is_so: Callable[[], bool]) -> None:
    """Packets that were sent are still on their way for a moment."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_window_is_a_second_and_at_most_one_percent_more(limiter: Limiter) -> None:
    """Whenever a connection was let through, the next one is after 1 to 1.01 seconds."""
    ports = range(1, 33)
    for port in ports:
        limiter.set_number("rl_limits", port, 1)
    packets = {port: ipv4(tcp(port)) for port in ports}
    let_through: dict[int, tuple[float, float]] = {}
    let_through_again: set[int] = set()
    first = time.perf_counter()

    while len(let_through_again) < len(packets):
        for port, packet in packets.items():
            # They begin at different moments of a slot.
            if port in let_through_again or time.perf_counter() < first + port * 0.0013:
                continue
            began = time.perf_counter()
            verdict = limiter.verdict(packet)
            ended = time.perf_counter()
            if port not in let_through:
                assert verdict == "pass"
                let_through[port] = (began, ended)
            elif verdict == "pass":
                assert ended - let_through[port][0] >= 1.0
                let_through_again.add(port)
            else:
                assert began - let_through[port][1] <= 1 / (1 - ERROR)
        time.sleep(0.0003)


class Batch(NamedTuple):
    """SYNs that one processor handled between two moments."""

    began: float
    ended: float
    count: int


def _limit_port(limiter: Limiter) -> bytes:
    limiter.set_number("rl_limits", PORT, FLOOD_LIMIT)
    return ipv4(tcp(PORT))


def _limit_source(limiter: Limiter) -> bytes:
    limiter.set_source_limit("2001:db8::/32", per_second=FLOOD_LIMIT, each=64)
    return tagged(ipv6(tcp(PORT), source="2001:db8::7"))


@pytest.mark.parametrize("limited", [_limit_port, _limit_source])
def test_the_error_is_below_one_percent_at_100000_a_second(
    limiter: Limiter, limited: Callable[[Limiter], bytes]
) -> None:
    """Two processors at once: as many as with an ideal window of 1 to 1.01 seconds."""
    packet = limited(limiter)

    floods = [_flooding(limiter, packet) for _ in range(SENDERS)]
    batches = sorted(batch for flood in floods for batch in flood())

    passed = limiter.number("rl_received") - limiter.number("rl_dropped")
    assert limiter.number("rl_received") == FLOOD_PER_SECOND * FLOOD_SECONDS
    assert _ideal(batches, 1 / (1 - ERROR), is_late=True) <= passed
    assert passed <= _ideal(batches, 1.0, is_late=False)


def _flooding(limiter: Limiter, packet: bytes) -> Callable[[], list[Batch]]:
    """One processor's part of the flood, by a process of its own.

    Returns:
        What waits for its end.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with os.fdopen(writer, "w") as file:
            json.dump(_flood(limiter, packet), file)
        os._exit(0)
    os.close(writer)

    def ended() -> list[Batch]:
        with os.fdopen(reader) as file:
            batches = json.load(file)
        assert os.waitpid(process, 0)[1] == 0
        return [Batch(*batch) for batch in batches]

    return ended


def _flood(limiter: Limiter, packet: bytes) -> list[Batch]:
    """What is late is made up for."""
    batches: list[Batch] = []
    sent = 0
    started = time.perf_counter()
    while sent < FLOOD_PER_SECOND * FLOOD_SECONDS / SENDERS:
        began = time.perf_counter()
        seconds = min(began - started, FLOOD_SECONDS)
        due = int(seconds * FLOOD_PER_SECOND / SENDERS) - sent
        if due:
            run_packet(limiter.chain.program, packet, repeat=due)
            batches.append(Batch(began, time.perf_counter(), due))
            sent += due
        time.sleep(0.0005)
    return batches


def _ideal(batches: Sequence[Batch], window_seconds: float, *, is_late: bool) -> int:
    """How many a window would have let through that forgets nothing too early or too late.

    Args:
        batches: In order of their beginnings.
        window_seconds: Its length.
        is_late: Whether what is not known of the moments within a batch counts against it.
    """
    passed = 0
    window: deque[tuple[float, int]] = deque()
    inside = 0
    for began, ended, count in batches:
        now = began if is_late else ended
        while window and now - window[0][0] >= window_seconds:
            inside -= window.popleft()[1]
        admitted = min(count, FLOOD_LIMIT - inside)
        window.append((ended if is_late else began, admitted))
        inside += admitted
        passed += admitted
    return passed


def test_limits_hold_beside_each_other_on_several_processors(limiter: Limiter) -> None:
    """Threads that fight for two limits lose no count: neither lets too much through."""
    limiter.set_number("rl_limits", PORT, 300)
    limiter.set_source_limit("0.0.0.0/0", per_second=200, each=32)
    packets = [ipv4(tcp(port), source=source) for port in (PORT, 443) for source in SOURCES]

    started = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(_run_all, [limiter] * 4, [packets] * 4))
    seconds = int(time.monotonic() - started) + 1

    passed = limiter.number("rl_received") - limiter.number("rl_dropped")
    assert limiter.number("rl_received") == 4 * 400 * len(packets)
    assert 400 <= passed <= 2 * 200 * seconds
    for total, counts in limiter.rings():
        assert total == sum(counts)


def _run_all(limiter: Limiter, packets: Sequence[bytes]) -> None:
    for _ in range(400):
        for packet in packets:
            limiter.verdict(packet)
