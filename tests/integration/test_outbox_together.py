# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that change several keys: all of them in the end or none, whenever the process died."""

from __future__ import annotations

from typing import Final

import pytest

from shared.contracts.scheduler import NODE_LABELS, LabelNode, NodeLabels
from shared.contracts.storage import outbox_bucket
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.labelling import ALICE, answer_of, assert_gapless, open_outbox, revisions_of
from tests.support.mortal_bus import MortalBus, ProcessDiedError

BESIDE: Final = ("n2", "n3")
WRITES: Final = 9
"""Pending, three changes, two events, heads, done, pending deleted."""
FIRST_OF_A_COMMAND: Final = 2
"""Opening is a write of its own."""


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_process_may_die_between_any_two_of_them(buses: Buses, lands: bool) -> None:
    """After the next start either all keys have the command's value, or none has."""
    bus = await buses.open("service-scheduler")
    for number in range(WRITES + 1):
        mortal = MortalBus(bus, dies_at=FIRST_OF_A_COMMAND + number, lands=lands)
        handler, _, _ = await open_outbox(bus, mortal, beside=BESIDE)
        request = LabelNode(node="n1", set={f"k{number}": "v"}, command_id=f"command-{number}")
        if number < WRITES:
            with pytest.raises(ProcessDiedError):
                await handler(request, ALICE)
        else:
            await handler(request, ALICE)

        restarted, _, labelling = await open_outbox(bus, beside=BESIDE)

        labels = [await revisions_of(bus, node) for node in ("n1", *BESIDE)]
        assert labels[0] == labels[1] == labels[2]
        was_recorded = number > 0 or lands
        assert (f"k{number}" in labels[0]) == was_recorded
        assert await answer_of(restarted, request) == (
            "n1",
            frozenset(f"k{place}" for place in range(number + 1)),
        )
        assert labelling.decisions == (0 if was_recorded else 1)

    assert await bus.bucket(outbox_bucket("scheduler")).entries("pending.") == []
    events = await stored_events(await buses.open("service-auditor"))
    assert len(events) == 2 * (WRITES + 1)
    assert_gapless(events)


async def test_fault_between_them_is_repaired_before_anything_else_is_decided(
    buses: Buses,
) -> None:
    """The next command finds all keys written, and its decision is about that."""
    bus = await buses.open("service-scheduler")
    mortal = MortalBus(bus, dies_at=FIRST_OF_A_COMMAND + 2, error=FaultError)
    handler, _, labelling = await open_outbox(bus, mortal, beside=BESIDE)
    with pytest.raises(FaultError):
        await handler(LabelNode(node="n1", set={"a": "v"}, command_id="command-1"), ALICE)
    assert await revisions_of(bus, "n2") == {}

    await handler(LabelNode(node="n1", set={"b": "v"}, command_id="command-2"), ALICE)

    assert labelling.decisions == 2
    for node in ("n1", *BESIDE):
        assert await revisions_of(bus, node) == {"a": "v", "b": "v"}
    assert_gapless(await stored_events(await buses.open("service-auditor")))


async def test_bookkeeping_between_them_does_not_hold_the_rest_back(buses: Buses) -> None:
    """Accepted is accepted: what somebody wrote to a later key meanwhile is written over."""
    bus = await buses.open("service-scheduler")
    mortal = MortalBus(bus, dies_at=FIRST_OF_A_COMMAND + 2)
    handler, _, _ = await open_outbox(bus, mortal, beside=BESIDE)
    with pytest.raises(ProcessDiedError):
        await handler(LabelNode(node="n1", set={"a": "v"}, command_id="command-1"), ALICE)
    await bus.bucket(NODE_LABELS).put("n3", NodeLabels(node="n3", labels={"rack": "r1"}))

    await open_outbox(bus, beside=BESIDE)

    for node in ("n1", *BESIDE):
        assert await revisions_of(bus, node) == {"a": "v"}


async def test_state_that_moved_before_the_first_is_decided_again_as_a_whole(
    buses: Buses,
) -> None:
    """Nothing of an old decision is written if anything changed after it."""
    bus = await buses.open("service-scheduler")
    mortal = MortalBus(bus, dies_at=FIRST_OF_A_COMMAND + 1)
    handler, _, _ = await open_outbox(bus, mortal, beside=BESIDE)
    with pytest.raises(ProcessDiedError):
        await handler(LabelNode(node="n1", set={"a": "v"}, command_id="command-1"), ALICE)
    await bus.bucket(NODE_LABELS).put("n1", NodeLabels(node="n1", labels={"rack": "r1"}))

    _, _, labelling = await open_outbox(bus, beside=BESIDE)

    assert labelling.decisions == 1
    for node in ("n1", *BESIDE):
        assert await revisions_of(bus, node) == {"a": "v", "rack": "r1"}


async def test_several_values_may_have_more_room_than_one(buses: Buses) -> None:
    """What bounds a command is what a message of the bus takes, not what one key takes."""
    bus = await buses.open("service-scheduler")
    handler, _, _ = await open_outbox(bus, beside=("n2",))
    long = {"zone": "x" * (NODE_LABELS.max_value_bytes * 2 // 5)}

    answer = await answer_of(handler, LabelNode(node="n1", set=long, command_id="command-1"))

    assert answer == ("n1", frozenset({"zone"}))
    assert await revisions_of(bus, "n2") == long


async def test_what_has_no_room_beside_is_refused_before_anything_is_written(
    buses: Buses,
) -> None:
    """A refusal names every key whose record is too large."""
    bus = await buses.open("service-scheduler")
    handler, _, _ = await open_outbox(bus, beside=("n2",))
    large = {"zone": "x" * (NODE_LABELS.max_value_bytes + 1)}

    answer = await answer_of(handler, LabelNode(node="n1", set=large, command_id="command-1"))

    assert answer == "too_large"
    (event,) = await stored_events(await buses.open("service-auditor"))
    assert {reason.path for reason in event.data.reasons} == {"record", "change", "also.n2"}
    assert await revisions_of(bus, "n2") == {}
