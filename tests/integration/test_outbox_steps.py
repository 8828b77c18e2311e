# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that a service takes by itself: change and event together and once, or not at all."""

from __future__ import annotations

import pytest

from shared.contracts.base import Accepted
from shared.contracts.events import EventBody
from shared.contracts.scheduler import NODE_LABELS, NodeLabels
from shared.contracts.storage import outbox_bucket
from shared.outbox_records import Change, Decision
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.labelling import open_outbox
from tests.support.mortal_bus import MortalBus, ProcessDiedError


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_a_step_that_no_command_asked_for_happens_once(buses: Buses, lands: bool) -> None:
    """Killed at any write: its change and its event are both there in the end, or neither is."""
    bus = await buses.open("service-scheduler")
    _, _, _ = await open_outbox(bus)
    bucket = bus.bucket(NODE_LABELS)
    died = 0
    while died < 20:
        step_id = f"step-{died}"
        known = await bucket.get("n1")
        labels = NodeLabels(node="n1", labels={"step": step_id}, command_id=step_id)
        decision = Decision(
            reply=Accepted(command_id=step_id),
            change=Change(NODE_LABELS, "n1", labels, revision=known.revision if known else 0),
            events=(EventBody(action="node.label", outcome="succeeded", after="x"),),
        )
        # Opening is a write of its own (the heads), so dying counts from the next one.
        _, mortal, _ = await open_outbox(bus, MortalBus(bus, dies_at=died + 2, lands=lands))
        died += 1
        try:
            assert await mortal.step(decision, step_id=step_id)
            break
        except ProcessDiedError:
            _, restarted, _ = await open_outbox(bus)
            again = await restarted.step(decision, step_id=step_id)
            assert again, "if it was not done, nothing had moved"
    stored = await bucket.get("n1")
    events = await stored_events(await buses.open("service-auditor"))
    assert died > 4
    assert stored is not None
    assert stored.value.command_id == f"step-{died - 1}"
    assert [event.id for event in events] == [f"scheduler.step-{one}.0" for one in range(died)]
    assert await bus.bucket(outbox_bucket("scheduler")).entries("pending.") == []


async def test_a_step_that_was_overtaken_leaves_nothing(buses: Buses) -> None:
    """Also if that is found out by the process after the one that recorded it."""
    bus = await buses.open("service-scheduler")
    _, _, _ = await open_outbox(bus)
    labels = NodeLabels(node="n1", labels={"zone": "a"}, command_id="step-1")
    decision = Decision(
        reply=Accepted(command_id="step-1"),
        change=Change(NODE_LABELS, "n1", labels, revision=0),
        events=(EventBody(action="node.label", outcome="succeeded", after="x"),),
    )
    _, mortal, _ = await open_outbox(bus, MortalBus(bus, dies_at=2, lands=True))
    with pytest.raises(ProcessDiedError):
        await mortal.step(decision, step_id="step-1")
    await bus.bucket(NODE_LABELS).put("n1", NodeLabels(node="n1", labels={}, command_id="other"))

    _, restarted, _ = await open_outbox(bus)

    assert not await restarted.step(decision, step_id="step-1")
    assert await stored_events(await buses.open("service-auditor")) == []
    assert await bus.bucket(outbox_bucket("scheduler")).entries("pending.") == []
