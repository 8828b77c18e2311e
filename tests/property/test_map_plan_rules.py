# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Writes of maps of values and of maps: they lead to what is configured, and back."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.actions import EntryChange, WriteMapEntries, undo
from services.node_executor.map_plans import overflow, plan_map
from services.node_executor.map_types import MapOfMaps
from shared.configuration.entries import nest
from shared.contracts.configuration import MapMode
from shared.contracts.package_manifest import InnerMapEntry, MapEntry
from shared.contracts.value_types import InnerMap, IntegerType

BYTE = IntegerType(1)
OF_MAPS = MapOfMaps(BYTE, InnerMap("hash", BYTE, BYTE, 3))
single = st.integers(0, 5).map(lambda number: bytes([number]))
flat = st.dictionaries(single, single)
nested = st.dictionaries(single, st.dictionaries(single, single, max_size=4), max_size=4)
modes = st.sampled_from(("exact", "merge"))


def flattened(held: Mapping[bytes, Mapping[bytes, bytes]]) -> dict[bytes, bytes]:
    """As map entries are."""
    found = dict.fromkeys(held, b"")
    return found | {key + at: one for key, inner in held.items() for at, one in inner.items()}


def applied(present: Mapping[bytes, bytes], changes: tuple[EntryChange, ...]) -> dict[bytes, bytes]:
    """What the map holds afterwards; a map that goes takes its entries along."""
    after = dict(present)
    for one in changes:
        if one.after is None:
            after.pop(one.key, None)
        else:
            after[one.key] = one.after
    return after


@given(present=flat, wanted=flat, owned=st.sets(single), mode=modes)
def test_a_map_of_values_gets_its_entries(
    present: dict[bytes, bytes], wanted: dict[bytes, bytes], owned: set[bytes], mode: MapMode
) -> None:
    """Exactly those; merged, beside what was never configured.  The undone write is none."""
    write = plan_map(
        1, MapEntry(mode=mode), None,
        present=present, wanted=wanted, blank=None, capacity=6, owned=owned,
    )  # fmt: skip

    kept = {key: one for key, one in present.items() if key not in owned} if mode == "merge" else {}
    after = applied(present, write.changes)
    assert after == kept | wanted
    assert _undone(write, after) == present


@given(present=nested, wanted=nested, before=nested, outer=modes, inner=modes)
def test_a_map_of_maps_gets_its_entries(
    present: dict[bytes, dict[bytes, bytes]],
    wanted: dict[bytes, dict[bytes, bytes]],
    before: dict[bytes, dict[bytes, bytes]],
    outer: MapMode,
    inner: MapMode,
) -> None:
    """`merge` of one says nothing of the other; changes of one inner map stand together."""
    entry = MapEntry(mode=outer, inner=InnerMapEntry(mode=inner))
    held, shall, owned = flattened(present), flattened(wanted), set(flattened(before))

    write = plan_map(
        1, entry, OF_MAPS, present=held, wanted=shall, blank=None, capacity=4, owned=owned
    )  # fmt: skip

    expected = {
        key: one for key, one in present.items() if outer == "merge" and key not in before
    } | wanted
    if inner == "merge":
        for key in present.keys() & wanted.keys():
            own = before.get(key, {})
            theirs = {at: one for at, one in present[key].items() if at not in own}
            expected[key] = theirs | wanted[key]
    after = applied(held, write.changes)
    assert nest(after, 1) == expected
    assert _undone(write, after) == held
    groups = [one.key[:1] for one in write.changes]
    assert len(set(groups)) == sum(a != b for a, b in zip(groups, [b"", *groups], strict=False))


@given(present=nested, wanted=nested)
def test_what_has_no_room_is_told(
    present: dict[bytes, dict[bytes, bytes]], wanted: dict[bytes, dict[bytes, bytes]]
) -> None:
    """For the map of maps, and for each map in it, and only then."""
    entry = MapEntry(mode="merge", inner=InnerMapEntry(mode="merge"))
    held = flattened(present)
    write = plan_map(
        1, entry, OF_MAPS,
        present=held, wanted=flattened(wanted), blank=None, capacity=4,
    )  # fmt: skip

    told = {one.path for one in overflow(write, held, capacity=4, path="c")}

    after = nest(applied(held, write.changes), 1)
    crowded = {f"c.{key.hex()}" for key, inner in after.items() if len(inner) > 3}
    assert told == crowded | ({"c"} if len(after) > 4 else set())


def _undone(write: WriteMapEntries, after: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    back = undo(write)
    assert isinstance(back, WriteMapEntries)
    assert back.of_maps == write.of_maps
    return applied(after, back.changes)
