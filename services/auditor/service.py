# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor's shell: one method for each endpoint; the rules are in the decision modules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from services.auditor.checkpoint import render_verifier_key
from services.auditor.disclosure import shown
from services.auditor.execution import Heads
from services.auditor.inventory import (
    inventory_page,
    inventory_reading,
    parse_at,
    runs_page,
)
from services.auditor.page_readings import PageReadings
from services.auditor.proofs import render_bundle
from services.auditor.query import (
    Readings,
    parse_query,
    reading_details,
    render_page,
)
from services.auditor.reading.execution import ReadingNotes
from services.auditor.records import Draft, render_time_us, time_us_of, try_event
from services.auditor.retention.notes import PrunedNotes
from services.auditor.searching import (
    Chunk,
    SpelledChunk,
    StreamReadings,
    parse_search,
    search_details,
)
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore
from services.auditor.subscriptions import (
    CREATED,
    DELETED,
    Subscription,
    consumer_name,
    created_event,
    deleted_event,
    find_subscription,
    live_subscriptions,
    named_spaces,
    plan_subscription,
)
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.canonical import canonical_digest
from shared.contracts.audit import (
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    FETCH_EVENTS,
    GET_CHECKPOINT,
    LIST_RECORDS,
    PROVE_RECORD,
    STREAM_RECORDS,
    Checkpoint,
    CreateSubscription,
    DeleteSubscription,
    FetchedEvents,
    FetchEvents,
    GetCheckpoint,
    ListRecords,
    PositionedEvent,
    ProofBundle,
    ProveRecord,
    RecordList,
    StreamRecords,
    SubscriptionCreated,
    SubscriptionDeleted,
)
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.inventory import (
    FIND_RUNS,
    GET_INVENTORY,
    FindRuns,
    GetInventory,
    InventoryShown,
    RunsFound,
)
from shared.contracts.log_heads import COMPARE_HEAD, WitnessSeen
from shared.contracts.log_health import GET_HEALTH, GetHealth, LogHealth
from shared.errors import Reason, RefusedError
from shared.outbox_records import Decision

CONCURRENCY: Final = 512
"""Requests side by side: most of them are subscribers that wait for events."""
GONE_KEPT: Final = 64
"""How many of the subscriptions given up last are looked for again at a start."""


class SubscribedPlaces(Protocol):
    """The consumers of the event stream."""

    async def newest_sequence(self) -> int:
        """The stream's last."""

    async def ensure(self, subscription: Subscription) -> None:
        """There."""

    async def remove(self, consumer: str) -> None:
        """Not there."""

    async def fetch(
        self,
        subscription: Subscription,
        *,
        audiences: frozenset[Audience],
        acknowledged: int,
        limit: int,
        wait_seconds: float,
    ) -> list[Draft]:
        """What comes next of what these audiences were told."""


