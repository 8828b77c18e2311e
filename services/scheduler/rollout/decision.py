# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a rollout does next: one step, or nothing until something is otherwise.

Pure.

Rules:
 * A wave begins when nothing holds it: approvals, windows, limits of the policy, the gate.
 * No further node is changed for a revision of what was revoked meanwhile.
 * A node is changed only while fewer than `max_unavailable` are unavailable, and the policy has
   room.  One that is unavailable anyhow is changed while fewer than that were changed and are not
   confirmed: when nodes return together, no more than that have something new to do.
 * A wave is confirmed when all its nodes were changed, every one that answers is confirmed, at
   least one does (or all are gone, or it is the last wave of several), and its health is known to
   be good.
 * It is through once it was so for `bake_seconds` without a break.  Nodes of which nobody knows yet
   whether they are heard (after a start of the scheduler) are waited for, and break nothing.
 * It failed when a changed node refuses, when its health was bad for as many periods as said, or
   when `timeout_seconds` passed since a node was changed last, and one is pending that was heard
   all that time.  The first of several waves failed when no node of it is left: it would have
   proved something to the others.  (Where all are changed at once, there is nothing to prove.)
 * Who paused it, or what failed while `on_failure` is `pause`, holds everything until somebody
   resumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.scheduler.rollout.standing import (
    GONE,
    UNHEARD,
    Standing,
    named,
    released_nodes,
    unavailable,
)
from services.scheduler.rollout.waves import share_of
from shared.change_windows import Hold
from shared.contracts.rollouts import RolloutSpec, RolloutState, RolloutWave
from shared.errors import Reason
from shared.moments import read_time


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of the nodes of a rollout, and what else decides."""

    standings: Mapping[str, Standing]
    drained: frozenset[str] = frozenset()
    """Nodes that a drain took the deployment off: they are unavailable by somebody's doing."""
    returned_at: Mapping[str, datetime] = field(default_factory=dict)
    """When nodes that were silent were heard again."""
    hold: Hold | None = None
    """What the next wave waits for, beside its gate."""
    stop: str = ""
    """Why no further node may have the revision, whatever else is so; empty: they may."""
    room: int | None = None
    """How many further nodes may be changed for the sake of others; None: any number."""
    is_healthy: bool = True
    """Whether what is asked of its health beside that it runs is known to be so."""
    unknown: str = ""
    """What of its health is not known for long, as a sentence."""
    failure: tuple[Reason, ...] = ()
    """What of its health was bad for too long."""
    bad_periods: int = 0
    """One after the other, up to now."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    """What the numbers that are looked at are before the wave."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The next wave, or the next node, does not begin."""

    why: str


@dataclass(frozen=True, slots=True)
class Release:
    """The first `released` nodes of the wave have the new revision."""

    released: int
    begins: bool
    """Whether the wave begins with it."""
    baseline: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Confirm:
    """Every node of the wave is confirmed and healthy: from now on it bakes."""


@dataclass(frozen=True, slots=True)
class Unconfirm:
    """Some node of the wave is not any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Advance:
    """The wave is through: the next one is to begin."""

    further: tuple[RolloutWave, ...] = ()
    """Of nodes that came meanwhile, if it was the last one."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The last wave is through."""


@dataclass(frozen=True, slots=True)
class Count:
    """So many bad periods there were, one after the other."""

    bad_periods: int


@dataclass(frozen=True, slots=True)
class Fail:
    """The wave failed: what happens is what `on_failure` says."""

    why: str
    evidence: tuple[Reason, ...]


Step = Wait | Release | Confirm | Unconfirm | Advance | Finish | Count | Fail


