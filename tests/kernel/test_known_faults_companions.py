# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of programs in user space: each row with processes, or by a clock that is told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.companions.deciding import RULES, new_life, step
from services.companions.life import Began, Cleared, Ended, Life, Note, TimePassed
from shared.contracts.companions import CompanionExit
from tests.support.companion_supervisor import (
    ID,
    SupervisorProcess,
    a_spec,
    nothing_is_left,
)
from tests.support.known_faults import Fault, table

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"
CRASHED = Ended(CompanionExit(reason="signal", signal="SIGSEGV"))
DAYS = 30


Row = Callable[[pytest.FixtureRequest], None]


def _supervisor(request: pytest.FixtureRequest) -> SupervisorProcess:
    """A process, for rows that need one."""
    supervisor: SupervisorProcess = request.getfixturevalue("supervisor")
    return supervisor


def _crashes(request: pytest.FixtureRequest, *, after_seconds: float, times: int) -> list[Note]:
    """What is said of a companion that lasts so long each time."""
    spec, now = a_spec(request.getfixturevalue("tmp_path"), FOREVER), 0.0
    notes: list[Note] = []
    life: Life = new_life(spec, now=now).life
    for pid in range(1, times + 1):
        for happened, later in (
            (Began(pid), 0.0),
            (CRASHED, after_seconds),
            (Cleared(), 0.0),
            (TimePassed(), RULES.longest_wait_seconds),
        ):
            now += later
            taken = step(life, happened, now=now)
            life = taken.life
            notes += taken.notes
    return notes


def _crashes_now_and_then(request: pytest.FixtureRequest) -> None:
    notes = _crashes(request, after_seconds=3600.0, times=24 * DAYS)

    waits = {one.wait_seconds for one in notes if one.kind == "backoff"}
    assert waits == {RULES.first_wait_seconds}
    assert [one.kind for one in notes].count("exit") == 24 * DAYS
    assert "gave-up" not in {one.kind for one in notes}


def _crashes_at_once(request: pytest.FixtureRequest) -> None:
    notes = _crashes(request, after_seconds=0.0, times=3 * RULES.tries)

    waits = [one.wait_seconds for one in notes if one.kind == "backoff"]
    assert waits == sorted(waits)
    assert [one.kind for one in notes].count("gave-up") == 1
    assert notes[-1].kind == "gave-up"
    assert len(waits) == RULES.tries - 1


def _killed(request: pytest.FixtureRequest) -> None:
    supervisor = _supervisor(request)
    supervisor.apply(a_spec(supervisor.folder, FOREVER))
    supervisor.until("start", "ready")
    first = supervisor.state().pid
    assert first is not None

    os.kill(first, signal.SIGKILL)

    ended = supervisor.until("start", "ready", "exit", "backoff", "start", "ready")[2].exit
    assert ended is not None
    assert (ended.reason, ended.signal) == ("signal", "SIGKILL")
    assert supervisor.until_state(lambda state: state.pid not in (None, 0, first)).id == ID
    assert supervisor.zombies() == []
    supervisor.apply()
    nothing_is_left(supervisor)


def _namesake(request: pytest.FixtureRequest) -> None:
    supervisor = _supervisor(request)
    program = supervisor.folder / "helper"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "1000"]) as other:
        try:
            for _ in range(2):
                supervisor.apply(a_spec(supervisor.folder, "sleep 1000 & wait"))
                ready = supervisor.until_state(lambda state: state.phase == "ready")
                assert Path(f"/proc/{ready.pid}/comm").read_text() == "helper\n"
                supervisor.apply()
                nothing_is_left(supervisor)
            assert other.poll() is None
        finally:
            other.kill()


def _ignores_the_end(request: pytest.FixtureRequest) -> None:
    supervisor = _supervisor(request)
    script = "trap '' TERM; echo armed; while :; do sleep 0.1; done"
    supervisor.apply(a_spec(supervisor.folder, script, stop_seconds=1))
    supervisor.until_said("armed")

    supervisor.apply()

    ended = supervisor.until("start", "ready", "stopped")[2].exit
    assert ended is not None
    assert (ended.reason, ended.signal) == ("stopped", "SIGKILL")
    nothing_is_left(supervisor)


FAULTS: dict[str, Fault[Row]] = {
    "now-and-then": Fault(
        "a program that crashes once an hour, for a month",
        "restarts it three times in its whole life, and then never again",
        "a run that lasted is well: the next failure is a first one, and waits a second",
        _crashes_now_and_then,
    ),
    "at-once": Fault(
        "a program that crashes at once, each time",
        "tries at every look, three times; nothing but a gauge says that it gave up",
        "waits that double up to a limit, and one event when it is given up",
        _crashes_at_once,
    ),
    "killed": Fault(
        "a program that somebody kills",
        "leaves a zombie at each restart",
        "waited for, said with the signal, started again; nothing is left behind",
        _killed,
    ),
    "namesake": Fault(
        "another process of the same name on the host",
        "kills every process whose name begins like the program's before it starts",
        "ends what it started itself, by its group, and no other",
        _namesake,
    ),
    "ignores-sigterm": Fault(
        "a program that ignores SIGTERM",
        "sends it and waits",
        "killed with all its children after its time",
        _ignores_the_end,
    ),
}


@table(FAULTS)
def test_a_companion_is_kept_as_it_should_be(
    request: pytest.FixtureRequest, fault: Fault[Row]
) -> None:
    """See the table."""
    fault.shows(request)
