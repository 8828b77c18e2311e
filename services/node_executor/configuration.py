# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which entries the maps of a chain shall have, as bytes, and which writes lead there.

Touches nothing itself: a reader of maps is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from services.node_executor.actions import BytesChange, WriteMapEntries, WriteVariables
from services.node_executor.drift import base_entries
from services.node_executor.generations import ChainMemory, MapKey, configured_maps, map_configs
from services.node_executor.held_maps import HeldMap
from services.node_executor.map_plans import is_merged, overflow, plan_map
from services.node_executor.map_types import MapOfMaps
from services.node_executor.reconciliation import Write
from services.node_executor.stated_rules import map_entry, variable_entries
from shared.configuration.entries import UNDECLARED
from shared.contracts.configuration import VariableEntry
from shared.contracts.desired import DesiredChain, MapConfig
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import MapEntry
from shared.errors import Reason, RefusedError
from shared.reason_lists import below

LIVE_SECTIONS: Final = (".data", ".bss")
"""How sections begin whose global variables programs may write as well."""


class MapReader(Protocol):
    """What can be read of maps, by id."""

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """All entries, values as the kernel stores them; of a map of maps they are flat."""

    def stored_value(self, map_id: int, value: bytes) -> bytes:
        """A value as the kernel stores it: once for each processor in a per-CPU map."""

    def blank_value(self, map_id: int) -> bytes | None:
        """What an unwanted entry becomes where entries cannot be deleted; None: they can."""

    def capacity(self, map_id: int) -> int:
        """How many entries the map holds at most."""

    def makes_room(self, map_id: int) -> bool:
        """Whether the kernel drops old entries of the map for new ones."""

    def encode_entries(
        self,
        map_id: int,
        name: str,
        config: MapConfig,
        entry: MapEntry = UNDECLARED,
        of_maps: MapOfMaps | None = None,
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """The configuration as bytes, by the map's BTF, and everything that does not fit it.

        `entry` is what the package says of the map; `of_maps` are the types of a map of maps.
        """

    def encode_variables(
        self,
        map_id: int,
        values: Mapping[str, Any],
        entries: Mapping[str, VariableEntry],
    ) -> tuple[dict[str, tuple[int, bytes]], tuple[Reason, ...]]:
        """Offset and bytes of those of the values that lie in this section of global variables."""

    def read_section(self, map_id: int) -> bytes:
        """A section of global variables."""

    def read_series(
        self, map_id: int, source: MetricSource, entry: MapEntry = UNDECLARED
    ) -> dict[str, int]:
        """The numbers that a metric means, by the text form of their keys; refused if it fits not.

        `entry` is what the package says of the map, and so how its keys are written.
        """


class ConfigurationError(RefusedError):
    """Map entries that cannot be written, or numbers that cannot be read; all of them."""


def encode_configuration(
    reader: MapReader, memory: ChainMemory, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> dict[int, dict[bytes, bytes]]:
    """The entries that every configured map shall have, by map id.

    Raises:
        ConfigurationError: With everything that does not fit the maps.
    """
    present = {MapKey(held.deployment, held.name): held for held in maps}
    encoded: dict[int, dict[bytes, bytes]] = {}
    problems: list[Reason] = []
    for key, config in sorted(configured_maps(memory, desired).items()):
        if key in present:
            entry, map_id = map_entry(desired, key), present[key].map_id
            encoded[map_id], found = reader.encode_entries(
                map_id, key.name, config, entry, present[key].of_maps
            )
            problems += [_of_deployment(reason, key.deployment) for reason in found]
        elif config:
            path = f"{key.deployment}.config.{key.name}"
            problems.append(Reason(path=path, rule="the program has no such map", got=key.name))
    problems += _encoded_variables(reader, desired, maps)[1]
    if problems:
        first = f"{problems[0].path}: {problems[0].rule}"
        raise ConfigurationError(f"the configuration does not fit the maps: {first}", problems)
    return encoded


def plan_writes(
    reader: MapReader, memory: ChainMemory, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> list[WriteMapEntries]:
    """The writes that give every configured map exactly its entries, with what was accepted.

    Raises:
        ConfigurationError: With everything that does not fit the maps.
    """
    held = {one.map_id: one for one in maps}
    planned = [
        _planned(reader, memory, desired, held[map_id], entries)
        for map_id, entries in encode_configuration(reader, memory, desired, maps).items()
    ]
    problems = [reason for _, found in planned for reason in found]
    if problems:
        first = f"{problems[0].path}: {problems[0].rule}"
        raise ConfigurationError(f"the configuration does not fit the maps: {first}", problems)
    return [write for write, _ in planned]


def _planned(
    reader: MapReader,
    memory: ChainMemory,
    desired: DesiredChain,
    held: HeldMap,
    entries: Mapping[bytes, bytes],
) -> tuple[WriteMapEntries, list[Reason]]:
    """The writes of one map, and what it has no room for."""
    map_id, key = held.map_id, MapKey(held.deployment, held.name)
    entry, present = map_entry(desired, key), reader.read_entries(map_id)
    wanted = base_entries(
        memory.drift,
        key,
        map_id=map_id,
        config=map_configs(desired).get(key, {}),
        entries={one: reader.stored_value(map_id, value) for one, value in entries.items()},
    )
    write = plan_map(
        map_id,
        entry,
        held.of_maps,
        present=present,
        wanted=wanted,
        blank=reader.blank_value(map_id),
        capacity=reader.capacity(map_id),
        owned=_owned(reader, memory, held) if is_merged(entry) else (),
    )
    if not is_merged(entry):
        return write, []
    capacity = 0 if reader.makes_room(map_id) else reader.capacity(map_id)
    path = f"{key.deployment}.config.{key.name}"
    return write, list(overflow(write, present, capacity=capacity, path=path))


def plan_all_writes(
    reader: MapReader, memory: ChainMemory, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> list[Write]:
    """The writes that give every configured map and variable its content.

    Raises:
        ConfigurationError: With everything that does not fit the maps.
    """
    entries = plan_writes(reader, memory, desired, maps)
    return [*entries, *plan_variables(reader, desired, maps)]


def plan_variables(
    reader: MapReader, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> list[WriteVariables]:
    """The writes that give every variable that can change while programs run its value.

    Raises:
        ConfigurationError: With everything that does not fit.
    """
    encoded, problems = _encoded_variables(reader, desired, maps)
    if problems:
        first = f"{problems[0].path}: {problems[0].rule}"
        raise ConfigurationError(f"the variables do not fit the program: {first}", problems)
    writes = []
    for map_id, values in encoded.items():
        present = reader.read_section(map_id)
        changes = tuple(
            BytesChange(offset, before=before, after=value)
            for offset, value in sorted(values)
            if (before := present[offset : offset + len(value)]) != value
        )
        writes.append(WriteVariables(map_id, changes))
    return writes


def check_metrics(reader: MapReader, desired: DesiredChain, maps: tuple[HeldMap, ...]) -> None:
    """Every metric of the chain can be read.

    Raises:
        ConfigurationError: With every one that cannot.
    """
    ids = {MapKey(held.deployment, held.name): held.map_id for held in maps}
    problems: list[Reason] = []
    for program in desired.programs:
        for name, source in program.metrics.items():
            path = f"{program.deployment}.metrics.{name}"
            map_id = ids.get(MapKey(program.deployment, source.map))
            if map_id is None:
                known = sorted(key.name for key in ids if key.deployment == program.deployment)
                rule = "the program has no such map"
                problems.append(Reason(path=path, rule=rule, got=source.map, allowed=known))
                continue
            try:
                entry = map_entry(desired, MapKey(program.deployment, source.map))
                reader.read_series(map_id, source, entry)
            except RefusedError as error:
                problems += below(path, error)
    if problems:
        first = f"{problems[0].path}: {problems[0].rule}"
        raise ConfigurationError(f"metrics cannot be read: {first}", problems)


def _owned(reader: MapReader, memory: ChainMemory, held: HeldMap) -> frozenset[bytes]:
    """Keys that earlier chains configured in a map that others write to as well."""
    key = MapKey(held.deployment, held.name)
    return frozenset(
        encoded
        for kept in memory.kept
        if key in (configs := map_configs(kept.chain))
        for encoded in reader.encode_entries(
            held.map_id, key.name, configs[key], map_entry(kept.chain, key), held.of_maps
        )[0]
    )


def _encoded_variables(
    reader: MapReader, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> tuple[dict[int, list[tuple[int, bytes]]], list[Reason]]:
    """Offsets and bytes by section, and everything that does not fit."""
    encoded: dict[int, list[tuple[int, bytes]]] = {}
    problems: list[Reason] = []
    for program in desired.programs:
        if not program.variables:
            continue
        found: set[str] = set()
        for held in maps:
            if held.deployment != program.deployment or not held.name.startswith(LIVE_SECTIONS):
                continue
            values, told = reader.encode_variables(
                held.map_id, program.variables, variable_entries(program)
            )
            found |= values.keys()
            problems += [_of_deployment(reason, program.deployment) for reason in told]
            found |= {reason.path.split(".")[1] for reason in told}
            encoded.setdefault(held.map_id, []).extend(values.values())
        for name in program.variables.keys() - found:
            path = f"{program.deployment}.variables.{name}"
            rule = "the program has no such variable that can change while it runs"
            problems.append(Reason(path=path, rule=rule, got=name))
    return encoded, problems


def _of_deployment(reason: Reason, deployment: str) -> Reason:
    return Reason(
        path=f"{deployment}.{reason.path}",
        rule=reason.rule,
        got=reason.got,
        allowed=reason.allowed,
    )
