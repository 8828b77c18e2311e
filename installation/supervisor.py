# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps processes running: ordered start, restart with back-off, ordered stop, state on disk.

Needs no installation, so that tests and demonstrations can run anything with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, ClassVar, Final

import msgspec

from installation.adapters.child_process import NOT_STARTED, Child, log_tail, start_child
from installation.supervision import (
    ProcessSpec,
    ProcessState,
    ProcessStatus,
    RestartPolicy,
    is_finished,
    stages,
)
from shared.adapters.exception_groups import plain_task_group
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

STOP_SECONDS: Final = 10.0
STATUS_FILE: Final = "status.json"
DEFAULT_POLICY: Final = RestartPolicy()

OnChange = Callable[[tuple[ProcessStatus, ...]], None]


class AlreadyRunningError(RefusedError):
    """Another supervisor keeps one of these processes."""

    code: ClassVar[ErrorCode] = "conflict"


class _Kept:
    """One spec, its child and what became of it."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec: Final = spec
        self.status = ProcessStatus(name=spec.name, state="waiting")
        self.child: Child | None = None
        self.is_kept = False
        """Whether a task looks after it."""
        self.stopping: Final = asyncio.Event()
        self.finished: Final = asyncio.Event()
        """Set when it needs no more starts: done, or stopped."""


class Supervisor:
    """The processes of one `supervising` block."""

    def __init__(
        self,
        specs: Iterable[ProcessSpec],
        *,
        logs_dir: Path,
        run_dir: Path,
        on_change: OnChange,
        policy: RestartPolicy,
        stop_seconds: float,
    ) -> None:
        self._stages: Final = tuple(tuple(_Kept(spec) for spec in stage) for stage in stages(specs))
        self.started: Final = asyncio.Event()
        """Set once everything was started and what runs once is done."""
        self._logs_dir: Final = logs_dir
        self._run_dir: Final = run_dir
        self._on_change: Final = on_change
        self._policy: Final = policy
        self._stop_seconds: Final = stop_seconds

    @property
    def statuses(self) -> tuple[ProcessStatus, ...]:
        """Every process as it is now, in starting order."""
        return tuple(kept.status for stage in self._stages for kept in stage)

    def pid(self, name: str) -> int:
        """Process id of a process by name; 0 while it does not run."""
        return next(status.pid for status in self.statuses if status.name == name)

    def log_tail(self, name: str) -> str:
        """The last lines that a process wrote."""
        return log_tail(self._log(name))

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Every process is kept by a task of the group; what runs once is done before the rest."""
        for stage in self._stages:
            for kept in stage:
                kept.is_kept = True
                group.create_task(self._keep(kept), name=kept.spec.name)
            for kept in stage:
                if kept.spec.runs_once:
                    await kept.finished.wait()
        self.started.set()

    async def stop(self) -> None:
        """Everything has ended, last started first."""
        for stage in reversed(self._stages):
            for kept in stage:
                kept.stopping.set()
            await asyncio.gather(*(self._stop(kept) for kept in stage))

    async def _keep(self, kept: _Kept) -> None:
        try:
            await self._keep_running(kept)
        finally:
            kept.finished.set()

    async def _keep_running(self, kept: _Kept) -> None:
        ends_in_a_row = 0
        clock = asyncio.get_running_loop().time
        while not kept.stopping.is_set():
            started_at = clock()
            exit_status = await self._run(kept)
            if is_finished(kept.spec, exit_status):
                self._note(kept, "done", exit_status=exit_status)
                break
            if kept.stopping.is_set():
                self._note(kept, "stopped", exit_status=exit_status)
                break
            self._note(kept, "ended", exit_status=exit_status)
            ends_in_a_row, wait_seconds = self._policy.after_end(
                ends_in_a_row, ran_seconds=clock() - started_at
            )
            await _set_within(kept.stopping, wait_seconds)

    async def _run(self, kept: _Kept) -> int:
        """Exit status of one run, from start to end."""
        spec = kept.spec
        kept.child = await start_child(
            spec.command, environment=spec.environment, log=self._log(spec.name)
        )
        if kept.child is None:
            return NOT_STARTED
        self._note(kept, "running", pid=kept.child.pid)
        if kept.stopping.is_set():
            await kept.child.stop(seconds=self._stop_seconds)
        return await kept.child.ended()

    async def _stop(self, kept: _Kept) -> None:
        if kept.status.pid and kept.child is not None:
            await kept.child.stop(seconds=self._stop_seconds)
        if kept.is_kept:
            await kept.finished.wait()

    def _note(
        self, kept: _Kept, state: ProcessState, *, pid: int = 0, exit_status: int | None = None
    ) -> None:
        before = kept.status
        kept.status = ProcessStatus(
            name=before.name,
            state=state,
            pid=pid,
            starts=before.starts + (state == "running"),
            since=datetime.now(UTC).isoformat(),
            last_exit=before.last_exit if exit_status is None else exit_status,
        )
        self._write_down(before.name, pid)
        self._on_change(self.statuses)

    def _write_down(self, name: str, pid: int) -> None:
        """For those who look from outside.  A full disk must not stop the keeping."""
        pid_file = self._run_dir / f"{name}.pid"
        try:
            if pid:
                _replace(pid_file, f"{pid}\n".encode())
            else:
                pid_file.unlink(missing_ok=True)
            _merge_statuses(self._run_dir / STATUS_FILE, self.statuses)
        except OSError as error:
            sys.stderr.write(f"l3af up: {self._run_dir} cannot be written: {error}\n")

    def _log(self, name: str) -> Path:
        return self._logs_dir / f"{name}.log"


