# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A program says whether a wave is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.gate import Answered, found, judged, render_answered
from shared.contracts.gates import AskGate, GateSaid
from shared.errors import RefusedError

QUESTION = AskGate(
    deployment="edge",
    revision=2,
    package="rate-limit",
    version="1.1.0",
    wave=1,
    waves=2,
    nodes=("n1",),
    node_count=1,
)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 0", GateSaid(well=True)),
        ("echo all is well", GateSaid(well=True, reason="all is well")),
        ("echo budget spent; exit 1", GateSaid(well=False, reason="budget spent")),
        ("exit 7", GateSaid(well=False, reason="/bin/sh ended with status 7")),
        ("grep -o '\"wave\":1'", GateSaid(well=True, reason='"wave":1')),
    ],
)
async def test_the_status_decides_and_what_is_printed_is_the_reason(
    script: str, said: GateSaid
) -> None:
    """The question is on standard input."""
    assert await judged(("/bin/sh", "-c", script), QUESTION) == said


async def test_a_program_that_cannot_be_run_says_no(tmp_path: Path) -> None:
    """A gate that broke lets nothing through."""
    broken = tmp_path / "check"
    broken.write_bytes(b"\x00")
    broken.chmod(0o755)

    said = await judged((str(broken),), QUESTION)

    assert not said.well
    assert said.reason.startswith(f"{broken} cannot be run: ")


@pytest.mark.parametrize("program", [(), ("/nowhere/check",)])
def test_a_program_that_is_not_there_is_refused(program: tuple[str, ...]) -> None:
    """Before anything is answered."""
    with pytest.raises(RefusedError, match="must be a program"):
        found(program)


def test_each_answer_has_a_line() -> None:
    """Which wave, and what was said of it."""
    bad = Answered(asked=QUESTION, said=GateSaid(well=False, reason="budget spent"))

    assert str(render_answered(bad)) == "edge 1.1.0, wave 1 of 2: not well (budget spent)"
