# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package takes as configuration, as JSON Schema: for editors, forms and other tools.

Pure.  JSON Schema cannot say everything that is checked (that members of a union agree, how many
bytes a text has); what it refuses is refused, and the plan of a deployment has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.configuration.codecs import Codec, EnumCodec, NumberCodec
from shared.configuration.entries import PROCESSORS, MapCodec
from shared.configuration.package_rules import map_codecs, variable_codec
from shared.contracts.configuration import VariableEntry
from shared.contracts.node_companions import MAX_ARGUMENT_CHARACTERS
from shared.contracts.package_facts import ElfFacts, VariableFacts
from shared.contracts.package_manifest import (
    CompanionArgument,
    CompanionEntry,
    MapEntry,
    PackageManifest,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_UNKNOWN = "Its types are not known before a node has it; nodes check what is configured."


def configuration_schema(manifest: PackageManifest, elf: Sequence[ElfFacts]) -> dict[str, Any]:
    """Of the members `config`, `variables` and `companions` of a deployment of this version."""
    codecs = map_codecs(manifest, elf)
    variables = {one.name: one for facts in elf for one in facts.variables}
    return {
        "$schema": DIALECT,
        "title": f"Configuration of {manifest.name} {manifest.version}",
        "type": "object",
        "properties": {
            "config": _object(
                {name: _map(entry, codecs.get(name)) for name, entry in manifest.maps.items()}
            ),
            "variables": _object(
                {
                    name: _variable(entry, variables[name])
                    for name, entry in manifest.variables.items()
                    if name in variables
                }
            ),
            "companions": _object(
                {name: _companion(entry) for name, entry in manifest.companions.items()}
            ),
        },
        "additionalProperties": False,
    }


def _companion(entry: CompanionEntry) -> dict[str, Any]:
    required = sorted(name for name, one in entry.arguments.items() if one.required)
    arguments = _object({name: _argument(one) for name, one in entry.arguments.items()})
    shape = _object({"arguments": arguments | ({"required": required} if required else {})})
    if required:
        shape["required"] = ["arguments"]
    return shape | ({"description": entry.summary} if entry.summary else {})


def _argument(stated: CompanionArgument) -> dict[str, Any]:
    said = {
        "description": stated.summary or None,
        "default": stated.default,
        "minimum": stated.minimum,
        "maximum": stated.maximum,
        "maxLength": MAX_ARGUMENT_CHARACTERS if stated.type == "string" else None,
    }
    known = {name: value for name, value in said.items() if value is not None}
    return {"type": stated.type, **known}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _map(entry: MapEntry, codec: MapCodec | None) -> dict[str, Any]:
    described = [entry.summary, f"Key: {entry.key}." if entry.key else ""]
    described += [f"Value: {entry.value}." if entry.value else "", "" if codec else _UNKNOWN]
    shape: dict[str, Any] = {"type": "object"}
    if text := " ".join(one for one in described if one):
        shape["description"] = text
    if codec is not None:
        shape |= _entries(codec)
    if entry.default:
        shape["default"] = entry.default
    return shape


def _entries(codec: MapCodec) -> dict[str, Any]:
    """Keys, values and how many; the values of a map of maps are such objects themselves."""
    held = codec.inner
    shape: dict[str, Any] = {
        "propertyNames": _key(codec.key),
        "additionalProperties": _value(codec) if held is None else _inner(held),
    }
    if codec.layout.max_entries:
        shape["maxProperties"] = codec.layout.max_entries
    return shape


def _inner(codec: MapCodec) -> dict[str, Any]:
    return {"type": "object", **_entries(codec)}


def _value(codec: MapCodec) -> dict[str, Any]:
    """The same for all processors, or in a per-CPU map one for each."""
    one = codec.value.schema()
    if "percpu" not in codec.layout.type_name:
        return one
    each = {"type": "array", "items": one, "minItems": 1}
    return {"anyOf": [one, _object({PROCESSORS: each}) | {"required": [PROCESSORS]}]}


def _key(codec: Codec) -> dict[str, Any]:
    """Of a key's text."""
    if isinstance(codec, EnumCodec):
        return {"enum": [str(one) for one in codec.schema()["enum"]]}
    if isinstance(codec, NumberCodec):
        return {"pattern": "^-?(0|[1-9][0-9]*)$" if codec.is_signed else "^(0|[1-9][0-9]*)$"}
    shape = codec.schema()
    is_plain = codec.is_text and shape.get("type") == "string"
    return shape if is_plain else {"type": "string"}


def _variable(entry: VariableEntry, facts: VariableFacts) -> dict[str, Any]:
    codec = variable_codec(facts, entry, problems=[])
    initial = codec.decode(bytes.fromhex(facts.initial))
    shape = {**codec.schema(), "default": initial if entry.default is None else entry.default}
    effect = "Another value links the program anew." if facts.is_constant else ""
    if text := " ".join(one for one in (entry.summary, effect) if one):
        shape["description"] = text
    return shape
