# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit check`: what about the log needs attention, for operators and their monitoring."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.session import ask
from shared.contracts.log_health import GET_HEALTH, ConditionSeen, GetHealth, LogHealth

NEEDS_ATTENTION: Final = 1


def check(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Lag, gaps, disk, signed heads, witnesses, copies and clocks; exit status 1: look after it.

    Status 0: nothing needs attention.  Status 2 or 3: it could not be asked.
    """
    health = run(ask(GET_HEALTH, GetHealth(), credentials), json=json)
    emit(health, render_health, json=json)
    if any(one.needs_attention for one in health.conditions):
        sys.exit(NEEDS_ATTENTION)


def render_health(health: LogHealth) -> RenderableType:
    """A line for each condition."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in health.conditions:
        word, style = _state(one)
        table.add_row(one.condition, Text(word, style=style), plain(one.summary))
    worst = [
        f"{plain(one.emitter)} {one.offset_seconds:+.1f} s"
        for one in health.clocks
        if _is_seen(one.offset_seconds)
    ]
    lines: list[RenderableType] = [table]
    if worst:
        text = "receipt less event, the least seen lately: " + ", ".join(worst)
        lines.append(Text(text, style="dim"))
    return Group(*lines, Text(f"{health.tree_size} records at {health.at}", style="dim"))


def _state(one: ConditionSeen) -> tuple[str, str]:
    if one.needs_attention:
        return "attention", "bold red"
    if one.is_alarm:
        return "recovering", "yellow"
    return ("ok", "green") if one.value is not None or one.condition == "intake" else ("-", "dim")


def _is_seen(offset_seconds: float) -> bool:
    return abs(offset_seconds) >= 1