def decide(
    rollout: RolloutSpec, state: RolloutState, known: Circumstances, now: datetime
) -> Step | None:
    """The next step; None: there is nothing to do now.

    Args:
        rollout: How the newest revision is to reach its nodes.
        state: How far it came; not over.
        known: Everything else that decides.
        now: Aware.
    """
    if state.phase == "paused":
        return None
    if not state.waves:
        return Finish()
    failed = _failure(rollout, state, known, now)
    if failed is not None or known.bad_periods != state.bad_periods:
        return failed or Count(known.bad_periods)
    if state.phase == "waiting":
        return _begun(rollout, state, known)
    if state.phase == "baking":
        return _baked(rollout, state, known, now)
    is_whole = state.released == len(state.waves[state.wave].names)
    return _confirmed(state, known) if is_whole else _released(rollout, state, known)


def due_at(rollout: RolloutSpec, state: RolloutState, known: Circumstances) -> datetime | None:
    """When, if nothing else happens, there may be a next step; None: never."""
    if state.phase == "waiting" and known.hold is not None:
        return known.hold.until
    if state.phase == "rolling-out" and state.released_at:
        pending = [when for _, when in _deadlines(rollout, state, known)]
        return min(pending, default=None)
    if state.phase == "baking":
        return read_time(state.healthy_since) + timedelta(seconds=rollout.bake_seconds)
    return None


def gate_problem(rollout: RolloutSpec, state: RolloutState) -> str:
    """Why the wave waits for an operator; empty: it does not."""
    is_asked = rollout.gate == "manual" or (rollout.gate == "canary" and state.wave == 1)
    if not is_asked or state.wave == 0 or any(one.wave == state.wave for one in state.approvals):
        return ""
    return "it waits for an operator (l3af approve)"


def _begun(rollout: RolloutSpec, state: RolloutState, known: Circumstances) -> Step | None:
    held = known.hold.why if known.hold is not None else ""
    why = known.stop or "; ".join(filter(None, (gate_problem(rollout, state), held)))
    if why:
        return Wait(why) if why != state.why else None
    count, held_by = _next_count(rollout, state, known)
    if count > 0:
        return Release(count, begins=True, baseline=known.baseline)
    return Wait(held_by) if held_by not in ("", state.why) else None


def _released(rollout: RolloutSpec, state: RolloutState, known: Circumstances) -> Step | None:
    if known.stop:
        return Wait(known.stop) if known.stop != state.why else None
    count, held_by = _next_count(rollout, state, known)
    if count > state.released:
        return Release(count, begins=False)
    return Wait(held_by) if held_by not in ("", state.why) else None


def _next_count(rollout: RolloutSpec, state: RolloutState, known: Circumstances) -> tuple[int, str]:
    """How many nodes of the wave may have the revision now, and what further ones wait for.

    Nothing is said of what is on its way.
    """
    told = released_nodes(state)
    away = unavailable(state, known.standings, told)
    ours = away.intersection(told)
    away |= known.drained
    total = len(known.drained.union(*(wave.names for wave in state.waves)))
    allowed = share_of(rollout.max_unavailable, total)
    room = total if known.room is None else known.room
    down = len(away)
    changing = len(ours)
    count = state.released
    for name in state.waves[state.wave].names[state.released :]:
        standing = known.standings.get(name, GONE)
        if standing.state != "gone" and name not in ours:
            is_away = name in away
            if changing >= allowed or (not is_away and (down >= allowed or room <= 0)):
                break
            changing += 1
            down, room = (down, room) if is_away else (down + 1, room - 1)
        count += 1
    standings = [known.standings.get(name, GONE) for name in away]
    if any(one.state == "pending" or one == UNHEARD for one in standings):
        return count, ""  # on its way, or soon known
    if len(away) < allowed:
        return count, "no further node may be changed now, says the rollout policy"
    what = f"{len(away)} of {total} nodes are unavailable and no more than {allowed} may be"
    return count, f"{what}: {named(away)}"


def _confirmed(state: RolloutState, known: Circumstances) -> Step | None:
    if UNHEARD in _of_wave(state, known):
        return None
    problem = _open(state, known)
    if not problem:
        return Confirm()
    why = problem if _is_nobody_there(state, known) else known.unknown
    return Wait(why) if why not in ("", state.why) else None


