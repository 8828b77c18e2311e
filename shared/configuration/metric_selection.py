# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which entries of a map a metric means, and which number of each.

Pure.  What a metric asks for that the map cannot give is refused when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.configuration.codecs import NumberCodec
from shared.configuration.entries import CONFIGURABLE, MapCodec, split_processors
from shared.contracts.metrics import MAX_SERIES, MetricSource
from shared.contracts.value_types import EnumType, IntegerType, Layout, StructType
from shared.errors import Reason, RefusedError

EVERY: Final = "*"
_RANGE: Final = re.compile(r"(-?[0-9]{1,20})\.\.(-?[0-9]{1,20})")
_NUMBER_BYTES: Final = (1, 2, 4, 8)


class UnfitMetricError(RefusedError):
    """The map does not hold what the metric asks for."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The entries and the number of each that a metric means."""

    source: MetricSource
    codec: MapCodec
    offset_bytes: int
    number: IntegerType
    one_key: bytes | None
    """None: several."""
    first: int | None = None
    last: int | None = None

    def numbers(self, entries: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
        """Text form of each meant key to its number, summed over processors.

        Args:
            entries: Keys and values as the kernel stores them.

        Raises:
            UnfitMetricError: More keys than MAX_SERIES are series of their own.
        """
        found: dict[str, int] = {}
        for key, stored in entries:
            text = self.codec.decode_key(key)
            if self.first is not None and not self._is_within(text):
                continue
            if self.source.each_key and len(found) == MAX_SERIES:
                rule = "means more keys than may be series of their own"
                reason = Reason(path="key", rule=rule, got=self.source.key, allowed=MAX_SERIES)
                raise UnfitMetricError(f"key {rule}", [reason])
            found[text] = self._number(stored)
        return found

    def _is_within(self, text: str) -> bool:
        assert self.first is not None
        assert self.last is not None
        return self.first <= int(text) <= self.last

    def _number(self, stored: bytes) -> int:
        layout = self.codec.layout
        size_bytes = layout.value.size_bytes
        values: Iterable[bytes] = (stored,)
        if "percpu" in layout.type_name:
            values = split_processors(stored, size_bytes)
        end = self.offset_bytes + self.number.size_bytes
        return sum(
            int.from_bytes(one[self.offset_bytes : end], "little", signed=self.number.is_signed)
            for one in values
        )


def select(source: MetricSource, codec: MapCodec) -> Selection:
    """What the metric means in this map.

    Raises:
        UnfitMetricError: With everything that the map does not hold.
    """
    problems: list[Reason] = []
    if codec.layout.type_name not in CONFIGURABLE:
        rule = "is of a type whose values are no numbers"
        reason = Reason(path="map", rule=rule, got=codec.layout.type_name)
        raise UnfitMetricError(f"map {source.map} {rule}", [reason])
    offset_bytes, number = _place(codec.layout.value, source.member, problems)
    one_key: bytes | None = None
    first = last = None
    has_range = _RANGE.fullmatch(source.key)
    is_integer = isinstance(codec.key, NumberCodec)
    if has_range and is_integer:
        first, last = int(has_range[1]), int(has_range[2])
        if first > last:
            problems.append(Reason(path="key", rule="ends before it begins", got=source.key))
    elif source.key != EVERY:
        unread: list[Reason] = []
        one_key = codec.encode_key(source.key, "key", unread)
        for one in unread:
            rule = f"is not a key: {one.rule}"
            problems.append(Reason(path=one.path, rule=rule, got=one.got, allowed=one.allowed))
    if source.aggregation == "histogram":
        if not is_integer or one_key is not None:
            rule = "of a histogram must be * or a range of integers"
            problems.append(Reason(path="key", rule=rule, got=source.key))
        if source.each_key:
            problems.append(Reason(path="each_key", rule="a histogram is one series", got=True))
    if problems:
        raise UnfitMetricError(f"{problems[0].path} {problems[0].rule}", problems)
    return Selection(source, codec, offset_bytes, number, one_key, first, last)


def _place(layout: Layout, member: str, problems: list[Reason]) -> tuple[int, IntegerType]:
    """Offset and type of the number within a value."""
    offset_bytes = 0
    for name in member.split(".") if member else ():
        members = layout.members if isinstance(layout, StructType) else ()
        found = {one.name: one for one in members if one.name and not one.bitfield_bits}
        if name not in found:
            rule = "the values have no such member"
            problems.append(Reason(path="member", rule=rule, got=member, allowed=sorted(found)))
            return 0, IntegerType(1)
        offset_bytes += found[name].offset_bits // 8
        layout = found[name].layout
    if isinstance(layout, EnumType):
        return offset_bytes, IntegerType(layout.size_bytes, is_signed=layout.is_signed)
    if isinstance(layout, IntegerType) and layout.size_bytes in _NUMBER_BYTES:
        return offset_bytes, layout
    if not member and layout.size_bytes in _NUMBER_BYTES:
        return offset_bytes, IntegerType(layout.size_bytes)
    allowed = sorted(one.name for one in layout.members) if isinstance(layout, StructType) else None
    rule = "the values are not single numbers"
    problems.append(Reason(path="member", rule=rule, got=member, allowed=allowed))
    return 0, IntegerType(1)
