# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the state that an outbox record changes, once, however often it is called.

Rules:
 * The first change is a compare-and-set: it says whether the decision still holds.
 * Once it is written all others are, whatever was written to their keys meanwhile: the command is
   accepted.  Nobody decides before that, so that is bookkeeping and no decision.
 * A record says which command wrote it (`shared.outbox_records.mark_of`), and so a repeat
   recognises itself.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from shared.adapters.kv import RevisionConflictError
from shared.adapters.outbox_bus import OutboxBus, Records
from shared.contracts.base import Bucket
from shared.contracts.storage import OutboxRecord, StateChange
from shared.errors import FaultError
from shared.outbox_records import Marked, mark_of

FOLLOWING_ATTEMPTS: Final = 20


class StateMovedError(FaultError):
    """Others changed the state faster than a decision could be made."""


async def write_changes(bus: OutboxBus, record: OutboxRecord) -> bool:
    """Whether the state is as the record wants it, by this call or by an earlier one.

    If not, the state had moved since the decision, and nothing was written.

    Raises:
        FaultError: A part may be written; call again.
    """
    if record.change is None:
        return True
    if not await _write_first(bus, record.change, record.command_id):
        return False
    for change in record.also:
        await _write_following(bus, change, record.command_id)
    return True


async def _write_first(bus: OutboxBus, change: StateChange, command_id: str) -> bool:
    raw = _raw(bus, change)
    try:
        if change.expected_revision is not None:
            await raw.update(change.key, change.value, revision=change.expected_revision)
        else:
            sequence = change.expected_bucket_sequence
            await raw.update_in_bucket(change.key, change.value, sequence=sequence)
    except RevisionConflictError:
        current = await raw.get(change.key)
        return current is not None and _command_of(current.value) == command_id
    return True


async def _write_following(bus: OutboxBus, change: StateChange, command_id: str) -> None:
    raw = _raw(bus, change)
    revision = change.expected_revision or 0
    for _ in range(FOLLOWING_ATTEMPTS):
        try:
            await raw.update(change.key, change.value, revision=revision)
        except RevisionConflictError:
            current = await raw.get(change.key)
            if current is not None and _command_of(current.value) == command_id:
                return
            revision = 0 if current is None else current.revision
        else:
            return
    raise StateMovedError(f"{change.bucket}/{change.key}: is written all the time")


def _raw(bus: OutboxBus, change: StateChange) -> Records[Any]:
    """The record goes as the bytes that were decided; msgspec.Raw passes them through."""
    return bus.bucket(Bucket(change.bucket, cast("Any", msgspec.Raw)))


def _command_of(value: msgspec.Raw) -> str:
    return mark_of(msgspec.json.decode(value, type=Marked))
