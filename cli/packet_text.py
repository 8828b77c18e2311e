# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets as people write them: `ipv4 src=198.19.0.1 / tcp dport=80 syn`.

Pure.  Layers from the outside in, `/` between them, each a name with fields.  Ethernet in front is
implied; lengths, checksums and the number of what follows are worked out unless they are given.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable, Mapping
from typing import Final

from shared.errors import Reason, RefusedError

_SOURCE, _DESTINATION = "198.19.0.1", "198.19.0.2"
_SOURCE_6, _DESTINATION_6 = "2001:db8::1", "2001:db8::2"
_ETHERNET_ADDRESSES: Final = ("02:00:00:00:00:02", "02:00:00:00:00:01")
_ETHERTYPES: Final = {"ipv4": 0x0800, "ipv6": 0x86DD, "arp": 0x0806, "vlan": 0x8100}
_PROTOCOLS: Final = {
    "icmp": 1,
    "ipv4": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "icmpv6": 58,
    "sctp": 132,
    "hop-by-hop": 0,
    "routing": 43,
    "fragment": 44,
    "destination": 60,
}
_NO_NEXT_HEADER: Final = 59
_FLAGS: Final = {
    name: 1 << bit
    for bit, name in enumerate(("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"))
}
_PSEUDO: Final = frozenset(("ipv4", "ipv6"))

Fields = dict[str, str]


class PacketTextError(RefusedError):
    """The text is no packet; with what is wrong."""


