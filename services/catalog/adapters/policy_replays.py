# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Says once what another licence policy would have made of everything that is published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
import structlog

from services.catalog.adapters.packages import Packages
from services.catalog.adapters.waivers import Waivers
from services.catalog.adapters.watching import WATCH_SECONDS, keep_looking
from services.catalog.policy_replaying import (
    Replayed,
    policy_in_force,
    replay_event,
    step_id,
    version_change,
)
from shared.adapters.bus import Bus
from shared.adapters.kv import KeyValue
from shared.adapters.outbox import Outbox
from shared.contracts.base import Accepted
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.policy_replay import LICENCE_POLICY, POLICY_KEY, PolicyInForce
from shared.licensing.policies import LicencePolicy
from shared.outbox_records import Change, Decision

_log = structlog.get_logger()


class PolicyReplays:
    """Looks whether the policy is another one than the one that was recorded last."""

    def __init__(
        self,
        bus: Bus,
        packages: Packages,
        outbox: Outbox,
        *,
        waivers: Waivers,
        policy: LicencePolicy,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing is looked at yet."""
        self._bucket: Final[KeyValue[PolicyInForce]] = bus.bucket(LICENCE_POLICY)
        self._packages: Final = packages
        self._outbox: Final = outbox
        self._waivers: Final = waivers
        self._policy: Final = policy
        self._now: Final = now

    async def keep_saying(self) -> None:
        """For ever: a change is said within WATCH_SECONDS, once, whoever died before."""
        await keep_looking(self._look, asyncio.Event(), what="licence_policy")

    async def _look(self) -> float:
        await self.say_due()
        return WATCH_SECONDS

    async def say_due(self) -> None:
        """The policy in force is recorded, and if it is another one, what that would have meant.

        Raises:
            FaultError: It could not be read, said or recorded; call again.
        """
        entry = await self._bucket.get(POLICY_KEY)
        before = entry.value if entry is not None else None
        after = policy_in_force(self._policy, before, now=self._now())
        if after is None:
            return
        if entry is None or before is None:
            await self._bucket.create(POLICY_KEY, after)
            return
        name = step_id(after)
        for space in sorted(self._packages.every_space - {PUBLIC}):
            found = await self._replayed(space)
            if found.counts:
                audience = self._packages.audience_now(space)
                body = replay_event(before, after, found)
                await self._outbox.emit(body, event_id=f"{name}.{space}", audience=audience)
        found = await self._replayed(PUBLIC)
        written = msgspec.structs.replace(after, written_by=name)
        decision = Decision(
            reply=Accepted(command_id=name),
            change=Change(LICENCE_POLICY, POLICY_KEY, written, revision=entry.revision),
            events=(replay_event(before, after, found),),
        )
        if await self._outbox.step(decision, step_id=name):
            _log.info("licence_policy_changed", policy=after.name, counts=dict(found.counts))

    async def _replayed(self, space: Audience) -> Replayed:
        """Every version of one space."""
        found, waivers = Replayed(), await self._waivers.in_force()
        for one in self._packages.versions_in(space):
            held = self._packages.find(one.name, frozenset({space}), first=space)
            entry = next((e for e in held.record.versions if e.version == one.version), None)
            if entry is not None:
                version = await self._packages.whole(held, entry)
                found.take(version, version_change(version, self._policy, waivers))
        return found
