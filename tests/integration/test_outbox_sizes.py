# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has no room in a record, a bucket or the audit log is never lost without a word."""

from __future__ import annotations

import pytest

from shared.adapters.outbox import Outbox
from shared.canonical import canonical_bytes
from shared.contracts.events import MAX_EVENT_BYTES, EventBody
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled
from shared.errors import Reason, RefusedError
from shared.event_size import LEFT_OUT
from shared.outbox_records import Decision
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.labelling import ALICE, answer_of, open_outbox, revisions_of


async def test_accepted_command_without_room_for_its_effects_is_a_recorded_refusal(
    buses: Buses,
) -> None:
    """Nothing is changed, the caller learns what is too large, and the audit log who asked."""
    bus = await buses.open("service-scheduler")
    handler, _, labelling = await open_outbox(bus)
    request = LabelNode(
        node="n1", set={"zone": "x" * (NODE_LABELS.max_value_bytes + 1)}, command_id="command-1"
    )

    codes = [await answer_of(handler, request) for _ in range(2)]

    events = await stored_events(await buses.open("service-auditor"))
    assert codes == ["too_large"] * 2
    assert labelling.decisions == 1
    assert await revisions_of(bus, "n1") == {}
    assert [(event.data.outcome, event.data.actor) for event in events] == [
        ("refused", ALICE.actor())
    ]
    assert {reason.path for reason in events[0].data.reasons} == {"record", "change"}


async def test_events_that_no_log_takes_are_told_shorter(buses: Buses) -> None:
    """An ending, and an endless refusal, arrive in the stream within the audit log's limit."""
    bus = await buses.open("service-scheduler")
    reasons = tuple(Reason(path=f"chain[{place}]", rule="is not known") for place in range(5000))

    async def refuse(_request: LabelNode, *_others: object) -> Decision[NodeLabelled]:
        raise RefusedError("no", reasons)

    outbox = Outbox(bus, "scheduler")
    handler = outbox.command(LABEL_NODE, refuse)
    await outbox.open()
    with pytest.raises(RefusedError):
        await handler(LabelNode(node="n1", command_id="command-1"), ALICE)
    ending = EventBody(action="deployment.complete", outcome="failed", reasons=reasons)
    await outbox.emit(ending, event_id="command-1.complete")

    events = await stored_events(await buses.open("service-auditor"))
    assert [event.data.outcome for event in events] == ["refused", "failed"]
    for event in events:
        assert len(canonical_bytes(event)) <= MAX_EVENT_BYTES
        assert len(event.data.reasons) + event.data.details[LEFT_OUT]["reasons"] == 5000
