# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package says of its maps and variables, against the types in its object files.

Pure.  What the facts do not tell (C sources, types with too many parts) is judged by nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from shared.configuration.codecs import Codec
from shared.configuration.entries import (
    MAP_ID_BYTES,
    MapCodec,
    MapLayout,
    encode_entries,
    map_codec,
    type_reason,
)
from shared.configuration.kinds import ValueRules, codec_of
from shared.contracts.configuration import VariableEntry
from shared.contracts.package_facts import ElfFacts, MapFacts, VariableFacts
from shared.contracts.package_manifest import MapEntry, PackageManifest
from shared.contracts.value_types import IntegerType
from shared.errors import Reason


def layout_of(facts: MapFacts) -> MapLayout | None:
    """The map's types; None: they are not known."""
    if facts.key is None:
        return None
    if facts.inner is not None:
        id_type = IntegerType(MAP_ID_BYTES)
        return MapLayout(facts.key, id_type, facts.max_entries, facts.type, facts.inner)
    if facts.value is None:
        return None
    return MapLayout(facts.key, facts.value, facts.max_entries, facts.type)


def variable_codec(
    facts: VariableFacts, entry: VariableEntry, *, path: str = "", problems: list[Reason]
) -> Codec:
    """How the variable's values are written; what the package says and cannot be kept is told."""
    return codec_of(facts.type, variable_rules(entry, path), problems)


def variable_rules(entry: VariableEntry, path: str = "") -> ValueRules:
    """What the package says of a variable."""
    return ValueRules(entry.format, entry.members, entry.minimum, entry.maximum, f"{path}.")


def configuration_reasons(manifest: PackageManifest, elf: Sequence[ElfFacts]) -> Iterator[Reason]:
    """Everything that the package says of its configuration and its types cannot keep."""
    for facts in elf:
        for one in facts.maps:
            if (entry := manifest.maps.get(one.name)) is not None:
                yield from _map_reasons(entry, one, path=f"manifest.maps.{one.name}")
        for variable in facts.variables:
            if (stated := manifest.variables.get(variable.name)) is not None:
                yield from _variable_reasons(
                    stated, variable, path=f"manifest.variables.{variable.name}"
                )
    are_typed = all(facts.has_btf and not facts.compiler for facts in elf)
    known = {one.name for facts in elf for one in facts.variables}
    for name in manifest.variables:
        if name not in known and elf and are_typed:
            yield Reason(
                path=f"manifest.variables.{name}",
                rule="no object file has a global variable of this name that can be configured",
                allowed=sorted(known),
            )


def offered_types(facts: ElfFacts, manifest: PackageManifest) -> ElfFacts:
    """The facts with the types of what the package offers for configuration alone."""
    return msgspec.structs.replace(
        facts,
        maps=tuple(one if one.name in manifest.maps else _untyped(one) for one in facts.maps),
        variables=tuple(one for one in facts.variables if one.name in manifest.variables),
    )


def _untyped(facts: MapFacts) -> MapFacts:
    return msgspec.structs.replace(facts, key=None, value=None, inner=None)


def map_codecs(manifest: PackageManifest, elf: Iterable[ElfFacts]) -> dict[str, MapCodec]:
    """Of every map that the package offers and whose types are known, by name."""
    return {
        one.name: map_codec(layout, manifest.maps[one.name], has_ranges=True)
        for facts in elf
        for one in facts.maps
        if one.name in manifest.maps and (layout := layout_of(one)) is not None
    }


def _map_reasons(entry: MapEntry, facts: MapFacts, *, path: str) -> Iterator[Reason]:
    is_configured = entry.default or entry.mode != "exact"
    if is_configured and (reason := type_reason(facts.type, path)) is not None:
        yield reason
        return
    layout = layout_of(facts)
    if layout is None:
        return
    problems: list[Reason] = []
    codec = map_codec(layout, entry, path=path, problems=problems, has_ranges=True)
    if not problems:
        encode_entries(entry.default, codec, f"{path}.default", problems)
    yield from problems


def _variable_reasons(entry: VariableEntry, facts: VariableFacts, *, path: str) -> Iterator[Reason]:
    problems: list[Reason] = []
    codec = variable_codec(facts, entry, path=path, problems=problems)
    if not problems and entry.default is not None:
        codec.encode(entry.default, f"{path}.default", problems)
    yield from problems
