# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a test of a package expects, against what was found.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.node_executor.packet_tests import (
    MapView,
    WatchedMap,
    changed_places,
    key_text,
    readable,
)
from shared.contracts.package_tests import ABSENT, Difference, PacketStep

MAX_DIFFERENCES: Final = 64
"""Of one test: more than a person reads."""


def packet_differences(
    number: int, wanted: PacketStep, *, verdict: str, data: bytes
) -> Iterator[Difference]:
    """How a packet was treated otherwise than the test says."""
    place = f"packets[{number}]"
    if verdict != wanted.verdict:
        yield Difference(place=f"{place}.verdict", expected=wanted.verdict, got=verdict)
    if wanted.after is None:
        return
    expected = bytes.fromhex(wanted.after)
    if len(expected) != len(data):
        yield Difference(place=f"{place}.length", expected=len(expected), got=len(data))
    for change in changed_places(expected, data):
        yield Difference(
            place=f"{place}.after[{change.offset}]", expected=change.before, got=change.after
        )


def map_differences(
    watched: WatchedMap, wanted: Mapping[str, Any], view: MapView
) -> Iterator[Difference]:
    """Every entry that the test names and that is not as it says."""
    found = {
        key_text(key, watched.layout.key): entry_value(watched, stored)
        for key, stored in view.entries().items()
    }
    for key, expected in wanted.items():
        got = found.get("".join(key.split()) if key.startswith("[") else key, ABSENT)
        if got != expected:
            yield Difference(place=f"maps.{watched.name}.{key}", expected=expected, got=got)


def metric_differences(wanted: Mapping[str, int], found: Mapping[str, int]) -> Iterator[Difference]:
    """Every metric that is another number."""
    for name, expected in wanted.items():
        if found.get(name) != expected:
            yield Difference(place=f"metrics.{name}", expected=expected, got=found.get(name))


def entry_value(watched: WatchedMap, stored: bytes) -> Any:
    """The value as a test writes it; in a per-CPU map the sum over the processors."""
    layout = watched.layout.value
    if not watched.is_per_cpu:
        return readable(stored, layout)
    length = -(-layout.size_bytes // 8) * 8
    parts = [
        readable(stored[at : at + layout.size_bytes], layout)
        for at in range(0, len(stored), length)
    ]
    return _summed(parts)


def bounded(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The first of them, and how many more there are."""
    if len(differences) <= MAX_DIFFERENCES:
        return tuple(differences)
    more = len(differences) - MAX_DIFFERENCES
    return (*differences[:MAX_DIFFERENCES], Difference(place=f"and {more} more"))


def _summed(parts: Sequence[Any]) -> Any:
    """Numbers are added, element by element and member by member; of the rest a list is kept."""
    first = parts[0]
    if all(isinstance(part, int) for part in parts):
        return sum(parts)
    if all(isinstance(part, list) and len(part) == len(first) for part in parts):
        return [_summed(elements) for elements in zip(*parts, strict=True)]
    if all(isinstance(part, dict) and part.keys() == first.keys() for part in parts):
        return {name: _summed([part[name] for part in parts]) for name in first}
    return list(parts)
