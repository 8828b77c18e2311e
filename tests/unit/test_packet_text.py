# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets as people write them, against packets built byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.packet_text import PacketTextError, read_packet_text
from tests.support.packets import ACK, HOP_BY_HOP, ROUTING, SYN, UDP, ipv4, ipv6, tagged, tcp, udp

ETHERNET_BYTES, IP_BYTES = 14, 20


def _ones_sum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(total)


def _without_sums(packet: bytes, *places: int) -> bytes:
    """Addresses of the frame and checksums taken away."""
    changed = bytearray(packet)
    changed[:12] = bytes(12)
    for place in places:
        changed[place : place + 2] = bytes(2)
    return bytes(changed)


@pytest.mark.parametrize(
    ("text", "packet", "sums"),
    [
        ("ipv4 / tcp dport=80 syn", ipv4(tcp(80, SYN)), (24, 50)),
        ("ipv4 / tcp dport=443 ack", ipv4(tcp(443, ACK)), (24, 50)),
        ("ipv4 / udp dport=53 / raw hex=0102", ipv4(udp(53, b"\1\2"), UDP), (24, 40)),
        ("ipv4 options=8 / tcp dport=80 syn", ipv4(tcp(80), options=bytes(8)), (24, 58)),
        ("vlan id=7 / ipv4 / tcp dport=80 syn", tagged(ipv4(tcp(80))), (28, 54)),
    ],
)
def test_what_is_written_is_what_is_built(text: str, packet: bytes, sums: tuple[int, ...]) -> None:
    """Layers and fields give the same bytes as a packet put together by hand."""
    assert _without_sums(read_packet_text(text), *sums) == _without_sums(packet, *sums)


def test_extension_headers_stand_in_their_order() -> None:
    """Each names the next, and lengths cover all of them."""
    text = "ipv6 / hop-by-hop / routing / tcp dport=80 syn"
    packet = read_packet_text(text)

    by_hand = ipv6(tcp(80), extensions=(HOP_BY_HOP, ROUTING))
    assert packet[20] == by_hand[20] == HOP_BY_HOP
    assert packet[54] == ROUTING
    assert packet[62] == 6
    assert struct.unpack_from("!H", packet, 18) == (len(packet) - 54,)


@given(
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.binary(max_size=64),
    st.sampled_from(["tcp", "udp"]),
)
def test_checksums_hold(source: int, destination: int, payload: bytes, kind: str) -> None:
    """The sum over pseudo header and segment is all ones, as receivers check it (RFC 1071)."""
    text = f"ipv4 src=10.1.2.3 / {kind} sport={source} dport={destination} / raw hex="
    packet = read_packet_text(text + payload.hex())

    header = packet[ETHERNET_BYTES : ETHERNET_BYTES + IP_BYTES]
    segment = packet[ETHERNET_BYTES + IP_BYTES :]
    pseudo = header[12:20] + struct.pack("!II", len(segment), header[9])
    assert _ones_sum(header) == 0xFFFF
    assert _ones_sum(pseudo + segment) == 0xFFFF


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ipv4 / http", "'http' is no layer"),
        ("ipv4 / tcp dport=70000", "no number from 0 to 65535"),
        ("ipv4 / tcp port=80", "tcp has no field port"),
        ("ipv4 src=300.1.1.1", "is no address"),
        ("eth dst=1:2", "is no address of six bytes"),
        ("ipv4 / eth", "only be the first layer"),
        ("ipv4 ttl=1 ttl=2", "says ttl twice"),
        ("raw hex=abc", "two hexadecimal digits"),
        ("ipv4 /", "'' is no layer"),
    ],
)
def test_what_is_no_packet_is_refused(text: str, words: str) -> None:
    """The refusal names the layer, the field and what it may be."""
    with pytest.raises(PacketTextError, match=words):
        read_packet_text(text)


@given(st.text(alphabet="ipv46tcudehrawx =/.:0123456789abcdef", max_size=60))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    """Whatever is written, it is a packet or a refusal."""
    try:
        packet = read_packet_text(text)
    except PacketTextError:
        return
    assert len(packet) >= ETHERNET_BYTES
