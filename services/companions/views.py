# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How one companion reads to others."""

from __future__ import annotations

from collections.abc import Callable

from services.companions.life import Life, Note
from services.companions.said_lines import SaidLines
from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    CompanionEvent,
    CompanionState,
    CompanionUsage,
    Controller,
)


def companion_state(
    companion: str,
    life: Life,
    lines: SaidLines,
    *,
    usage: CompanionUsage,
    user_id: int,
    missing_limits: tuple[Controller, ...],
    moment: Callable[[float], str],
) -> CompanionState:
    """The companion as it is now; `moment` writes times of its clock."""
    spec = life.spec
    return CompanionState(
        id=companion,
        phase=life.phase,
        since=moment(life.since),
        spec_sha256="" if spec is None else spec_digest(spec),
        pid=life.pid,
        user_id=user_id,
        starts=life.starts,
        failures=life.failures,
        next_start=moment(life.deadline) if life.doing == "waiting" and life.deadline else "",
        last_exit=life.last_exit,
        problem=life.problem,
        missing_limits=missing_limits,
        usage=usage,
        lines_said=lines.said,
        lines_left_out=lines.left_out,
    )


def companion_event(companion: str, life: Life, note: Note, *, time: str) -> CompanionEvent:
    """The event of a note; it has no number yet."""
    return CompanionEvent(
        number=0,
        time=time,
        id=companion,
        kind=note.kind,
        pid=note.pid,
        spec_sha256="" if life.spec is None else spec_digest(life.spec),
        exit=note.exit,
        wait_seconds=note.wait_seconds,
        count=note.count,
        problem=note.problem,
    )
