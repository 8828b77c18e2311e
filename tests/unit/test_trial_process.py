# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The process that tries a candidate, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from services.node_executor.adapters.trial_process import (
    MAX_ANSWER_BYTES,
    TrialFaultError,
    run_trial,
)
from shared.errors import RefusedError

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


async def _run(script: str, *, seconds: int = 30) -> bytes:
    command = (sys.executable, "-c", script)
    return await run_trial(command, b"order", seconds=seconds, environment=ENVIRONMENT)


async def test_it_reads_its_order_and_answers() -> None:
    """Nothing of the executor's environment reaches it."""
    script = "import os, sys; print(sys.stdin.read(), len(sys.argv), os.environ.get('HOME'))"

    assert await _run(script) == b"order 1 None\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise MemoryError", "the process that loads it failed: MemoryError"),
        ("import sys; sys.exit(1)", "the process that loads it failed: it said nothing"),
        ("import os; os.abort()", "the process that loads it was ended by SIGABRT"),
        (f"print('x' * {MAX_ANSWER_BYTES})", "what is said of its tests takes"),
        (
            'print(\'{"code": "invalid_request", "message": "no"}\'); raise SystemExit(2)',
            "no",
        ),
        ("import time; time.sleep(60)", "its trial took longer than 1 s"),
    ],
    ids=["a bug", "silence", "a signal", "too many words", "a refusal", "no end"],
)
async def test_a_candidate_that_ends_its_trial_has_failed(script: str, why: str) -> None:
    """Whatever it made of the process, it is not released by it."""
    with pytest.raises(RefusedError) as caught:
        await _run(script, seconds=1 if "sleep" in script else 30)

    assert caught.value.message.startswith(why)


async def test_what_is_not_the_candidates_fault_is_said_as_such() -> None:
    """A kernel that loads nothing, or a program that is not there, is no verdict."""
    with pytest.raises(TrialFaultError, match="loads nothing"):
        await _run('print(\'{"code": "unavailable", "message": "loads nothing"}\'); exit(3)')
    with pytest.raises(TrialFaultError, match="cannot be started"):
        await run_trial(("/nowhere",), b"", seconds=1, environment={})


async def test_nothing_that_it_started_is_left(tmp_path: Path) -> None:
    """A compiler that outlives its parent is ended too."""
    fifo = tmp_path / "life"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = (
        f"import subprocess; life = open({str(fifo)!r}, 'w'); "
        "subprocess.Popen(['sleep', '60'], stdout=life, stderr=subprocess.DEVNULL)"
    )

    await _run(script)

    os.set_blocking(reader, True)
    while os.read(reader, 100):
        pass  # the end comes when nobody holds the other side any more
    os.close(reader)
