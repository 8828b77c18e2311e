# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What it means if somebody remembers the log otherwise: it was rolled back, forked or altered.

Pure.  Such a log says so once, in the event stream, and does not go on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from services.auditor.checkpoint import TreeHead
from services.auditor.store import DamagedLogError
from services.auditor.witness.exchange import CONFLICT, UNPROVED
from shared.contracts.events import EventBody

CONFLICT_ACTION: Final = "log.conflict"
ConflictKind = Literal["shrunken", "forked", "unproved"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """The log is not the one that somebody knows."""

    kind: ConflictKind
    """`shrunken`: it held more records before.  `forked`: the same size has another root.
    `unproved`: what it holds now does not follow from what it held."""
    by: str
    """Who remembers: a witness's name, `the bus`, `node <name>`."""
    size: int
    """Of the head that was shown."""
    known_size: int
    """Of the head that is remembered."""


class ConflictError(DamagedLogError):
    """The log contradicts what it signed before."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict_sentence(conflict))
        self.conflict: Final = conflict


def find_conflict(
    status: int, *, by: str, asked_old: int, head: TreeHead, known_size: int
) -> Conflict | None:
    """What a witness's answer shows about the log; None: nothing.

    Args:
        status: Of HTTP.
        by: The witness's name.
        asked_old: The old size that the log named.
        head: That was to be cosigned.
        known_size: What the witness says it cosigned last, -1 if it does not say; only read with
            CONFLICT.
    """
    if status == UNPROVED:
        return Conflict("unproved", by, head.size, asked_old)
    if status != CONFLICT:
        return None
    if known_size > head.size:
        return Conflict("shrunken", by, head.size, known_size)
    if head.size == asked_old and known_size in {-1, head.size}:
        return Conflict("forked", by, head.size, head.size)
    return None


def conflict_sentence(conflict: Conflict) -> str:
    """Why the log cannot go on, for people."""
    by, size, known = conflict.by, conflict.size, conflict.known_size
    match conflict.kind:
        case "shrunken":
            return (
                f"{by} has seen {known} records of this log, which shows {size}: it was rolled back"
            )
        case "forked":
            return f"{by} has seen {known} records of this log with another root: it was forked"
        case "unproved":
            return (
                f"{by} has seen {known} records of this log, and they are not the first of the "
                f"{size} that it holds now: it was altered or continued from an older copy"
            )


def conflict_event(conflict: Conflict) -> tuple[EventBody, str]:
    """What is said about a conflict, and the id under which it is said once."""
    identity = f"{conflict.kind}|{conflict.by}|{conflict.size}|{conflict.known_size}"
    body = EventBody(
        action=CONFLICT_ACTION,
        outcome="failed",
        reason=conflict_sentence(conflict),
        details={
            "kind": conflict.kind,
            "by": conflict.by,
            "tree_size": conflict.size,
            "known_size": conflict.known_size,
        },
    )
    return body, f"log-conflict-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
