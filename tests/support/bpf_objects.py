# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The test programs, compiled when first used and kept by the hash of their source.

`tests/bpf` holds programs that single tests are about, `tests/support/programs` the corpus that
random chains are made of.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "bpf"
CORPUS = Path(__file__).resolve().parent / "programs"
COMPILED = Path(__file__).resolve().parents[2] / "build" / "test-objects"
FLAGS = ("-O2", "-target", "bpf", "-Wall", "-Werror")
DEBUG_INFORMATION = ("-g",)
CORPUS_FLAGS = ("-mcpu=v3",)
"""Atomic operations that return what was there came with the third instruction set."""


@cache
def bpf_object(name: str) -> bytes:
    """The object file of tests/bpf/<name>.bpf.c."""
    return compile_source((SOURCES / f"{name}.bpf.c").read_text())


@cache
def corpus_object(name: str) -> bytes:
    """The object file of tests/support/programs/<name>.bpf.c; `untyped` ones have no BTF."""
    source = (CORPUS / f"{name}.bpf.c").read_text()
    flags = CORPUS_FLAGS if "untyped" in name else (*CORPUS_FLAGS, *DEBUG_INFORMATION)
    return compile_source(source, flags, headers=CORPUS)


def compile_source(
    source: str, flags: tuple[str, ...] = DEBUG_INFORMATION, *, headers: Path = SOURCES
) -> bytes:
    """The object file of one C text that includes nothing but what is in the folder `headers`."""
    included = "\0".join(path.read_text() for path in sorted(headers.glob("*.h")))
    return _compiled(source, (*flags, f"-I{headers}"), included=included)


def _compiled(source: str, flags: tuple[str, ...], *, included: str) -> bytes:
    every = (*FLAGS, *flags, f"-I/usr/include/{platform.machine()}-linux-gnu")
    digest = hashlib.sha256("\0".join((*every, source, included)).encode()).hexdigest()
    kept = COMPILED / f"{digest}.bpf.o"
    if not kept.exists():
        COMPILED.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=COMPILED) as directory:
            written = Path(directory) / "program.bpf.c"
            written.write_text(source)
            made = written.with_suffix(".o")
            subprocess.run(
                ("clang", *every, "-c", str(written), "-o", str(made)), check=True, cwd=directory
            )
            # Two tests may compile the same source at once; the last one wins with the same bytes.
            made.replace(kept)
    return kept.read_bytes()
