# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody outside says whether a wave of a rollout is well: asked on a subject of its own."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import GATES, Endpoint, Message, Request
from shared.deployment_keys import DeploymentKey

NODES_ASKED_ABOUT: Final = 1000
"""Named in a question."""
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class AskGate(Request, frozen=True, kw_only=True):
    """Is this wave well?"""

    deployment: DeploymentKey
    revision: Annotated[int, Meta(ge=1, le=1 << 53)]
    package: Annotated[str, Meta(max_length=64)]
    version: Annotated[str, Meta(max_length=256)]
    wave: Count
    """Counted from 1."""
    waves: Count
    nodes: Annotated[tuple[str, ...], Meta(max_length=NODES_ASKED_ABOUT)]
    """Of the wave, the first of them."""
    node_count: Count


class GateSaid(Message, frozen=True, kw_only=True):
    """What it says."""

    well: bool
    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why; goes into the audit log if the wave is not well."""


ASK_GATE: Final = Endpoint(f"{GATES}.{{name}}.ask", AskGate, GateSaid)
