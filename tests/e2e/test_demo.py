# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The demo is a test: every claim it shows has to hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_claim_of_the_demo_holds_and_nothing_is_left() -> None:
    """The demo exits with 0, and neither namespaces nor pins of it remain."""
    ended = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert not list(Path("/run/netns").glob("l3afdemo-*"))
    assert not Path("/sys/fs/bpf/l3af-demo").exists()
