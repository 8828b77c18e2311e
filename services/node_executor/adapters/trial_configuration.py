# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package's test is configured as a deployment would be: defaults, formats, global variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.node_executor.actions import EntryChange
from services.node_executor.adapters import inner_maps, kernel_info, map_access, sections
from services.node_executor.adapters.map_shapes import declared_shapes
from services.node_executor.configuration import LIVE_SECTIONS
from services.node_executor.constants import encode_constants
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from services.node_executor.map_types import MapOfMaps
from services.node_executor.packages import configuration_problems
from shared.bytecode.elf import read_elf
from shared.configuration.deployed import Variables, whole_config, whole_variables
from shared.configuration.entries import (
    MapLayout,
    MapValueError,
    encode_config,
    layout_within,
    map_layout,
    value_error,
)
from shared.configuration.variables import encode_variables
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import PackageTest
from shared.contracts.value_types import StructType
from shared.errors import Reason, RefusedError


def trial_variables(
    manifest: PackageManifest, test: PackageTest, data: bytes, path: str
) -> tuple[Variables, dict[str, bytes]]:
    """Values of the object's global variables, and the bytes of those that are constants.

    Raises:
        RefusedError: A value does not fit; all are named.
    """
    if not manifest.variables and not test.variables:
        return Variables(), {}
    reading = read_elf(data, path)
    variables, problems = whole_variables(test.variables, manifest, [reading.facts])
    if problems:
        raise value_error(problems)
    constants = encode_constants(
        variables.constants, manifest.variables, reading.object, name=test.program
    )
    return variables, constants


def configure(
    maps: Mapping[str, LoadedMap],
    manifest: PackageManifest,
    test: PackageTest,
    live: Mapping[str, Any],
    source: ProgramSource,
) -> None:
    """Maps and variables are as the test says, and as the package where it says nothing.

    Raises:
        RefusedError: Something does not fit; all of one kind is named.
    """
    problems = list(configuration_problems(test.config, manifest.maps, path="config"))
    if problems:
        raise RefusedError(f"{problems[0].path}: {problems[0].rule}", problems)
    config = whole_config(test.config, manifest.maps, maps)
    shapes = declared_shapes(source.data, source.object_path)
    of_maps = {name: one.of_maps for name, one in shapes.items() if one.of_maps is not None}
    layouts = {name: _layout(find_map(maps, name), of_maps.get(name)) for name in config}
    for name, entries in encode_config(config, layouts, manifest.maps).items():
        loaded, types = maps[name], of_maps.get(name)
        if types is not None:
            flat = inner_maps.stored(entries, types)
            changes = [EntryChange(key, None, value) for key, value in flat.items()]
            inner_maps.write(loaded.handle, changes, types)
        else:
            changes = [
                EntryChange(key, None, map_access.stored(loaded.info, value))
                for key, value in entries.items()
            ]
            inner_maps.write_changes(loaded.handle, changes)
    for name, section in maps.items():
        if live and name.startswith(LIVE_SECTIONS):
            _set_variables(section, manifest, live)


def _layout(loaded: LoadedMap, of_maps: MapOfMaps | None) -> MapLayout:
    layout = map_layout(*kernel_info.map_declaration(loaded.handle.fd))
    return layout if of_maps is None else layout_within(layout, of_maps.key, of_maps.inner)


def find_map(maps: Mapping[str, LoadedMap], name: str) -> LoadedMap:
    """The map, which the package has but maybe not this program's object.

    Raises:
        MapValueError: It has not.
    """
    found = maps.get(name)
    if found is None:
        reason = Reason(
            path=name, rule="the program has no such map", got=name, allowed=sorted(maps)
        )
        raise MapValueError(f"{name}: {reason.rule}", [reason])
    return found


def _set_variables(section: LoadedMap, manifest: PackageManifest, live: Mapping[str, Any]) -> None:
    layout = map_layout(*kernel_info.map_declaration(section.handle.fd)).value
    if isinstance(layout, StructType):
        encoded = encode_variables(live, manifest.variables, layout.members, [])
        sections.write(section.handle, list(encoded.values()))
