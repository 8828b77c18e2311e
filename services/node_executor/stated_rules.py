# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the packages of a chain say of their maps and variables.

Pure.  Read from the manifests that travel with the chain; their signatures were verified before the
chain was linked, and are not asked for again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from services.node_executor.generations import MapKey
from shared.configuration.entries import UNDECLARED
from shared.contracts.configuration import VariableEntry
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.package_manifest import MapEntry

_KEPT = 256


class _Stated(msgspec.Struct, frozen=True):
    """Of a manifest, whatever release it is of."""

    maps: dict[str, MapEntry] = {}
    variables: dict[str, VariableEntry] = {}


def map_entry(chain: DesiredChain, key: MapKey) -> MapEntry:
    """What the package of the instance says of one of its maps."""
    for program in chain.programs:
        if program.deployment == key.deployment:
            return _stated(program.signed.manifest.payload).maps.get(key.name, UNDECLARED)
    return UNDECLARED


def variable_entries(program: DesiredProgram) -> Mapping[str, VariableEntry]:
    """What the package says of its global variables."""
    return _stated(program.signed.manifest.payload).variables


@lru_cache(maxsize=_KEPT)
def _stated(payload: str) -> _Stated:
    """Nothing, of a payload that is no manifest: no chain that was linked has one."""
    try:
        return msgspec.json.decode(base64.b64decode(payload, validate=True), type=_Stated)
    except (binascii.Error, msgspec.DecodeError):
        return _Stated()
