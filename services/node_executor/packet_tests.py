# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a chain did to one packet, told from what was there before and after it.

Pure.  Which programs ran is told by the counters of the trial's own counter map, which are zero
before each packet: a program that gave a verdict has counted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from services.node_executor.linking import counters
from services.node_executor.slot_metrics import Counted
from shared.configuration.codecs import BYTE_ORDER
from shared.configuration.entries import MapLayout
from shared.contracts.inspection import (
    MAX_SHOWN_CHANGES,
    BytesChange,
    MapChange,
    PacketTried,
    ProgramRan,
)
from shared.contracts.node import verdicts_of
from shared.contracts.value_types import ArrayType, EnumType, IntegerType, Layout, StructType
from shared.identifiers import Hook

MAX_SHOWN_BYTES: Final = 128
"""Of one changed place of a packet; what is longer is cut and ends in dots."""
MAX_VALUE_BYTES: Final = 256
"""Of one map entry; what is longer is shown as so many hexadecimal digits."""
MAX_REPLY_BYTES: Final = 400 * 1024
"""What all lists of changes of one trial may take together."""

_CUT: Final = "..."


@dataclass(frozen=True, slots=True)
class MapView:
    """One map at one moment, as the kernel gives it; taken apart only where it matters."""

    keys: bytes
    """One behind the other."""
    values: bytes
    """In the order of the keys; in a per-CPU map those of each processor one behind the other."""
    key_bytes: int
    value_bytes: int

    def entries(self) -> dict[bytes, bytes]:
        """Key to value."""
        count = len(self.keys) // self.key_bytes
        return {
            self.keys[at * self.key_bytes : (at + 1) * self.key_bytes]: (
                self.values[at * self.value_bytes : (at + 1) * self.value_bytes]
            )
            for at in range(count)
        }


@dataclass(frozen=True, slots=True)
class WatchedMap:
    """A map of the trial, and how its entries are written for people."""

    deployment: str
    name: str
    layout: MapLayout
    is_per_cpu: bool = False


class Ran(NamedTuple):
    """What one run over a packet left."""

    verdict: int
    """Unsigned 32 bit, as the kernel gives it."""
    data: bytes
    context: Mapping[str, int]


def describe(
    packet: bytes,
    left: Ran,
    counted: Sequence[bytes],
    *,
    hook: Hook,
    programs: Sequence[Counted],
    maps: Sequence[tuple[WatchedMap, MapView, MapView]],
) -> PacketTried:
    """One packet's answer; lists are cut to what is shown, counts are of everything.

    Args:
        packet: As it was.
        left: What the run made of it.
        counted: The trial's counter map on each processor; all was zero before.
        hook: Where the chain belongs.
        programs: Of the chain, first to run first.
        maps: Each before and after.
    """
    ran = programs_that_ran(counted, hook=hook, programs=programs)
    places = changed_places(packet, left.data)
    entries = [change for one in maps for change in changed_entries(*one)]
    return PacketTried(
        verdict=verdict_name(left.verdict, hook),
        value=_signed(left.verdict),
        decided_by=decided_by(ran, programs),
        programs=ran,
        length_before=len(packet),
        length_after=len(left.data),
        changes=tuple(places[:MAX_SHOWN_CHANGES]),
        changed_places=len(places),
        map_changes=tuple(entries[:MAX_SHOWN_CHANGES]),
        changed_entries=len(entries),
        context={name: value for name, value in left.context.items() if value},
    )


def within_reply(packets: Sequence[PacketTried], sizes: Sequence[int]) -> int:
    """How many of the packets, from the first on, may keep their lists in one reply.

    Args:
        packets: In their order.
        sizes: Encoded length of each in bytes.
    """
    used = 0
    for number, size in enumerate(sizes):
        used += size
        if used > MAX_REPLY_BYTES:
            return number
    return len(packets)


def verdict_name(verdict: int, hook: Hook) -> str:
    """The verdict's name; its signed number if it has none.  `verdict` is unsigned 32 bit."""
    value = _signed(verdict)
    names = {number: name for name, number in verdicts_of(hook).items()}
    return names.get(value, str(value))


def programs_that_ran(
    values: Sequence[bytes], *, hook: Hook, programs: Sequence[Counted]
) -> tuple[ProgramRan, ...]:
    """Each program that counted a verdict, first to run first."""
    ran = []
    for program in programs:
        read = counters.read_slot(values, hook, program.slot)
        verdict = next((name for name, packets in read.verdicts.items() if packets), None)
        if verdict is not None:
            went_on = verdict in program.proceed_on
            ran.append(ProgramRan(deployment=program.deployment, verdict=verdict, went_on=went_on))
    return tuple(ran)


