# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node executor and the companion supervisor of its node say to one another.

One JSON document a line on a unix socket: a request (`op`), then its reply (`reply`), in order.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.contracts.base import Document, Message
from shared.contracts.package_manifest import (
    AccountName,
    Capabilities,
    CompanionLimits,
    CompanionReadiness,
    Symbol,
)
from shared.identifiers import DigestText, Token

MAX_LINE_BYTES: Final = 8 << 20
"""Of a request or reply."""
MAX_COMPANIONS: Final = 256
"""On one node."""
MAX_LOG_LINES: Final = 1000
"""Kept of each companion."""
MAX_EVENTS: Final = 500
"""In one reply."""
MAPS_DIR: Final = "/run/l3af/maps"
"""Where a companion finds the maps of its package, each under its name with `_` for dots; also in
`L3AF_MAPS`."""

CompanionId = Annotated[str, Meta(pattern=r"^[!-~]{1,400}(?!\n)$")]
"""One companion at one place, as `default/lan1/xdp/guard/exporter`."""
AbsolutePath = Annotated[str, Meta(pattern=r"^/[^\x00]{1,4000}$")]
Argument = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=4096)]
VariableName = Annotated[str, Meta(pattern=r"^[A-Z_][A-Z0-9_]{0,63}(?!\n)$")]
Controller = Literal["cpu", "memory", "pids"]
"""Of control groups; each is one of a companion's limits."""

CompanionPhase = Literal["starting", "ready", "backing-off", "gave-up", "stopping", "stopped"]
"""`starting`: runs and has not said that it is ready; `backing-off`: waits to be started again;
`gave-up`: failed too often, or cannot run here; `stopped`: ended, and is not started again."""
CompanionEventKind = Literal[
    "start", "ready", "exit", "oom", "backoff", "gave-up", "stopped", "update", "lost"
]
"""`oom`: the kernel ended one of its processes for memory and the companion goes on; `stopped`: it
ended because that was asked for; `update`: its update command ended; `lost`: events before this one
were not fetched and had to make room."""
ExitReason = Literal["status", "signal", "oom", "not-ready", "not-started", "stopped", "lost"]
"""`not-ready`: it did not say so in time; `not-started`: `problem` says why; `stopped`: it was
asked to end; `lost`: the supervisor ended, and its successor ended what it had left."""


class CompanionCommand(Document, frozen=True, kw_only=True):
    """One executable and what it is told."""

    sha256: DigestText
    """Of the executable."""
    path: AbsolutePath
    """Where the supervisor can read it until it has its own copy."""
    arguments: Annotated[tuple[Argument, ...], Meta(max_length=256)] = ()
    """Without the program's own name."""


class CompanionSpec(Document, frozen=True, kw_only=True):
    """One companion as it is to run."""

    id: CompanionId
    name: Token
    """As the manifest calls it; the program's own name too."""
    start: CompanionCommand
    stop: CompanionCommand | None = None
    """Run before SIGTERM, with `L3AF_PID`; None: SIGTERM alone."""
    update: CompanionCommand | None = None
    """Run instead of a restart when just arguments, environment or maps have changed."""
    user: AccountName = ""
    """Account of the node; empty: a user id that nobody else has."""
    capabilities: Capabilities = ()
    limits: CompanionLimits = CompanionLimits()
    readiness: CompanionReadiness = CompanionReadiness()
    restart: Literal["always", "on-failure", "never"] = "on-failure"
    stop_seconds: Annotated[int, Meta(ge=1, le=600)] = 10
    environment: dict[VariableName, Argument] = {}
    maps: dict[Symbol, Annotated[int, Meta(ge=1, lt=1 << 32)]] = {}
    """Name to the kernel's id; it sees exactly these."""


class ApplyCompanions(Document, frozen=True, kw_only=True, tag_field="op", tag="apply"):
    """Exactly these are to run; what is not listed is stopped."""

    instances: Annotated[tuple[CompanionSpec, ...], Meta(max_length=MAX_COMPANIONS)]


class AskStates(Document, frozen=True, kw_only=True, tag_field="op", tag="status"):
    """How everything is that was applied or still runs."""


