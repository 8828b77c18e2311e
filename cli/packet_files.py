# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets out of files: pcap, pcapng, hexadecimal text, or the bytes of one packet.

Pure: bytes in, packets out.  Every length that a file states is checked against the file and
against the limits of a trial before it is used.

pcap: draft-ietf-opsawg-pcap, sections 4 and 5.  pcapng: draft-ietf-opsawg-pcapng, section 4.
Packet blocks of kinds that hold no packet, and options, are skipped.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from shared.contracts.inspection import (
    MAX_PACKET_BYTES,
    MAX_PACKETS,
    MAX_PACKETS_BYTES,
    MIN_PACKET_BYTES,
)
from shared.errors import Reason, RefusedError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
ETHERNET: Final = 1
"""LINKTYPE_ETHERNET."""

_PCAP_ORDERS: Final = {
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
}
"""Magic number to byte order; two each, for microseconds and for nanoseconds."""
_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_BLOCK_BYTES: Final = 12
"""Kind and length before what a block holds, and the length once more behind it."""
_SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS: Final = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f\s:]+")


class Captured(NamedTuple):
    """One packet of a file."""

    data: bytes
    """From its Ethernet header."""
    length_on_wire: int
    """More than there is of `data` if the capture cut it off."""


class PacketFileError(RefusedError):
    """The file is no packets, or not packets that can be tried."""


def read_packets(data: bytes, *, name: str, first: int = 0) -> tuple[Captured, ...]:
    """The packets of a file in its order, whatever its form.

    Args:
        data: The whole file; of one that is longer than MAX_FILE_BYTES at least a byte more.
        name: How refusals call it.
        first: How many packets are wanted at most; 0: all, which must not be more than can be
            tried at once.

    Raises:
        PacketFileError: With what is wrong, and at which packet.
    """
    is_cut_off = len(data) > MAX_FILE_BYTES
    if is_cut_off and not first:
        rule = "is too large for a file of packets; choose some with --first"
        raise _too_large(name, rule, f"more than {MAX_FILE_BYTES} bytes", MAX_FILE_BYTES)
    packets: list[Captured] = []
    for number, packet in enumerate(_packets(data, name), start=1):
        if number > MAX_PACKETS:
            rule = "holds more packets than can be tried at once; choose some with --first"
            raise _too_large(name, rule, f"more than {MAX_PACKETS}", MAX_PACKETS)
        _check_size(packet, f"{name} packet {number}")
        packets.append(packet)
        if number == first:
            break
    if not packets:
        raise _wrong(name, "holds no packet")
    total_bytes = sum(len(packet.data) for packet in packets)
    if total_bytes > MAX_PACKETS_BYTES:
        rule = "holds more bytes than can be tried at once; choose some packets with --first"
        raise _too_large(name, rule, total_bytes, MAX_PACKETS_BYTES)
    return tuple(packets)


def read_hexadecimal(text: bytes, *, name: str) -> Iterator[Captured]:
    """Packets of hexadecimal digits, one after an empty line; `#` begins a remark.

    White space and colons between digits do not matter.
    """
    without_remarks = re.sub(rb"#[^\n]*", b"", text).replace(b"\r\n", b"\n")
    for number, part in enumerate(re.split(rb"\n[ \t]*\n", without_remarks), start=1):
        digits = re.sub(rb"0[xX]|[\s:]", b"", part)
        if not digits:
            continue
        if len(digits) % 2 or not re.fullmatch(rb"[0-9A-Fa-f]+", digits):
            rule = "must be hexadecimal digits, two for each byte"
            raise _wrong(f"{name} packet {number}", rule)
        packet = bytes.fromhex(digits.decode())
        yield Captured(packet, len(packet))


def is_hexadecimal(data: bytes) -> bool:
    """Whether the bytes are text that `read_hexadecimal` is meant for."""
    text = re.sub(rb"#[^\n]*|0[xX]", b"", data)
    return bool(text.strip()) and _HEXADECIMAL.fullmatch(text) is not None


def _packets(data: bytes, name: str) -> Iterator[Captured]:
    order = _PCAP_ORDERS.get(data[:4])
    if order is not None:
        return _read_pcap(data, order, name)
    if data[:4] == _SECTION_MAGIC:
        return _read_pcapng(data, name)
    if is_hexadecimal(data):
        return read_hexadecimal(data, name=name)
    return iter([Captured(data, len(data))] if data else [])


