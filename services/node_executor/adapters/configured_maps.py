# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Configured maps and sections of global variables in the kernel, by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from services.node_executor.actions import BytesChange, EntryChange
from services.node_executor.adapters import inner_maps, kernel_info, map_access, sections
from services.node_executor.kernel_types import MapInfo
from services.node_executor.map_types import MapOfMaps
from shared.configuration.entries import (
    MAPS_OF_MAPS,
    UNDECLARED,
    MapLayout,
    MapValueError,
    encode_config,
    layout_within,
    map_codec,
    map_layout,
)
from shared.configuration.metric_selection import Selection, select
from shared.configuration.variables import encode_variables
from shared.contracts.configuration import VariableEntry
from shared.contracts.desired import MapConfig
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import MapEntry
from shared.contracts.value_types import StructType
from shared.errors import Reason

_KNOWN: Final = 4096
"""Maps of which is known how they were made: no id is given twice, and nothing of it changes."""


class ConfiguredMaps:
    """Maps by their ids; nothing is held between calls."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._layout_of = lru_cache(_KNOWN)(_layout)
        self._info_of = lru_cache(_KNOWN)(_info)
        self._selections: Final[dict[tuple[int, MetricSource], tuple[MapEntry, Selection]]] = {}

    def write_entries(
        self, map_id: int, changes: Sequence[EntryChange], of_maps: MapOfMaps | None = None
    ) -> None:
        """Each entry is as `after` says; if that fails, some may be.

        Args:
            map_id: The map.
            changes: Of its entries; flat, of a map of maps.
            of_maps: Types of a map of maps.
        """
        with kernel_info.map_by_id(map_id) as opened:
            if of_maps is None:
                inner_maps.write_changes(opened, changes)
            else:
                inner_maps.write(opened, changes, of_maps)

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """All entries, values as the kernel stores them; of a map of maps they are flat."""
        return dict(self.each_entry(map_id))

    def each_entry(self, map_id: int) -> Iterator[tuple[bytes, bytes]]:
        """The same, read as they are asked for."""
        with kernel_info.map_by_id(map_id) as opened:
            if self._info_of(map_id).type_name in MAPS_OF_MAPS:
                yield from inner_maps.read(opened)
            else:
                yield from map_access.entries(opened)

    def read_entry(self, map_id: int, key: bytes) -> bytes | None:
        """One value as the kernel stores it; None: there is none."""
        with kernel_info.map_by_id(map_id) as opened:
            return map_access.lookup(opened, key)

    def stored_value(self, map_id: int, value: bytes) -> bytes:
        """A value as the kernel stores it: once for each processor in a per-CPU map."""
        return map_access.stored(self._info_of(map_id), value)

    def blank_value(self, map_id: int) -> bytes | None:
        """Zeros for an array, whose entries always exist; None: entries can be deleted."""
        info = self._info_of(map_id)
        return map_access.stored(info, bytes(info.value_size_bytes)) if info.is_array else None

    def capacity(self, map_id: int) -> int:
        """How many entries the map holds at most."""
        return self._info_of(map_id).max_entries

    def makes_room(self, map_id: int) -> bool:
        """Whether the kernel drops old entries of the map for new ones."""
        return "lru" in self._info_of(map_id).type_name

    def encode_entries(
        self,
        map_id: int,
        name: str,
        config: MapConfig,
        entry: MapEntry = UNDECLARED,
        of_maps: MapOfMaps | None = None,
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """The configuration as bytes by the map's types, and everything that does not fit them.

        Of a map of maps it is flat, and values are as the kernel stores them.
        """
        layout = self.layout(map_id)
        if of_maps is not None:
            layout = layout_within(layout, of_maps.key, of_maps.inner)
        try:
            encoded = encode_config(
                {name: config}, {name: layout}, {name: entry}, processors=map_access.processors()
            )[name]
        except MapValueError as error:
            return {}, error.reasons
        if of_maps is not None:
            encoded = inner_maps.stored(encoded, of_maps)
        return encoded, ()

    def encode_variables(
        self, map_id: int, values: Mapping[str, Any], entries: Mapping[str, VariableEntry]
    ) -> tuple[dict[str, tuple[int, bytes]], tuple[Reason, ...]]:
        """Offset and bytes of those of the values that lie in this section of global variables."""
        section = self.layout(map_id).value
        if not isinstance(section, StructType):
            return {}, ()
        problems: list[Reason] = []
        return encode_variables(values, entries, section.members, problems), tuple(problems)

    def read_section(self, map_id: int) -> bytes:
        """A section of global variables."""
        with kernel_info.map_by_id(map_id) as opened:
            return sections.read(opened)

    def write_variables(self, map_id: int, changes: Sequence[BytesChange]) -> None:
        """The bytes of each are as `after` says, and no others change."""
        with kernel_info.map_by_id(map_id) as opened:
            sections.write(opened, [(one.offset_bytes, one.after) for one in changes])

    def read_series(
        self, map_id: int, source: MetricSource, entry: MapEntry = UNDECLARED
    ) -> dict[str, int]:
        """The numbers that a metric means, by the text form of their keys.

        Raises:
            RefusedError: The map does not hold them.
        """
        selection = self._selection(map_id, source, entry)
        with kernel_info.map_by_id(map_id) as opened:
            return map_access.selected(opened, selection)

    def layout(self, map_id: int) -> MapLayout:
        """How its keys and values are written."""
        return self._layout_of(map_id)

    def _selection(self, map_id: int, source: MetricSource, entry: MapEntry) -> Selection:
        known = self._selections.get((map_id, source))
        if known is not None and known[0] == entry:
            return known[1]
        selection = select(source, map_codec(self.layout(map_id), entry))
        if len(self._selections) >= _KNOWN:
            self._selections.clear()
        self._selections[map_id, source] = (entry, selection)
        return selection


def _layout(map_id: int) -> MapLayout:
    with kernel_info.map_by_id(map_id) as opened:
        return map_layout(*kernel_info.map_declaration(opened.fd))


def _info(map_id: int) -> MapInfo:
    with kernel_info.map_by_id(map_id) as opened:
        return kernel_info.map_info(opened.fd)
