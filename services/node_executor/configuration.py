# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which entries the maps of a chain shall have, as bytes, and which writes lead there.

Touches nothing itself: a reader of maps is given.
"""

from __future__ import annotations

from typing import Protocol

from services.node_executor.actions import WriteMapEntries
from services.node_executor.drift import base_entries
from services.node_executor.generations import (
    ChainMemory,
    HeldMap,
    MapKey,
    configured_maps,
    map_configs,
)
from services.node_executor.reconciliation import plan_entries
from shared.contracts.desired import DesiredChain, MapConfig
from shared.errors import Reason, RefusedError


class MapReader(Protocol):
    """What can be read of maps, by id."""

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """All entries, values as the kernel stores them."""

    def stored_value(self, map_id: int, value: bytes) -> bytes:
        """A value as the kernel stores it: once for each processor in a per-CPU map."""

    def blank_value(self, map_id: int) -> bytes | None:
        """What an unwanted entry becomes where entries cannot be deleted; None: they can."""

    def encode_entries(
        self, map_id: int, name: str, config: MapConfig
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """The configuration as bytes, by the map's BTF, and everything that does not fit it."""

    def read_scalar(self, map_id: int, key: str) -> int:
        """The number under `key`, or the sum of all with `*`; refused if there is no number."""


class ConfigurationError(RefusedError):
    """Map entries that cannot be written, or numbers that cannot be read; all of them."""


def encode_configuration(
    reader: MapReader, memory: ChainMemory, desired: DesiredChain, maps: tuple[HeldMap, ...]
) -> dict[int, dict[bytes, bytes]]:
    """The entries that every configured map shall have, by map id.

    Raises:
        ConfigurationError: With everything that does not fit the maps.
    """
    ids = {MapKey(held.deployment, held.name): held.map_id for held in maps}
    encoded: dict[int, dict[bytes, bytes]] = {}
    problems: list[Reason] = []
    for key, config in sorted(configured_maps(memory, desired).items()):
        if key in ids:
            encoded[ids[key]], found = reader.encode_entries(ids[key], key.name, config)
            problems += [_of_deployment(reason, key.deployment) for reason in found]
        elif config:
            path = f"{key.deployment}.config.{key.name}"
            problems.append(Reason(path=path, rule="the program has no such map", got=key.name))
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
    names = {held.map_id: MapKey(held.deployment, held.name) for held in maps}
    configs = map_configs(desired)
    return [
        plan_entries(
            map_id,
            present=reader.read_entries(map_id),
            wanted=base_entries(
                memory.drift,
                names[map_id],
                map_id=map_id,
                config=configs.get(names[map_id], {}),
                entries={key: reader.stored_value(map_id, one) for key, one in entries.items()},
            ),
            blank=reader.blank_value(map_id),
        )
        for map_id, entries in encode_configuration(reader, memory, desired, maps).items()
    ]


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
                reader.read_scalar(map_id, source.key)
            except RefusedError as error:
                problems.append(Reason(path=path, rule=error.message, got=source.key))
    if problems:
        first = f"{problems[0].path}: {problems[0].rule}"
        raise ConfigurationError(f"metrics cannot be read: {first}", problems)


def _of_deployment(reason: Reason, deployment: str) -> Reason:
    return Reason(
        path=f"{deployment}.{reason.path}",
        rule=reason.rule,
        got=reason.got,
        allowed=reason.allowed,
    )
