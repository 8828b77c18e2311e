# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The essence of a verifier log: what was wrong, at which source line, and its statistics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STATISTICS: Final = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|peak_states|max_states)"
)
_INSTRUCTION: Final = re.compile(
    r"^\d+: |^from \d+ to \d+|^R\d+[_=]|^Func#\d+ |^Validating |^(cur|old) state: "
)
_NUMBER: Final = re.compile(r"^(\d+): \(")
_SOURCE: Final = re.compile(r"^; (?P<text>.*?)(?: @ (?P<place>[^@]+:\d+))?$")
_STACK_DEPTH: Final = re.compile(r"^stack depth ([\d+]+)", re.MULTILINE)
_WALKED: Final = re.compile(r"^processed (\d+) insns", re.MULTILINE)
_LAST_RESORT: Final = (
    "it gives no reason, as when the programs of a program array do not agree on reading fragments"
    " (xdp.frags) or on their attach type"
)


@dataclass(frozen=True, slots=True)
class VerifierFinding:
    """Why the verifier refuses."""

    error: str
    """Its last words."""
    source_line: str = ""
    """The source line it was at, as written; empty without BTF."""
    place: str = ""
    """`file.c:12`; empty on kernels that do not say."""
    position: int = -1
    """The instruction it was at; -1: the log does not say."""

    @property
    def source(self) -> str:
        """The place and the source line, as far as they are known."""
        return f"{self.place}: {self.source_line}" if self.place else self.source_line

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        if not self.source_line:
            return self.error
        at = f" at {self.place}" if self.place else " at"
        return f"{self.error}{at} `{self.source_line}`"


def read_verifier_log(log: str) -> VerifierFinding:
    """What the verifier complains about in `log`, written with log level 1 or more."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    error, position = _LAST_RESORT, len(lines)
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        if not (_STATISTICS.match(line) or _INSTRUCTION.match(line) or line.startswith(";")):
            error, position = line, index
            break
    before = lines[:position]
    source = next((found for line in reversed(before) if (found := _SOURCE.match(line))), None)
    number = next((found for line in reversed(before) if (found := _NUMBER.match(line))), None)
    return VerifierFinding(
        error,
        source_line=source["text"].strip() if source else "",
        place=(source["place"] or "") if source else "",
        position=int(number[1]) if number else -1,
    )


def read_stack_depths(log: str) -> tuple[int, ...]:
    """Bytes of stack of each function, the main one first; empty if the log does not say.

    The line `stack depth 48+0` is written with log level 4 (BPF_LOG_STATS).
    """
    found = _STACK_DEPTH.search(log)
    return tuple(int(part) for part in found[1].split("+")) if found else ()


def read_walked_instructions(log: str) -> int:
    """How many instructions the verifier walked; 0 if the log does not say."""
    found = _WALKED.search(log)
    return int(found[1]) if found else 0
