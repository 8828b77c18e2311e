# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An auditor that prunes a store, without a bus: what it says is recorded at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from services.auditor.query import StoredRecord
from services.auditor.retention.execution import Pruned, Pruner
from services.auditor.store import LogStore
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.retention import RetentionRule, RetentionRules
from tests.support.log_stores import NOW, append
from tests.support.records import an_event, message_of
from tests.support.whole_logs import sign

DAYS_30 = RetentionRules(rules=(RetentionRule(name="old", keep_days=30),))
LATER = NOW + timedelta(days=100)


class Recorder:
    """Says things for the auditor: each is in the log when it is said, once."""

    def __init__(self, store: LogStore, *, now: datetime = LATER) -> None:
        self.store = store
        self.now = now
        self.bodies: list[EventBody] = []
        self.then: Callable[[EventBody], Awaitable[None]] | None = None
        """Done when something was said."""

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """Recorded."""
        known = [head for channel, head in self.store.state.heads.items()
                 if channel == ("auditor", audience)]  # fmt: skip
        event = an_event(
            sum(known) + 1,
            emitter="auditor",
            audience=audience,
            event_id=event_id,
            **{name: getattr(body, name) for name in body.__struct_fields__},
        )
        place = self.store.state.stream_sequence + 1
        await append(self.store, [message_of(event, place)], now=self.now)
        self.bodies.append(body)
        if self.then is not None:
            await self.then(body)


class AsTold:
    """Spaces that stay as they are."""

    def audience_now(self, audience: Audience) -> Audience:
        """The same."""
        return audience


async def at_once() -> None:
    """Everything is recorded."""


def pruner(store: LogStore, recorder: Recorder | None = None, *, at_a_time: int = 20_000) -> Pruner:
    """Prunes the store."""
    return Pruner(
        log=store,
        emitter=recorder or Recorder(store),
        spaces=AsTold(),
        recorded=at_once,
        most_examined=at_a_time,
    )


async def prune_all(
    store: LogStore, rules: RetentionRules = DAYS_30, *, now: datetime = LATER
) -> list[Pruned]:
    """Everything that the rules let go of is pruned."""
    work = pruner(store, Recorder(store, now=now))
    done = [await work.prune(rules, now=now)]
    while done[-1].position is not None:
        done.append(await work.prune(rules, now=now, position=done[-1].position))
    return done


async def prune_some(store: LogStore) -> str:
    """Thirty records in the middle are pruned, by a word of the auditor; the newest signed head."""
    where = "index >= 100 and index < 130"
    rules = RetentionRules(rules=(RetentionRule(name="some", where=where, keep_days=1),))
    (done,) = await prune_all(store, rules)
    assert sum(done.counts.values()) > 20
    return await sign(store)


async def every_record(store: LogStore) -> list[StoredRecord]:
    """As the log itself has them."""
    return [one for index in range(store.size) if (one := await store.record(index)) is not None]
