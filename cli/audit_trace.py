# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The way of one command through the system, as its records tell it.

Pure.  Request and decision are one record: the service that was asked says who asked and what it
decided.  Then each hook point of each node says that its change begins (`chain.request`) and what
the kernel was found to hold after it; in the end the scheduler says how the command ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor, Event, Outcome
from shared.errors import Reason, RefusedError

Stage = Literal["decided", "begun", "in kernel", "ended", "said"]
BEGINS: Final = "chain.request"
SETTLES: Final = frozenset({"chain.attach", "chain.configure", "chain.detach", "chain.change"})
ENDS: Final = "deployment.complete"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the command."""

    record: int
    stage: Stage
    time: str
    """By the clock of whoever says it."""
    since_start_seconds: float
    since_before_seconds: float
    """Since the step before; at a hook point: since the step before there."""
    place: str
    """Who says it, or the hook point."""
    action: str
    outcome: Outcome
    event: Event


class CommandTrace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that the log has of one command."""

    command_id: str
    action: str
    outcome: Outcome
    """Of the decision."""
    actor: Actor | None
    reason: str = ""
    started_at: str
    ended_at: str = ""
    """Empty: its end is not recorded."""
    took_seconds: float
    """Until its end, or until the last that is recorded."""
    places_begun: int = 0
    places_settled: int = 0
    """Hook points that were begun, and that the kernel was read back from afterwards."""
    problems: tuple[int, ...] = ()
    """Records that claim to belong to it and were not believed."""
    steps: tuple[Step, ...]


def trace_command(command_id: str, records: Sequence[AuditRecord]) -> CommandTrace:
    """The command's way, in order of time.

    Args:
        command_id: Which.
        records: All that the log has under it.

    Raises:
        RefusedError: The log has nothing of it that can be believed.
    """
    believed = [
        (record.index, record.event)
        for record in records
        if record.event is not None and not record.problem
    ]
    problems = tuple(record.index for record in records if record.problem)
    if not believed:
        reason = Reason(path="command_id", rule="no record has this command's id", got=command_id)
        raise RefusedError("the log knows no such command", [reason], code="not_found")
    believed.sort(key=lambda one: (_moment(one[1]), one[0]))
    first = _decision(believed)
    start = _moment(first)
    steps: list[Step] = []
    latest: dict[str, datetime] = {}
    before = start
    for index, event in believed:
        moment, place = _moment(event), _place(event)
        stage = _stage(event, first)
        earlier = latest.get(place, before) if stage == "in kernel" else before
        steps.append(
            Step(
                record=index,
                stage=stage,
                time=event.time,
                since_start_seconds=(moment - start).total_seconds(),
                since_before_seconds=(moment - earlier).total_seconds(),
                place=place,
                action=event.data.action,
                outcome=event.data.outcome,
                event=event,
            )
        )
        latest[place] = before = moment
    # A command that changes several deployments decides and ends once for each of them.
    endings = [step for step in steps if step.stage == "ended"]
    decisions = sum(step.stage == "decided" for step in steps)
    ended = endings[-1] if len(endings) >= decisions else None
    return CommandTrace(
        command_id=command_id,
        action=first.data.action,
        outcome=first.data.outcome,
        actor=first.data.actor,
        reason=first.data.reason,
        started_at=first.time,
        ended_at=ended.time if ended else "",
        took_seconds=(ended or steps[-1]).since_start_seconds,
        places_begun=len({step.place for step in steps if step.stage == "begun"}),
        places_settled=len({step.place for step in steps if step.stage == "in kernel"}),
        problems=problems,
        steps=tuple(steps),
    )


def _decision(believed: Sequence[tuple[int, Event]]) -> Event:
    """The record of request and decision: the first that a service says; else the first."""
    for _, event in believed:
        if not event.emitter.startswith("node/") and event.data.action != ENDS:
            return event
    return believed[0][1]


def _stage(event: Event, decision: Event) -> Stage:
    action = event.data.action
    said = (event.emitter, action, event.data.outcome)
    if said == (decision.emitter, decision.data.action, decision.data.outcome):
        return "decided"
    if action == BEGINS:
        return "begun"
    if action in SETTLES:
        return "in kernel"
    return "ended" if action == ENDS else "said"


def _place(event: Event) -> str:
    body = event.data
    if not event.emitter.startswith("node/"):
        return event.emitter
    return "/".join(part for part in (body.node, body.netns, body.interface, body.hook) if part)


def _moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.time)
