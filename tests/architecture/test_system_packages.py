# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""deploy/install-system-packages says no before it changes anything, and in one sentence."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "install-system-packages"
SUPPORTED = "supported are Debian 12 and 13 and Ubuntu 24.04, with Python 3.11 or newer."


def run(os_release: Path, *groups: str) -> subprocess.CompletedProcess[str]:
    """The script, told that this is another distribution."""
    environment = os.environ | {"L3AF_OS_RELEASE": str(os_release)}
    return subprocess.run(
        [SCRIPT, *groups], env=environment, check=False, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('ID=fedora\nVERSION_ID=42\nPRETTY_NAME="Fedora Linux 42"', "Fedora Linux 42 is not"),
        ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian 11"', "Debian 11 is not supported."),
        ("NAME=nothing", "this system is not supported."),
    ],
    ids=["fedora", "debian 11", "unknown"],
)
def test_an_unsupported_distribution_is_refused_by_name(
    tmp_path: Path, text: str, sentence: str
) -> None:
    """Exit status 2, what this is, and what is supported; nothing is installed."""
    os_release = tmp_path / "os-release"
    os_release.write_text(text)

    refused = run(os_release)

    assert refused.returncode == 2
    assert refused.stdout == ""
    first, second = refused.stderr.splitlines()
    assert first.startswith(f"l3af-bus: {sentence}")
    assert second == f"l3af-bus: {SUPPORTED}"


def test_a_missing_file_is_refused_by_path(tmp_path: Path) -> None:
    """The distribution is not guessed."""
    refused = run(tmp_path / "none")

    assert refused.returncode == 2
    assert f"{tmp_path}/none is missing" in refused.stderr


def test_an_unknown_group_is_refused_by_name(tmp_path: Path) -> None:
    """On a supported system too."""
    os_release = tmp_path / "os-release"
    os_release.write_text("ID=debian\nVERSION_ID=12")

    refused = run(os_release, "everything")

    assert refused.returncode == 2
    assert "unknown package group 'everything'" in refused.stderr
