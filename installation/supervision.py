# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What to run, when to start it again, and how the state of it all reads in one line.

Pure.

Rules:
 * What ends is started again, however often; the waits double from 0.2 s to 10 s.
 * A process that ran for 30 s is taken to be well: its next end is a first one again.
 * What runs once is done when it exits with status 0, and only then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal

import msgspec

FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 10.0
STABLE_SECONDS: Final = 30.0

ProcessState = Literal["waiting", "running", "ended", "done", "stopped"]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running, or to run once."""

    name: str
    command: tuple[str, ...]
    stage: int = 0
    """Lower stages start first and stop last."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own."""
    runs_once: bool = False
    answers_as: str = ""
    """How its answer to `$SRV.PING` reads (`answer_name`); empty: it gives none."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before a process is started again."""

    first_wait_seconds: float = FIRST_WAIT_SECONDS
    longest_wait_seconds: float = LONGEST_WAIT_SECONDS
    stable_seconds: float = STABLE_SECONDS

    def after_end(self, ends_in_a_row: int, *, ran_seconds: float) -> tuple[int, float]:
        """Ends in a row, this one included, and the seconds to wait.

        Args:
            ends_in_a_row: As returned the last time; 0 at first.
            ran_seconds: From start to end.
        """
        count = 1 if ran_seconds >= self.stable_seconds else ends_in_a_row + 1
        doublings = min(count - 1, 30)
        return count, min(self.first_wait_seconds * 2**doublings, self.longest_wait_seconds)


class ProcessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process as it is now."""

    name: str
    state: ProcessState
    pid: int = 0
    """0 while it does not run."""
    starts: int = 0
    since: str = ""
    """When it came into this state, RFC 3339 UTC."""
    last_exit: int | None = None
    """Exit status, or the negative signal number; None before the first end."""


def is_finished(spec: ProcessSpec, exit_status: int) -> bool:
    """Whether an end is the wanted one."""
    return spec.runs_once and exit_status == 0


def stages(specs: Iterable[ProcessSpec]) -> tuple[tuple[ProcessSpec, ...], ...]:
    """The specs by stage, first to start first; reversed, it is the order to stop in."""
    ordered = sorted(specs, key=lambda spec: spec.stage)
    return tuple(tuple(group) for _, group in groupby(ordered, key=lambda spec: spec.stage))


def answer_name(service: str, node: str = "") -> str:
    """How an answer to `$SRV.PING` names who gave it: a node's executor with the node."""
    return f"{service}/{node}" if node else service


def missing_answers(
    specs: Iterable[ProcessSpec], answered: Collection[str]
) -> tuple[ProcessSpec, ...]:
    """The processes that have to answer and have not."""
    return tuple(spec for spec in specs if spec.answers_as and spec.answers_as not in answered)


def status_line(statuses: Iterable[ProcessStatus]) -> str:
    """All processes in one line."""
    return "  ".join(_status_word(status) for status in statuses)


def is_telling(statuses: Iterable[ProcessStatus]) -> bool:
    """Whether the line is worth printing where lines stay: not while all is merely starting."""
    states = {status.state for status in statuses}
    return "waiting" not in states or "ended" in states


def _status_word(status: ProcessStatus) -> str:
    again = f" (start {status.starts})" if status.starts > 1 else ""
    if status.state == "running":
        return f"{status.name} {status.pid}{again}"
    if status.state == "ended":
        return f"{status.name} ENDED with {status.last_exit}{again}"
    return f"{status.name} {status.state}"
