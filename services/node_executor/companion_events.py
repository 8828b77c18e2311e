# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of companions, as a node says it: in words, as observed state, in the audit log.

Pure.

Rules:
 * The id of an event is made of the supervisor's number and time of it: what is fetched again after
   a crash is the same event.
 * It is told to the audience of the chain that the companion belongs to.
 * That it waits before it is started again is state, and no event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from services.node_executor.companion_set import (
    CompanionPlace,
    WantedCompanion,
    parse_place,
    told_to,
)
from services.node_executor.event_audiences import Said
from services.node_executor.events import sight_event_id
from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    CompanionEvent,
    CompanionEventKind,
    CompanionExit,
    CompanionState,
    ExitReason,
)
from shared.contracts.events import Actor, EventBody, Outcome
from shared.contracts.node_companions import (
    COMPANION_RESTART,
    CompanionShown,
    CompanionUsage,
    ObservedCompanion,
)
from shared.errors import Reason
from shared.event_size import fit_event_body

_ACTIONS: Final[dict[CompanionEventKind, str]] = {
    "start": "companion.start",
    "ready": "companion.ready",
    "exit": "companion.exit",
    "oom": "companion.oom",
    "gave-up": "companion.give-up",
    "stopped": "companion.stop",
    "update": "companion.update",
    "lost": "companion.lose",
}
_EXITS: Final[dict[ExitReason, str]] = {
    "signal": "was ended by {signal}",
    "status": "exited with status {status}",
    "oom": "used more memory than it may",
    "not-ready": "did not say in time that it is ready",
    "not-started": "could not be started",
    "stopped": "was asked to end",
    "lost": "ended with the supervisor",
}
_GIVEN_UP: Final = "it is not started again by itself: l3af companion restart tries once more"


def companion_entries(
    node: str, events: Iterable[CompanionEvent], wanted: Mapping[str, WantedCompanion]
) -> Iterator[Said]:
    """What is to be journaled of what the supervisor saw, oldest first.

    Args:
        node: This one.
        events: As the supervisor numbers them.
        wanted: What is known of the companions that run, or did lately, by id.
    """
    for event in events:
        action = _ACTIONS.get(event.kind)
        place = parse_place(event.id)
        if action is None or (place is None and event.kind != "lost"):
            continue
        occasion = f"{event.number}|{event.time}"
        event_id = sight_event_id(node, event.id, action, occasion=occasion)
        if place is None:
            details = {"events": event.count, "at": event.time}
            body = EventBody(action=action, outcome="observed", node=node, details=details)
            yield Said(event_id, body)
            continue
        body = _body(node, place, action, wanted.get(event.id))
        body = msgspec.structs.replace(
            body,
            outcome=_outcome(event),
            reasons=tuple(_reasons(event, place.companion)),
            details=body.details | _details(event),
        )
        yield Said(event_id, fit_event_body(body), told_to(place, wanted))


def restart_entry(
    node: str,
    place: CompanionPlace,
    wanted: Mapping[str, WantedCompanion],
    *,
    actor: Actor,
    reason: str,
    occasion: str,
) -> Said:
    """Somebody asked for a companion to be started anew."""
    body = _body(node, place, COMPANION_RESTART, wanted.get(str(place)))
    body = msgspec.structs.replace(body, actor=actor, reason=reason)
    event_id = sight_event_id(node, str(place), COMPANION_RESTART, occasion=occasion)
    return Said(event_id, body, told_to(place, wanted))


def exit_words(ended: CompanionExit) -> str:
    """How a run ended; one clause."""
    said = _EXITS[ended.reason].format(signal=ended.signal, status=ended.status)
    return f"{said}: {ended.problem}" if ended.problem else said


