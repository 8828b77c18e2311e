# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Processes are kept running, whatever ends them, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from installation.supervision import ProcessSpec, ProcessStatus, RestartPolicy
from installation.supervisor import AlreadyRunningError, Supervisor, supervising
from shared.errors import FaultError

SECONDS = 10.0
QUICK = RestartPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05)


async def until(condition: Callable[[], bool]) -> None:
    """The condition holds.

    Raises:
        TimeoutError: It did not come to.
    """
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def stub(name: str, script: str, *, stage: int = 0, runs_once: bool = False) -> ProcessSpec:
    """A process that runs a line of shell."""
    return ProcessSpec(name=name, command=("sh", "-c", script), stage=stage, runs_once=runs_once)


def is_alive(pid: int) -> bool:
    """Whether a process runs and is not merely unreaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def status(supervisor: Supervisor, name: str) -> ProcessStatus:
    """One process as it is now."""
    return next(status for status in supervisor.statuses if status.name == name)


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    """SIGKILL is answered by a new process under a new id, written to its file."""
    async with supervising(
        [stub("one", "exec sleep 60")],
        logs_dir=tmp_path / "logs",
        run_dir=tmp_path / "run",
        policy=QUICK,
    ) as supervisor:
        await until(lambda: supervisor.pid("one") != 0)
        first = supervisor.pid("one")

        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pid("one") not in {0, first})

        assert status(supervisor, "one").starts == 2
        assert status(supervisor, "one").last_exit == -signal.SIGKILL
        assert int((tmp_path / "run" / "one.pid").read_text()) == supervisor.pid("one")


async def test_stages_stop_in_reverse_order(tmp_path: Path) -> None:
    """What started last is asked to end first, and has ended before the next is asked."""
    note = tmp_path / "ends"
    script = 'trap "echo {0} >>' + str(note) + '; exit 0" TERM; touch ' + str(tmp_path / "{0}.up")
    script += "; while :; do sleep 0.02; done"
    specs = [stub(name, script.format(name), stage=n) for n, name in enumerate(["a", "b", "c"])]

    async with supervising(specs, logs_dir=tmp_path / "logs", run_dir=tmp_path / "run"):
        await until(lambda: all((tmp_path / f"{name}.up").exists() for name in "abc"))

    assert note.read_text().split() == ["c", "b", "a"]
    assert not list((tmp_path / "run").glob("*.pid"))


async def test_what_runs_once_is_done_before_the_next_stage(tmp_path: Path) -> None:
    """A later stage starts only when the one-off ended with status 0, after however many tries."""
    tries = tmp_path / "tries"
    once = stub("once", f"echo x >>{tries}; [ $(wc -l <{tries}) -ge 3 ]", runs_once=True)
    after = stub("after", f"wc -l <{tries} >{tmp_path / 'seen'}; exec sleep 60", stage=1)

    async with supervising(
        [after, once], logs_dir=tmp_path / "logs", run_dir=tmp_path / "run", policy=QUICK
    ) as supervisor:
        await until(lambda: (tmp_path / "seen").exists() and bool((tmp_path / "seen").read_text()))

        assert status(supervisor, "once").state == "done"
    assert (tmp_path / "seen").read_text().strip() == "3"


async def test_a_command_that_cannot_run_is_reported_and_tried_again(tmp_path: Path) -> None:
    """A missing program shows as status 127 with its reason in the log; the rest runs."""
    specs = [
        ProcessSpec(name="missing", command=("/nonexistent/program",)),
        stub("well", "exec sleep 60"),
    ]
    async with supervising(
        specs, logs_dir=tmp_path / "logs", run_dir=tmp_path / "run", policy=QUICK
    ) as supervisor:
        await until(lambda: status(supervisor, "missing").starts >= 2)

        assert status(supervisor, "missing").last_exit == 127
        assert "/nonexistent/program" in supervisor.log_tail("missing")
        assert status(supervisor, "well").state == "running"


async def test_a_process_that_does_not_listen_is_killed_in_the_end(tmp_path: Path) -> None:
    """Whoever ignores SIGTERM gets SIGKILL when its time is over."""
    deaf = stub("deaf", f'trap "" TERM; touch {tmp_path / "up"}; while :; do sleep 1; done')

    async with supervising(
        [deaf], logs_dir=tmp_path / "logs", run_dir=tmp_path / "run", stop_seconds=0.1
    ) as supervisor:
        await until((tmp_path / "up").exists)
        pid = supervisor.pid("deaf")

    assert not is_alive(pid)


async def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    """Two supervisors never keep the same process of one installation; other processes they may."""
    one = stub("one", "exec sleep 60")
    async with supervising([one], logs_dir=tmp_path, run_dir=tmp_path / "run"):
        with pytest.raises(AlreadyRunningError):
            async with supervising([one], logs_dir=tmp_path, run_dir=tmp_path / "run"):
                pass

        other = stub("two", "exec sleep 60")
        async with supervising([other], logs_dir=tmp_path, run_dir=tmp_path / "run") as second:
            await until(lambda: second.pid("two") != 0)
            known = msgspec.json.decode((tmp_path / "run" / "status.json").read_bytes())
            assert set(known) == {"one", "two"}


async def test_the_blocks_own_error_leaves_as_it_is(tmp_path: Path) -> None:
    """An error inside the block stops everything and is not wrapped."""
    pids = []

    async def fail() -> None:
        async with supervising(
            [stub("one", "exec sleep 60")], logs_dir=tmp_path, run_dir=tmp_path / "run"
        ) as supervisor:
            await until(lambda: supervisor.pid("one") != 0)
            pids.append(supervisor.pid("one"))
            raise FaultError("enough")

    with pytest.raises(FaultError, match="enough"):
        await fail()

    assert not is_alive(pids[0])


async def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    """A block that ends at once has started nothing that stays."""
    for _ in range(20):
        async with supervising(
            [stub("one", "exec sleep 60"), stub("two", "exec sleep 60", stage=1)],
            logs_dir=tmp_path,
            run_dir=tmp_path / "run",
        ) as supervisor:
            await asyncio.sleep(0)
        assert all(status.pid == 0 for status in supervisor.statuses)


def test_children_die_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL of the supervisor ends its children too: none outlives it."""
    program = f"""
import asyncio, pathlib
from installation.supervision import ProcessSpec
from installation.supervisor import supervising
async def main():
    spec = ProcessSpec(name="one", command=("sleep", "60"))
    folder = pathlib.Path({str(tmp_path)!r})
    async with supervising([spec], logs_dir=folder, run_dir=folder / "run"):
        await asyncio.sleep(60)
asyncio.run(main())
"""
    pid_file = tmp_path / "run" / "one.pid"
    with subprocess.Popen([sys.executable, "-c", program]) as supervisor:
        deadline = time.monotonic() + SECONDS
        while not pid_file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child = int(pid_file.read_text())

        supervisor.kill()

    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_run_directory_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ends is still started again, and everything is still stopped."""
    run_dir = tmp_path / "run"
    async with supervising(
        [stub("one", "exec sleep 60"), stub("two", "exec sleep 60")],
        logs_dir=tmp_path / "logs",
        run_dir=run_dir,
        policy=QUICK,
    ) as supervisor:
        await until(lambda: supervisor.pid("one") > 0 and supervisor.pid("two") > 0)
        first = supervisor.pid("one")
        shutil.rmtree(run_dir)
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pid("one") not in {0, first})
        second = supervisor.pid("one")

    assert not is_alive(second)
    assert "cannot be written" in capsys.readouterr().err
