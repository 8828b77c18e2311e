# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of what a companion says.

Pure.  So many lines a second are kept, more for a moment; the rest is counted and told with the
next line that is kept.  So a flood costs the node neither memory nor disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.contracts.companions import MAX_LOG_LINES, CompanionLine

LINES_PER_SECOND: Final = 100.0
BURST_LINES: Final = 500
MAX_TEXT: Final = 4096
"""Characters of one line that are kept."""

Stream = Literal["stdout", "stderr"]


@dataclass(slots=True)
class Splitter:
    """Bytes of one stream into lines."""

    _rest: bytes = b""
    _is_cut: bool = False

    def feed(self, data: bytes) -> Iterator[tuple[str, bool]]:
        """The lines that are whole now, and whether each was too long."""
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield self._text(line)
        self._rest = rest
        if len(self._rest) > MAX_TEXT:
            self._rest, self._is_cut = self._rest[:MAX_TEXT], True

    def end(self) -> Iterator[tuple[str, bool]]:
        """What stands there without an end of line."""
        if self._rest:
            yield self._text(self._rest)
            self._rest = b""

    def _text(self, line: bytes) -> tuple[str, bool]:
        is_cut, self._is_cut = self._is_cut or len(line) > MAX_TEXT, False
        return line[:MAX_TEXT].decode("utf-8", "replace").rstrip("\r"), is_cut


@dataclass(slots=True)
class SaidLines:
    """The last lines of one companion."""

    said: int = 0
    left_out: int = 0
    _kept: deque[CompanionLine] = field(default_factory=lambda: deque(maxlen=MAX_LOG_LINES))
    _room: float = float(BURST_LINES)
    _seen_at: float | None = None
    _left_out_now: int = 0

    def add(
        self, stream: Stream, text: str, *, is_cut: bool, time: str, now: float
    ) -> CompanionLine | None:
        """The line as it is kept; None: it was one too many."""
        if self._seen_at is not None:
            gained = max(0.0, now - self._seen_at) * LINES_PER_SECOND
            self._room = min(float(BURST_LINES), self._room + gained)
        self._seen_at = now
        self.said += 1
        if self._room < 1:
            self.left_out += 1
            self._left_out_now += 1
            return None
        self._room -= 1
        line = CompanionLine(
            time=time, stream=stream, text=text, is_cut=is_cut, left_out=self._left_out_now
        )
        self._left_out_now = 0
        self._kept.append(line)
        return line

    def last(self, count: int) -> tuple[CompanionLine, ...]:
        """Oldest first."""
        return tuple(self._kept)[-count:]
