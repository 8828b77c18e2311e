# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A step of a rollout -> the deployment's record after it, and the event that says it.

Pure.

Rules:
 * Every step that nodes or people notice has one event; the record and the event are one write.
 * What a rollout waits for is said once, and again when it is something else; how many and which
   nodes it is by now is in the record alone.
 * Reasons travel short and not all of them: the node's own events have them whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.scheduler.deployment import CommandFacts, state_digest
from services.scheduler.remarks import remarks
from services.scheduler.rollout.decision import (
    Advance,
    Confirm,
    Count,
    Fail,
    Finish,
    Release,
    Step,
    Unconfirm,
    Wait,
)
from services.scheduler.rollout.going_back import ended, gone_back
from services.scheduler.rollout.standing import released_nodes
from services.scheduler.short_reasons import short_reason
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.events import Actor, EventBody, Outcome
from shared.contracts.rollouts import RolloutState
from shared.errors import Reason

EVIDENCE_KEPT: Final = 20
"""Reasons in a record, which has to have room for them beside ten thousand nodes."""
NODES_IN_EVENT: Final = 200


@dataclass(frozen=True, slots=True)
class Applied:
    """What a step leads to."""

    record: DeploymentRecord
    events: tuple[EventBody, ...] = ()


def state_of(record: DeploymentRecord) -> RolloutState:
    """How far the newest revision came."""
    if record.rollout is None:
        raise AssertionError("unreachable: only a rollout has steps")
    return record.rollout


def apply_step(
    record: DeploymentRecord,
    step: Step,
    *,
    at: str,
    step_id: str,
    actor: Actor,
) -> Applied:
    """The record after the step, and its events.

    Args:
        record: With a rollout that goes on.
        step: Decided.
        at: Now, RFC 3339.
        step_id: Which the record is marked with.
        actor: The scheduler.
    """
    if isinstance(step, Fail):
        return _failed(record, step, at=at, step_id=step_id, actor=actor)
    if isinstance(step, Release):
        return _released(record, step, at=at, step_id=step_id)
    after, events = (
        _written(record, step_id, **_fields(step, state_of(record), at)),
        list[EventBody](),
    )
    match step:
        case Wait(why):
            if _in_kind(why) != _in_kind(state_of(record).why):
                events.append(_said(record, after, "wait", "observed", why=why))
        case Confirm():
            events.append(_said(record, after, "confirm", "succeeded"))
        case Finish():
            after = msgspec.structs.replace(after, earlier=())
            events.append(_said(record, after, "complete", "succeeded"))
        case Unconfirm() | Count() | Advance():
            pass
    return Applied(after, tuple(events))


def _fields(
    step: Wait | Confirm | Unconfirm | Count | Advance | Finish,
    state: RolloutState,
    at: str,
) -> dict[str, Any]:
    """What is otherwise in the state of the rollout."""
    match step:
        case Wait(why):
            return {"why": why}
        case Confirm():
            return {"phase": "baking", "healthy_since": at, "why": ""}
        case Unconfirm(why):
            return {"phase": "rolling-out", "healthy_since": "", "released_at": at, "why": why}
        case Count(bad_periods):
            return {"bad_periods": bad_periods}
        case Advance(further):
            waves = (*state.waves, *further)
            return _before_wave() | {"wave": state.wave + 1, "waves": waves}
        case Finish():
            return {"phase": "complete", "ended_at": at, "why": ""}


def _released(record: DeploymentRecord, step: Release, *, at: str, step_id: str) -> Applied:
    state = state_of(record)
    begun: dict[str, Any] = {"wave_started_at": at, "baseline": dict(step.baseline)}
    after = _written(
        record,
        step_id,
        phase="rolling-out",
        released=step.released,
        released_at=at,
        why="",
        **(begun if step.begins else {}),
    )
    nodes = state.waves[state.wave].names[state.released : step.released]
    details = {"begins": step.begins, **_shown(nodes)}
    return Applied(after, (_said(record, after, "release", "succeeded", details=details),))


def _failed(
    record: DeploymentRecord,
    step: Fail,
    *,
    at: str,
    step_id: str,
    actor: Actor,
) -> Applied:
    evidence = tuple(map(short_reason, step.evidence))
    kept: dict[str, Any] = {"why": step.why, "evidence": evidence[:EVIDENCE_KEPT]}
    state = state_of(record)
    on_failure = record.revisions[-1].spec.rollout.on_failure
    if on_failure == "pause":
        after = _written(record, step_id, phase="paused", **kept)
        said = _said(record, after, "pause", "failed", why=step.why, reasons=evidence)
        return Applied(after, (said,))
    if on_failure == "roll-back-wave":
        after = _written(record, step_id, **(_before_wave() | {"phase": "paused"} | kept))
        nodes = state.waves[state.wave].names[: state.released]
        said = _said(
            record,
            after,
            "rollback",
            "failed",
            why=step.why,
            reasons=evidence,
            details={"only_wave": True, **_shown(nodes)},
        )
        return Applied(after, (said,))
    facts = CommandFacts(command_id=step_id, actor=actor, at=at, reason=step.why)
    after = gone_back(record, ended(state, "rolled-back", at=at, **kept), facts)
    details = {"to_revision": state.base_revision, **_shown(released_nodes(state))}
    said = _said(
        record, after, "rollback", "failed", why=step.why, reasons=evidence, details=details
    )
    return Applied(after, (said,))


def _shown(nodes: Sequence[str]) -> dict[str, Any]:
    return {"node_count": len(nodes), "nodes": list(nodes[:NODES_IN_EVENT])}


def _in_kind(why: str) -> str:
    """What is waited for, whatever the numbers and the nodes are by now."""
    return re.sub(r"\d+", "", why.partition(": ")[0])


def _before_wave() -> dict[str, Any]:
    """A wave of which no node has the revision."""
    return {
        "phase": "waiting",
        "released": 0,
        "released_at": "",
        "wave_started_at": "",
        "healthy_since": "",
        "bad_periods": 0,
        "why": "",
    }


def _written(record: DeploymentRecord, step_id: str, **fields: Any) -> DeploymentRecord:
    """The record with these fields of its rollout, marked with the step that wrote it."""
    state = state_of(record)
    after = msgspec.structs.replace(state, step=state.step + 1, **fields)
    return msgspec.structs.replace(record, rollout=after, written_by=step_id)


def _said(
    before: DeploymentRecord,
    after: DeploymentRecord,
    verb: str,
    outcome: Outcome,
    *,
    why: str = "",
    reasons: tuple[Reason, ...] = (),
    details: dict[str, Any] | None = None,
) -> EventBody:
    revision, state = before.revisions[-1], state_of(before)
    return EventBody(
        action=f"rollout.{verb}",
        outcome=outcome,
        correlation=revision.command_id,
        reason=why,
        hook=revision.spec.hook,
        deployment=before.key,
        package=revision.spec.package,
        version=revision.version,
        reasons=reasons,
        before=state_digest(before),
        after=state_digest(after),
        details={
            "revision": revision.revision,
            "wave": state.wave + 1,
            "waves": len(state.waves),
            "reason_count": len(reasons),
            **remarks(revision),
            **(details or {}),
        },
    )
