# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A log with everything in it that a log can hold, written by a store and signed as it grew."""

from __future__ import annotations

from itertools import count

from services.auditor.admission import gap_event
from services.auditor.checkpoint import (
    TreeHead,
    checkpoint_event,
    sign_checkpoint,
    verifier_key,
)
from services.auditor.receipts import ReceiptStatement, sign_receipts
from services.auditor.records import StreamMessage, time_us_of
from services.auditor.store import LogStore
from shared.contracts.events import Actor, Event, EventBody
from tests.support.log_stores import NOW, ORIGIN, append
from tests.support.records import altered, an_event, message_of

SEED = bytes(range(32))
KEY = verifier_key(ORIGIN, seed=SEED)
ACTOR = Actor(key=f"U{'A' * 55}", role="operator", attested=True)
RECORDS = 600
LAST_RECORDS = 100
"""Not one of them shows a gap."""


async def fill(store: LogStore, *, records: int = RECORDS) -> list[str]:
    """RECORDS records in batches of different sizes, a head after each; the heads, oldest first.

    Among them: every column filled, messages that are not believed, sequences that were left out,
    came late and came again, messages that the stream had lost, heads and gaps that the auditor
    said, and messages that came twice.
    """
    notes: list[str] = []
    place, step = 0, 0
    said = count(1)
    await store.start_stream("2026-01-01T00:00:00Z", last_sequence=0)

    async def keep(*batch: StreamMessage) -> None:
        await append(store, batch, now=NOW)
        notes.append(await sign(store))

    while store.size < records:
        step += 1
        number = min(1 + step * step % 97, records - store.size)
        is_last = records - store.size <= LAST_RECORDS
        kind = _no_event if is_last else _message
        await keep(*(kind(place + one) for one in range(1, number + 1)))
        place += number
        if (step % 5 == 0 or is_last) and store.size < records:
            head = TreeHead(ORIGIN, store.size, store.state.frontier.root())
            words = [checkpoint_event(head, notes[-1], store.state.receipts)]
            for number, gap in await store.unannounced_gaps():
                words.append(gap_event(gap))
                await store.mark_announced(number)
            for body, event_id in words[: records - store.size]:
                event = _said(body, event_id, next(said))
                await keep(message_of(event, place + 1), message_of(event, place + 2))
                place += 2
    notes.append(await sign(store))
    return notes


async def sign(store: LogStore) -> str:
    """The log as it is, signed and kept."""
    head = TreeHead(ORIGIN, store.size, store.state.frontier.root())
    note = sign_checkpoint(head, seed=SEED)
    said = ReceiptStatement(ORIGIN, head.size, time_us_of(NOW), store.state.receipts)
    statement = sign_receipts(said, seed=SEED)
    await store.keep_checkpoint(head.size, note, signed_at=NOW, receipts=statement)
    return note


def _said(body: EventBody, event_id: str, sequence: int) -> Event:
    """What the auditor says."""
    return an_event(
        sequence,
        emitter="auditor",
        event_id=event_id,
        action=body.action,
        outcome=body.outcome,
        details=body.details,
    )


def _message(place: int) -> StreamMessage:
    """What arrives at a place of the stream."""
    node = f"node/host-{place % 7}"
    event = an_event(
        place,
        emitter=node,
        sequence=_sequence(place // 7 + 1),
        action="chain.attach",
        outcome="failed" if place % 11 == 0 else "succeeded",
        actor=ACTOR,
        package="rate-limit" if place % 13 else "\0\ue000",
        deployment="web",
        node=node.removeprefix("node/"),
        interface="eth0",
        hook="xdp",
        correlation=f"command-{place}",
        details={
            "program_id": place,
            "program_tag": f"{place % 3:016x}",
            "plan_sha256": f"{place % 5:064x}",
            "running": [{"deployment": "web", "object_sha256": f"{place % 2:064x}"}],
            "licence": "GPL-2.0-only",
            "text": "ä\n\0\u202e",
        },
    )
    message = message_of(event, place)
    if place % 31 == 0:
        return altered(message, emitter="catalog")
    return _no_event(place) if place % 37 == 0 else message


def _no_event(place: int) -> StreamMessage:
    """What is recorded as a problem, whatever came before it."""
    return StreamMessage(place, "l3af.v1.evt.public.catalog.package.publish", "", b"\xff no event")


def _sequence(number: int) -> int:
    """Sequences of one node: one is left out for good, one comes late, one comes again."""
    if number >= 40:
        return number + 1
    return {10: 12, 12: 10, 20: 20, 21: 20}.get(number, number)
