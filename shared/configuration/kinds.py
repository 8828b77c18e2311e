# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which codec a type and a format make: the one table of kinds.

Pure.  The type comes from BTF, the format from the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shared.configuration.codecs import (
    BoolCodec,
    Codec,
    EnumCodec,
    ListCodec,
    NumberCodec,
    OpaqueCodec,
    Part,
    StructCodec,
)
from shared.configuration.text_forms import (
    CIDR_BYTES,
    AddressCodec,
    HexCodec,
    MacCodec,
    PrefixCodec,
    StringCodec,
)
from shared.contracts.configuration import MemberEntry, ValueFormat
from shared.contracts.value_types import (
    ArrayType,
    EnumType,
    IntegerType,
    Layout,
    OpaqueType,
    StructType,
    UnionType,
    is_within,
)
from shared.errors import Reason

MAX_PARTS: Final = 2048
"""Members, elements' types and names of one value; more is not configured."""
_BOOLEANS: Final = ("_Bool", "bool")
_IPV4_BYTES, _IPV6_BYTES, _MAC_BYTES, _PORT_BYTES = 4, 16, 6, 2


@dataclass(frozen=True, slots=True)
class ValueRules:
    """What the package says of one value."""

    format: ValueFormat = ""
    members: Mapping[str, MemberEntry] = field(default_factory=dict)
    """By path."""
    minimum: int | None = None
    maximum: int | None = None
    path: str = ""
    """Of what is said, as `manifest.maps.limits.value_`; refusals go on with the field."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One format: which types it fits, and what is made then."""

    needs: str
    make: Callable[[Layout, MemberEntry], Codec | None]
    """None: the type does not fit."""


def _number(layout: Layout, entry: MemberEntry) -> Codec | None:
    if isinstance(layout, IntegerType | EnumType):
        return NumberCodec(
            layout.size_bytes, layout.is_signed, layout.name, entry.minimum, entry.maximum
        )
    if isinstance(layout, ArrayType) and layout.element.size_bytes:
        element = _number(layout.element, entry)
        return None if element is None else ListCodec(element, layout.count)
    return None


def _bool(layout: Layout, _entry: MemberEntry) -> Codec | None:
    return BoolCodec(layout.size_bytes) if isinstance(layout, IntegerType) else None


def _enum(layout: Layout, _entry: MemberEntry) -> Codec | None:
    if not isinstance(layout, EnumType):
        return None
    return EnumCodec(NumberCodec(layout.size_bytes, layout.is_signed, layout.name), layout.values)


def _port(layout: Layout, entry: MemberEntry) -> Codec | None:
    if layout.size_bytes != _PORT_BYTES or isinstance(layout, OpaqueType):
        return None
    return NumberCodec(
        _PORT_BYTES, is_signed=False, minimum=entry.minimum, maximum=entry.maximum, order="big"
    )


def _string(layout: Layout, _entry: MemberEntry) -> Codec | None:
    if not isinstance(layout, ArrayType) or layout.element.size_bytes != 1:
        return None
    is_signed = isinstance(layout.element, IntegerType) and layout.element.is_signed
    return StringCodec(layout.count, is_signed)


def _sized(size_bytes: int, codec: Codec) -> Callable[[Layout, MemberEntry], Codec | None]:
    def make(layout: Layout, _entry: MemberEntry) -> Codec | None:
        is_plain = not isinstance(layout, OpaqueType) and layout.size_bytes == size_bytes
        return codec if is_plain else None

    return make


def _cidr(layout: Layout, _entry: MemberEntry) -> Codec | None:
    is_sized = layout.size_bytes in CIDR_BYTES and not isinstance(layout, OpaqueType)
    version = CIDR_BYTES.get(layout.size_bytes)
    return PrefixCodec(4 if version == 4 else 6) if is_sized else None  # noqa: PLR2004 because of IPv4


def _hex(layout: Layout, _entry: MemberEntry) -> Codec | None:
    return None if isinstance(layout, OpaqueType) else HexCodec(layout.size_bytes)


KINDS: Final[dict[ValueFormat, _Kind]] = {
    "integer": _Kind("an integer, an enumeration, or an array of them", _number),
    "bool": _Kind("an integer", _bool),
    "enum": _Kind("an enumeration", _enum),
    "ipv4": _Kind("4 bytes", _sized(_IPV4_BYTES, AddressCodec(4))),
    "ipv6": _Kind("16 bytes", _sized(_IPV6_BYTES, AddressCodec(6))),
    "mac": _Kind("6 bytes", _sized(_MAC_BYTES, MacCodec())),
    "port": _Kind("2 bytes", _port),
    "cidr": _Kind("a prefix length of 4 bytes and an address of 4 or 16", _cidr),
    "string": _Kind("an array of bytes", _string),
    "hex": _Kind("bytes that are no pointer", _hex),
}
"""Formats that a package can name."""
_NOTHING: Final = MemberEntry()


