# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The spaces of the installation, followed: who sees what, right now.

What is not known yet is seen by nobody.  A change that was not heard of is at worst late, except
where `sees` is asked: before it says no, it reads again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.service_layer import OnRefused
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.spaces import SPACES, SpaceRecord
from shared.errors import RefusedError
from shared.visibility import Sight, current_audience

_log = structlog.get_logger()


class KnownSpaces:
    """One service's view of the spaces."""

    def __init__(
        self,
        bus: Bus,
        *,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is known yet.

        Args:
            bus: Of a service that may read the spaces.
            now: Its clock.
            changed: Called after a space was heard of or changed; that one opens at its time is
                no change.
        """
        self._bucket: Final[KeyValue[SpaceRecord]] = bus.bucket(SPACES)
        self._now: Final = now
        self._changed: Final = changed
        self._spaces: dict[Audience, SpaceRecord] = {}
        self._sight = Sight({})
        self._revisions: Final[dict[Audience, int]] = {}

    async def open(self) -> None:
        """All spaces are known, and their changes are followed.

        With credentials of an earlier release there is `public` alone.

        Raises:
            FaultError: The bus does not answer.
        """
        try:
            await self.refresh()
            await self._bucket.follow(">", self._on_space)
        except RefusedError as error:
            _log.warning("spaces_not_read", why=error.message)

    @property
    def current(self) -> Mapping[Audience, SpaceRecord]:
        """What is known now; a change replaces the mapping."""
        return self._spaces

    def visible_to(self, name: str) -> frozenset[Audience]:
        """Every audience that the principal of that name sees."""
        return self._sight.of(name, now=self._now())

    def open_to_all(self) -> frozenset[Audience]:
        """`public`, and what is open by now."""
        return self._sight.of("", now=self._now())

    def seconds_to_opening(self) -> float | None:
        """Until the next space opens by its time; None: none that is known will."""
        now = self._now()
        opening = self._sight.next_opening(now=now)
        return None if opening is None else (opening - now).total_seconds()

    def audience_now(self, audience: Audience) -> Audience:
        """To whom that is told from now on which was told to `audience` before."""
        return current_audience(audience, self._spaces, now=self._now())

    def concerned(self, audience: Audience, name: str) -> Audience:
        """To whom it is told what the principal of that name says of an audience.

        Of one that it does not see, whether there is one or not: to everybody.
        """
        return self.audience_now(audience) if audience in self.visible_to(name) else PUBLIC

    def discreetly(self, note: OnRefused) -> OnRefused:
        """`note`, where nobody hears what somebody wrote who sees more than everybody does.

        For commands that are refused before it is known what they are about: of each reason there
        is the place and the rule, and not what stood there.
        """

        async def noted(at: Endpoint[Any, Any], caller: Caller | None, why: RefusedError) -> None:
            if caller is not None and self.visible_to(caller.name) - self.open_to_all():
                reasons = [msgspec.structs.replace(one, got=None) for one in why.reasons]
                why = RefusedError(why.message, reasons, code=why.refusal_code)
            await note(at, caller, why)

        return noted

    async def sees(self, name: str, audience: Audience) -> bool:
        """Whether the principal of that name sees this audience; read again before it is denied.

        A space that does not exist and one that is not seen take the same way to the same answer.

        Raises:
            FaultError: The bus does not answer.
        """
        if audience in self.visible_to(name):
            return True
        await self.refresh()
        return audience in self.visible_to(name)

    async def refresh(self) -> None:
        """Everything that is stored is known.

        Raises:
            FaultError: The bus does not answer.
            RefusedError: The spaces are not this user's to read.
        """
        snapshot = await self._bucket.snapshot()
        for audience, entry in snapshot.entries.items():
            await self._on_space(audience, entry.value, entry.revision)

    async def _on_space(self, audience: str, space: SpaceRecord | None, revision: int) -> None:
        # No space is ever deleted; what came by the other way may be older than what is known.
        if space is not None and revision > self._revisions.get(audience, 0):
            self._revisions[audience] = revision
            self._spaces = {**self._spaces, audience: space}
            self._sight = Sight(self._spaces)
            self._changed()
