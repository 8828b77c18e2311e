# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The packets that chains are compared over: ordinary ones, tagged ones, short ones, odd ones."""

from __future__ import annotations

import random
from collections.abc import Mapping

from shared.identifiers import Hook
from tests.support.packets import (
    ACK,
    DESTINATION_OPTIONS,
    FRAGMENT,
    HOP_BY_HOP,
    ICMP,
    SYN,
    UDP,
    ethernet,
    icmp_echo,
    ipv4,
    ipv6,
    tagged,
    tcp,
    udp,
)

ICMPV6 = 58
FULL_BYTES = 1514
SEED = 20
RANDOM_PACKETS = 24
SHORTEST_BYTES = 15
"""One byte behind the Ethernet header: TC takes no empty packet (BPF_PROG_TEST_RUN)."""
CUT_SHORT = "shorter than an IPv4 header"
"""BPF_PROG_TEST_RUN refuses it for TC, where the kernel would have dropped it long before."""


def _padded(frame: bytes, length: int) -> bytes:
    return frame.ljust(length, b"\x5a")


def _with_ttl(frame: bytes, ttl: int) -> bytes:
    return frame[:22] + bytes([ttl]) + frame[23:]


def _random_packets() -> list[bytes]:
    """Bytes that mean nothing, of every length up to full; the same ones each time."""
    rng = random.Random(SEED)
    lengths = [rng.choice((SHORTEST_BYTES, 60, 128, 333, FULL_BYTES)) for _ in range(12)]
    lengths += [rng.randrange(SHORTEST_BYTES, 400) for _ in range(RANDOM_PACKETS - 12)]
    return [rng.randbytes(length) for length in lengths]


V4_TCP = ipv4(tcp(443, SYN))
V4_UDP = ipv4(udp(53, b"question"), UDP)
V6_TCP = ipv6(tcp(22, ACK))
PACKETS: dict[str, bytes] = {
    "IPv4 TCP": V4_TCP,
    "IPv4 UDP": V4_UDP,
    "IPv4 ICMP": ipv4(icmp_echo(b"ping" * 8), ICMP),
    "IPv4 with options": ipv4(tcp(80, ACK), options=bytes(8)),
    "IPv4 fragment": ipv4(bytes(64), UDP, fragment_offset=100),
    "IPv4 at its last hop": _with_ttl(V4_TCP, 1),
    "IPv4 to another network": V4_UDP[:30] + bytes((192, 0, 2, 1)) + V4_UDP[34:],
    "IPv6 TCP": V6_TCP,
    "IPv6 UDP": ipv6(udp(5353, b"answer"), UDP),
    "IPv6 ICMP": ipv6(icmp_echo(b"ping", kind=128), ICMPV6),
    "IPv6 with extension headers": ipv6(
        udp(53), UDP, extensions=(HOP_BY_HOP, DESTINATION_OPTIONS, FRAGMENT)
    ),
    "one tag, IPv4": tagged(V4_TCP),
    "one tag, IPv6": tagged(V6_TCP, vlan=4094),
    "two tags": tagged(tagged(V4_UDP, vlan=5), protocol=0x88A8),
    "two tags of the older kind": tagged(tagged(V6_TCP)),
    "three tags": tagged(tagged(tagged(V4_TCP))),
    "a tag and nothing behind it": tagged(ethernet(b"\0", 0x0800)),
    "the shortest": ethernet(b"\x02", 0x88B5),
    CUT_SHORT: V4_TCP[:30],
    "an ARP request": ethernet(bytes((0, 1, 8, 0, 6, 4, 0, 1)) + bytes(38), 0x0806),
    "a length in place of a type": ethernet(bytes(50), 46),
    "61 bytes": _padded(V4_TCP, 61),
    "200 bytes": _padded(V4_UDP, 200),
    "full, IPv4": _padded(V4_TCP, FULL_BYTES),
    "full, IPv6": _padded(V6_TCP, FULL_BYTES),
    "full, tagged": tagged(_padded(V4_TCP, FULL_BYTES)),
    **{
        f"first byte {value}": ethernet(bytes((value, 255 - value)) + bytes(60), 0x88B5)
        for value in range(10)
    },
    **{f"random {number}": data for number, data in enumerate(_random_packets())},
}
LARGE_PACKETS: dict[str, bytes] = {
    "in two buffers": _padded(V4_TCP, 5_000),
    "in three buffers, tagged": tagged(_padded(V6_TCP, 9_000)),
}
"""More than a page: XDP programs see them only if they read packets in several buffers."""


def packets_for(hook: Hook) -> Mapping[str, bytes]:
    """The packets that can be run through a program of `hook`, by what is special about them."""
    if hook == "xdp":
        return PACKETS
    return {name: packet for name, packet in PACKETS.items() if name != CUT_SHORT}