class _Layer:
    """One layer of the text; every field must be taken."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.name: Final = words[0] if words else ""
        self._fields: Final[Fields] = {}
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name in self._fields:
                raise _wrong(f"{self.name} says {name} twice")
            self._fields[name] = value

    def number(self, name: str, default: int, *, most: int) -> int:
        """A decimal or hexadecimal (`0x`) number of the layer."""
        text = self._fields.pop(name, None)
        if text is None:
            return default
        try:
            value = int(text, 0)
        except ValueError:
            value = -1
        if not 0 <= value <= most:
            raise _wrong(f"{self.name} {name}={text} is no number from 0 to {most}")
        return value

    def given(self, name: str) -> str | None:
        """A field as text; None: it is not there."""
        return self._fields.pop(name, None)

    def put_back(self, name: str, text: str) -> None:
        """The field is there again, for whoever builds the layer itself."""
        self._fields[name] = text

    def flags(self) -> int:
        """The TCP flags that stand alone as words."""
        found = [name for name, value in self._fields.items() if not value and name in _FLAGS]
        for name in found:
            del self._fields[name]
        return sum(_FLAGS[name] for name in found)

    def expect_end(self) -> None:
        """Nothing is left that nobody reads."""
        if self._fields:
            raise _wrong(f"{self.name} has no field {next(iter(self._fields))}")


def read_packet_text(text: str) -> bytes:
    """The bytes of the packet, from its Ethernet header.

    Raises:
        PacketTextError: A layer or field is not known, or has no such value.
    """
    layers = [_Layer(part) for part in text.split("/")]
    names = [layer.name for layer in layers]
    for name in names:
        if name not in _BUILDERS:
            raise _wrong(f"'{name}' is no layer; there are {', '.join(sorted(_BUILDERS))}")
    if names[0] != "eth":
        layers.insert(0, _Layer("eth"))
    packet = b""
    following = ""
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        if layer.name == "eth" and index:
            raise _wrong("eth can only be the first layer")
        around = next((one for one in reversed(layers[:index]) if one.name in _PSEUDO), None)
        packet = _BUILDERS[layer.name](layer, packet, following, around)
        layer.expect_end()
        following = layer.name
    return packet


def _ethernet(layer: _Layer, payload: bytes, following: str, _: _Layer | None) -> bytes:
    addresses = b"".join(
        _mac(layer.given(name) or default)
        for name, default in zip(("dst", "src"), _ETHERNET_ADDRESSES, strict=True)
    )
    kind = layer.number("type", _ETHERTYPES.get(following, 0), most=0xFFFF)
    return addresses + struct.pack("!H", kind) + payload


def _vlan(layer: _Layer, payload: bytes, following: str, _: _Layer | None) -> bytes:
    control = layer.number("priority", 0, most=7) << 13 | layer.number("id", 1, most=4095)
    kind = layer.number("type", _ETHERTYPES.get(following, 0), most=0xFFFF)
    return struct.pack("!HH", control, kind) + payload


def _ipv4(layer: _Layer, payload: bytes, following: str, _: _Layer | None) -> bytes:
    options = bytes(layer.number("options", 0, most=40) // 4 * 4)
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s",
        4 << 4 | layer.number("ihl", words, most=15),
        layer.number("tos", 0, most=255),
        layer.number("length", 4 * words + len(payload), most=0xFFFF),
        layer.number("id", 1, most=0xFFFF),
        layer.number("mf", 0, most=1) << 13 | layer.number("offset", 0, most=0x1FFF),
        layer.number("ttl", 64, most=255),
        layer.number("protocol", _PROTOCOLS.get(following, 255), most=255),
        0,
        *_addresses(layer),
    )
    header += options
    checksum = layer.number("checksum", _checksum(header), most=0xFFFF)
    return header[:10] + struct.pack("!H", checksum) + header[12:] + payload


def _ipv6(layer: _Layer, payload: bytes, following: str, _: _Layer | None) -> bytes:
    return (
        struct.pack(
            "!IHBB16s16s",
            6 << 28 | layer.number("class", 0, most=255) << 20,
            layer.number("length", len(payload), most=0xFFFF),
            layer.number("next", _PROTOCOLS.get(following, _NO_NEXT_HEADER), most=255),
            layer.number("hops", 64, most=255),
            *_addresses(layer),
        )
        + payload
    )


def _extension(layer: _Layer, payload: bytes, following: str, _: _Layer | None) -> bytes:
    further = layer.number("next", _PROTOCOLS.get(following, _NO_NEXT_HEADER), most=255)
    if layer.name == "fragment":
        place = layer.number("offset", 0, most=0x1FFF) << 3 | layer.number("mf", 0, most=1)
        number = layer.number("id", 1, most=0xFFFFFFFF)
        return struct.pack("!BBHI", further, 0, place, number) + payload
    return struct.pack("!BB6x", further, 0) + payload


def _tcp(layer: _Layer, payload: bytes, _: str, around: _Layer | None) -> bytes:
    segment = struct.pack(
        "!HHIIBBHHH",
        layer.number("sport", 40000, most=0xFFFF),
        layer.number("dport", 80, most=0xFFFF),
        layer.number("seq", 1, most=0xFFFFFFFF),
        layer.number("acknowledges", 0, most=0xFFFFFFFF),
        5 << 4,
        layer.number("flags", layer.flags(), most=255),
        layer.number("window", 1000, most=0xFFFF),
        0,
        0,
    )
    return _with_checksum(segment + payload, 16, 6, layer, around)


def _udp(layer: _Layer, payload: bytes, _: str, around: _Layer | None) -> bytes:
    datagram = struct.pack(
        "!HHHH",
        layer.number("sport", 40000, most=0xFFFF),
        layer.number("dport", 53, most=0xFFFF),
        layer.number("length", 8 + len(payload), most=0xFFFF),
        0,
    )
    return _with_checksum(datagram + payload, 6, 17, layer, around)


def _icmp(layer: _Layer, payload: bytes, _: str, around: _Layer | None) -> bytes:
    is_6 = layer.name == "icmpv6"
    message = struct.pack(
        "!BBHHH",
        layer.number("type", 128 if is_6 else 8, most=255),
        layer.number("code", 0, most=255),
        0,
        layer.number("id", 1, most=0xFFFF),
        layer.number("seq", 1, most=0xFFFF),
    )
    return _with_checksum(message + payload, 2, 58, layer, around if is_6 else None)


def _raw(layer: _Layer, payload: bytes, _: str, __: _Layer | None) -> bytes:
    """`hex=…`, `text=…` (a word) or `zeros=N`."""
    digits, text = layer.given("hex"), layer.given("text")
    if digits is not None and not re.fullmatch(r"([0-9A-Fa-f]{2})*", digits):
        raise _wrong(f"raw hex={digits} is not two hexadecimal digits for each byte")
    zeros = bytes(layer.number("zeros", 0, most=9000))
    return bytes.fromhex(digits or "") + (text or "").encode() + zeros + payload


_BUILDERS: Final[Mapping[str, Callable[[_Layer, bytes, str, _Layer | None], bytes]]] = {
    "eth": _ethernet,
    "vlan": _vlan,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    **dict.fromkeys(("hop-by-hop", "routing", "fragment", "destination"), _extension),
    "tcp": _tcp,
    "udp": _udp,
    **dict.fromkeys(("icmp", "icmpv6"), _icmp),
    "raw": _raw,
}


def _addresses(layer: _Layer, *, keep: bool = False) -> tuple[bytes, bytes]:
    """Source and destination; with `keep` the layer still has them afterwards."""
    defaults = (_SOURCE, _DESTINATION) if layer.name == "ipv4" else (_SOURCE_6, _DESTINATION_6)
    found = []
    for name, default in zip(("src", "dst"), defaults, strict=True):
        text = layer.given(name)
        kind = ipaddress.IPv4Address if layer.name == "ipv4" else ipaddress.IPv6Address
        try:
            found.append(kind(default if text is None else text).packed)
        except ipaddress.AddressValueError as error:
            raise _wrong(f"{layer.name} {name}={text} is no address") from error
        if keep and text is not None:
            layer.put_back(name, text)
    return found[0], found[1]


def _with_checksum(
    data: bytes, place: int, protocol: int, layer: _Layer, around: _Layer | None
) -> bytes:
    """With the Internet checksum (RFC 1071) over pseudo header and data at `place`."""
    pseudo = b""
    if around is not None:
        source, destination = _addresses(around, keep=True)
        pseudo = source + destination + struct.pack("!II", len(data), protocol)
    computed = _checksum(pseudo + data)
    if layer.name == "udp" and not computed:
        computed = 0xFFFF
    checksum = layer.number("checksum", computed, most=0xFFFF)
    return data[:place] + struct.pack("!H", checksum) + data[place + 2 :]


def _checksum(data: bytes) -> int:
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _mac(text: str) -> bytes:
    if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", text):
        raise _wrong(f"eth {text} is no address of six bytes")
    return bytes.fromhex(text.replace(":", ""))


def _wrong(rule: str) -> PacketTextError:
    return PacketTextError(rule, [Reason(path="packet", rule=rule)])
