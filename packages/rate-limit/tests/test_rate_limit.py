# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The limiter on the running kernel: which packets it judges, and by which limits."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from tests.support.limiters import Limiter, a_limiter
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
def limiter() -> Iterator[Limiter]:
    """The program, without any limit."""
    with a_limiter() as program:
        yield program


@pytest.mark.parametrize("packet", LIMITED.values(), ids=LIMITED.keys())
def test_a_new_connection_is_judged_by_its_port(limiter: Limiter, packet: bytes) -> None:
    """With limit 0 every SYN for the port is dropped and counted, however it is carried."""
    limiter.set_number("rl_limits", PORT, 0)

    assert limiter.verdict(packet) == "drop"
    assert (limiter.number("rl_received"), limiter.number("rl_dropped")) == (1, 1)


@pytest.mark.parametrize("packet", NOT_LIMITED.values(), ids=NOT_LIMITED.keys())
def test_what_is_no_new_connection_passes(limiter: Limiter, packet: bytes) -> None:
    """Everything else passes uncounted, even under limit 0."""
    limiter.set_number("rl_limits", PORT, 0)

    assert limiter.verdict(packet) == "pass"
    assert (limiter.number("rl_received"), limiter.number("rl_dropped")) == (0, 0)


def test_a_port_without_a_limit_is_not_touched(limiter: Limiter) -> None:
    """A port that the configuration does not name has no limit and no counter."""
    verdicts = {limiter.verdict(ipv4(tcp(PORT))) for _ in range(1000)}

    assert verdicts == {"pass"}
    assert limiter.number("rl_received") == 0


def test_a_burst_gets_exactly_the_limit(limiter: Limiter) -> None:
    """Of many connections at once the first N pass, and the counters say so."""
    limiter.set_number("rl_limits", PORT, LIMIT)

    verdicts = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(4 * LIMIT)]

    assert verdicts == ["pass"] * LIMIT + ["drop"] * 3 * LIMIT
    assert limiter.number("rl_received") == 4 * LIMIT
    assert limiter.number("rl_dropped") == 3 * LIMIT


def test_ports_do_not_share_their_limits(limiter: Limiter) -> None:
    """Each port has its own window."""
    limiter.set_number("rl_limits", PORT, 1)
    limiter.set_number("rl_limits", 443, 2)
    packets = [ipv4(tcp(port)) for port in (PORT, 443, PORT, 443, 443)]

    verdicts = [limiter.verdict(packet) for packet in packets]

    assert verdicts == ["pass", "pass", "drop", "pass", "drop"]


def test_a_limit_changes_live(limiter: Limiter) -> None:
    """A raised limit lets more through at once; what was let through still counts."""
    limiter.set_number("rl_limits", PORT, 5)
    before = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(10)]
    limiter.set_number("rl_limits", PORT, 8)
    after = [limiter.verdict(ipv4(tcp(PORT))) for _ in range(10)]

    assert before.count("pass") == 5
    assert after.count("pass") == 3


def test_each_address_of_a_prefix_has_a_limit(limiter: Limiter) -> None:
    """Every source has its own window, and ports make no difference."""
    limiter.set_source_limit("10.0.0.0/8", per_second=2, each=32)

    verdicts = {
        source: [limiter.verdict(ipv4(tcp(80 + n), source=source)) for n in range(4)]
        for source in ("10.0.0.1", "10.0.0.2", "192.0.2.1")
    }

    assert verdicts == {
        "10.0.0.1": ["pass", "pass", "drop", "drop"],
        "10.0.0.2": ["pass", "pass", "drop", "drop"],
        "192.0.2.1": ["pass"] * 4,
    }
    assert (limiter.number("rl_received"), limiter.number("rl_src_dropped")) == (8, 4)


@pytest.mark.parametrize("bits", [0, 1, 31, 32, 33, 48, 64, 127, 128])
def test_a_network_is_as_many_bits_as_are_asked_for(limiter: Limiter, bits: int) -> None:
    """Addresses that differ behind these bits share a window; those that differ before do not."""
    limiter.set_source_limit("::/0", per_second=1, each=bits)
    first = int(ip_address("2001:db8:1:2:3:4:5:6"))
    same = [] if bits == 128 else [first ^ 1, first ^ 1 << (127 - bits)]
    other = [] if bits == 0 else [first ^ 1 << (128 - bits), first ^ 1 << 127]

    def verdict(source: int) -> str:
        return limiter.verdict(ipv6(tcp(PORT), source=str(IPv6Address(source))))

    assert [verdict(source) for source in (first, *same)] == ["pass"] + ["drop"] * len(same)
    assert [verdict(source) for source in set(other)] == ["pass"] * len(set(other))


def test_the_longest_prefix_counts(limiter: Limiter) -> None:
    """What a longer prefix says holds instead of what a shorter one says."""
    limiter.set_source_limit("0.0.0.0/0", per_second=0, each=32)
    limiter.set_source_limit("10.1.0.0/16", per_second=1, each=16)
    limiter.set_source_limit("10.1.2.3/32", per_second=3, each=32)
    sources = ("10.2.0.1", "10.1.0.1", "10.1.9.9", *["10.1.2.3"] * 4)

    verdicts = [limiter.verdict(ipv4(tcp(PORT), source=source)) for source in sources]

    assert verdicts == ["drop", "pass", "drop", "pass", "pass", "pass", "drop"]


def test_families_do_not_share_their_windows(limiter: Limiter) -> None:
    """An IPv4 address and an IPv6 network of the same bits are two sources."""
    limiter.set_source_limit("0.0.0.0/0", per_second=1, each=32)
    limiter.set_source_limit("::/0", per_second=1, each=32)
    packets = [
        ipv4(tcp(PORT), source="32.1.13.184"),
        ipv6(tcp(PORT), source="2001:db8::1"),
        ipv4(tcp(PORT), source="32.1.13.184"),
        ipv6(tcp(PORT), source="2001:db8::2"),
    ]

    assert [limiter.verdict(packet) for packet in packets] == ["pass", "pass", "drop", "drop"]


def test_a_connection_has_to_fit_every_limit(limiter: Limiter) -> None:
    """What one limit drops takes no room of the other."""
    limiter.set_source_limit("0.0.0.0/0", per_second=3, each=32)
    limiter.set_number("rl_limits", PORT, 2)
    own = [ipv4(tcp(port)) for port in (PORT, PORT, PORT, PORT, 443, 443)]
    other = [ipv4(tcp(PORT), source="192.0.2.1")]

    verdicts = [limiter.verdict(packet) for packet in (*own, *other)]

    assert verdicts == ["pass", "pass", "drop", "drop", "pass", "drop", "drop"]
    assert limiter.number("rl_received") == 7
    assert limiter.number("rl_src_dropped") == 1
    assert limiter.number("rl_port_dropped") == 3
    assert limiter.number("rl_dropped") == 4


def test_thousands_of_sources_are_told_apart(limiter: Limiter) -> None:
    """Of 4,000 sources a few are forgotten and begin anew; none is counted for another."""
    limiter.set_source_limit("0.0.0.0/0", per_second=1, each=32)
    sources = [str(IPv4Address(0x0A000000 + number)) for number in range(4000)]

    verdicts = {limiter.verdict(ipv4(tcp(PORT), source=source)) for source in sources}

    kept = [total for total, _ in limiter.rings()]
    assert verdicts == {"pass"}
    assert set(kept) == {1}
    assert len(kept) >= 3900
