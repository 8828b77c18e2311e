# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Companions: programs of user space that work beside the programs of a chain.

A package brings them, a deployment gives them arguments, a node runs one for each hook point that
the deployment is on, and says what became of it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Document, Endpoint, Message, Request
from shared.deployment_keys import DeploymentKey
from shared.identifiers import Hook, NetnsText, PlaceText, Token, render_place

MAX_ARGUMENTS: Final = 64
"""Of one companion."""
MAX_ARGUMENT_CHARACTERS: Final = 1024
MAX_LOG_LINES: Final = 1000
COMPANION_RESTART: Final = "companion.restart"
COMPANION_ACTIONS: Final = (
    COMPANION_RESTART,
    "companion.start",
    "companion.ready",
    "companion.update",
    "companion.oom",
    "companion.exit",
    "companion.give-up",
    "companion.stop",
    "companion.lose",
)
"""What nodes say of companions in the audit log."""

ArgumentText = Annotated[str, Meta(pattern=r"^[^\x00]*(?!\n)$", max_length=MAX_ARGUMENT_CHARACTERS)]
ArgumentNumber = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
ArgumentValue = ArgumentText | ArgumentNumber | bool
CompanionState = Literal[
    "starting",
    "ready",
    "backing-off",
    "gave-up",
    "stopping",
    "stopped",
    "unknown",
]
"""`stopped`: it ended, and is not started again.  `unknown`: nobody on the node can tell."""


class CompanionWish(Document, frozen=True, kw_only=True):
    """What a deployment says of a companion of its package."""

    arguments: Annotated[dict[Token, ArgumentValue], Meta(max_length=MAX_ARGUMENTS)] = {}
    """Values of arguments that the package declares."""


class DesiredCompanion(Document, frozen=True, kw_only=True):
    """A companion that a node shall run; all else about it is in the signed manifest."""

    arguments: dict[Token, ArgumentValue] = {}
    """With the package's defaults; what is left out is not handed over."""


class ObservedCompanion(Message, frozen=True, kw_only=True):
    """One companion of one deployment on one hook point."""

    deployment: str
    revision: int
    """Of the deployment that gave it its arguments."""
    companion: str
    state: CompanionState
    reason: str = ""
    """Why it is in this state, where that is not as it should be; one sentence."""
    pid: int = 0
    """On the node; 0: no process."""
    restarts: int = 0
    """How often it was started anew since it is wanted as it is."""


class CompanionUsage(Message, frozen=True, kw_only=True):
    """What the processes of a companion use and used, by its control group."""

    cpu_seconds: float = 0.0
    """Of the instance that runs."""
    memory_bytes: int = 0
    processes: int = 0


class CompanionShown(Message, frozen=True, kw_only=True):
    """One companion, where it is, and what it uses."""

    interface: str
    hook: Hook
    netns: str = ""
    companion: ObservedCompanion
    package: str = ""
    version: str = ""
    usage: CompanionUsage | None = None
    """Null: it does not run, or nobody can tell."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ListCompanions(Request, frozen=True, kw_only=True):
    """The companions of a node."""

    deployment: DeploymentKey | None = None
    """Of this one alone; null: all."""


class CompanionsListed(Message, frozen=True, kw_only=True):
    """As far as the caller sees them."""

    node: str
    companions: tuple[CompanionShown, ...]
    problem: str = ""
    """Why nothing is known of what runs; empty: it is."""


class CompanionAddress(Request, frozen=True, kw_only=True):
    """One companion of a node."""

    deployment: DeploymentKey
    companion: Token
    interface: PlaceText | None = None
    """May be left out, as `hook`, when the deployment has the companion on one hook point only."""
    hook: Hook | None = None
    netns: NetnsText = ""


class ReadCompanionLog(CompanionAddress, frozen=True, kw_only=True):
    """What a companion wrote last."""

    lines: Annotated[int, Meta(ge=1, le=MAX_LOG_LINES)] = 100


class CompanionLine(Message, frozen=True, kw_only=True):
    """One line that a companion wrote."""

    at: str
    """RFC 3339 UTC."""
    stream: Literal["stdout", "stderr"]
    text: str
    is_cut: bool = False
    """Whether it was longer."""
    left_out: int = 0
    """Lines before this one that were not kept, because they were too many."""


class CompanionLog(Message, frozen=True, kw_only=True):
    """The newest lines, oldest first."""

    node: str
    interface: str
    hook: Hook
    netns: str = ""
    deployment: str
    companion: str
    lines: tuple[CompanionLine, ...]


class RestartCompanion(CompanionAddress, frozen=True, kw_only=True):
    """Stop a companion and start it anew; one that was given up is tried again."""

    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why, in the caller's words; goes into the audit log."""


class CompanionRestarted(Message, frozen=True, kw_only=True):
    """It was asked for; how it ends is in events, and in the list."""

    node: str
    companion: CompanionShown


LIST_COMPANIONS: Final = Endpoint(
    f"{API}.node.{{node}}.companion.list", ListCompanions, CompanionsListed
)
READ_COMPANION_LOG: Final = Endpoint(
    f"{API}.node.{{node}}.companion.log", ReadCompanionLog, CompanionLog
)
RESTART_COMPANION: Final = Endpoint(
    f"{API}.node.{{node}}.companion.restart", RestartCompanion, CompanionRestarted
)
