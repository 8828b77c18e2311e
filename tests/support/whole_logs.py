# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A log with everything in it that a log can hold, written by a store and signed as it grew."""

from __future__ import annotations

from services.auditor.checkpoint import (
    TreeHead,
    checkpoint_event,
    sign_checkpoint,
    verifier_key,
)
from services.auditor.records import StreamMessage
from services.auditor.store import LogStore
from shared.contracts.events import Actor
from tests.support.log_stores import NOW, ORIGIN, append
from tests.support.records import altered, an_event, message_of

SEED = bytes(range(32))
KEY = verifier_key(ORIGIN, seed=SEED)
ACTOR = Actor(key=f"U{'A' * 55}", role="operator", attested=True)
RECORDS = 600


async def fill(store: LogStore, *, records: int = RECORDS) -> list[str]:
    """RECORDS records in batches of different sizes, a head after each; the heads, oldest first.

    Among them: every column filled, messages that are not believed, sequences that were left out,
    came late and came again, messages that the stream had lost, and heads that the auditor said.
    """
    notes: list[str] = []
    place, step = 0, 0
    while store.size < records:
        step += 1
        count = min(1 + step * step % 97, records - store.size)
        batch = [_message(place + number) for number in range(1, count + 1)]
        await append(store, batch, now=NOW)
        place += count
        notes.append(await sign(store))
        if step % 5 == 0 and store.size < records:
            place += 1
            head = TreeHead(ORIGIN, store.size, store.state.frontier.root())
            body, event_id = checkpoint_event(head, notes[-1])
            event = an_event(
                step // 5,
                emitter="auditor",
                event_id=event_id,
                action=body.action,
                outcome=body.outcome,
                details=body.details,
            )
            await append(store, [message_of(event, place)], now=NOW)
    notes.append(await sign(store))
    return notes


async def sign(store: LogStore) -> str:
    """The log as it is, signed and kept."""
    head = TreeHead(ORIGIN, store.size, store.state.frontier.root())
    note = sign_checkpoint(head, seed=SEED)
    await store.keep_checkpoint(head.size, note, signed_at=NOW)
    return note


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
        package="rate-limit",
        deployment="web",
        node=node.removeprefix("node/"),
        correlation=f"command-{place}",
        details={"licences": ["GPL-2.0-only"], "text": "ä\n\0\u202e"},
    )
    message = message_of(event, place)
    if place % 31 == 0:
        return altered(message, emitter="catalog")
    return message._replace(data=b"\xff no event") if place % 37 == 0 else message


def _sequence(number: int) -> int:
    """Sequences of one node: one is left out for good, one comes late, one comes again."""
    if number >= 40:
        return number + 1
    return {10: 12, 12: 10, 20: 20, 21: 20}.get(number, number)
