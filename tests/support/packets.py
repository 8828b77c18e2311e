# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets, byte by byte: Ethernet, VLAN tags, IPv4, IPv6 with extension headers, TCP, UDP, ICMP."""

from __future__ import annotations

import struct
from ipaddress import ip_address

SYN, ACK = 0x02, 0x10
TCP, UDP, ICMP = 6, 17, 1
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
ETHERNET_ADDRESSES = bytes(12)


def tcp(port: int, flags: int = SYN) -> bytes:
    """A TCP header (RFC 9293 section 3.1)."""
    return struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, flags, 1000, 0, 0)


def udp(port: int, payload: bytes = b"") -> bytes:
    """A UDP datagram (RFC 768)."""
    return struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload


def icmp_echo(payload: bytes = b"", *, kind: int = 8) -> bytes:
    """An echo request (RFC 792; with kind 128, RFC 4443); the checksum is left zero."""
    return struct.pack("!BBHHH", kind, 0, 0, 1, 1) + payload


def ipv4(
    payload: bytes,
    protocol: int = TCP,
    *,
    source: str = "198.19.0.1",
    options: bytes = b"",
    fragment_offset: int = 0,
) -> bytes:
    """An IPv4 packet (RFC 791) in an Ethernet frame; the offset is in units of 8 bytes."""
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s",
        *(4 << 4 | words, 0, 4 * words + len(payload), 1, fragment_offset, 64, protocol, 0),
        *(ip_address(source).packed, bytes((198, 19, 0, 2))),
    )
    return ethernet(header + options + payload, 0x0800)


def ipv6(
    payload: bytes, protocol: int = TCP, *, source: str = "::", extensions: tuple[int, ...] = ()
) -> bytes:
    """An IPv6 packet (RFC 8200) in an Ethernet frame, with these extension headers in order."""
    kinds = (*extensions, protocol)
    headers = b"".join(
        bytes((following, 0)) + bytes(6) if kind == FRAGMENT else bytes((following, 1)) + bytes(14)
        for kind, following in zip(extensions, kinds[1:], strict=True)
    )
    size = len(headers) + len(payload)
    addresses = (ip_address(source).packed, bytes(16))
    header = struct.pack("!IHBB16s16s", 6 << 28, size, kinds[0], 64, *addresses)
    return ethernet(header + headers + payload, 0x86DD)


def ethernet(payload: bytes, kind: int) -> bytes:
    """A frame."""
    return ETHERNET_ADDRESSES + struct.pack("!H", kind) + payload


def tagged(frame: bytes, *, protocol: int = 0x8100, vlan: int = 7) -> bytes:
    """The frame with a VLAN tag (IEEE 802.1Q) in front of what it carries."""
    return frame[:12] + struct.pack("!HH", protocol, vlan) + frame[12:]
