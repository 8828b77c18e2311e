# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""That somebody reads the log is recorded before anything of it is given away."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.auditor.execution import Emitter
from services.auditor.sight import SeenSpaces
from services.auditor.told_readings import told_readings
from shared.adapters.callers import Caller
from shared.contracts.events import Audience, EventBody


class ReadingNotes:
    """Says `log.read`."""

    def __init__(self, emitter: Emitter, spaces: SeenSpaces) -> None:
        """Nothing is read yet."""
        self._emitter: Final = emitter
        self._spaces: Final = spaces

    async def note(self, caller: Caller, details: Mapping[str, Any]) -> None:
        """The reading is in the event stream, for those to see who may know what was asked.

        Raises:
            FaultError: It could not be stored; then nothing is to be answered.
        """
        spaces = self._spaces.visible_to(caller.name) - self._spaces.open_to_all()
        await self.tell(caller, told_readings(details, spaces=spaces))

    async def tell(
        self, caller: Caller, readings: Iterable[tuple[dict[str, Any], Audience]]
    ) -> None:
        """The same of a reading of which it is known what whom is told.

        Raises:
            FaultError: It could not be stored; then nothing is to be answered.
        """
        for told, audience in readings:
            body = EventBody(
                action="log.read", outcome="accepted", actor=caller.actor(), details=told
            )
            event_id = f"log-read-{secrets.token_hex(16)}"
            await self._emitter.emit(body, event_id=event_id, audience=audience)
