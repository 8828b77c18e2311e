# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the audit log is doing: what somebody should look after, and since when it was said."""

from __future__ import annotations

from typing import Final, Literal, get_args

from shared.contracts.base import API, Endpoint, Message, Request

Condition = Literal["intake", "lag", "gaps", "disk", "checkpoint", "witness", "backup", "clock"]
CONDITIONS: Final[tuple[Condition, ...]] = get_args(Condition)


class GetHealth(Request, frozen=True, kw_only=True):
    """What needs attention."""


class ConditionSeen(Message, frozen=True, kw_only=True):
    """One thing that was looked at."""

    condition: Condition
    needs_attention: bool = False
    is_alarm: bool = False
    """`log.alarm` was said of it, and `log.recover` was not yet."""
    value: float | None = None
    """In `unit`; null: it does not apply here, or cannot be known now."""
    limit: float | None = None
    """Where attention begins, in `unit`; for `disk` the least that is enough."""
    unit: str = ""
    summary: str
    """One sentence."""


class EmitterClock(Message, frozen=True, kw_only=True):
    """How an emitter's clock compares with the auditor's."""

    emitter: str
    offset_seconds: float
    """The least time of receipt less time of event that was seen lately: negative means that the
    emitter's clock is ahead, positive that it is behind or that its events came late."""


class LogHealth(Message, frozen=True, kw_only=True):
    """Everything that was looked at, in the order of CONDITIONS."""

    at: str
    tree_size: int
    conditions: tuple[ConditionSeen, ...]
    clocks: tuple[EmitterClock, ...] = ()
    """The emitters whose clocks differ most."""


GET_HEALTH: Final = Endpoint(f"{API}.auditor.health.get", GetHealth, LogHealth)
