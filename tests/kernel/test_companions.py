# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Companions on this kernel: each ends in the right state, says so once, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from shared.contracts.companions import CompanionRefusal
from shared.contracts.package_manifest import CompanionLimits, CompanionReadiness
from tests.support.companion_supervisor import (
    ID,
    SupervisorProcess,
    a_command,
    a_spec,
    nothing_is_left,
)
from tests.support.other_owners import wait_for

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"
SAYS_READY = """#!/usr/bin/python3
import os, socket, time
said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
said.sendto(b"STATUS=almost", os.environ["NOTIFY_SOCKET"])
print("almost", flush=True)
said.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


def test_a_companion_runs_until_nobody_wants_it(supervisor: SupervisorProcess) -> None:
    """It starts, is ready, is stopped by SIGTERM, and its group goes with it."""
    supervisor.apply(a_spec(supervisor.folder, FOREVER))
    supervisor.until("start", "ready")
    assert supervisor.state().pid in supervisor.members()

    supervisor.apply()

    stopped = supervisor.until("start", "ready", "stopped")[2]
    assert stopped.exit is not None
    assert (stopped.exit.reason, stopped.exit.signal) == ("stopped", "SIGTERM")
    assert supervisor.states().companions == ()
    nothing_is_left(supervisor)


def test_the_same_wish_again_changes_nothing(supervisor: SupervisorProcess) -> None:
    """Three times the same set is one run."""
    spec = a_spec(supervisor.folder, FOREVER)
    for _ in range(3):
        supervisor.apply(spec)

    supervisor.until("start", "ready")
    assert supervisor.state().starts == 1
    assert [event.kind for event in supervisor.fetch()] == ["start", "ready"]


def test_one_that_crashes_at_once_waits_and_is_tried_again(
    supervisor: SupervisorProcess,
) -> None:
    """Each end is an event with its status, and the wait doubles."""
    supervisor.apply(a_spec(supervisor.folder, "exit 3"))

    events = supervisor.until(*("start", "ready", "exit", "backoff") * 2)

    ended, waits = events[2], [event.wait_seconds for event in events if event.kind == "backoff"]
    assert ended.exit is not None
    assert (ended.exit.reason, ended.exit.status) == ("status", 3)
    assert waits[:2] == [1.0, 2.0]
    assert supervisor.state().phase in {"backing-off", "starting", "ready", "stopping"}


def test_one_that_a_signal_ends_says_which(supervisor: SupervisorProcess) -> None:
    """A crash has the signal's name."""
    supervisor.apply(a_spec(supervisor.folder, "kill -SEGV $$"))

    ended = supervisor.until("start", "ready", "exit")[2].exit

    assert ended is not None
    assert (ended.reason, ended.signal) == ("signal", "SIGSEGV")


@pytest.mark.parametrize(("restart", "then"), [("on-failure", "stopped"), ("never", "stopped")])
def test_one_that_is_done_stays_ended(
    supervisor: SupervisorProcess, restart: str, then: str
) -> None:
    """Status 0 is no failure: nothing is tried again, and nothing is left."""
    supervisor.apply(a_spec(supervisor.folder, "exit 0", restart=restart))

    supervisor.until("start", "ready", "exit")

    assert supervisor.until_state(lambda state: state.phase == then).failures == 0
    nothing_is_left(supervisor)


def test_one_that_ignores_sigterm_is_killed(supervisor: SupervisorProcess) -> None:
    """After its time the whole group ends."""
    spec = a_spec(
        supervisor.folder,
        "trap 'echo not yet' TERM; echo armed; while :; do sleep 0.1; done",
        stop_seconds=1,
    )
    supervisor.apply(spec)
    supervisor.until_said("armed")

    supervisor.apply()

    ended = supervisor.until("start", "ready", "stopped")[2].exit
    assert ended is not None
    assert (ended.reason, ended.signal) == ("stopped", "SIGKILL")
    nothing_is_left(supervisor)


