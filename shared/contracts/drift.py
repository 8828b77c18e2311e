# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Drift: what somebody else did to a hook point, or to a node, behind the node executor's back."""

from __future__ import annotations

from typing import Any, Literal

from shared.contracts.base import Message

DriftPolicy = Literal["repair", "alarm", "adopt"]
"""`repair`: ours is put back.  `alarm`: nothing is touched until somebody decides.  `adopt`: what
was found is accepted."""

DriftKind = Literal[
    "link-gone",
    "link-detached",
    "program-replaced",
    "hook-taken",
    "pin-gone",
    "pin-replaced",
    "program-unloaded",
    "segment-replaced",
    "map-changed",
    "neighbour-came",
    "program-unmanaged",
]
"""What was found; docs/operations.md says what each means and what is done about it."""

DriftDone = Literal["repair", "left", "left-to-owner", "adopted", "forgotten"]
"""What is done about it.  `left-to-owner`: another owner's program, which is not overwritten.
`forgotten`: there is nothing to put back."""


class ObservedDrift(Message, frozen=True, kw_only=True):
    """One thing that is not as the node executor left it."""

    kind: DriftKind
    subject: str = ""
    """Which of the hook point's things: a program, a pin, a map, a place in an array."""
    done: DriftDone = "left"
    found: dict[str, Any] = {}
    """What is there instead, as far as it can be told."""
    event_id: str = ""
    """Of the event in the audit log that says so, and when."""
