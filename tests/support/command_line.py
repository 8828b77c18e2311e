# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af` as a person runs it: a process, its exit status and what it said."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

L3AF = Path(sys.executable).parent / "l3af"


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    output: str
    message: str

    @property
    def document(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.output)


async def run_l3af(
    *words: str, credentials: Path | None = None, folder: Path | None = None
) -> Answer:
    """One command, by whoever the credentials are of; a traceback fails the test.

    Args:
        words: After `l3af`.
        credentials: None: of nobody, and no installation is known.
        folder: Where it is run; None: where the tests are.
    """
    process = await asyncio.create_subprocess_exec(
        L3AF,
        *words,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "L3AF_CREDENTIALS": str(credentials or "")},
    )
    output, message = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in message, message.decode()
    return Answer(process.returncode, output.decode(), message.decode())
