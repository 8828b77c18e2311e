# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The counter on the running kernel, on all three hooks."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.node_executor.adapters import hooks
from shared.identifiers import Hook
from tests.support.interfaces import a_veth
from tests.support.package_programs import PACKAGES, RunningProgram, running
from tests.support.packets import ACK, ICMP, UDP, ipv4, ipv6, tagged, tcp, udp

pytestmark = pytest.mark.kernel

PROGRAMS: dict[Hook, str] = {
    "xdp": "port-count",
    "tc-ingress": "port-count-tc",
    "tc-egress": "port-count-tc",
}
GOES_ON: dict[Hook, str] = {"xdp": "pass", "tc-ingress": "unspec", "tc-egress": "unspec"}
DEADLINE_SECONDS = 5.0


@pytest.fixture(params=PROGRAMS)
def counter(request: pytest.FixtureRequest) -> Iterator[RunningProgram]:
    """The program for each hook."""
    hook: Hook = request.param
    with running("port-count", PROGRAMS[hook], hook) as program:
        yield program


def test_packets_and_bytes_are_counted_by_port(counter: RunningProgram) -> None:
    """TCP and UDP, IPv4 and IPv6, tagged or not: one count a port, and every packet goes on."""
    packets = [
        ipv4(tcp(80)),
        ipv6(tcp(80, ACK)),
        tagged(ipv4(tcp(80))),
        ipv4(udp(53, bytes(500)), UDP),
        ipv6(udp(53), UDP),
    ]

    verdicts = {counter.verdict(packet) for packet in packets}

    sizes = [len(packet) for packet in packets]
    assert verdicts == {GOES_ON[counter.hook]}
    assert counter.pairs("pc_ports") == {80: (3, sum(sizes[:3])), 53: (2, sum(sizes[3:]))}
    assert counter.number("pc_packets") == 5
    assert counter.number("pc_bytes") == sum(sizes)


def test_what_has_no_port_goes_on_uncounted(counter: RunningProgram) -> None:
    """ICMP, later fragments, cut headers and other protocols are nobody's port."""
    packets = [
        ipv4(bytes(8), ICMP),
        ipv4(tcp(80), fragment_offset=10),
        ipv4(b"\x00\x50"),
        bytes(12) + b"\x08\x06" + bytes(28),
        ipv6(b"")[:54],
    ]

    assert {counter.verdict(packet) for packet in packets} == {GOES_ON[counter.hook]}
    assert counter.pairs("pc_ports") == {}
    assert counter.number("pc_packets") == 0


def test_no_count_is_lost_on_several_processors(counter: RunningProgram) -> None:
    """Threads that run the program side by side count every packet."""

    def count(packet: bytes) -> None:
        for _ in range(500):
            counter.verdict(packet)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, [ipv4(tcp(80))] * 4))

    assert counter.pairs("pc_ports")[80] == (2000, 2000 * len(ipv4(tcp(80))))


def test_more_ports_than_fit_make_room(counter: RunningProgram) -> None:
    """The table is bounded: new ports are counted, old ones are forgotten, totals stay exact."""
    for port in range(1, 6001):
        counter.verdict(ipv4(tcp(port)))

    ports = counter.pairs("pc_ports")
    assert 6000 in ports
    assert len(ports) <= 4096
    assert counter.number("pc_packets") == 6000


def test_real_packets_are_counted_on_the_hook(counter: RunningProgram) -> None:
    """What goes over a wire is what the program counted."""
    packet = ipv4(udp(5353, bytes(100)), UDP)
    with a_veth() as veth, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((veth.name if counter.hook == "tc-egress" else veth.peer, 0))
        attached = hooks.attach(counter.chain.program, veth.index, counter.hook, hook_point="test")
        with attached.link:
            for _ in range(100):
                sender.send(packet)
            _wait_for(counter, 5353, (100, 100 * len(packet)))


def test_packages_share_their_parser() -> None:
    """Every package carries the same transport.h, so that a mistake is mended in all."""
    copies = {path.read_bytes() for path in PACKAGES.glob("*/transport.h")}

    assert len(copies) == 1


def _wait_for(counter: RunningProgram, port: int, wanted: tuple[int, int]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while counter.pairs("pc_ports").get(port) != wanted:
        assert time.monotonic() < deadline, counter.pairs("pc_ports")
        time.sleep(0.01)