class AuditorService:
    """Answers from the log, and keeps subscribers' places."""

    def __init__(
        self,
        *,
        log: LogStore,
        heads: Heads,
        places: SubscribedPlaces,
        outbox: Outbox,
        spaces: SeenSpaces,
        health: Callable[[], Awaitable[LogHealth]],
        compare: Handler,
        witnesses: Callable[[], Sequence[WitnessSeen]] = tuple,
    ) -> None:
        self._log: Final = log
        self._heads: Final = heads
        self._places: Final = places
        self._outbox: Final = outbox
        self._spaces: Final = spaces
        self._sight: Final = Sight(log, spaces)
        self._health: Final = health
        self._compare: Final = compare
        self._witnesses: Final = witnesses
        self._notes: Final = ReadingNotes(outbox, spaces)
        self._prunings: Final = PrunedNotes(log)
        self._readings: Final = Readings()
        self._stream_readings: Final = StreamReadings()
        self._inventory_readings: Final = PageReadings()
        self._live: dict[str, Subscription] = {}
        self._create: Final = outbox.command(
            CREATE_SUBSCRIPTION, self._decide_creation, concerned=self._told_of_creation
        )
        self._delete: Final = outbox.command(DELETE_SUBSCRIPTION, self._decide_deletion)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            LIST_RECORDS: self.list_records,
            STREAM_RECORDS: self.stream_records,
            PROVE_RECORD: self.prove_record,
            GET_CHECKPOINT: self.get_checkpoint,
            GET_HEALTH: self.get_health,
            COMPARE_HEAD: self._compare,
            GET_INVENTORY: self.get_inventory,
            FIND_RUNS: self.find_runs,
            CREATE_SUBSCRIPTION: self.create_subscription,
            FETCH_EVENTS: self.fetch_events,
            DELETE_SUBSCRIPTION: self.delete_subscription,
        }

    async def open(self) -> None:
        """The stream's consumers are those that the log says; the log must be up to date.

        Raises:
            FaultError: The stream cannot be reached.
        """
        stored = await self._log.of_actions((CREATED, DELETED), emitter="auditor")
        events = [try_event(record.body or b"") for record in stored]
        self._live, gone = live_subscriptions(event for event in events if event is not None)
        for subscription in self._live.values():
            await self._places.ensure(subscription)
        for consumer in gone[-GONE_KEPT:]:
            await self._places.remove(consumer)

    async def list_records(self, request: ListRecords, caller: Caller) -> RecordList:
        """One page of the log."""
        query = parse_query(request, audiences=await self._sight.of(caller.name))
        begins = self._readings.begins(
            request, caller=caller.key, tree_size=self._log.size, now=datetime.now(UTC)
        )
        if begins:
            await self._notes.note(caller, reading_details(request))
        stored, tree_size, more = await self._log.page(query)
        return render_page(await self._prunings.told(stored), tree_size=tree_size, more=more)

    async def stream_records(self, request: StreamRecords, caller: Caller) -> SpelledChunk:
        """The next chunk of what is asked for."""
        audiences = await self._sight.of(caller.name)
        chunk = Chunk(parse_search(request, audiences=audiences))
        if self._stream_readings.begins(request, caller=caller.key, now=datetime.now(UTC)):
            await self._notes.note(caller, search_details(request))
        while (query := chunk.next_page()) is not None:
            page, tree_size, more = await self._log.page(query)
            chunk.take(await self._prunings.told(page), tree_size, more=more)
        return chunk.spell()

    async def prove_record(self, request: ProveRecord, caller: Caller) -> ProofBundle:
        """One record, proved against a head that is at least as new."""
        stored = await self._log.record(request.index)
        if stored is None:
            reason = Reason(path="index", rule="the log has no such record", got=request.index)
            raise RefusedError(f"there is no record {request.index}", [reason], code="not_found")
        await self._notes.note(caller, {"proved_index": request.index})
        head, note = await self._heads.for_proof(request.index + 1)
        inclusion = await self._log.inclusion(request.index, head.size)
        return render_bundle(
            shown(stored, await self._sight.of(caller.name)),
            inclusion=inclusion,
            checkpoint=note,
            key=self._heads.key,
            key_chain=self._heads.chain,
        )

    async def get_checkpoint(self, request: GetCheckpoint, _: Caller) -> Checkpoint:
        """The newest signed head, consistent with the older one that was named."""
        head, note, signed_at = await self._heads.newest()
        older = request.consistent_with_size
        if older > head.size:
            reason = Reason(
                path="consistent_with_size",
                rule="the log has never been so large",
                got=older,
                allowed=f"at most {head.size}",
            )
            raise RefusedError("there is no such older head", [reason])
        consistency = await self._log.consistency(older, head.size) if older else ()
        return Checkpoint(
            checkpoint=note,
            tree_size=head.size,
            root=head.root.hex(),
            verifier_key=render_verifier_key(self._heads.key),
            key_chain=self._heads.chain,
            signed_at=render_time_us(time_us_of(signed_at)),
            consistency=tuple(item.hex() for item in consistency),
            witnesses=tuple(self._witnesses()),
        )

    async def get_health(self, _request: GetHealth, _caller: Caller) -> LogHealth:
        """What needs attention."""
        return await self._health()

    async def get_inventory(self, request: GetInventory, caller: Caller) -> InventoryShown:
        """One page of what ran at a moment."""
        at_us = parse_at(request)
        await self._note_inventory(request, caller)
        audiences = await self._sight.of(caller.name)
        found = await self._log.sightings(
            at_us, audiences=audiences, node=request.node, after=request.after
        )
        return inventory_page(found, at_us=at_us)

    async def find_runs(self, request: FindRuns, caller: Caller) -> RunsFound:
        """One page of where and when a digest ran."""
        await self._note_inventory(request, caller)
        audiences = await self._sight.of(caller.name)
        found = await self._log.runs(request.digest, audiences=audiences, after=request.after)
        until = await self._log.pruned_until(audiences)
        return runs_page(request, found, known_from_us=until.ran_before_us)

    async def create_subscription(
        self, request: CreateSubscription, caller: Caller
    ) -> SubscriptionCreated:
        """A durable place for the caller; its consumer exists when this returns."""
        reply = await self._create(request, caller)
        assert isinstance(reply, SubscriptionCreated)
        await self._agree(consumer_name(caller.key, reply.name))
        return reply

    async def fetch_events(self, request: FetchEvents, caller: Caller) -> FetchedEvents:
        """What comes next in the caller's subscription."""
        subscription = find_subscription(self._live.values(), key=caller.key, name=request.name)
        drafts = await self._places.fetch(
            subscription,
            audiences=self._spaces.visible_to(caller.name),
            acknowledged=request.acknowledge,
            limit=request.limit,
            wait_seconds=request.wait_seconds,
        )
        return FetchedEvents(
            events=tuple(
                PositionedEvent(position=draft.message.sequence, event=draft.event)
                for draft in drafts
                if draft.event is not None
            )
        )

    async def delete_subscription(
        self, request: DeleteSubscription, caller: Caller
    ) -> SubscriptionDeleted:
        """The caller's place is given up; its consumer is gone when this returns."""
        reply = await self._delete(request, caller)
        assert isinstance(reply, SubscriptionDeleted)
        await self._agree(consumer_name(caller.key, reply.name))
        return reply

    async def _decide_creation(
        self, request: CreateSubscription, caller: Caller, command_id: str, _: datetime
    ) -> Decision[SubscriptionCreated]:
        for space in sorted(named_spaces(request.subjects)):
            await self._spaces.sees(caller.name, space)  # so that a new one is known
        subscription = plan_subscription(
            request,
            key=caller.key,
            audiences=self._spaces.visible_to(caller.name),
            live=self._live.values(),
            newest_sequence=await self._places.newest_sequence(),
        )
        self._live[subscription.consumer] = subscription
        reply = SubscriptionCreated(
            command_id=command_id,
            name=subscription.name,
            subjects=subscription.subjects,
            position=subscription.after,
        )
        return Decision(
            reply=reply,
            events=(created_event(subscription),),
            audience=await self._told_of_creation(request, caller),
        )

    async def _told_of_creation(self, request: CreateSubscription, caller: Caller) -> Audience:
        """To whom it is told that such a subscription was asked for."""
        seen = named_spaces(request.subjects) & self._spaces.visible_to(caller.name)
        return self._spaces.audience_now(min(seen)) if len(seen) == 1 else PUBLIC

    async def _decide_deletion(
        self, request: DeleteSubscription, caller: Caller, command_id: str, _: datetime
    ) -> Decision[SubscriptionDeleted]:
        subscription = find_subscription(self._live.values(), key=caller.key, name=request.name)
        del self._live[subscription.consumer]
        reply = SubscriptionDeleted(command_id=command_id, name=subscription.name)
        return Decision(
            reply=reply,
            events=(deleted_event(subscription),),
            audience=self._spaces.audience_now(subscription.audience),
        )

    async def _agree(self, consumer: str) -> None:
        """The consumer exists if the subscription does; a repeated command changes nothing."""
        subscription = self._live.get(consumer)
        if subscription is None:
            await self._places.remove(consumer)
        else:
            await self._places.ensure(subscription)

    async def _note_inventory(self, request: GetInventory | FindRuns, caller: Caller) -> None:
        details = inventory_reading(request)
        begins = self._inventory_readings.begins(
            canonical_digest(details),
            is_first=request.after is None,
            caller=caller.key,
            now=datetime.now(UTC),
        )
        if begins:
            await self._notes.note(caller, details)
