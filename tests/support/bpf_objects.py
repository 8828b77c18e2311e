# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The test programs of tests/bpf, compiled when first used and kept by the hash of their source."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "bpf"
COMPILED = Path(__file__).resolve().parents[2] / "build" / "test-objects"
FLAGS = ("-O2", "-g", "-target", "bpf", "-Wall", "-Werror")


@cache
def bpf_object(name: str) -> bytes:
    """The object file of tests/bpf/<name>.bpf.c."""
    return compile_source((SOURCES / f"{name}.bpf.c").read_text())


def compile_source(source: str) -> bytes:
    """The object file of one C text that includes nothing beside it."""
    flags = (*FLAGS, f"-I/usr/include/{platform.machine()}-linux-gnu")
    digest = hashlib.sha256("\0".join((*flags, source)).encode()).hexdigest()
    kept = COMPILED / f"{digest}.bpf.o"
    if not kept.exists():
        COMPILED.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=COMPILED) as directory:
            written = Path(directory) / "program.bpf.c"
            written.write_text(source)
            made = written.with_suffix(".o")
            subprocess.run(
                ("clang", *flags, "-c", str(written), "-o", str(made)), check=True, cwd=directory
            )
            # Two tests may compile the same source at once; the last one wins with the same bytes.
            made.replace(kept)
    return kept.read_bytes()
