# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What another wish asks of a run: nothing, an update, or another run."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from shared.companion_specs import spec_digest
from shared.contracts.companions import CompanionSpec

Difference = Literal["none", "update", "restart"]
"""`none`: the run can go on as it is; `update`: its update command can bring it there."""


def difference(running: CompanionSpec, wanted: CompanionSpec) -> Difference:
    """What leads from a run of the one to a run of the other."""
    watched = replace(
        running,
        stop=wanted.stop,
        update=wanted.update,
        readiness=wanted.readiness,
        restart=wanted.restart,
        stop_seconds=wanted.stop_seconds,
    )
    if spec_digest(watched) == spec_digest(wanted):
        return "none"
    told = replace(
        watched,
        start=replace(watched.start, arguments=wanted.start.arguments),
        environment=wanted.environment,
        maps=wanted.maps,
    )
    is_told = wanted.update is not None and spec_digest(told) == spec_digest(wanted)
    return "update" if is_told else "restart"
