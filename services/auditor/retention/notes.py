# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is told of pruned records: by which rule, when, and where they are now.

Pure but for the asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from services.auditor.query import StoredRecord
from services.auditor.retention.remains import own_pruning
from services.auditor.store import LogStore
from shared.contracts.audit import PrunedNote

MOST_NOTES: Final = 10_000


class PrunedNotes:
    """What one log's prunings are; what was said of one stays so."""

    def __init__(self, log: LogStore) -> None:
        """Nothing is known yet."""
        self._log: Final = log
        self._known: Final[dict[int, PrunedNote]] = {}

    async def told(self, page: Sequence[StoredRecord]) -> list[StoredRecord]:
        """The records, each that is known to be pruned with what is told of it."""
        return [
            one
            if one.pruned_by is None
            else structs.replace(one, note=await self._note(one.pruned_by))
            for one in page
        ]

    async def _note(self, record: int) -> PrunedNote:
        if record not in self._known:
            pruning = own_pruning(await self._log.record(record))
            while len(self._known) >= MOST_NOTES:
                del self._known[next(iter(self._known))]
            self._known[record] = PrunedNote(
                record=record, rule=pruning.rule, at=pruning.at, segment=pruning.segment
            )
        return self._known[record]
