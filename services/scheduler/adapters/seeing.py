# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a caller sees of the fleet.

Who asks is known by the name that the server vouches for.  The scheduler itself, following a
revocation, sees everything.  What a caller does not see is looked for as if it were not there, so
that one way leads to one answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.audiences import EVERYTHING, Sight, UnknownSpaceError
from services.scheduler.desired_state import Fleet
from shared.adapters.callers import Caller
from shared.contracts.events import Audience


class Seeing:
    """The eyes of whoever asks."""

    def __init__(self, records: FleetRecords) -> None:
        """Nothing is read yet."""
        self._records: Final = records

    def sight(self, caller: Caller) -> Sight:
        """What the caller sees now."""
        if _is_own(caller):
            return EVERYTHING
        return self._records.fleet.audiences.seen_by(caller.name)

    async def sees(self, caller: Caller, space: Audience) -> bool:
        """Whether the caller sees the space.

        Raises:
            FaultError: The bus does not answer.
        """
        return _is_own(caller) or await self._records.spaces.sees(caller.name, space)

    async def refuse_unseen(self, caller: Caller, space: Audience) -> None:
        """Nothing, if the caller sees the space.

        Raises:
            UnknownSpaceError: There is none that the caller sees.
            FaultError: The bus does not answer.
        """
        if not await self.sees(caller, space):
            raise UnknownSpaceError

    async def fleet(self, caller: Caller, space: Audience) -> Fleet:
        """The fleet as it is known; of a space that the caller does not see, no deployments.

        Raises:
            FaultError: The bus does not answer.
        """
        sees = await self.sees(caller, space)
        fleet = self._records.fleet
        return fleet if sees else replace(fleet, deployments={})


def _is_own(caller: Caller) -> bool:
    """Whether the scheduler asks itself: for whoever else asks, the server vouches."""
    return not caller.attested
