# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands about a revision that is on its way to its nodes."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import API, Accepted, Command, Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.rollouts import Phase
from shared.contracts.scheduler import IfGeneration
from shared.contracts.spaces import SpaceText
from shared.identifiers import Token


class RolloutCommand(Command, frozen=True, kw_only=True):
    """About the rollout of one deployment."""

    name: Token
    space: SpaceText = PUBLIC
    if_generation: IfGeneration = None


class PauseRollout(RolloutCommand, frozen=True, kw_only=True):
    """Change no further node until somebody resumes; what has the new revision keeps it."""


class ResumeRollout(RolloutCommand, frozen=True, kw_only=True):
    """Go on with what is paused; a wave that was baking bakes anew."""

    override: bool = False
    """Go on outside change windows and inside freezes, from now to the end of the rollout; needs a
    reason, and a role that may."""


class AbortRollout(RolloutCommand, frozen=True, kw_only=True):
    """Bring back what was everywhere before; if nothing was, the deployment is removed."""


class ApproveRollout(RolloutCommand, frozen=True, kw_only=True):
    """Let a wave begin."""

    wave: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """Counted from 0; null: the one that waits."""


class RolloutAnswered(Accepted, frozen=True, kw_only=True):
    """How the rollout is now."""

    name: str
    space: Audience = PUBLIC
    revision: int
    """That is on its way, or was."""
    generation: int
    phase: Phase
    wave: int
    """Counted from 0."""
    waves: int
    why: str = ""


PAUSE_ROLLOUT: Final = Endpoint(f"{API}.scheduler.deployment.pause", PauseRollout, RolloutAnswered)
RESUME_ROLLOUT: Final = Endpoint(
    f"{API}.scheduler.deployment.resume", ResumeRollout, RolloutAnswered
)
ABORT_ROLLOUT: Final = Endpoint(f"{API}.scheduler.deployment.abort", AbortRollout, RolloutAnswered)
APPROVE_ROLLOUT: Final = Endpoint(
    f"{API}.scheduler.deployment.approve", ApproveRollout, RolloutAnswered
)
ROLLOUT_COMMANDS: Final = (PAUSE_ROLLOUT, RESUME_ROLLOUT, ABORT_ROLLOUT, APPROVE_ROLLOUT)
