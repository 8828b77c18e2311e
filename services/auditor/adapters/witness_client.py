# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log's side of HTTP towards one witness: C2SP tlog-witness `add-checkpoint`."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from services.auditor.checkpoint import VerifierKey
from services.auditor.witness.exchange import CONFLICT, OK, PATH, AddCheckpoint, render_request
from shared.errors import FaultError

ANSWER_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 65_536
_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n")


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """What a witness said that a log can do something about."""

    status: int
    lines: tuple[str, ...] = ()
    """Signature lines, not verified; only with OK."""
    size: int = 0
    """What it cosigned last, -1 if it does not say; only with CONFLICT."""
    why: str = ""
    """In its own words, for people."""


@dataclass(frozen=True)
class WitnessClient:
    """One witness."""

    key: VerifierKey
    url: str
    """Submission prefix, `http://host:port` or `https://…`."""

    async def add_checkpoint(self, request: AddCheckpoint) -> WitnessAnswer:
        """What the witness answers.

        Raises:
            FaultError: It cannot be reached, or its answer is none.
        """
        return await asyncio.to_thread(self._post, render_request(request))

    def _post(self, body: bytes) -> WitnessAnswer:
        place = urlsplit(self.url)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        try:
            connection = kind(place.netloc, timeout=ANSWER_SECONDS)
            try:
                connection.request(
                    "POST",
                    f"{place.path.rstrip('/')}{PATH}",
                    body,
                    {"Content-Type": "text/plain; charset=utf-8"},
                )
                response = connection.getresponse()
                data = response.read(MAX_ANSWER_BYTES)
            finally:
                connection.close()
            return _answer(response.status, data.decode())
        except (OSError, HTTPException, UnicodeDecodeError, ValueError) as error:
            raise FaultError(f"witness {self.key.name} at {self.url}: {error}") from error


def _answer(status: int, text: str) -> WitnessAnswer:
    if status == OK:
        return WitnessAnswer(status, lines=tuple(line for line in text.split("\n") if line))
    if status == CONFLICT:
        size = _SIZE.fullmatch(text)
        return WitnessAnswer(status, size=int(size[1]) if size is not None else -1)
    return WitnessAnswer(status, why=text.strip()[:200])
