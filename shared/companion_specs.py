# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When two wishes for a companion are the same one."""

from __future__ import annotations

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.companions import CompanionCommand, CompanionSpec


def spec_digest(spec: CompanionSpec) -> str:
    """Of everything but the places where its executables lie now."""
    return canonical_digest(_without_paths(spec))


def _without_paths(spec: CompanionSpec) -> CompanionSpec:
    return msgspec.structs.replace(
        spec, start=_placeless(spec.start), stop=_less(spec.stop), update=_less(spec.update)
    )


def _less(command: CompanionCommand | None) -> CompanionCommand | None:
    return None if command is None else _placeless(command)


def _placeless(command: CompanionCommand) -> CompanionCommand:
    return msgspec.structs.replace(command, path="/-")
