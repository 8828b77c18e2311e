# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which writes give a map its configured entries, whatever it holds: values, or maps.

Pure.

Rules:
 * What is not configured goes, unless the package says `merge`: then what was configured before
   goes, and what others wrote stays.
 * Of a map of maps, a map under a key that stays is written where it is, so that what programs keep
   in it goes on; one under a key that goes, goes with all that it holds.
 * What would not fit beside what stays is refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.map_types import MapOfMaps
from services.node_executor.reconciliation import plan_entries
from shared.configuration.entries import nest
from shared.contracts.package_manifest import MapEntry
from shared.errors import Reason

_INNER_ARRAYS: Final = ("array", "percpu_array")


def is_merged(entry: MapEntry) -> bool:
    """Whether some entries of the map are not the configuration's."""
    return "merge" in (entry.mode, entry.inner.mode if entry.inner else "")


def plan_map(
    map_id: int,
    entry: MapEntry,
    of_maps: MapOfMaps | None,
    *,
    present: Mapping[bytes, bytes],
    wanted: Mapping[bytes, bytes],
    blank: bytes | None,
    capacity: int,
    owned: Collection[bytes] = (),
) -> WriteMapEntries:
    """The writes that give a map its entries.

    Args:
        map_id: The map.
        entry: What the package says of it.
        of_maps: Of a map of maps; its entries are flat.
        present: What it holds.
        wanted: What it shall hold.
        blank: What an unwanted entry becomes where entries cannot be deleted.
        capacity: How many entries it holds at most; 0: not known.
        owned: Keys that were configured before; only asked for in merged maps.
    """
    if of_maps is not None:
        changes = _inner_changes(_Sides(present, wanted, owned), entry, of_maps, capacity)
        return WriteMapEntries(map_id, tuple(changes), of_maps)
    return plan_entries(
        map_id,
        present=present,
        wanted=wanted,
        blank=blank,
        capacity=capacity,
        owned=owned if entry.mode == "merge" else None,
    )


def overflow(
    write: WriteMapEntries,
    present: Mapping[bytes, bytes],
    *,
    capacity: int,
    path: str,
) -> Iterator[Reason]:
    """Where entries of others leave too little room for those that are configured.

    Args:
        write: What is planned.
        present: What the map holds.
        capacity: Of the map; 0: it makes room by itself.
        path: Of its configuration.
    """
    after = dict(present)
    for change in write.changes:
        if change.after is None:
            after.pop(change.key, None)
        else:
            after[change.key] = change.after
    rule = "has more entries than the map can hold beside those that others wrote into it"
    of_maps = write.of_maps
    if of_maps is None:
        if len(after) > capacity > 0:
            yield Reason(path=path, rule=rule, got=len(after), allowed=capacity)
        return
    nested = nest(after, of_maps.key.size_bytes)
    if len(nested) > capacity > 0:
        yield Reason(path=path, rule=rule, got=len(nested), allowed=capacity)
    most = 0 if "lru" in of_maps.inner.type else of_maps.inner.max_entries
    for key, held in nested.items():
        if len(held) > most > 0:
            yield Reason(path=f"{path}.{key.hex()}", rule=rule, got=len(held), allowed=most)


class _Sides(NamedTuple):
    """Flat entries."""

    present: Mapping[bytes, bytes]
    wanted: Mapping[bytes, bytes]
    owned: Collection[bytes]


def _inner_changes(
    sides: _Sides, entry: MapEntry, of_maps: MapOfMaps, capacity: int
) -> Iterator[EntryChange]:
    """Changes of one inner map stand together."""
    key_bytes = of_maps.key.size_bytes
    held, shall = nest(sides.present, key_bytes), nest(sides.wanted, key_bytes)
    own = nest(dict.fromkeys(sides.owned, b""), key_bytes)
    keeps = entry.inner is not None and entry.inner.mode == "merge"
    for key in sorted(held.keys() & shall.keys()):
        owned = own.get(key, {}) if keeps else None
        yield from _changes_within(key, held[key], shall[key], of_maps, owned)
    new, gone = shall.keys() - held.keys(), held.keys() - shall.keys()
    added = [
        EntryChange(flat, before=None, after=value)
        for key in sorted(new)
        for flat, value in _flat(key, shall[key])
    ]
    removed = [
        EntryChange(flat, before=value, after=None)
        for key in sorted(gone & own.keys() if entry.mode == "merge" else gone)
        for flat, value in _flat(key, held[key])
    ]
    is_tight = len(held) + len(new) > capacity > 0
    yield from (*removed, *added) if is_tight else (*added, *removed)


def _changes_within(
    key: bytes,
    present: Mapping[bytes, bytes],
    wanted: Mapping[bytes, bytes],
    of_maps: MapOfMaps,
    owned: Collection[bytes] | None,
) -> Iterator[EntryChange]:
    """Of a map that stays under its key."""
    blank = None
    if of_maps.inner.type in _INNER_ARRAYS:
        blank = bytes(max(map(len, present.values()), default=0))
    within = plan_entries(
        0,
        present=present,
        wanted=wanted,
        blank=blank,
        capacity=of_maps.inner.max_entries,
        owned=owned,
    )
    for one in within.changes:
        yield EntryChange(key + one.key, one.before, one.after)


def _flat(key: bytes, held: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    yield key, b""
    for inner_key, value in sorted(held.items()):
        yield key + inner_key, value
