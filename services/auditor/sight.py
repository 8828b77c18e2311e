# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who sees which audiences, as of what the log holds.

Pure but for the asking.  The log may hold what was told to a space before this process has heard
of the space.  Whoever reads on from a number would pass such a record by for good, so the spaces
are read again before anything is answered from a log that names one for the first time.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from services.auditor.admission import Channel, LogState
from shared.contracts.events import PUBLIC, Audience
from shared.errors import RefusedError


class SeenSpaces(Protocol):
    """Who sees which audience."""

    def visible_to(self, name: str) -> frozenset[Audience]:
        """Every audience that the principal of that name sees."""

    def open_to_all(self) -> frozenset[Audience]:
        """`public`, and what is open by now."""

    def audience_now(self, audience: Audience) -> Audience:
        """To whom that is told from now on which was told to `audience` before."""

    async def sees(self, name: str, audience: Audience) -> bool:
        """Whether the principal of that name sees this audience; read again before it is denied."""

    async def refresh(self) -> None:
        """Everything that is stored is known."""


class HeldLog(Protocol):
    """The part of a log that names audiences."""

    @property
    def state(self) -> LogState:
        """As of the last commit."""


class Sight:
    """Who sees what of one log."""

    def __init__(self, log: HeldLog, spaces: SeenSpaces) -> None:
        self._log: Final = log
        self._spaces: Final = spaces
        self._heard: frozenset[Audience] = frozenset({PUBLIC})
        self._channels: Mapping[Channel, int] = {}

    async def of(self, name: str) -> frozenset[Audience]:
        """Every audience that the principal of that name sees.

        Raises:
            FaultError: The log names a space that is not known, and the bus does not answer.
        """
        channels = self._log.state.heads
        if len(channels) != len(self._channels):
            audiences = frozenset(channel.audience for channel in channels)
            if not audiences <= self._heard:
                with suppress(RefusedError):  # of an earlier release's credentials: public alone
                    await self._spaces.refresh()
            self._heard, self._channels = audiences | {PUBLIC}, channels
        return self._spaces.visible_to(name)
