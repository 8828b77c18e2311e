# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Child processes: never outlive the supervisor, never hear the terminal, write to a log file."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

LOG_BYTES: Final = 16 * 1024 * 1024
"""A log longer than this is set aside as `<name>.log.1` at the next start."""
NOT_STARTED: Final = 127
"""What a shell reports for a command that cannot be run."""
TAIL_BYTES: Final = 2000

# The kernel kills the child when the supervisor dies, even by SIGKILL (prctl(2),
# PR_SET_PDEATHSIG): two executors on one hook would be worse than one killed.
_BOUND_TO_PARENT: Final = ("setpriv", "--pdeathsig", "KILL", "--")


class Child:
    """One running child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process: Final = process

    @property
    def pid(self) -> int:
        """Its process id; also after its end."""
        return self._process.pid

    async def ended(self) -> int:
        """Its exit status once it ended; negative: the signal that ended it."""
        return await self._process.wait()

    async def stop(self, *, seconds: float) -> None:
        """Ended: asked by SIGTERM, and after `seconds` not asked any more."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


async def start_child(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> Child | None:
    """The started child; None if there can be none, with the reason in its log if possible."""
    try:
        with _opened_log(log) as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *_BOUND_TO_PARENT,
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                output.write(f"{command[0]}: {error.strerror}\n".encode())
                return None
    except OSError:  # a full disk: it is tried again
        return None
    return Child(process)


def log_tail(log: Path) -> str:
    """The last lines of a log, at most TAIL_BYTES; empty if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").strip()


@contextmanager
def _opened_log(log: Path) -> Iterator[IO[bytes]]:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab", buffering=0) as output:
        yield output