def test_children_end_with_their_companion(supervisor: SupervisorProcess) -> None:
    """Also those that left its session and have lost their parent."""
    script = "setsid sh -c 'sleep 1000 & sleep 1000 & wait' & sleep 1000 & echo forked; exit 1"
    supervisor.apply(a_spec(supervisor.folder, script, restart="never"))

    supervisor.until("start", "ready", "exit")

    supervisor.until_state(lambda state: state.phase == "stopped")
    nothing_is_left(supervisor)


def test_one_that_eats_memory_is_ended_for_it(supervisor: SupervisorProcess) -> None:
    """The limit holds, and the event says why it ended."""
    limits = CompanionLimits(memory_mib=16)
    spec = a_spec(supervisor.folder, "exec tail /dev/zero", limits=limits, restart="never")
    supervisor.apply(spec)

    ended = supervisor.until("start", "ready", "exit")[2].exit

    assert ended is not None
    assert (ended.reason, ended.signal) == ("oom", "SIGKILL")
    nothing_is_left(supervisor)


def test_memory_that_a_child_eats_is_said_and_the_companion_goes_on(
    supervisor: SupervisorProcess,
) -> None:
    """The kernel ends the child alone; whether that matters is the companion's to know."""
    limits = CompanionLimits(memory_mib=16)
    script = "tail /dev/zero; echo survived; exec sleep 1000"
    supervisor.apply(a_spec(supervisor.folder, script, limits=limits))

    supervisor.until("start", "ready", "oom")

    assert supervisor.state().phase == "ready"


def test_the_last_words_are_kept(supervisor: SupervisorProcess) -> None:
    """Also those that no line's end follows."""
    supervisor.apply(a_spec(supervisor.folder, "printf 'fatal: no'; exit 3", restart="never"))

    supervisor.until_said("fatal: no")


def test_a_flood_of_lines_costs_no_more_than_its_share(supervisor: SupervisorProcess) -> None:
    """What is too much is counted, the last lines are there, and everything else is answered."""
    supervisor.apply(a_spec(supervisor.folder, "yes 'too much' & echo on >&2; wait"))

    flooding = supervisor.until_state(lambda state: state.lines_left_out > 10_000)

    assert 0 < len(supervisor.lines()) <= 1000
    assert flooding.phase == "ready"
    assert flooding.lines_said > flooding.lines_left_out


def test_a_fork_bomb_meets_its_limit(supervisor: SupervisorProcess) -> None:
    """So many processes and no more."""
    limits = CompanionLimits(processes=5)
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all; wait"
    supervisor.apply(a_spec(supervisor.folder, script, limits=limits))

    supervisor.until("start", "ready")
    wait_for(lambda: any("fork" in line.lower() for line in supervisor.lines()), what="a refusal")
    assert supervisor.state().usage.processes <= 5


def test_readiness_is_what_the_companion_says(supervisor: SupervisorProcess) -> None:
    """With `notify` it is ready when it has said READY=1, and nothing else counts."""
    readiness = CompanionReadiness(kind="notify", timeout_seconds=30)
    supervisor.apply(a_spec(supervisor.folder, SAYS_READY, readiness=readiness))

    supervisor.until("start", "ready")

    assert supervisor.lines()[0] == "almost"


def test_one_that_never_says_ready_is_ended(supervisor: SupervisorProcess) -> None:
    """It is a failure like another."""
    readiness = CompanionReadiness(kind="notify", timeout_seconds=1)
    supervisor.apply(a_spec(supervisor.folder, FOREVER, readiness=readiness))

    ended = supervisor.until("start", "exit", "backoff")[1].exit

    assert ended is not None
    assert ended.reason == "not-ready"


def test_another_executable_takes_the_place_of_the_first(supervisor: SupervisorProcess) -> None:
    """An upgrade is a stop and a start, without a wait and without two at a time."""
    supervisor.apply(a_spec(supervisor.folder, "echo one; exec sleep 1000"))
    supervisor.until_said("one")
    first = supervisor.state().pid

    supervisor.apply(a_spec(supervisor.folder, "echo two; exec sleep 1000"))

    supervisor.until("start", "ready", "stopped", "start", "ready")
    supervisor.until_said("two")
    assert supervisor.state().pid != first
    assert first not in supervisor.members()
    assert all(len(names) == 1 for names in supervisor.groups().values())