def observed_companion(
    one: WantedCompanion, state: CompanionState | None, *, problem: str = "", remark: str = ""
) -> ObservedCompanion:
    """A companion that shall run, by what the supervisor says of it.

    Args:
        one: As it shall run.
        state: Of the supervisor; None: it does not know it.
        problem: Why the supervisor cannot be asked; empty: it was.
        remark: Why the supervisor was not told of it; empty: it was.
    """
    observed = ObservedCompanion(
        deployment=one.place.deployment,
        revision=one.revision,
        companion=one.place.companion,
        state="unknown" if problem else "starting",
        reason=problem or remark,
    )
    if problem or state is None:
        return observed
    is_as_wanted = state.spec_sha256 == spec_digest(one.spec)
    return msgspec.structs.replace(
        observed,
        state=state.phase if is_as_wanted else "starting",
        reason=phase_words(state) if is_as_wanted else "is changed to what is wanted now",
        pid=state.pid,
        restarts=max(state.starts - 1, 0),
    )


def phase_words(state: CompanionState) -> str:
    """Why a companion is not as it should be; empty: it is."""
    ended = state.last_exit
    if state.phase == "gave-up":
        return state.problem or (exit_words(ended) if ended else "failed too often")
    if state.phase == "backing-off" and ended is not None:
        return f"{exit_words(ended)}, {state.failures} times in a row"
    has_failed = ended is not None and not (ended.reason == "status" and ended.status == 0)
    if state.phase == "stopped" and ended is not None and has_failed:
        return exit_words(ended)
    return state.problem


def shown_companion(
    place: CompanionPlace,
    observed: ObservedCompanion,
    one: WantedCompanion | None,
    state: CompanionState | None,
) -> CompanionShown:
    """A companion with the place that it is at, and what it uses."""
    usage = state.usage if state is not None and state.pid else None
    return CompanionShown(
        **place.point._asdict(),
        companion=observed,
        package=one.package if one else "",
        version=one.version if one else "",
        usage=msgspec.convert(usage, CompanionUsage, from_attributes=True) if usage else None,
    )


def left_over(place: CompanionPlace, state: CompanionState) -> ObservedCompanion:
    """One that nobody wants any more, and that has not ended yet."""
    return ObservedCompanion(
        deployment=place.deployment,
        revision=0,
        companion=place.companion,
        state=state.phase,
        reason="is not wanted any more",
        pid=state.pid,
        restarts=max(state.starts - 1, 0),
    )


def _body(
    node: str, place: CompanionPlace, action: str, known: WantedCompanion | None
) -> EventBody:
    return EventBody(
        action=action,
        outcome="accepted",
        node=node,
        interface=place.point.interface,
        netns=place.point.netns,
        hook=place.point.hook,
        deployment=place.deployment,
        package=known.package if known else "",
        version=known.version if known else "",
        details={"companion": place.companion},
    )


def _outcome(event: CompanionEvent) -> Outcome:
    match event.kind:
        case "gave-up":
            return "failed"
        case "update":
            return "failed" if event.problem else "succeeded"
        case "exit":
            return "failed" if _is_failure(event.exit) else "succeeded"
        case "oom":
            return "observed"
        case _:
            return "succeeded"


def _is_failure(ended: CompanionExit | None) -> bool:
    return ended is not None and not (
        ended.reason == "stopped" or (ended.reason == "status" and ended.status == 0)
    )


def _reasons(event: CompanionEvent, companion: str) -> Iterator[Reason]:
    path = f"companions.{companion}"
    if event.exit is not None and _is_failure(event.exit):
        yield Reason(path=path, rule=exit_words(event.exit))
    if event.problem:
        yield Reason(path=path, rule=event.problem)
    if event.kind == "gave-up":
        yield Reason(path=path, rule=_GIVEN_UP)


def _details(event: CompanionEvent) -> dict[str, Any]:
    said: dict[str, Any] = {"at": event.time, "pid": event.pid}
    if event.spec_sha256:
        said["spec_sha256"] = event.spec_sha256
    if event.exit is not None:
        said["exit"] = msgspec.to_builtins(event.exit)
    if event.kind == "gave-up":
        said |= {"alarm": True, "failures": event.count}
    return said