def codec_of(layout: Layout, rules: ValueRules, problems: list[Reason]) -> Codec:
    """How values of the type are written; every rule that the type cannot keep is told."""
    if not is_within(layout, MAX_PARTS):
        return OpaqueCodec(layout.size_bytes, "more than can be written out")
    making = _Making(rules.members, rules.path, problems)
    whole = MemberEntry(format=rules.format, minimum=rules.minimum, maximum=rules.maximum)
    codec = making.codec(layout, whole, "")
    seen = sorted(making.seen)
    problems += [
        Reason(path=f"{rules.path}members.{name}", rule="is no member", got=name, allowed=seen)
        for name in rules.members
        if name not in making.used
    ]
    return codec


@dataclass
class _Making:
    """One value's codec in the making."""

    members: Mapping[str, MemberEntry]
    path: str
    problems: list[Reason]
    used: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def codec(self, layout: Layout, entry: MemberEntry, member: str) -> Codec:
        """Of a part that lies at `member`; empty: the value itself."""
        if entry.format:
            made = KINDS[entry.format].make(layout, entry)
            if made is not None:
                return self._ranged(made, entry, member)
            if isinstance(layout, ArrayType) and layout.element.size_bytes:
                return ListCodec(self.codec(layout.element, entry, member), layout.count)
            self._tell(member, "format", KINDS[entry.format].needs, entry.format)
        return self._ranged(self._plain(layout, entry, member), entry, member)

    def _plain(  # noqa: PLR0911 because each type has its own
        self, layout: Layout, entry: MemberEntry, member: str
    ) -> Codec:
        """As the type itself says."""
        match layout:
            case IntegerType(name=name) if name in _BOOLEANS:
                return BoolCodec(layout.size_bytes)
            case IntegerType():
                return NumberCodec(
                    layout.size_bytes, layout.is_signed, layout.name, entry.minimum, entry.maximum
                )
            case EnumType():
                number = NumberCodec(layout.size_bytes, layout.is_signed, layout.name)
                return EnumCodec(number, layout.values)
            case ArrayType(element=IntegerType(name="char", is_signed=is_signed)):
                return StringCodec(layout.count, is_signed)
            case ArrayType() if layout.element.size_bytes:
                return ListCodec(self.codec(layout.element, entry, member), layout.count)
            case StructType() | UnionType():
                return self._members(layout, member)
            case _:
                kind = layout.kind if isinstance(layout, OpaqueType) else "no size"
                return OpaqueCodec(layout.size_bytes, kind)

    def _members(self, layout: StructType | UnionType, within: str) -> Codec:
        parts = []
        for one in layout.members:
            end = one.offset_bits + (one.bitfield_bits or 8 * one.layout.size_bytes)
            if end > 8 * layout.size_bytes:
                return OpaqueCodec(layout.size_bytes, "a struct with members behind its end")
            here = ".".join(name for name in (within, one.name) if name)
            if one.name:
                self.seen.add(here)
            entry = self.members.get(here, _NOTHING) if one.name else _NOTHING
            if one.name and here in self.members:
                self.used.add(here)
            codec = self.codec(one.layout, entry, here)
            if one.bitfield_bits:
                codec = self._bit_field(codec, one.bitfield_bits, entry, here)
            if not one.name and not isinstance(codec, StructCodec):
                continue
            parts.append(Part(one.name, one.offset_bits, codec, one.bitfield_bits))
        return StructCodec(layout.size_bytes, tuple(parts), isinstance(layout, UnionType))

    def _bit_field(self, codec: Codec, bits: int, entry: MemberEntry, member: str) -> Codec:
        if entry.format not in ("", "integer", "bool", "enum"):
            self._tell(member, "format", "whole bytes", entry.format)
        if isinstance(codec, EnumCodec):
            return EnumCodec(replace(codec.number, bits=bits), codec.names)
        return replace(codec, bits=bits, name="") if isinstance(codec, NumberCodec) else codec

    def _ranged(self, made: Codec, entry: MemberEntry, member: str) -> Codec:
        """The codec; a range is only for numbers."""
        for what in ("minimum", "maximum"):
            inner = made
            while isinstance(inner, ListCodec):
                inner = inner.element
            if getattr(entry, what) is not None and not isinstance(inner, NumberCodec):
                self._tell(member, what, "numbers", getattr(entry, what))
        if (
            entry.minimum is not None
            and entry.maximum is not None
            and entry.minimum > entry.maximum
        ):
            place = self._place(member, "minimum")
            rule = "is above the maximum"
            self.problems.append(
                Reason(path=place, rule=rule, got=entry.minimum, allowed=entry.maximum)
            )
        return made

    def _tell(self, member: str, what: str, needs: str, got: object) -> None:
        rule = f"does not fit the type: it is for {needs}"
        self.problems.append(Reason(path=self._place(member, what), rule=rule, got=got))

    def _place(self, member: str, what: str) -> str:
        return f"{self.path}members.{member}.{what}" if member else f"{self.path}{what}"