def test_an_update_command_takes_the_place_of_a_restart(supervisor: SupervisorProcess) -> None:
    """Changed arguments are told to it, and the companion goes on with its pid."""
    folder = supervisor.folder
    update = a_command(folder, 'echo "told $1 of $L3AF_PID"', "--port=2")
    spec = a_spec(folder, FOREVER, "--port=1", update=update)
    supervisor.apply(spec)
    supervisor.until("start", "ready")
    pid = supervisor.state().pid

    start = replace(spec.start, arguments=("--port=2",))
    supervisor.apply(replace(spec, start=start))

    assert supervisor.until("start", "ready", "update")[2].problem == ""
    supervisor.until_said(f"told --port=2 of {pid}")
    assert supervisor.state().pid == pid


def test_a_failed_update_is_a_restart(supervisor: SupervisorProcess) -> None:
    """What it could not be told, it is started with."""
    folder = supervisor.folder
    spec = a_spec(
        folder, 'echo "port $1"; exec sleep 1000', "1", update=a_command(folder, "exit 9")
    )
    supervisor.apply(spec)
    supervisor.until("start", "ready")

    supervisor.apply(replace(spec, start=replace(spec.start, arguments=("2",))))

    updated = supervisor.until("start", "ready", "update", "stopped", "start", "ready")[2]
    assert updated.problem == "the update command exited with 9"
    supervisor.until_said("port 2")


def test_a_stop_command_comes_before_sigterm(supervisor: SupervisorProcess) -> None:
    """It runs beside the companion, as the same user, and can end it in order."""
    folder = supervisor.folder
    until_gone = "while kill -0 $L3AF_PID; do sleep 0.05; done"
    stop = a_command(folder, f"kill -USR1 $L3AF_PID; {until_gone}")
    supervisor.apply(
        a_spec(folder, "trap 'exit 7' USR1; echo armed; while :; do sleep 0.05; done", stop=stop)
    )
    supervisor.until_said("armed")

    supervisor.apply()

    ended = supervisor.until("start", "ready", "stopped")[2].exit
    assert ended is not None
    assert (ended.reason, ended.status) == ("stopped", 7)


def test_a_restart_that_was_asked_for_is_a_new_run(supervisor: SupervisorProcess) -> None:
    """Also of one that was ended for good."""
    supervisor.apply(a_spec(supervisor.folder, "exit 0"))
    supervisor.until("start", "ready", "exit")
    supervisor.until_state(lambda state: state.phase == "stopped")

    supervisor.restart()

    supervisor.until(*("start", "ready", "exit") * 2)


def test_what_is_not_known_is_refused(supervisor: SupervisorProcess) -> None:
    """A companion that is not there, one that is there twice, a line that is no request."""
    spec = a_spec(supervisor.folder, FOREVER)
    two = msgspec.json.encode({"op": "apply", "instances": (spec, spec)}) + b"\n"

    for line in (b'{"op":"restart","id":"x"}\n', two, b'{"op":"apply","instances":[],"x":1}\n'):
        assert isinstance(supervisor.say(line), CompanionRefusal)
    assert supervisor.states().companions == ()


def test_an_executable_with_another_digest_is_never_run(supervisor: SupervisorProcess) -> None:
    """The supervisor looks at its own copy; no second try can help."""
    spec = a_spec(supervisor.folder, "echo ran")
    Path(spec.start.path).write_text("#!/bin/sh\necho other\n")

    told = supervisor.apply(spec)

    assert "has the digest" in told.problems[ID]
    ended = supervisor.until("exit", "gave-up")[0].exit
    assert ended is not None
    assert ended.reason == "not-started"
    assert supervisor.state().phase == "gave-up"
    nothing_is_left(supervisor)
