# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What stands between a published version and the channels it shall be released to."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message

VerdictOutcome = Literal["passed", "failed"]


class NodeVerdict(Message, frozen=True, kw_only=True):
    """What one node's kernel said of a version, in short."""

    node: str
    kernel: str
    """Its release, as `6.18.4`: what is told apart when kernels are counted."""
    machine: str
    outcome: VerdictOutcome
    at: str
    """When the node reported, by its own clock."""
    why: str = ""
    """Of a failure: the first line of the first thing that was wrong."""


class ReleaseGate(Message, frozen=True, kw_only=True):
    """One order to verify a version, and what came of it."""

    order: str
    """Command id of who published, or asked again; reports of another order do not count."""
    ordered_at: str
    kernels: dict[str, int] = {}
    """Channel to the number of different kernels that it demanded when this was published."""
    awaits: tuple[str, ...] = ()
    """Channels that the version is not released to yet."""
    verdicts: tuple[NodeVerdict, ...] = ()
    """One a node, in the order they were recorded."""