def _baked(
    rollout: RolloutSpec, state: RolloutState, known: Circumstances, now: datetime
) -> Step | None:
    if UNHEARD in _of_wave(state, known):
        return None
    problem = _open(state, known, with_health=False)
    if problem:
        return Unconfirm(problem)
    end = read_time(state.healthy_since) + timedelta(seconds=rollout.bake_seconds)
    if now < end:
        return None
    if not known.is_healthy:
        return Wait(known.unknown) if known.unknown not in ("", state.why) else None
    return Finish() if state.wave + 1 == len(state.waves) else Advance()


def _of_wave(state: RolloutState, known: Circumstances) -> list[Standing]:
    return [known.standings.get(name, GONE) for name in state.waves[state.wave].names]


def _open(state: RolloutState, known: Circumstances, *, with_health: bool = True) -> str:
    """What is missing for the wave to be confirmed; empty: nothing."""
    if _is_nobody_there(state, known):
        return f"no node of wave {state.wave + 1} answers"
    wave = state.waves[state.wave]
    # Of interfaces: what its label does not name any more follows when the rollout is over.
    open_states = {"pending", "failed", *(() if wave.interface_label else ("idle",))}
    pending = [
        name
        for name, one in zip(wave.names, _of_wave(state, known), strict=True)
        if one.state in open_states
    ]
    if pending:
        return f"not confirmed: {named(pending)}"
    return "" if known.is_healthy or not with_health else "its health is not known yet"


def _is_nobody_there(state: RolloutState, known: Circumstances) -> bool:
    """Whether none of the wave answers, and that matters: it is the first, or more are to come."""
    states = {one.state for one in _of_wave(state, known)}
    matters = state.wave == 0 or state.wave + 1 < len(state.waves)
    return matters and "silent" in states and states <= {"silent", "gone"}


def _failure(
    rollout: RolloutSpec, state: RolloutState, known: Circumstances, now: datetime
) -> Fail | None:
    if state.phase == "waiting" and state.wave == 0:
        return None
    told = released_nodes(state)
    failed = [name for name in told if known.standings.get(name, GONE).state == "failed"]
    if failed:
        reasons = tuple(why for name in failed for why in known.standings[name].why)
        return Fail(f"refused on {named(failed)}", reasons)
    if known.failure:
        return Fail(known.unknown or "it is not healthy", known.failure)
    if rollout.strategy != "all-at-once" and _is_unproved(state, known):
        lost = state.waves[0].names
        rule = "was forgotten, or is not meant any more, before it was confirmed"
        evidence = tuple(Reason(path=f"nodes.{name}", rule=rule) for name in lost)
        return Fail(f"no node of wave 1 is left: {named(lost)}", evidence)
    pending: list[str] = []
    if state.phase == "rolling-out" and state.released_at:
        pending = [name for name, when in _deadlines(rollout, state, known) if when <= now]
    if not pending:
        return None
    reasons = tuple(why for name in pending for why in known.standings[name].why)
    return Fail(f"not confirmed within {rollout.timeout_seconds} s: {named(pending)}", reasons)


def _is_unproved(state: RolloutState, known: Circumstances) -> bool:
    """Whether nobody of the first wave is left, though others are to follow what it proves."""
    return (
        state.wave == 0
        and len(state.waves) > 1
        and all(one.state == "gone" for one in _of_wave(state, known))
    )


def _deadlines(
    rollout: RolloutSpec, state: RolloutState, known: Circumstances
) -> Iterator[tuple[str, datetime]]:
    """The changed nodes that are on their way, and until when each must be confirmed."""
    since, allowed = read_time(state.released_at), timedelta(seconds=rollout.timeout_seconds)
    for name in released_nodes(state):
        if known.standings.get(name, GONE).state == "pending":
            yield name, max(since, known.returned_at.get(name, since)) + allowed
