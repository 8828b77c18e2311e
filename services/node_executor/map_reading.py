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
from collections.abc import Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any, Final, Protocol

import msgspec

from services.node_executor.changes import HookPoints
from services.node_executor.disclosure import EVERYBODY, Reader
from services.node_executor.generations import Generation, MapKey, Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.stated_rules import map_entry
from shared.configuration.entries import (
    CONFIGURABLE,
    PROCESSORS,
    MapCodec,
    MapLayout,
    layout_within,
    map_codec,
    nest,
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
        generation = self._running(point, reader)
        held = _held(request, generation, reader)
        layout = _layout(request, held, self._contents.layout(held.map_id))
        entry = map_entry(generation.chain, MapKey(request.program, request.map))
        codec = map_codec(layout, entry)
        if codec.inner is None:
            raw, total = self._entries(request, held.map_id, codec)
            shown, following = _shown(raw, codec)
        elif request.within is None:
            shown, total, following = self._maps(request, held.map_id, codec, codec.inner)
        else:
            inner = self._inner(request, held.map_id, codec)
            raw, total = _chosen(request, sorted(inner.items()), codec.inner)
            shown, following = _shown(raw, codec.inner)
            layout = codec.inner.layout
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
            within=request.within,
            entries=shown,
            next=following,
        )

    def _running(self, point: Point, reader: Reader) -> Generation:
        """What the program on the hook was linked from."""
        seen = self._points.describe(point, None, desired_generation=0)
        generation = self._points.memory(point).generation_with(seen.program_id)
        is_told = reader.sees_place(point)
        if not seen.program_id or generation is None or not is_told:
            there = sorted(str(one) for one in self._points.points() if reader.sees_place(one))
            raise _unreadable("interface", "runs no chain of ours", str(point), there)
        return generation

    def _entries(
        self, request: ReadMap, map_id: int, codec: MapCodec
    ) -> tuple[list[tuple[bytes, bytes]], int]:
        """Those that come next, and how many there are."""
        if request.key is not None:
            key = _key(request.key, "key", codec)
            value = self._entry(map_id, key, codec.layout)
            if value is None:
                raise _unreadable("key", "the map has no such entry", request.key, None)
            return [(key, value)], 1
        return _chosen(request, self._all(request, map_id), codec)

    def _all(self, request: ReadMap, map_id: int) -> list[tuple[bytes, bytes]]:
        found = sorted(islice(self._contents.each_entry(map_id), MAX_READ_ENTRIES + 1))
        if len(found) > MAX_READ_ENTRIES:
            rule = f"holds more than {MAX_READ_ENTRIES} entries; ask for one key"
            raise _unreadable("map", rule, request.map, None)
        return found

    def _inner(self, request: ReadMap, map_id: int, codec: MapCodec) -> dict[bytes, bytes]:
        """The entries of the map under the key that was asked for."""
        assert request.within is not None
        key = _key(request.within, "within", codec)
        size_bytes = len(key)
        each = self._contents.each_entry(map_id)
        flat = {found: value for found, value in each if found[:size_bytes] == key}
        if key not in flat:
            raise _unreadable("within", "the map has no such entry", request.within, None)
        return nest(flat, size_bytes)[key]

    def _maps(
        self, request: ReadMap, map_id: int, codec: MapCodec, inner: MapCodec
    ) -> tuple[tuple[MapEntryShown, ...], int, str]:
        """Keys with the whole of their maps: as many as fit, how many there are, where it ended."""
        nested = nest(dict(self._all(request, map_id)), codec.layout.key.size_bytes)
        total, after = len(nested), bytes.fromhex(request.after)
        keys = [key for key in nested if key > after] if after else list(nested)
        if request.key is not None:
            keys = [_key(request.key, "key", codec)]
            if keys[0] not in nested:
                raise _unreadable("key", "the map has no such entry", request.key, None)
            total = 1
        shown: list[MapEntryShown] = []
        size_bytes = 0
        for number, key in enumerate(keys):
            text = codec.decode_key(key)
            one = MapEntryShown(key=text, value=_values(nested[key], inner))
            length = len(msgspec.json.encode(one)) + _ENTRY_BYTES
            if length > MAX_REPLY_BYTES:
                rule = "its map has more entries than a reply; ask for what is within it"
                raise _unreadable("key", rule, text, None)
            size_bytes += length
            if size_bytes > MAX_REPLY_BYTES:
                return tuple(shown), total, keys[number - 1].hex()
            shown.append(one)
        return tuple(shown), total, ""

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


def _layout(request: ReadMap, held: HeldMap, layout: MapLayout) -> MapLayout:
    """Types of a map that can be shown."""
    if held.of_maps is not None:
        return layout_within(layout, held.of_maps.key, held.of_maps.inner)
    if request.within is not None:
        raise _unreadable("within", "the map holds no maps", request.within, None)
    if layout.type_name not in CONFIGURABLE:
        rule = f"is a {layout.type_name}, whose entries cannot be shown"
        raise _unreadable("map", rule, request.map, None)
    return layout


def _key(text: str, path: str, codec: MapCodec) -> bytes:
    problems: list[Reason] = []
    key = codec.encode_key(text, path, problems)
    if problems:
        raise value_error(problems)
    return key


def _chosen(
    request: ReadMap, found: list[tuple[bytes, bytes]], codec: MapCodec
) -> tuple[list[tuple[bytes, bytes]], int]:
    """Those of all entries that come next, and how many there are; or the one with the key."""
    if request.key is not None:
        key = _key(request.key, "key", codec)
        chosen = [one for one in found if one[0] == key]
        if not chosen:
            raise _unreadable("key", "the map has no such entry", request.key, None)
        return chosen, 1
    after = bytes.fromhex(request.after)
    start = bisect_right(found, after, key=itemgetter(0)) if after else 0
    return found[start:], len(found)


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
    text = codec.decode_key(key)
    if "percpu" in codec.layout.type_name:
        return MapEntryShown(key=text, cpus=tuple(_each(stored, codec)))
    return MapEntryShown(key=text, value=codec.value.decode(stored))


def _values(held: Mapping[bytes, bytes], codec: MapCodec) -> dict[str, Any]:
    return {codec.decode_key(key): _value(stored, codec) for key, stored in held.items()}


def _value(stored: bytes, codec: MapCodec) -> Any:
    """As it is configured."""
    if "percpu" in codec.layout.type_name:
        return {PROCESSORS: list(_each(stored, codec))}
    return codec.value.decode(stored)


def _each(stored: bytes, codec: MapCodec) -> Iterator[Any]:
    values = split_processors(stored, codec.layout.value.size_bytes)
    return (codec.value.decode(one) for one in values)


def _unreadable(path: str, rule: str, got: str, allowed: list[str] | None) -> UnreadableMapError:
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return UnreadableMapError(f"{got} {rule}" if path in ("interface", "map") else rule, [reason])
