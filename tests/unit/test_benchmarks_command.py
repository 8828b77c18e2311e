# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks`: what is named is measured, and asking what there is measures nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def benchmarks(*words: str) -> subprocess.CompletedProcess[str]:
    """One command, which may not take long enough to measure everything."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_list_names_every_benchmark_and_its_claim() -> None:
    """Modules that can be run are benchmarks, and each says in a line what it measures."""
    listed = json.loads(benchmarks("--list", "--json").stdout)
    runnable = {
        path.stem for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text()
    }

    assert set(listed) == runnable - {"__main__"}
    assert all(listed.values())
    assert benchmarks("--list", "publish").stdout == f"publish  {listed['publish']}\n"


@pytest.mark.parametrize("words", [["--help"], ["--list"]])
def test_asking_measures_nothing(words: list[str]) -> None:
    """The answer is there at once."""
    answer = benchmarks(*words)

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "┃" not in answer.stdout


@pytest.mark.parametrize("words", [["nonsense"], ["--nonsense"], ["analyse", "nonsense"]])
def test_what_there_is_not_is_refused(words: list[str]) -> None:
    """Nothing is measured if one name or option is wrong."""
    answer = benchmarks(*words)

    assert (answer.returncode, answer.stdout) == (2, "")
    assert "nonsense" in answer.stderr


def test_only_what_is_named_is_measured() -> None:
    """As one JSON object."""
    answer = benchmarks("licence_check", "--json")

    assert answer.returncode == 0, answer.stderr
    assert [json.loads(line)["benchmark"] for line in answer.stdout.splitlines()] == [
        "licence_check"
    ]
