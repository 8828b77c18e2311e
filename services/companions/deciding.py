# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What happens next with one companion: an input in, actions and events out.

Pure: it starts nothing and reads no clock.

Rules:
 * One run at a time.  The next one begins when nothing of the one before is left.
 * A run that ends by itself is started again as its `restart` says, after a wait that doubles.
 * A run that lasted is well: what comes after it is a first failure.
 * Too many failures within the window, or one that cannot pass, and it is given up until somebody
   asks for another companion or for a restart.
 * What is to end gets its stop command and SIGTERM, and after its time the whole group is killed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as with_fields

from services.companions.differences import difference
from services.companions.life import (
    Action,
    Began,
    Begin,
    Clear,
    Cleared,
    CommandEnded,
    CommandName,
    Ended,
    Forget,
    Input,
    KillGroup,
    Life,
    Note,
    ProcessKilledForMemory,
    RestartAsked,
    RunCommand,
    SaidReady,
    Step,
    Terminate,
    TimePassed,
    Wanted,
)
from shared.companion_specs import spec_digest
from shared.contracts.companions import CompanionExit, CompanionSpec, ExitReason

UPDATE_SECONDS: Final = 30.0
"""What an update command may take."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When to start again, and when not to any more."""

    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    stable_seconds: float = 60.0
    tries: int = 10
    """Failures within the window after which it is given up."""
    window_seconds: float = 600.0

    def wait_seconds(self, failures: int) -> float:
        """After that many failures in a row, from 1."""
        doubled = self.first_wait_seconds * 2.0 ** min(failures - 1, 30)
        return min(doubled, self.longest_wait_seconds)


RULES: Final = Rules()


def new_life(spec: CompanionSpec, *, now: float) -> Step:
    """A companion that was not known before."""
    return _begin(Life(wanted=spec, doing="stopped", since=now), spec, now)


def step(life: Life, happened: Input, *, now: float, rules: Rules = RULES) -> Step:
    """What the input leads to; one that does not fit the state leads to nothing."""
    match happened:
        case Wanted(wanted):
            taken = _wanted(replace(life, wanted=wanted), wanted, now)
        case RestartAsked():
            taken = _restart(life, now)
        case Began(pid) if life.has_run and life.doing != "clearing":
            taken = _began(life, pid, now)
        case SaidReady() if life.doing == "starting" and life.pid:
            taken = _ready(life, now)
        case Ended(how, is_final) if life.has_run and life.doing != "clearing":
            taken = _ended(life, how, now, is_final=is_final)
        case Cleared() if life.doing == "clearing":
            taken = _cleared(life, now, rules)
        case CommandEnded(name, problem):
            taken = _command_ended(life, name, problem, now)
        case ProcessKilledForMemory() if life.has_run:
            taken = Step(life, notes=(Note("oom", pid=life.pid),))
        case TimePassed() if life.deadline is not None and now >= life.deadline:
            taken = _time_passed(life, now)
        case _:
            taken = Step(life)
    return taken


def _wanted(life: Life, wanted: CompanionSpec | None, now: float) -> Step:
    if wanted is None and not life.has_run:
        return Step(life, (Forget(),), (Note("stopped"),))
    if wanted is None:
        return _stop(life, now, "stopped") if life.is_up else Step(life)
    if not life.has_run:
        is_same = life.spec is not None and spec_digest(life.spec) == spec_digest(wanted)
        return Step(life) if is_same else _afresh(life, wanted, now)
    if not life.is_up or life.updating is not None or life.spec is None:
        return Step(life)
    return _towards(life, life.spec, wanted, now)


def _towards(life: Life, running: CompanionSpec, wanted: CompanionSpec, now: float) -> Step:
    what = difference(running, wanted)
    if what == "none":
        return Step(replace(life, spec=wanted))
    if what == "update" and life.doing == "ready":
        changing = replace(life, updating=wanted, deadline=now + UPDATE_SECONDS)
        return Step(changing, (RunCommand("update", wanted),))
    return _stop(life, now, "stopped")


def _restart(life: Life, now: float) -> Step:
    if life.wanted is None:
        return Step(life)
    if not life.has_run:
        return _afresh(life, life.wanted, now)
    again = replace(life, starts_again=True)
    return _stop(again, now, "stopped") if life.is_up else Step(again)


def _afresh(life: Life, spec: CompanionSpec, now: float) -> Step:
    return _begin(replace(life, failures=0, failed_at=()), spec, now)


def _begin(life: Life, spec: CompanionSpec, now: float) -> Step:
    begun = replace(
        life,
        doing="starting",
        since=now,
        spec=spec,
        has_run=True,
        updating=None,
        pid=0,
        began=now,
        deadline=now + spec.readiness.timeout_seconds,
        ending=None,
        is_final=False,
        starts_again=False,
        starts=life.starts + 1,
        problem="",
    )
    return Step(begun, (Begin(spec),))


