# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the bus and the nodes remember of the log's head, so that the log cannot forget it."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, INTERNAL, Bucket, Endpoint, Message, Request

NEWEST_HEAD: Final = "newest"
"""The one key of CHECKPOINTS."""


class PublishedCheckpoint(Message, frozen=True, kw_only=True):
    """KV `checkpoints`: the newest signed head; written by compare-and-set, never a smaller one."""

    checkpoint: str
    """C2SP signed note."""
    tree_size: int


CHECKPOINTS: Final = Bucket("checkpoints", PublishedCheckpoint)


class CompareHead(Request, frozen=True, kw_only=True):
    """A node brings the newest head that it knows, and gets the newest that there is."""

    checkpoint: str = ""
    """C2SP signed note; empty: it knows none."""


class HeadCompared(Message, frozen=True, kw_only=True):
    """The log holds what the node knew."""

    checkpoint: str
    """The newest signed head."""
    tree_size: int


class GetKnownHead(Request, frozen=True, kw_only=True):
    """Which head of the log a node knows."""


class KnownHead(Message, frozen=True, kw_only=True):
    """The newest head that a node was ever given."""

    node: str
    checkpoint: str = ""
    """C2SP signed note; empty: it was given none yet."""
    tree_size: int = 0
    given_at: str = ""
    """By the node's clock, RFC 3339 UTC."""
    problem: str = ""
    """What the auditor said when it was compared last; empty: that the log holds it."""


COMPARE_HEAD: Final = Endpoint(
    f"{INTERNAL}.auditor.head.compare.{{node}}", CompareHead, HeadCompared
)
"""The node's name is the last token, so that a node's permission proves which node asks."""
GET_KNOWN_HEAD: Final = Endpoint(f"{API}.node.{{node}}.head.get", GetKnownHead, KnownHead)


class WitnessSeen(Message, frozen=True, kw_only=True):
    """How far one witness has followed the log since the auditor started."""

    verifier_key: str
    tree_size: int | None = None
    """Of the newest head that it cosigned; None: none."""
    cosigned_at: str = ""
    """By its own clock, RFC 3339 UTC."""
    problem: str = ""
    """Why it did not cosign when it was asked last; empty: it did."""
