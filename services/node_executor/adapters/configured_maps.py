# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Configured maps and sections of global variables in the kernel, by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from services.node_executor.actions import BytesChange, EntryChange
from services.node_executor.adapters import kernel_info, map_access, map_batches, sections
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import MapInfo
from shared.configuration.entries import (
    UNDECLARED,
    MapLayout,
    MapValueError,
    encode_config,
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

_WORD_BYTES: Final = 8
_KNOWN: Final = 4096
"""Maps of which is known how they were made: no id is given twice, and nothing of it changes."""


class ConfiguredMaps:
    """Maps by their ids; nothing is held between calls."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._layout_of = lru_cache(_KNOWN)(_layout)
        self._info_of = lru_cache(_KNOWN)(_info)
        self._selections: Final[dict[tuple[int, MetricSource], tuple[MapEntry, Selection]]] = {}

    def write_entries(self, map_id: int, changes: Sequence[EntryChange]) -> None:
        """Each entry is as `after` says; if that fails, some may be."""
        with kernel_info.map_by_id(map_id) as opened:
            for is_removal, some in groupby(changes, key=lambda one: one.after is None):
                if is_removal:
                    map_batches.delete(opened, [one.key for one in some])
                else:
                    map_batches.update(opened, [(one.key, one.after or b"") for one in some])

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """All entries, values as the kernel stores them."""
        with kernel_info.map_by_id(map_id) as opened:
            return dict(map_access.entries(opened))

    def each_entry(self, map_id: int) -> Iterator[tuple[bytes, bytes]]:
        """All entries as the kernel stores them, read as they are asked for."""
        with kernel_info.map_by_id(map_id) as opened:
            yield from map_access.entries(opened)

    def read_entry(self, map_id: int, key: bytes) -> bytes | None:
        """One value as the kernel stores it; None: there is none."""
        with kernel_info.map_by_id(map_id) as opened:
            return map_access.lookup(opened, key)

    def stored_value(self, map_id: int, value: bytes) -> bytes:
        """A value as the kernel stores it: once for each processor in a per-CPU map."""
        return stored(self._info_of(map_id), value)

    def blank_value(self, map_id: int) -> bytes | None:
        """Zeros for an array, whose entries always exist; None: entries can be deleted."""
        info = self._info_of(map_id)
        return stored(info, bytes(info.value_size_bytes)) if info.is_array else None

    def capacity(self, map_id: int) -> int:
        """How many entries the map holds at most."""
        return self._info_of(map_id).max_entries

    def encode_entries(
        self, map_id: int, name: str, config: MapConfig, entry: MapEntry = UNDECLARED
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """The configuration as bytes by the map's BTF, and everything that does not fit it."""
        layouts = {name: self.layout(map_id)}
        try:
            encoded = encode_config(
                {name: config}, layouts, {name: entry}, processors=_processors()
            )
            return encoded[name], ()
        except MapValueError as error:
            return {}, error.reasons

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


def stored(info: MapInfo, value: bytes) -> bytes:
    """A value as the kernel stores it: once for each processor in a per-CPU map.

    One that has a value for each processor already is as it is.
    Documentation/bpf/map_hash.rst: per-CPU values are padded to 8 bytes each.
    """
    if not info.is_per_cpu or len(value) > info.value_size_bytes:
        return value
    padded = value.ljust(-(-len(value) // _WORD_BYTES) * _WORD_BYTES, b"\0")
    return padded * _processors()


def _processors() -> int:
    return int(libraries().bpf.libbpf_num_possible_cpus())
