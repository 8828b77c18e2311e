# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package whose maps and variables are of every kind that can be configured."""

from __future__ import annotations

from functools import cache
from typing import Any

from shared.bytecode.elf import read_elf_facts
from shared.contracts.configuration import MemberEntry, VariableEntry
from shared.contracts.desired import DesiredProgram
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import MapEntry, PackageManifest, ProgramEntry
from tests.support.bpf_objects import bpf_object
from tests.support.executors import Published, a_program, packed

OBJECT = "configured.bpf.o"
_FLOW = {
    "address": MemberEntry(format="ipv4"),
    "port": MemberEntry(format="port", minimum=1),
}
_RULE = {
    "next.mac": MemberEntry(format="mac"),
    "low": MemberEntry(minimum=1),
    "wide": MemberEntry(format="hex"),
}
MAPS: dict[str, MapEntry] = {
    "rules": MapEntry(key_members=_FLOW, value_members=_RULE),
    "networks": MapEntry(),
    "networks6": MapEntry(value_format="ipv6"),
    "levels": MapEntry(default={"1": "BLOCK"}),
    "steps": MapEntry(),
    "counts": MapEntry(key_format="port", value_members=_FLOW),
    "peers": MapEntry(key_format="mac", value_format="ipv4"),
    "seen": MapEntry(key_format="hex", value_format="bool"),
    "names": MapEntry(value_members=_RULE),
    "allowed": MapEntry(mode="merge", default={"22": True}),
}
VARIABLES: dict[str, VariableEntry] = {
    "limit": VariableEntry(minimum=64, maximum=9000),
    "fixed": VariableEntry(members=_FLOW),
    "threshold": VariableEntry(default=600),
    "otherwise": VariableEntry(),
    "label": VariableEntry(),
}


@cache
def facts() -> ElfFacts:
    """What the catalog reads from the object."""
    return read_elf_facts(bpf_object("configured"), OBJECT)


def a_manifest(**changes: Any) -> PackageManifest:
    """The package's manifest."""
    fields: dict[str, Any] = {
        "name": "configured",
        "version": "1.0.0",
        "summary": "Everything that can be configured",
        "licence": "GPL-2.0-only OR BSD-2-Clause",
        "programs": (
            ProgramEntry(name="configured", object=OBJECT, function="configured", hooks=("xdp",)),
        ),
        "maps": MAPS,
        "variables": VARIABLES,
    }
    return PackageManifest(**{**fields, **changes})


@cache
def configured() -> Published:
    """The package as the catalog holds it."""
    return packed(a_manifest(), {OBJECT: bpf_object("configured")})


def a_configured_program(**changes: Any) -> DesiredProgram:
    """Its program, as instance `one`."""
    fields: dict[str, Any] = {
        "package": "configured",
        "program": "configured",
        "function": "configured",
        "object": OBJECT,
        "signed": configured().signed,
    }
    return a_program(**{**fields, **changes})
