# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the bus remembers of the log's head, so that the log cannot forget it."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import Bucket, Message

NEWEST_HEAD: Final = "newest"
"""The one key of CHECKPOINTS."""


class PublishedCheckpoint(Message, frozen=True, kw_only=True):
    """KV `checkpoints`: the newest signed head; written by compare-and-set, never a smaller one."""

    checkpoint: str
    """C2SP signed note."""
    tree_size: int


CHECKPOINTS: Final = Bucket("checkpoints", PublishedCheckpoint)


class WitnessSeen(Message, frozen=True, kw_only=True):
    """How far one witness has followed the log since the auditor started."""

    verifier_key: str
    tree_size: int | None = None
    """Of the newest head that it cosigned; None: none."""
    cosigned_at: str = ""
    """By its own clock, RFC 3339 UTC."""
    problem: str = ""
    """Why it did not cosign when it was asked last; empty: it did."""