def _read_pcap(data: bytes, order: str, name: str) -> Iterator[Captured]:
    header = _unpacked(f"{order}4xHHiIII", data, 0, name)
    _check_link(header[-1] & 0xFFFF, name)
    position = 24
    while position < len(data):
        _, _, length, on_wire = _unpacked(f"{order}IIII", data, position, name)
        yield Captured(_sliced(data, position + 16, length, name), on_wire)
        position += 16 + length


def _read_pcapng(data: bytes, name: str) -> Iterator[Captured]:
    order = "<"
    links: list[tuple[int, int]] = []
    position = 0
    while position < len(data):
        kind = _unpacked(f"{order}I", data, position, name)[0]
        if kind == _SECTION:
            order = _section_order(data, position, name)
            links = []
        length = _unpacked(f"{order}4xI", data, position, name)[0]
        if length < _BLOCK_BYTES or length % 4:
            raise _wrong(name, f"has a block of an impossible length at byte {position}", length)
        block = _sliced(data, position + 8, length - _BLOCK_BYTES, name)
        if kind == _INTERFACE:
            link, limit = _unpacked(f"{order}H2xI", block, 0, name)
            links.append((link, limit))
        elif kind in (_PACKET, _OLD_PACKET):
            form = f"{order}I8xII" if kind == _PACKET else f"{order}H10xII"
            interface, captured, on_wire = _unpacked(form, block, 0, name)
            _interface(links, interface, name)
            yield Captured(_sliced(block, 20, captured, name), on_wire)
        elif kind == _SIMPLE_PACKET:
            (on_wire,) = _unpacked(f"{order}I", block, 0, name)
            limit = _interface(links, 0, name)
            captured = min(on_wire, limit) if limit else on_wire
            yield Captured(_sliced(block, 4, captured, name), on_wire)
        position += length


def _section_order(data: bytes, position: int, name: str) -> str:
    order = _BYTE_ORDERS.get(data[position + 8 : position + 12])
    if order is None:
        raise _wrong(name, f"has a section without a byte order at byte {position}")
    return order


def _interface(links: list[tuple[int, int]], number: int, name: str) -> int:
    """The longest packet that the interface captured whole; refused if it is not Ethernet."""
    if number >= len(links):
        raise _wrong(name, "has a packet of an interface that it does not describe", number)
    link, limit = links[number]
    _check_link(link, name)
    return limit


def _check_link(link: int, name: str) -> None:
    if link != ETHERNET:
        rule = "must have been captured with Ethernet headers (LINKTYPE_ETHERNET)"
        raise _wrong(name, rule, link, ETHERNET)


def _check_size(packet: Captured, name: str) -> None:
    if len(packet.data) < MIN_PACKET_BYTES:
        rule = "is shorter than an Ethernet header"
        raise _wrong(name, rule, len(packet.data), MIN_PACKET_BYTES)
    if len(packet.data) > MAX_PACKET_BYTES:
        rule = "is longer than a packet that can be tried"
        raise _too_large(name, rule, len(packet.data), MAX_PACKET_BYTES)


def _unpacked(form: str, data: bytes, position: int, name: str) -> tuple[int, ...]:
    if position + struct.calcsize(form) > len(data):
        raise _wrong(name, "ends in the middle of a packet", f"{len(data)} bytes")
    return struct.unpack_from(form, data, position)


def _sliced(data: bytes, position: int, length: int, name: str) -> bytes:
    if position + length > len(data):
        raise _wrong(name, "ends in the middle of a packet", f"{len(data)} bytes")
    return data[position : position + length]


def _wrong(name: str, rule: str, got: object = None, allowed: object = None) -> PacketFileError:
    return PacketFileError(
        f"{name} {rule}", [Reason(path=name, rule=rule, got=got, allowed=allowed)]
    )


def _too_large(name: str, rule: str, got: object, allowed: object) -> PacketFileError:
    reason = Reason(path=name, rule=rule, got=got, allowed=allowed)
    return PacketFileError(f"{name} {rule}", [reason], code="too_large")
