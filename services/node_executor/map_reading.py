# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the maps of running programs hold, in the form in which they are configured.

Touches nothing itself: hook points and a reader of maps are given.

Rules:
 * It is the map that the program on the hook uses, read from the kernel for this reply.
 * A reply stays within a message; whoever wants the rest asks again with where it ended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final, Protocol

import msgspec

from services.node_executor.changes import HookPoints
from services.node_executor.disclosure import EVERYBODY, Reader
from services.node_executor.generations import Generation, HeldMap, MapKey, Point
from services.node_executor.stated_rules import map_entry
from shared.configuration.entries import (
    CONFIGURABLE,
    MapCodec,
    MapLayout,
    map_codec,
    split_processors,
    value_error,
)
from shared.contracts.map_reading import MapEntryShown, MapShown, ReadMap
from shared.errors import Reason, RefusedError

MAX_READ_ENTRIES: Final = 65_536
"""Of one map in one reply: the kernel is read in the thread that also makes changes."""
MAX_REPLY_BYTES: Final = 600 * 1024
_ENTRY_BYTES: Final = 64
"""What an entry of the reply has beside key and value."""


class MapContents(Protocol):
    """What can be read of maps, by id."""

    def layout(self, map_id: int) -> MapLayout:
        """Types of keys and values."""

    def each_entry(self, map_id: int) -> Iterator[tuple[bytes, bytes]]:
        """All entries as the kernel stores them, read as they are asked for."""

    def read_entry(self, map_id: int, key: bytes) -> bytes | None:
        """One value as the kernel stores it; None: there is none."""


class UnreadableMapError(RefusedError):
    """There is no such map, or it has no entries that can be shown."""


class MapReading:
    """Maps of one node."""

    def __init__(self, *, node: str, points: HookPoints, contents: MapContents) -> None:
        """Nothing is read yet."""
        self._node = node
        self._points = points
        self._contents = contents

    def read(self, request: ReadMap, reader: Reader = EVERYBODY) -> MapShown:
        """The entries that were asked for.

        Raises:
            UnreadableMapError: No chain of ours, program, map or entry is there; what there is, is
                named, as far as it is seen.
        """
        point = Point(request.interface, request.hook, request.netns)
        generation = self._running(point)
        held = _held(request, generation, reader)
        layout = self._contents.layout(held.map_id)
        if layout.type_name not in CONFIGURABLE:
            rule = f"is a {layout.type_name}, whose entries cannot be shown"
            raise _unreadable("map", rule, request.map, None)
        entry = map_entry(generation.chain, MapKey(request.program, request.map))
        codec = map_codec(layout, entry)
        raw, total = self._entries(request, held.map_id, codec)
        shown, following = _shown(raw, codec)
        return MapShown(
            node=self._node,
            interface=point.interface,
            netns=point.netns,
            hook=point.hook,
            program=request.program,
            map=request.map,
            map_id=held.map_id,
            type=layout.type_name,
            max_entries=layout.max_entries,
            total=total,
            entries=shown,
            next=following,
        )

    def _running(self, point: Point) -> Generation:
        """What the program on the hook was linked from."""
        seen = self._points.describe(point, None, desired_generation=0)
        generation = self._points.memory(point).generation_with(seen.program_id)
        if not seen.program_id or generation is None:
            there = sorted(str(one) for one in self._points.points())
            raise _unreadable("interface", "runs no chain of ours", str(point), there)
        return generation

    def _entries(
        self, request: ReadMap, map_id: int, codec: MapCodec
    ) -> tuple[list[tuple[bytes, bytes]], int]:
        """Those that come next, and how many there are."""
        if request.key is not None:
            problems: list[Reason] = []
            key = codec.encode_key(request.key, "key", problems)
            if problems:
                raise value_error(problems)
            value = self._entry(map_id, key, codec.layout)
            if value is None:
                raise _unreadable("key", "the map has no such entry", request.key, None)
            return [(key, value)], 1
        found = sorted(islice(self._contents.each_entry(map_id), MAX_READ_ENTRIES + 1))
        if len(found) > MAX_READ_ENTRIES:
            rule = f"holds more than {MAX_READ_ENTRIES} entries; ask for one key"
            raise _unreadable("map", rule, request.map, None)
        after = bytes.fromhex(request.after)
        start = bisect_right(found, after, key=itemgetter(0)) if after else 0
        return found[start:], len(found)

    def _entry(self, map_id: int, key: bytes, layout: MapLayout) -> bytes | None:
        """Under this very key: looking into a trie would find the longest prefix."""
        if layout.type_name != "lpm_trie":
            return self._contents.read_entry(map_id, key)
        each = islice(self._contents.each_entry(map_id), MAX_READ_ENTRIES)
        return next((value for found, value in each if found == key), None)


def _held(request: ReadMap, generation: Generation, reader: Reader) -> HeldMap:
    instances = reader.seen_instances(generation.chain)
    if request.program not in instances:
        rule = "the chain has no program of this deployment"
        raise _unreadable("program", rule, request.program, instances)
    own = {one.name: one for one in generation.maps if one.deployment == request.program}
    if request.map not in own:
        raise _unreadable("map", "the program has no such map", request.map, sorted(own))
    return own[request.map]


def _shown(
    raw: list[tuple[bytes, bytes]], codec: MapCodec
) -> tuple[tuple[MapEntryShown, ...], str]:
    """As many as fit into a reply, and what to go on after."""
    shown: list[MapEntryShown] = []
    size_bytes = 0
    for number, (key, stored) in enumerate(raw):
        one = _entry(key, stored, codec)
        size_bytes += len(msgspec.json.encode(one)) + _ENTRY_BYTES
        if size_bytes > MAX_REPLY_BYTES and shown:
            return tuple(shown), raw[number - 1][0].hex()
        shown.append(one)
    return tuple(shown), ""


def _entry(key: bytes, stored: bytes, codec: MapCodec) -> MapEntryShown:
    layout = codec.layout
    if "percpu" in layout.type_name:
        values = split_processors(stored, layout.value.size_bytes)
        cpus = tuple(codec.value.decode(one) for one in values)
        return MapEntryShown(key=codec.decode_key(key), cpus=cpus)
    return MapEntryShown(key=codec.decode_key(key), value=codec.value.decode(stored))


def _unreadable(path: str, rule: str, got: str, allowed: list[str] | None) -> UnreadableMapError:
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return UnreadableMapError(f"{got} {rule}" if path in ("interface", "map") else rule, [reason])
