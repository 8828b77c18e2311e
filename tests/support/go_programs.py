# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Small programs in Go, for what only Go's libraries check; built when their source is new."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "build" / "go-programs"
LIBRARIES = "/usr/share/gocode"
"""Where Debian and Ubuntu keep Go's libraries."""


def built_go_program(source: Path) -> Path:
    """The program of one source file."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    made = BUILT / digest
    if not made.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": LIBRARIES, "GOFLAGS": ""}
        environment |= {"GOCACHE": str(BUILT / "cache"), "CGO_ENABLED": "0"}
        with tempfile.TemporaryDirectory(dir=BUILT) as directory:
            written = Path(directory) / "program"
            command = ["go", "build", "-o", str(written), str(source)]
            subprocess.run(command, check=True, env=environment)
            # Two tests may build at once; the last one wins with the same program.
            written.replace(made)
    return made
