# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The process that loads a candidate: started, bounded in time, and gone afterwards.

Whatever ends it that it does not call a fault of the node is the candidate's: it is not released by
making its trial fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final

import msgspec

from shared.errors import FaultError, Refusal, RefusedError

MAX_ANSWER_BYTES: Final = 8 << 20
MAX_WORDS_BYTES: Final = 4096
"""Of what the process says when it fails, the last."""
_DONE, _REFUSED, _FAULT = 0, 2, 3


class TrialFaultError(FaultError):
    """The candidate could not be tried, through no fault of its own."""


async def run_trial(
    command: Sequence[str], order: bytes, *, seconds: int, environment: Mapping[str, str]
) -> bytes:
    """What the process answers; it and what it started are gone, however this ends.

    Args:
        command: Takes `order` on its standard input.
        order: What to try.
        seconds: For all of it.
        environment: All that it sees.

    Raises:
        RefusedError: It refused the candidate, took longer, crashed, was killed or said too much.
        TrialFaultError: It could not be started, or says that it is not the candidate's fault.
    """
    with tempfile.TemporaryFile() as words:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=words,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise TrialFaultError(f"the trial's process cannot be started: {error}") from error
        try:
            async with asyncio.timeout(seconds):
                answer, _ = await process.communicate(order)
        except TimeoutError as error:
            raise RefusedError(f"its trial took longer than {seconds} s") from error
        finally:
            # What it started is in its session still, and may have outlived it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        return _read(status, answer, words)


def _read(status: int, answer: bytes, words: BinaryIO) -> bytes:
    if status == _DONE and len(answer) <= MAX_ANSWER_BYTES:
        return answer
    if status == _DONE:
        raise RefusedError(f"what is said of its tests takes {len(answer)} bytes")
    if status == _REFUSED:
        raise RefusedError(msgspec.json.decode(answer, type=Refusal).message)
    if status == _FAULT:
        raise TrialFaultError(msgspec.json.decode(answer, type=Refusal).message)
    if status < 0:
        name = signal.Signals(-status).name
        raise RefusedError(f"the process that loads it was ended by {name}")
    raise RefusedError(f"the process that loads it failed: {_last_line(words)}")


def _last_line(words: BinaryIO) -> str:
    words.seek(max(0, words.seek(0, os.SEEK_END) - MAX_WORDS_BYTES))
    lines = words.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
