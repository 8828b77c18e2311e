# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the way of one command looks to a person."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_trace import CommandTrace, Step
from cli.audit_view import OUTCOME_STYLES, describe, moment, why
from cli.console import plain
from cli.people import Names, render_actor

HEADINGS = ("record", "after", "step", "where", "action", "outcome", "what")


def render_trace(trace: CommandTrace, names: Names) -> RenderableType:
    """Who asked, how it ended, and a line for each step with the time that it took."""
    who = render_actor(trace.actor, names) or "nobody"
    asked = f"{moment(trace.started_at)} UTC: {who} asked for {trace.action}"
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        is_short = heading not in {"where", "what"}
        table.add_column(heading, header_style="bold", overflow="fold", no_wrap=is_short)
    for step in trace.steps:
        table.add_row(*_cells(step))
    return Group(
        Text(plain(f"{asked} ({trace.reason})" if trace.reason else asked), style="bold"),
        table,
        Text(_ending(trace)),
        *(
            Text(f"record {index} claims to belong to it and was not believed", style="bold red")
            for index in trace.problems
        ),
    )


def _cells(step: Step) -> tuple[RenderableType, ...]:
    body = step.event.data
    what = describe(body) if step.stage in {"decided", "said"} else ""
    details = body.details
    if step.stage == "in kernel":
        what = ", ".join(
            f"{label} {details[name]}"
            for name, label in (("program_id", "program"), ("link_id", "link"),
                                ("xdp_mode", "mode"), ("generation", "generation"))
            if details.get(name)
        )  # fmt: skip
    reason = why(body) if body.reasons else ""
    return (
        str(step.record),
        f"+{step.since_start_seconds:.3f} s",
        step.stage,
        plain(step.place),
        plain(step.action),
        Text(body.outcome, style=OUTCOME_STYLES[body.outcome]),
        plain("; ".join(part for part in (what, reason, _took(step)) if part)),
    )


def _took(step: Step) -> str:
    return f"{step.since_before_seconds:.3f} s" if step.stage == "in kernel" else ""


def _ending(trace: CommandTrace) -> str:
    places = f"{trace.places_settled} of {trace.places_begun} hook points settled"
    took = f"{trace.took_seconds:.3f} s"
    if trace.ended_at:
        return f"ended after {took}; {places}"
    if trace.places_begun:
        return f"its end is not recorded; {places} within {took}"
    return f"decided and over: {trace.outcome}"
