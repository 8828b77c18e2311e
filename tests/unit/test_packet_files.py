# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets come out of every form of file as they went in, and nothing else does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.packet_files import MAX_FILE_BYTES, Captured, PacketFileError, read_packets
from shared.contracts.inspection import MAX_PACKET_BYTES, MAX_PACKETS

ETHERNET = 1
RAW_IP = 101
PACKET = bytes(range(64))
OTHER = b"\xff" * 60


def a_pcap(*packets: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    """A capture file as tcpdump writes it."""
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    records = (
        struct.pack(f"{order}IIII", 1, 2, len(packet), len(packet)) + packet for packet in packets
    )
    return header + b"".join(records)


def a_block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One block of a pcapng file."""
    padded = body + b"\0" * (-len(body) % 4)
    length = struct.pack(f"{order}I", len(padded) + 12)
    return struct.pack(f"{order}I", kind) + length + padded + length


def a_section(order: str = "<") -> bytes:
    """The beginning of a pcapng section."""
    return a_block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def an_interface(link: int = ETHERNET, order: str = "<", limit: int = 0) -> bytes:
    """One interface of a pcapng section."""
    return a_block(1, struct.pack(f"{order}HHI", link, 0, limit), order)


def an_enhanced(packet: bytes, interface: int = 0, order: str = "<") -> bytes:
    """One packet of a pcapng section."""
    head = struct.pack(f"{order}IIIII", interface, 0, 0, len(packet), len(packet))
    return a_block(6, head + packet, order)


def read(data: bytes, first: int = 0) -> list[bytes]:
    """The packets alone."""
    return [packet.data for packet in read_packets(data, name="f", first=first)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap_is_read_in_both_byte_orders_and_both_precisions(order: str, magic: int) -> None:
    """Files of other machines are files too."""
    assert read(a_pcap(PACKET, OTHER, order=order, magic=magic)) == [PACKET, OTHER]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_is_read_with_all_its_kinds_of_packets(order: str) -> None:
    """Enhanced, simple and obsolete packet blocks; other blocks are passed over."""
    old = a_block(2, struct.pack(f"{order}HHIIII", 0, 0, 0, 0, 60, 60) + OTHER, order)
    simple = a_block(3, struct.pack(f"{order}I", 64) + PACKET, order)
    statistics = a_block(5, b"\0" * 12, order)
    data = a_section(order) + an_interface(order=order) + statistics
    data += an_enhanced(PACKET, order=order) + old + simple

    assert read(data) == [PACKET, OTHER, PACKET]


def test_sections_of_one_pcapng_may_differ_in_byte_order() -> None:
    """Each section says its own, and describes its own interfaces."""
    first = a_section("<") + an_interface() + an_enhanced(PACKET)
    second = a_section(">") + an_interface(order=">") + an_enhanced(OTHER, order=">")

    assert read(first + second) == [PACKET, OTHER]


def test_packets_of_another_interface_are_judged_by_that_interface() -> None:
    """A packet without an Ethernet header is refused, wherever in the file it is."""
    data = a_section() + an_interface() + an_interface(RAW_IP)

    assert read(data + an_enhanced(PACKET)) == [PACKET]
    with pytest.raises(PacketFileError, match="LINKTYPE_ETHERNET"):
        read(data + an_enhanced(PACKET, interface=1))
    with pytest.raises(PacketFileError, match="does not describe"):
        read(data + an_enhanced(PACKET, interface=2))
    with pytest.raises(PacketFileError, match="LINKTYPE_ETHERNET"):
        read(a_pcap(PACKET, link=RAW_IP))


def test_a_packet_that_was_cut_off_says_so() -> None:
    """The length on the wire is kept beside what was captured."""
    simple = a_block(3, struct.pack("<I", 1500) + PACKET)
    data = a_section() + an_interface(limit=64) + simple

    assert read_packets(data, name="f") == (Captured(PACKET, 1500),)


@pytest.mark.parametrize(
    "text",
    [
        PACKET.hex(),
        PACKET.hex(" "),
        "# a remark\n0x" + PACKET.hex(":") + "\n",
        "\r\n".join(PACKET[at : at + 16].hex(" ") for at in range(0, 64, 16)),
    ],
)
def test_hexadecimal_text_is_one_packet_however_it_is_broken(text: str) -> None:
    """Spaces, colons, lines and remarks do not matter."""
    assert read(text.encode()) == [PACKET]


def test_empty_lines_part_packets_of_hexadecimal_text() -> None:
    """So that a sequence can be written by hand."""
    assert read(f"{PACKET.hex()}\n\n{OTHER.hex()}\n".encode()) == [PACKET, OTHER]


def test_anything_else_is_the_bytes_of_one_packet() -> None:
    """As another tool may have written them."""
    assert read(PACKET) == [PACKET]


def test_the_first_packets_of_a_long_capture_can_be_chosen() -> None:
    """A capture that is too long is refused, with the way out."""
    data = a_pcap(*[OTHER] * (MAX_PACKETS + 1))

    with pytest.raises(PacketFileError, match="--first") as caught:
        read(data)
    assert caught.value.refusal_code == "too_large"
    assert len(read(data, first=3)) == 3


def test_the_first_packets_of_a_capture_of_any_length_are_read() -> None:
    """What lies behind them is not looked at."""
    data = a_pcap(OTHER, OTHER) + bytes(MAX_FILE_BYTES)

    with pytest.raises(PacketFileError, match="--first"):
        read(data)
    assert read(data, first=2) == [OTHER, OTHER]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no packet"),
        (a_pcap(), "holds no packet"),
        (b"\x01\x02", "shorter than an Ethernet header"),
        (b"\0" * (MAX_PACKET_BYTES + 1), "longer than a packet"),
        (b"0123456789abcde", "two for each byte"),
        (a_pcap(PACKET)[:-1], "ends in the middle"),
        (a_pcap(PACKET)[:30], "ends in the middle"),
        (a_pcap(*[b"\1" * 9000] * 40), "more bytes than can be tried"),
        (a_section() + a_block(1, b""), "ends in the middle"),
        (a_section() + struct.pack("<II", 1, 8), "impossible length"),
        (a_block(0x0A0D0D0A, b"\0" * 16), "without a byte order"),
        (b"\0" * (16 * 1024 * 1024 + 1), "too large for a file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: bytes, message: str) -> None:
    """In one sentence that names the file."""
    with pytest.raises(PacketFileError, match=message) as caught:
        read(data)

    assert caught.value.message.startswith("f ")


@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda tail: a_section() + an_interface() + tail),
        st.binary(max_size=300).map(lambda tail: a_pcap() + tail),
    )
)
def test_no_file_does_anything_but_give_packets_or_a_refusal(data: bytes) -> None:
    """Whatever lengths it states."""
    try:
        packets = read(data)
    except PacketFileError:
        return

    assert all(len(packet) <= len(data) for packet in packets)