class AskEvents(Document, frozen=True, kw_only=True, tag_field="op", tag="events"):
    """What happened after the event of this number; those up to it are forgotten."""

    since: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
    wait_seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How long the reply may wait for an event if there is none."""


class AskLines(Document, frozen=True, kw_only=True, tag_field="op", tag="logs"):
    """The last lines that one companion said."""

    id: CompanionId
    lines: Annotated[int, Meta(ge=1, le=MAX_LOG_LINES)] = 100


class RestartCompanion(Document, frozen=True, kw_only=True, tag_field="op", tag="restart"):
    """One companion is stopped and started, also when it was given up."""

    id: CompanionId


CompanionRequest = ApplyCompanions | AskStates | AskEvents | AskLines | RestartCompanion


class CompanionExit(Message, frozen=True, kw_only=True):
    """How a run of a companion ended."""

    reason: ExitReason
    status: int = 0
    """Exit status; 0 with another reason than `status`."""
    signal: str = ""
    """As `SIGSEGV`, where a signal ended it."""
    problem: str = ""
    """Why it was not started, one sentence."""
    ran_seconds: float = 0.0


class CompanionUsage(Message, frozen=True, kw_only=True):
    """What the current run uses."""

    cpu_seconds: float = 0.0
    """Since the run began."""
    memory_bytes: int = 0
    processes: int = 0


class CompanionState(Message, frozen=True, kw_only=True):
    """One companion as it is now."""

    id: str
    phase: CompanionPhase
    since: str
    """When it came into this phase, RFC 3339 UTC."""
    spec_sha256: str
    """Of the spec that this phase is about (`shared.companion_specs.spec_digest`)."""
    pid: int = 0
    """0 while it does not run."""
    user_id: int = 0
    """0: it never ran."""
    starts: int = 0
    """Runs since the supervisor started."""
    failures: int = 0
    """In a row."""
    next_start: str = ""
    """While it backs off."""
    last_exit: CompanionExit | None = None
    problem: str = ""
    """Why it was given up or could not be started, one sentence."""
    missing_limits: tuple[Controller, ...] = ()
    """Limits that this node's control groups cannot set, and that it was allowed to run without."""
    usage: CompanionUsage = CompanionUsage()
    lines_said: int = 0
    lines_left_out: int = 0
    """Lines above its share, which were not kept."""


class CompanionEvent(Message, frozen=True, kw_only=True):
    """One thing that happened; kept on disk until it is acknowledged."""

    number: int
    """Grows by one; never given twice on this node."""
    time: str
    id: str
    """Empty for `lost`."""
    kind: CompanionEventKind
    pid: int = 0
    spec_sha256: str = ""
    exit: CompanionExit | None = None
    wait_seconds: float = 0.0
    """Until it is started again, of `backoff`."""
    count: int = 0
    """Failures in a row, of `backoff` and `gave-up`; events, of `lost`."""
    problem: str = ""


class CompanionLine(Message, frozen=True, kw_only=True):
    """One line that a companion said."""

    time: str
    stream: Literal["stdout", "stderr"]
    text: str
    """At most 4,096 characters."""
    is_cut: bool = False
    left_out: int = 0
    """Lines before this one that were not kept, because they were too many."""


class Applied(Message, frozen=True, kw_only=True, tag_field="reply", tag="applied"):
    """The set is what the supervisor works towards, and is remembered."""

    problems: dict[str, str] = {}
    """By id: why a companion cannot run here, as far as that is known at once."""


class States(Message, frozen=True, kw_only=True, tag_field="reply", tag="states"):
    """Every companion, by id."""

    companions: tuple[CompanionState, ...] = ()
    controllers: tuple[Controller, ...] = ()
    """What this node's control groups can limit."""
    control_groups: Literal["unified", "hybrid", "legacy", "none"] = "none"


class Events(Message, frozen=True, kw_only=True, tag_field="reply", tag="events"):
    """Oldest first."""

    events: tuple[CompanionEvent, ...] = ()


class Lines(Message, frozen=True, kw_only=True, tag_field="reply", tag="lines"):
    """Oldest first."""

    lines: tuple[CompanionLine, ...] = ()


class Restarted(Message, frozen=True, kw_only=True, tag_field="reply", tag="restarted"):
    """It is being started anew."""


class CompanionRefusal(Message, frozen=True, kw_only=True, tag_field="reply", tag="refused"):
    """Nothing was changed."""

    code: str
    message: str
    problems: tuple[str, ...] = ()


CompanionReply = Applied | States | Events | Lines | Restarted | CompanionRefusal


def encode_line(document: msgspec.Struct) -> bytes:
    """The document as one line of the socket."""
    return msgspec.json.encode(document) + b"\n"
