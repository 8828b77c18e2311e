# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Go's own verifiers of transparency logs (golang.org/x/mod/sumdb), as a process that is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("main.go")
BUILT = Path(__file__).resolve().parents[3] / "build" / "go-verifier"
LIBRARIES = "/usr/share/gocode"
"""Where Debian and Ubuntu keep Go's libraries."""


@dataclass(frozen=True)
class GoVerifier:
    """Answers what Go's libraries say."""

    process: subprocess.Popen[str]

    def answer(
        self,
        *,
        verifier_key: str,
        checkpoint: str = "",
        leaf: bytes | None = None,
        index: int = 0,
        inclusion: Sequence[bytes] = (),
        older: str = "",
        consistency: Sequence[bytes] = (),
        tiles: str = "",
        proof: str = "",
        witness: str = "",
    ) -> str:
        """`ok`, or why not; what is not given is not checked.

        `tiles` is a directory, to be read alone; `proof` a tlog-proof in place of a checkpoint.
        """
        question = {
            "verifier_key": verifier_key,
            "checkpoint": checkpoint,
            "leaf": None if leaf is None else _encoded(leaf),
            "index": index,
            "inclusion": [_encoded(one) for one in inclusion],
            "older": older,
            "consistency": [_encoded(one) for one in consistency],
            "tiles": tiles,
            "proof": proof,
            "witness": witness,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(question)}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def a_go_verifier() -> Iterator[GoVerifier]:
    """The process, built when its source is new."""
    with subprocess.Popen(
        [_built()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield GoVerifier(process)


def _built() -> Path:
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    made = BUILT / digest
    if not made.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": LIBRARIES, "GOFLAGS": ""}
        environment |= {"GOCACHE": str(BUILT / "cache"), "CGO_ENABLED": "0"}
        with tempfile.TemporaryDirectory(dir=BUILT) as directory:
            written = Path(directory) / "verifier"
            command = ["go", "build", "-o", str(written), str(SOURCE)]
            subprocess.run(command, check=True, env=environment)
            # Two tests may build at once; the last one wins with the same program.
            written.replace(made)
    return made


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
