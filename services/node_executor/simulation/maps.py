# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of a simulated kernel: entries by id, in memory.

There are no types: keys are numbers of two bytes and values numbers of four, and what is no number
is its text.  A section holds variables of four bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any, ClassVar, Final

import msgspec

from services.node_executor.actions import BytesChange, EntryChange
from services.node_executor.map_types import MapOfMaps
from shared.configuration.entries import UNDECLARED, MapLayout
from shared.contracts.configuration import VariableEntry
from shared.contracts.desired import MapConfig
from shared.contracts.errors import ErrorCode
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import MapEntry
from shared.errors import FaultError, Reason, RefusedError

_VARIABLE_BYTES: Final = 4


class SimulatedFaultError(FaultError):
    """A failure that was ordered, or that the real kernel would give too."""


class NotSimulatedError(RefusedError):
    """A simulated node has no answer to this."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


@dataclass
class SimulatedMaps:
    """Maps and the failures of calls that change something."""

    maps: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    arrays: set[int] = field(default_factory=set)
    fails_at: int | None = None
    """Number of the changing call, from 0, that raises; later ones work again."""
    failure_rate: float = 0.0
    """Share of the changing calls that fail."""
    rng: Random = field(default_factory=lambda: Random(0))  # noqa: S311 because it hides nothing
    """Decides which."""
    calls: int = 0
    _ids: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)
    _variables: dict[int, dict[str, int]] = field(default_factory=dict)
    """Section to variable to offset."""

    def add_map(self, entries: dict[bytes, bytes] | None = None, *, is_array: bool = False) -> int:
        """A new map's id."""
        map_id = self._ids()
        self.maps[map_id] = dict(entries or {})
        if is_array:
            self.arrays.add(map_id)
        return map_id

    def write_entries(
        self, map_id: int, changes: Sequence[EntryChange], _of_maps: MapOfMaps | None = None
    ) -> None:
        """A failure comes after half of the entries."""
        self._exists(map_id, self.maps)
        entries = self.maps[map_id]
        for number, change in enumerate(changes):
            if number == len(changes) // 2:
                self._step()
            if change.after is None:
                entries.pop(change.key, None)
            else:
                entries[change.key] = change.after

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """A copy."""
        self._exists(map_id, self.maps)
        return dict(self.maps[map_id])

    def stored_value(self, _map_id: int, value: bytes) -> bytes:
        """There are no per-CPU maps here."""
        return value

    def blank_value(self, map_id: int) -> bytes | None:
        """Four zeros for arrays."""
        return bytes(4) if map_id in self.arrays else None

    def capacity(self, _map_id: int) -> int:
        """Not known."""
        return 0

    def encode_variables(
        self, map_id: int, values: Mapping[str, Any], _entries: Mapping[str, VariableEntry]
    ) -> tuple[dict[str, tuple[int, bytes]], tuple[Reason, ...]]:
        """Each variable has four bytes of its own, in the order in which they were first set."""
        self._exists(map_id, self.maps)
        offsets = self._variables.setdefault(map_id, {})
        for name in values:
            offsets.setdefault(name, len(offsets) * _VARIABLE_BYTES)
        return {
            name: (offsets[name], _bytes(value, _VARIABLE_BYTES)[:_VARIABLE_BYTES])
            for name, value in values.items()
        }, ()

    def read_section(self, map_id: int) -> bytes:
        """What is under the only key."""
        self._exists(map_id, self.maps)
        size_bytes = max(8, len(self._variables.get(map_id, ())) * _VARIABLE_BYTES)
        return self.maps[map_id].get(bytes(4), b"").ljust(size_bytes, b"\0")

    def write_variables(self, map_id: int, changes: Sequence[BytesChange]) -> None:
        """A failure comes before the first."""
        self._step()
        held = bytearray(self.read_section(map_id))
        for change in changes:
            held[change.offset_bytes : change.offset_bytes + len(change.after)] = change.after
        self.maps[map_id][bytes(4)] = bytes(held)

    def makes_room(self, _map_id: int) -> bool:
        """Never."""
        return False

    def encode_entries(
        self,
        _map_id: int,
        _name: str,
        config: MapConfig,
        _entry: MapEntry = UNDECLARED,
        _of_maps: MapOfMaps | None = None,
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """Keys of two bytes and values of four, if they are numbers."""
        return {_bytes(key, 2): _bytes(value, 4) for key, value in config.items()}, ()

    def read_series(self, map_id: int, source: MetricSource, _: Any = None) -> dict[str, int]:
        """Little-endian keys and numbers; of keys, one or all."""
        entries = self.read_entries(map_id).items()
        numbers = {str(int.from_bytes(key, "little")): value for key, value in entries}
        wanted = numbers if source.key == "*" else {source.key} & numbers.keys()
        return {key: int.from_bytes(numbers[key], "little") for key in wanted}

    def layout(self, _map_id: int) -> MapLayout:
        """There are no types.

        Raises:
            NotSimulatedError: Always.
        """
        raise NotSimulatedError("the maps of a simulated node have no types")

    def each_entry(self, map_id: int) -> Iterator[tuple[bytes, bytes]]:
        """All that there are."""
        yield from self.read_entries(map_id).items()

    def read_entry(self, map_id: int, key: bytes) -> bytes | None:
        """One value."""
        return self.read_entries(map_id).get(key)

    def read_counters(self, _map_id: int) -> tuple[bytes, ...]:
        """No packet comes."""
        return ()

    def _step(self) -> None:
        number, self.calls = self.calls, self.calls + 1
        is_hit = self.failure_rate > 0.0 and self.rng.random() < self.failure_rate
        if number == self.fails_at or is_hit:
            raise SimulatedFaultError(f"call {number} fails")

    def _exists(self, number: int, known: dict[int, Any]) -> None:
        if number not in known:
            raise SimulatedFaultError(f"there is no object {number}")


def _bytes(value: object, size_bytes: int) -> bytes:
    """A number in so many bytes; of anything else a digest."""
    text = str(value)
    if text.isdecimal() and int(text) < 1 << 8 * size_bytes:
        return int(text).to_bytes(size_bytes, "little")
    return blake2b(msgspec.json.encode(value), digest_size=max(size_bytes, 8)).digest()
