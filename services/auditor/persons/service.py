# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Erases persons, and says that it was done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from services.auditor.persons.erasing import Asked, Sought, check_asked, refuse_held
from services.auditor.reading.execution import ReadingNotes
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.canonical import canonical_digest
from shared.contracts.base import Endpoint
from shared.contracts.persons import ERASE_PERSON, ErasePerson, PersonErased


class ErasureDesk:
    """Erases whom an administrator names."""

    def __init__(
        self,
        log: LogStore,
        outbox: Outbox,
        spaces: SeenSpaces,
        *,
        recorded: Callable[[], Awaitable[None]],
    ) -> None:
        """Nothing is served yet.

        Args:
            log: From which.
            outbox: Of the auditor.
            spaces: Who sees what.
            recorded: Returns when everything that the stream holds by now is in the log.
        """
        self._log: Final = log
        self._outbox: Final = outbox
        self._sight: Final = Sight(log, spaces)
        self._notes: Final = ReadingNotes(outbox, spaces)
        self._recorded: Final = recorded
        self._turn: Final = asyncio.Lock()

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {ERASE_PERSON: self.erase}

    async def open(self) -> None:
        """What an earlier process erased and did not say is said."""
        async with self._turn:
            await self._say()

    async def erase(self, request: ErasePerson, caller: Caller) -> PersonErased:
        """They are nowhere in the log, and the log says so, when this returns."""
        sought = Sought(frozenset(request.names), frozenset(request.keys))
        check_asked(sought, reason=request.reason, is_dry_run=request.dry_run)
        async with self._turn:
            await self._recorded()
            seen = await self._sight.of(caller.name)
            if request.dry_run:
                # Whoever asks how often somebody is spoken of reads the log.
                await self._notes.note(caller, {"erasure_tried": True})
            asked = Asked(
                sought=sought,
                actor=caller.actor(),
                reason=request.reason,
                is_dry_run=request.dry_run,
                seen=seen,
                check=lambda hold: refuse_held(hold, seen),
            )
            erased = await self._log.erase(asked)
            await self._say()
        await self._recorded()
        return PersonErased(
            records=erased.shown.records,
            rewritten=erased.shown.rewritten,
            named=erased.shown.named,
            dry_run=request.dry_run,
        )

    async def _say(self) -> None:
        for number, body in await self._log.unsaid_erasures():
            digest = canonical_digest(body.details["persons"])
            await self._outbox.emit(body, event_id=f"person-erase-{digest[:32]}")
            await self._log.mark_erasure_said(number)