@asynccontextmanager
async def supervising(
    specs: Iterable[ProcessSpec],
    *,
    logs_dir: Path,
    run_dir: Path,
    on_change: OnChange = lambda _: None,
    policy: RestartPolicy = DEFAULT_POLICY,
    stop_seconds: float = STOP_SECONDS,
) -> AsyncIterator[Supervisor]:
    """The processes run for the length of the block; starting goes on while the block runs.

    Args:
        specs: What to run.
        logs_dir: `<name>.log` of each process.
        run_dir: `<name>.pid` while it runs, and `status.json`.
        on_change: Called with every process after each change.
        policy: Waits between an end and the next start.
        stop_seconds: From SIGTERM to SIGKILL.

    Raises:
        AlreadyRunningError: Another supervisor keeps one of them in `run_dir`.
    """
    wanted = tuple(specs)
    supervisor = Supervisor(
        wanted,
        logs_dir=logs_dir,
        run_dir=run_dir,
        on_change=on_change,
        policy=policy,
        stop_seconds=stop_seconds,
    )
    with ExitStack() as locks:
        for spec in wanted:
            _lock(locks, run_dir, spec.name)
        async with plain_task_group() as group:
            starting = group.create_task(supervisor.start(group))
            try:
                yield supervisor
            finally:
                starting.cancel()
                await supervisor.stop()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _lock(locks: ExitStack, run_dir: Path, name: str) -> None:
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file: IO[bytes] = locks.enter_context((run_dir / f"{name}.lock").open("ab"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        rule = "is kept running by another `l3af up` of this installation"
        reason = Reason(path="installation", rule=f"{name} {rule}", got=str(run_dir))
        raise AlreadyRunningError(f"{name} {rule}", [reason]) from error


def _merge_statuses(path: Path, statuses: tuple[ProcessStatus, ...]) -> None:
    """Other supervisors of the same installation keep their entries."""
    with path.with_suffix(".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known: dict[str, ProcessStatus] = {}
        if path.exists():
            known = msgspec.json.decode(path.read_bytes(), type=dict[str, ProcessStatus])
        merged = {**known, **{status.name: status for status in statuses}}
        _replace(path, msgspec.json.format(msgspec.json.encode(merged), indent=2) + b"\n")


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
