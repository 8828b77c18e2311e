# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a deployment configures, with what its package says where it says nothing.

Pure.

Rules:
 * A map that the deployment does not name has the package's default entries.  One that it names has
   its entries alone; where the package says `merge`, those, and the defaults for other keys.
 * A variable has the deployment's value, else the package's default, else what the source gives it.
   Variables that change while the program runs are always stated, so that one which is not named
   any more goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.configuration.entries import encode_entries, type_reason
from shared.configuration.package_rules import map_codecs, variable_codec
from shared.contracts.desired import MapConfig
from shared.contracts.package_facts import ElfFacts, VariableFacts
from shared.contracts.package_manifest import MapEntry, PackageManifest
from shared.errors import Reason


@dataclass(frozen=True, slots=True)
class Variables:
    """Values of the global variables of one program."""

    constants: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)


def whole_config(
    configured: Mapping[str, MapConfig], offered: Mapping[str, MapEntry], maps: Collection[str]
) -> dict[str, MapConfig]:
    """The configuration with the defaults of those of `maps` that the package offers."""
    whole = {name: dict(entries) for name, entries in configured.items()}
    for name, entry in offered.items():
        if entry.default and name in maps:
            if name not in whole:
                whole[name] = dict(entry.default)
            elif entry.mode == "merge":
                whole[name] = {**entry.default, **whole[name]}
    return whole


def config_problems(
    config: Mapping[str, MapConfig], manifest: PackageManifest, elf: Sequence[ElfFacts]
) -> list[Reason]:
    """Everything that does not fit the types, as far as they are known."""
    problems: list[Reason] = []
    codecs = map_codecs(manifest, elf)
    types = {one.name: one.type for facts in elf for one in facts.maps}
    for name, entries in sorted(config.items()):
        path = f"config.{name}"
        if name in types and (reason := type_reason(types[name], path)) is not None:
            problems.append(reason)
        elif name in codecs:
            encode_entries(entries, codecs[name], path, problems)
    return problems


def whole_variables(
    stated: Mapping[str, Any], manifest: PackageManifest, elf: Sequence[ElfFacts]
) -> tuple[Variables, list[Reason]]:
    """The value of every variable of the objects that the package offers, and what does not fit."""
    problems: list[Reason] = []
    facts = {one.name: one for found in elf for one in found.variables}
    for name in stated:
        if name not in manifest.variables or name not in facts:
            rule = "the package declares no such variable for configuration"
            rule = rule if name not in manifest.variables else "the program has no such variable"
            allowed = sorted(manifest.variables.keys() & facts.keys())
            problems.append(Reason(path=f"variables.{name}", rule=rule, got=name, allowed=allowed))
    found = Variables()
    for name, entry in sorted(manifest.variables.items()):
        if name not in facts:
            continue
        codec = variable_codec(facts[name], entry, problems=[])
        value = stated.get(name, entry.default)
        if value is not None or name in stated:
            codec.encode(value, f"variables.{name}", problems)
        elif not facts[name].is_constant:
            value = codec.decode(_initial(facts[name]))
        if value is not None:
            (found.constants if facts[name].is_constant else found.live)[name] = value
    return found, problems


def _initial(facts: VariableFacts) -> bytes:
    return bytes.fromhex(facts.initial)
