# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Values that people write as text: addresses, prefixes, names, bytes.

Pure.  Addresses and ports lie in memory as they lie in packets: in network order.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.configuration.codecs import BYTE_ORDER, refused
from shared.errors import Reason

_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_OCTETS: Final = re.compile(r"\.".join([_OCTET] * 4))
_HEX: Final = re.compile(r"([0-9a-f]{2})*")
_PREFIX_BYTES: Final = 4
ADDRESS_BYTES: Final = {4: 4, 6: 16}
CIDR_BYTES: Final = {_PREFIX_BYTES + size: version for version, size in ADDRESS_BYTES.items()}
"""Size of an LPM trie's key to the version of its addresses."""


@dataclass(frozen=True, slots=True)
class AddressCodec:
    """An IP address."""

    version: Literal[4, 6]
    is_text: bool = True

    @property
    def size_bytes(self) -> int:
        """4 or 16."""
        return ADDRESS_BYTES[self.version]

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """In network order."""
        address = _address(value, self.version) if isinstance(value, str) else None
        if address is None:
            return refused(problems, path, f"must be an IPv{self.version} address", value)
        return address

    def decode(self, data: bytes) -> str:
        """In its usual form."""
        return str(ipaddress.ip_address(data[: self.size_bytes]))

    def schema(self) -> dict[str, Any]:
        """A string of that format."""
        return {"type": "string", "format": f"ipv{self.version}"}


@dataclass(frozen=True, slots=True)
class PrefixCodec:
    """The key of an LPM trie (struct bpf_lpm_trie_key): a prefix length, then an address."""

    version: Literal[4, 6]
    is_text: bool = True

    @property
    def size_bytes(self) -> int:
        """8 or 20."""
        return _PREFIX_BYTES + ADDRESS_BYTES[self.version]

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """The length in the byte order of the machine, the address in network order."""
        rule = f"must be an IPv{self.version} prefix, as {self._example()}"
        if not isinstance(value, str) or "/" not in value:
            return refused(problems, path, rule, value)
        text, _, length = value.partition("/")
        bits = 8 * ADDRESS_BYTES[self.version]
        address = _address(text, self.version)
        is_length = re.fullmatch(r"0|[1-9][0-9]{0,2}", length) is not None and int(length) <= bits
        if address is None or not is_length:
            return refused(problems, path, rule, value)
        number, host = int.from_bytes(address, "big"), (1 << bits - int(length)) - 1
        if number & host:
            fitting = (number & ~host).to_bytes(len(address), "big")
            allowed = f"{ipaddress.ip_address(fitting)}/{length}"
            rule = "has bits set behind the prefix"
            return refused(problems, path, rule, value, allowed)
        return int(length).to_bytes(_PREFIX_BYTES, BYTE_ORDER) + address

    def decode(self, data: bytes) -> str:
        """Address, slash, length; as they are stored."""
        address = ipaddress.ip_address(data[_PREFIX_BYTES : self.size_bytes])
        return f"{address}/{int.from_bytes(data[:_PREFIX_BYTES], BYTE_ORDER)}"

    def schema(self) -> dict[str, Any]:
        """A string with a slash."""
        return {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"}

    def _example(self) -> str:
        return "10.0.0.0/8" if "4" in str(self.version) else "2001:db8::/32"


@dataclass(frozen=True, slots=True)
class MacCodec:
    """An Ethernet address."""

    size_bytes: int = 6
    is_text: bool = True

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """Its six bytes."""
        if not isinstance(value, str) or not _MAC.fullmatch(value.lower()):
            rule = "must be an Ethernet address, as 02:00:00:00:00:01"
            return refused(problems, path, rule, value)
        return bytes.fromhex(value.replace(":", ""))

    def decode(self, data: bytes) -> str:
        """Digits in lower case."""
        return data[: self.size_bytes].hex(":")

    def schema(self) -> dict[str, Any]:
        """Six bytes."""
        return {"type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"}


@dataclass(frozen=True, slots=True)
class HexCodec:
    """Bytes as hexadecimal digits."""

    size_bytes: int
    is_text: bool = True

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """Exactly so many."""
        is_hex = isinstance(value, str) and _HEX.fullmatch(value.lower()) is not None
        if not is_hex or len(value) != 2 * self.size_bytes:
            rule = f"must be {2 * self.size_bytes} hexadecimal digits"
            return refused(problems, path, rule, value)
        return bytes.fromhex(value)

    def decode(self, data: bytes) -> str:
        """Digits in lower case."""
        return data[: self.size_bytes].hex()

    def schema(self) -> dict[str, Any]:
        """So many pairs of digits."""
        return {"type": "string", "pattern": f"^([0-9A-Fa-f]{{2}}){{{self.size_bytes}}}$"}


@dataclass(frozen=True, slots=True)
class StringCodec:
    """An array of characters: text that ends before a zero, or the list of its numbers."""

    size_bytes: int
    is_signed: bool = False
    is_text: bool = True

    def encode(self, value: Any, path: str, problems: list[Reason]) -> bytes:
        """UTF-8, filled up with zeros; one is always left."""
        if isinstance(value, list):
            return self._encode_list(value, path, problems)
        if not isinstance(value, str):
            return refused(problems, path, "must be a text", value)
        try:
            data = value.encode()
        except UnicodeEncodeError:
            return refused(problems, path, "must be a text without halves of characters", None)
        if "\0" in value:
            return refused(problems, path, "must be a text without zeros", value)
        if len(data) >= self.size_bytes:
            rule = "must leave a byte for the zero at its end"
            return refused(problems, path, rule, len(data), f"{self.size_bytes - 1} bytes")
        return data.ljust(self.size_bytes, b"\0")

    def decode(self, data: bytes) -> str | list[int]:
        """The text; the numbers if the bytes are no text that is written in this way."""
        data = data[: self.size_bytes]
        text, zero, rest = data.partition(b"\0")
        if zero and not any(rest) and not text.startswith(b"["):
            try:
                return text.decode()
            except UnicodeDecodeError:
                pass
        return [one - 256 if self.is_signed and one > 127 else one for one in data]  # noqa: PLR2004 because a byte has eight bits

    def schema(self) -> dict[str, Any]:
        """A text, or the numbers."""
        numbers = {"type": "integer", "minimum": -128 if self.is_signed else 0, "maximum": 255}
        if self.is_signed:
            numbers["maximum"] = 127
        size = self.size_bytes
        return {
            "anyOf": [
                {"type": "string", "maxLength": max(size - 1, 0)},
                {"type": "array", "items": numbers, "minItems": size, "maxItems": size},
            ]
        }

    def _encode_list(self, value: list[Any], path: str, problems: list[Reason]) -> bytes:
        low, high = (-128, 127) if self.is_signed else (0, 255)
        fits = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
        if (
            len(value) != self.size_bytes
            or not fits
            or not all(low <= one <= high for one in value)
        ):
            rule = f"must be a text, or a list of {self.size_bytes} numbers"
            return refused(problems, path, rule, len(value), [low, high])
        return bytes(one & 0xFF for one in value)


def _address(text: str, version: int) -> bytes | None:
    octets = _OCTETS.fullmatch(text)
    if octets is not None:  # the most frequent by far, and several times as fast
        return bytes(map(int, octets.groups())) if version == 4 else None  # noqa: PLR2004 because of IPv4
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A scope (fe80::1%eth0) is no part of the bytes.
    return address.packed if address.version == version and "%" not in text else None
