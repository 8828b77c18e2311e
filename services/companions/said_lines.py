# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of what a companion says.

Pure.  So many lines a second are kept, more for a moment; the rest is counted and told with the
next line that is kept.  So a flood costs the node neither memory nor disk.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.contracts.companions import MAX_LOG_LINES, CompanionLine

LINES_PER_SECOND: Final = 100.0
BURST_LINES: Final = 500
MAX_TEXT: Final = 4096
"""Characters of one line that are kept."""
MAX_CHARACTERS: Final = 256 * 1024
"""Of all lines of one companion."""

Stream = Literal["stdout", "stderr"]


@dataclass(slots=True)
class Splitter:
    """Bytes of one stream into lines."""

    _rest: bytes = b""
    _is_cut: bool = False

    def feed(self, data: bytes, *, most: int) -> tuple[list[tuple[str, bool]], int]:
        """The lines that are whole now, each with whether it was too long, and how many more.

        Lines after the first `most` are counted and not looked at, so that they cost nothing.
        """
        *whole, rest = (self._rest + data).split(b"\n", most)
        more = rest.count(b"\n")
        if more:
            rest = rest[rest.rfind(b"\n") + 1 :]
        lines = [self._text(line) for line in whole]
        if more:
            self._is_cut = False
        if len(rest) > MAX_TEXT:
            rest, self._is_cut = rest[:MAX_TEXT], True
        self._rest = rest
        return lines, more

    def end(self, *, most: int) -> tuple[list[tuple[str, bool]], int]:
        """The same when nothing follows any more: what has no line's end is a line too."""
        return self.feed(b"\n", most=most) if self._rest else ([], 0)

    def _text(self, line: bytes) -> tuple[str, bool]:
        is_cut, self._is_cut = self._is_cut or len(line) > MAX_TEXT, False
        return line[:MAX_TEXT].decode("utf-8", "replace").rstrip("\r"), is_cut


@dataclass(slots=True)
class SaidLines:
    """The last lines of one companion."""

    said: int = 0
    left_out: int = 0
    _kept: deque[CompanionLine] = field(default_factory=deque)
    _characters: int = 0
    _room: float = float(BURST_LINES)
    _seen_at: float | None = None
    _left_out_now: int = 0

    def room(self, *, now: float) -> int:
        """How many lines may be kept now."""
        if self._seen_at is not None:
            gained = max(0.0, now - self._seen_at) * LINES_PER_SECOND
            self._room = min(float(BURST_LINES), self._room + gained)
        self._seen_at = now
        return int(self._room)

    def keep(self, stream: Stream, text: str, *, is_cut: bool, time: str) -> CompanionLine:
        """The line as it is kept; older ones make room for it."""
        self.said += 1
        self._room -= 1
        line = CompanionLine(
            time=time, stream=stream, text=text, is_cut=is_cut, left_out=self._left_out_now
        )
        self._left_out_now = 0
        self._kept.append(line)
        self._characters += len(text)
        while len(self._kept) > MAX_LOG_LINES or self._characters > MAX_CHARACTERS:
            self._characters -= len(self._kept.popleft().text)
        return line

    def leave_out(self, count: int) -> None:
        """So many lines were too many; the next one that is kept says so."""
        self.said += count
        self.left_out += count
        self._left_out_now += count

    def last(self, count: int) -> tuple[CompanionLine, ...]:
        """Oldest first."""
        return tuple(self._kept)[-count:]