def decided_by(ran: Sequence[ProgramRan], programs: Sequence[Counted]) -> str:
    """The program whose verdict is the chain's.

    If the last that counted let the packet go on and is not the last of the chain, then the one
    behind it left the chain without coming back, by a tail call of its own.
    """
    if not ran:
        return programs[0].deployment if programs else ""
    last = ran[-1]
    names = [program.deployment for program in programs]
    behind = names.index(last.deployment) + 1
    if last.went_on and behind < len(names):
        return names[behind]
    return last.deployment


def changed_places(before: bytes, after: bytes) -> list[BytesChange]:
    """Where a packet is not as it was.

    Of the same length: each run of bytes that differ.  Otherwise one place, what is the same in
    front of it and behind it left out.
    """
    if before == after:
        return []
    if len(before) == len(after):
        return [
            _change(start, before[start:end], after[start:end])
            for start, end in _runs(before, after)
        ]
    shorter = min(len(before), len(after))
    front = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    rest = shorter - front
    back = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    return [_change(front, before[front : len(before) - back], after[front : len(after) - back])]


def changed_entries(watched: WatchedMap, before: MapView, after: MapView) -> Iterator[MapChange]:
    """Every entry that is not as it was, by key; in a per-CPU map by processor too."""
    if before == after:
        return
    was, is_now = before.entries(), after.entries()
    for key in sorted({*was, *is_now}):
        old, new = was.get(key), is_now.get(key)
        if old == new:
            continue
        name = key_text(key, watched.layout.key)
        if not watched.is_per_cpu:
            yield _entry(watched, name, old, new, None)
            continue
        length = -(-watched.layout.value.size_bytes // 8) * 8
        olds, news = _by_processor(old, length), _by_processor(new, length)
        for cpu in range(max(len(olds), len(news))):
            one = olds[cpu] if cpu < len(olds) else None
            other = news[cpu] if cpu < len(news) else None
            is_empty = one is None and other is not None and not any(other)
            if one != other and not is_empty:
                yield _entry(watched, name, one, other, cpu)


def readable(data: bytes, layout: Layout) -> Any:
    """A value for people: structs by member, arrays as lists, else hexadecimal digits."""
    if layout.size_bytes > MAX_VALUE_BYTES or len(data) < layout.size_bytes:
        text = data[:MAX_VALUE_BYTES].hex()
        return text if len(data) <= MAX_VALUE_BYTES else text + _CUT
    if isinstance(layout, StructType) and not any(one.bitfield_bits for one in layout.members):
        return {
            member.name or f"+{member.offset_bits // 8}": readable(
                data[member.offset_bits // 8 :][: member.layout.size_bytes], member.layout
            )
            for member in layout.members
        }
    if isinstance(layout, ArrayType):
        size = layout.element.size_bytes
        return [
            readable(data[at * size : (at + 1) * size], layout.element)
            for at in range(layout.count)
        ]
    if isinstance(layout, IntegerType | EnumType):
        return int.from_bytes(data[: layout.size_bytes], BYTE_ORDER, signed=layout.is_signed)
    return data[: layout.size_bytes].hex()


def _entry(
    watched: WatchedMap, key: str, before: bytes | None, after: bytes | None, cpu: int | None
) -> MapChange:
    layout = watched.layout.value
    return MapChange(
        deployment=watched.deployment,
        map=watched.name,
        key=key,
        before=None if before is None else readable(before, layout),
        after=None if after is None else readable(after, layout),
        cpu=cpu,
    )


def key_text(key: bytes, layout: Layout) -> str:
    """A key for people: a number, `[1,2]`, or a struct's members as `port=80 protocol=6`."""
    value = readable(key, layout)
    if isinstance(value, dict):
        return " ".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return "[" + ",".join(str(one) for one in value) + "]"
    return str(value)


def _by_processor(value: bytes | None, length: int) -> list[bytes]:
    if value is None:
        return []
    return [value[at : at + length] for at in range(0, len(value), length)]


def _runs(before: bytes, after: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of differing bytes."""
    start: int | None = None
    for at, (one, other) in enumerate(zip(before, after, strict=True)):
        if one != other and start is None:
            start = at
        elif one == other and start is not None:
            yield start, at
            start = None
    if start is not None:
        yield start, len(before)


def _change(offset: int, before: bytes, after: bytes) -> BytesChange:
    return BytesChange(offset=offset, before=_hexadecimal(before), after=_hexadecimal(after))


def _hexadecimal(data: bytes) -> str:
    text = data[:MAX_SHOWN_BYTES].hex()
    return text if len(data) <= MAX_SHOWN_BYTES else text + _CUT


def _signed(verdict: int) -> int:
    return verdict - (1 << 32) if verdict >= 1 << 31 else verdict
