# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package with maps of maps of every kind that can be configured."""

from __future__ import annotations

from functools import cache
from typing import Any

from shared.bytecode.elf import read_elf_facts
from shared.contracts.configuration import MemberEntry
from shared.contracts.desired import DesiredProgram
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import (
    InnerMapEntry,
    MapEntry,
    PackageManifest,
    ProgramEntry,
)
from tests.support.bpf_objects import bpf_object
from tests.support.executors import Published, a_program, packed

OBJECT = "nested.bpf.o"
MAPS: dict[str, MapEntry] = {
    "tenants": MapEntry(
        key_members={"vlan": MemberEntry(minimum=1, maximum=4094)},
        inner=InnerMapEntry(
            key_format="port", key_minimum=1, value_members={"next": MemberEntry(format="ipv4")}
        ),
    ),
    "zones": MapEntry(inner=InnerMapEntry(mode="merge")),
    "stages": MapEntry(),
    "totals": MapEntry(mode="merge"),
    "counted": MapEntry(inner=InnerMapEntry(mode="merge")),
    "grades": MapEntry(),
}
TENANT = '{"vlan":7,"zone":1}'
OTHER_TENANT = '{"vlan":8,"zone":0}'
BLOCKED = {"action": "BLOCK", "next": "192.0.2.1", "name": "web"}
LET = {"action": "LET", "next": "0.0.0.0", "name": ""}
CONFIG: dict[str, dict[str, Any]] = {
    "tenants": {TENANT: {"80": BLOCKED, "443": LET}, OTHER_TENANT: {}},
    "zones": {"1": {"10.0.0.0/8": 4294967295}},
    "stages": {"7": {"0": -32768, "1": 32767}},
    "totals": {"0": {"18446744073709551615": 1}},
    "grades": {
        "0": {"0": "BLOCK", "1": "LET", "2": "LET"},
        "1": {"0": "LET", "1": "BLOCK", "2": "LET"},
    },
}


@cache
def facts() -> ElfFacts:
    """What the catalog reads from the object."""
    return read_elf_facts(bpf_object("nested"), OBJECT)


def a_manifest(**changes: Any) -> PackageManifest:
    """The package's manifest."""
    fields: dict[str, Any] = {
        "name": "nested",
        "version": "1.0.0",
        "summary": "Maps of maps",
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "programs": tuple(
            ProgramEntry(name=name, object=OBJECT, function=name, hooks=("xdp",))
            for name in ("nested", "counting")
        ),
        "maps": MAPS,
    }
    return PackageManifest(**{**fields, **changes})


@cache
def nested() -> Published:
    """The package as the catalog holds it."""
    return packed(a_manifest(), {OBJECT: bpf_object("nested")})


def a_nested_program(**changes: Any) -> DesiredProgram:
    """Its program that only reads, as instance `one`."""
    fields: dict[str, Any] = {
        "package": "nested",
        "program": "nested",
        "function": "nested",
        "object": OBJECT,
        "signed": nested().signed,
    }
    return a_program(**{**fields, **changes})