def _began(life: Life, pid: int, now: float) -> Step:
    running = replace(life, pid=pid)
    said = Note("start", pid=pid)
    is_enough = life.spec is not None and life.spec.readiness.kind == "started"
    if life.doing == "starting" and is_enough:
        ready = _ready(running, now)
        return replace(ready, notes=(said, *ready.notes))
    return Step(running, notes=(said,))


def _ready(life: Life, now: float) -> Step:
    ready = replace(life, doing="ready", since=now, deadline=None)
    said = (Note("ready", pid=life.pid),)
    if life.wanted is None or life.spec is None:
        return Step(ready, notes=said)
    next_step = _towards(ready, life.spec, life.wanted, now)
    return replace(next_step, notes=(*said, *next_step.notes))


def _stop(life: Life, now: float, why: ExitReason) -> Step:
    if life.spec is None:
        raise AssertionError("what runs has a spec")
    stopping = replace(
        life,
        doing="stopping",
        since=now,
        ending=why,
        updating=None,
        deadline=now + life.spec.stop_seconds,
    )
    first: Action = Terminate()
    if life.spec.stop is not None and life.pid and why == "stopped":
        first = RunCommand("stop", life.spec)
    return Step(stopping, (first,))


def _ended(life: Life, how: CompanionExit, now: float, *, is_final: bool) -> Step:
    is_asked = life.ending is not None and how.reason != "not-started"
    reason = life.ending if is_asked and life.ending else how.reason
    ran = round(now - life.began, 3)
    told = with_fields(how, reason=reason, ran_seconds=ran)
    clearing = replace(
        life,
        doing="clearing",
        since=now if life.is_up else life.since,
        deadline=None,
        updating=None,
        is_final=is_final,
        last_exit=told,
        problem=how.problem,
    )
    kind: Note = Note("stopped" if reason == "stopped" else "exit", pid=life.pid, exit=told)
    return Step(clearing, (Clear(),), (kind,))


def _cleared(life: Life, now: float, rules: Rules) -> Step:
    idle = replace(life, has_run=False, pid=0, ending=None)
    wanted, how = life.wanted, life.last_exit
    if how is None or life.spec is None:
        raise AssertionError("what was cleared has ended")
    if wanted is None:
        extra = () if how.reason == "stopped" else (Note("stopped"),)
        return Step(idle, (Forget(),), extra)
    is_other = spec_digest(life.spec) != spec_digest(wanted)
    if is_other or life.starts_again:
        return _afresh(idle, wanted, now)
    if how.reason == "stopped":
        # The wish went away and came back while it was being stopped.
        return _afresh(idle, wanted, now)
    is_failure = how.reason != "status" or how.status != 0
    if wanted.restart == "never" or (wanted.restart == "on-failure" and not is_failure):
        return Step(replace(idle, doing="stopped", since=now, failures=0, failed_at=()))
    return _failed(idle, now, rules, how)


def _failed(life: Life, now: float, rules: Rules, how: CompanionExit) -> Step:
    is_well = how.ran_seconds >= rules.stable_seconds
    failures = 1 if is_well else life.failures + 1
    failed_at = (*(at for at in life.failed_at if now - at < rules.window_seconds), now)
    counted = replace(life, failures=failures, failed_at=failed_at, since=now)
    if life.is_final or len(failed_at) >= rules.tries:
        problem = how.problem or f"it ended {len(failed_at)} times within {_minutes(rules)}"
        given_up = replace(counted, doing="gave-up", problem=problem)
        return Step(given_up, notes=(Note("gave-up", count=failures, problem=problem),))
    wait = rules.wait_seconds(failures)
    waiting = replace(counted, doing="waiting", deadline=now + wait)
    said = Note("backoff", wait_seconds=wait, count=failures, problem=how.problem)
    return Step(waiting, notes=(said,))


def _minutes(rules: Rules) -> str:
    return f"{rules.window_seconds / 60:g} minutes"


def _command_ended(life: Life, name: CommandName, problem: str, now: float) -> Step:
    if name == "stop":
        return Step(life, (Terminate(),)) if life.doing == "stopping" else Step(life)
    if life.updating is None:
        return Step(life)
    said = (Note("update", pid=life.pid, problem=problem),)
    if problem:
        stopping = _stop(replace(life, starts_again=True, problem=problem), now, "stopped")
        return replace(stopping, notes=said)
    updated = replace(life, spec=life.updating, updating=None, deadline=None)
    next_step = _wanted(updated, updated.wanted, now)
    return replace(next_step, notes=(*said, *next_step.notes))


def _time_passed(life: Life, now: float) -> Step:
    silent = replace(life, deadline=None)
    if life.doing == "waiting" and life.wanted is not None:
        return _begin(silent, life.wanted, now)
    if life.doing == "starting":
        return _stop(silent, now, "not-ready")
    if life.doing == "ready" and life.updating is not None:
        return _command_ended(silent, "update", f"was not done in {UPDATE_SECONDS:g} s", now)
    if life.doing == "stopping":
        return Step(silent, (KillGroup(),))
    return Step(silent)
