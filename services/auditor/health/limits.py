# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where attention begins, as the auditor is told.  Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from shared.config import Labels
from shared.errors import Reason, RefusedError

VARIABLE = "AUDITOR_ALARMS"
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Each is the value from which on somebody should look."""

    look_seconds: Annotated[float, msgspec.Meta(ge=0.05, le=3600)] = 10.0
    """Between two looks; an alarm needs two of them."""
    lag_seconds: Positive = 60.0
    """How long an event may wait in the stream."""
    gap_days: Positive = 7.0
    """How long a gap that did not close stays a matter for attention."""
    disk_days: Positive = 14.0
    """For so long there must be room at the pace of the last week."""
    disk_mib: Positive = 256.0
    """So much must be free, whatever the pace."""
    checkpoint_seconds: Positive = 180.0
    """Age of the newest signed head."""
    witness_seconds: Positive = 600.0
    """Age of the newest word of each witness."""
    backup_days: Positive = 7.0
    """Age of the newest copy; of a log that was never copied: of its first record."""
    clock_seconds: Positive = 30.0
    """How far an emitter's clock may be off."""


def parse_limits(given: Labels) -> Limits:
    """The limits, those that are not given as they are by default.

    Raises:
        RefusedError: Naming each that is unknown or out of range.
    """
    fields = {field.name: field for field in msgspec.structs.fields(Limits)}
    values: dict[str, Any] = {}
    reasons: list[Reason] = []
    for name, text in given.items():
        path = f"{VARIABLE} {name}"
        if name not in fields:
            reasons.append(Reason(path=path, rule="is no limit", allowed=sorted(fields)))
            continue
        try:
            values[name] = msgspec.convert(
                text, Annotated[fields[name].type, msgspec.Meta()], strict=False
            )
        except msgspec.ValidationError as error:
            reasons.append(Reason(path=path, rule=str(error), got=text))
    if reasons:
        raise RefusedError(f"configuration: {VARIABLE}", reasons)
    return Limits(**values)
