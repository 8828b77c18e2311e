# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Go's own verifiers of transparency logs (golang.org/x/mod/sumdb), as a process that is asked."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.go_programs import built_go_program

SOURCE = Path(__file__).with_name("main.go")


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
        [built_go_program(SOURCE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield GoVerifier(process)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
