# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of one companion, and the words for what happens to it and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.contracts.companions import (
    CompanionEventKind,
    CompanionExit,
    CompanionPhase,
    CompanionSpec,
    ExitReason,
)

CommandName = Literal["stop", "update"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """This is to run; None: nothing."""

    spec: CompanionSpec | None


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """Somebody wants it started anew."""


@dataclass(frozen=True, slots=True)
class Began:
    """The executable runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class SaidReady:
    """READY=1 came."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run's first process is gone, or there never was one."""

    exit: CompanionExit
    is_final: bool = False
    """Whether starting it again cannot help."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """Nothing of the run is left: no process, no group."""


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """A stop or update command is over."""

    name: CommandName
    problem: str = ""
    """Empty: it went well."""


@dataclass(frozen=True, slots=True)
class ProcessKilledForMemory:
    """The kernel ended one of its processes, not its first one."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The deadline may have come."""


Input = (
    Wanted
    | RestartAsked
    | Began
    | SaidReady
    | Ended
    | Cleared
    | CommandEnded
    | ProcessKilledForMemory
    | TimePassed
)


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a run of this."""

    spec: CompanionSpec


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to the run's first process."""


@dataclass(frozen=True, slots=True)
class KillGroup:
    """End every process of the run."""


@dataclass(frozen=True, slots=True)
class Clear:
    """End what is left of the run, take its group away, then say `Cleared`."""


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command beside the run."""

    name: CommandName
    spec: CompanionSpec


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody asks for it any more."""


Action = Begin | Terminate | KillGroup | Clear | RunCommand | Forget


@dataclass(frozen=True, slots=True)
class Note:
    """An event before it has a number and a time."""

    kind: CompanionEventKind
    pid: int = 0
    exit: CompanionExit | None = None
    wait_seconds: float = 0.0
    count: int = 0
    problem: str = ""


Doing = Literal["waiting", "starting", "ready", "stopping", "clearing", "gave-up", "stopped"]


@dataclass(frozen=True, slots=True)
class Life:
    """All that is known of one companion.  Times are seconds of one clock."""

    wanted: CompanionSpec | None
    doing: Doing
    since: float
    spec: CompanionSpec | None = None
    """What the run, or the last one, was started or updated with; None: there was none."""
    has_run: bool = False
    """Whether something of a run may be left."""
    updating: CompanionSpec | None = None
    """What its update command was told, while that works."""
    pid: int = 0
    began: float = 0.0
    deadline: float | None = None
    ending: ExitReason | None = None
    """Why the run is being ended; None: it is not."""
    is_final: bool = False
    starts_again: bool = False
    """Whether the next start was asked for."""
    starts: int = 0
    failures: int = 0
    failed_at: tuple[float, ...] = ()
    last_exit: CompanionExit | None = None
    problem: str = ""

    @property
    def phase(self) -> CompanionPhase:
        """What others are told."""
        if self.doing == "waiting":
            return "backing-off"
        if self.doing == "clearing":
            return "stopping"
        return self.doing

    @property
    def is_up(self) -> bool:
        """Whether it runs and nobody is ending it."""
        return self.doing in {"starting", "ready"}


@dataclass(frozen=True, slots=True)
class Step:
    """What one input leads to."""

    life: Life
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
