# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Did the log only grow since a head that somebody kept?  The auditor proves it, we check it."""

from __future__ import annotations

from services.auditor.checkpoint import (
    TreeHead,
    open_checkpoint,
    parse_tree_head,
    parse_verifier_key,
    split_note,
)
from services.auditor.log_keys import follow_keys, open_by_any
from services.auditor.merkle import Hash, ProofError, check_consistency
from shared.adapters.bus import Bus
from shared.contracts.audit import GET_CHECKPOINT, Checkpoint, GetCheckpoint


async def newest_head(bus: Bus, older: str = "") -> tuple[Checkpoint, TreeHead | None]:
    """The newest head, its signature checked, and the older one, which it follows from.

    Args:
        bus: As somebody who may have the signed head.
        older: A note that this log signed; empty: none.

    Raises:
        VerificationError: One of them was not signed by the log, or they contradict each other.
        RefusedError: The log was never so large.
        FaultError: The auditor does not answer.
    """
    trusted = parse_verifier_key(bus.facts.log_verifier_key)
    size = parse_tree_head(split_note(older)[0]).size if older else 0
    newest = await bus.request(GET_CHECKPOINT, GetCheckpoint(consistent_with_size=size))
    keys = follow_keys(trusted, newest.key_chain)
    known = open_by_any(older, keys) if older else None
    head = open_checkpoint(newest.checkpoint, key=keys[-1])
    if known is not None and known.size:
        _check_growth(known, head, newest.consistency)
    return newest, known


def _check_growth(older: TreeHead, newer: TreeHead, consistency: tuple[str, ...]) -> None:
    try:
        proof = [Hash(bytes.fromhex(item)) for item in consistency]
    except ValueError as error:
        raise ProofError("the consistency proof is not hexadecimal") from error
    check_consistency(
        proof,
        old_size=older.size,
        old_root=older.root,
        new_size=newer.size,
        new_root=newer.root,
    )
