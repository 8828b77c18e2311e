# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The outbox's promise: accepted means done in the end, once, whenever the process died."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.contracts.events import EventBody
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled, NodeLabels
from shared.contracts.storage import outbox_bucket
from shared.errors import FaultError, RefusedError
from shared.outbox_records import Decision
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.labelling import (
    ALICE,
    BOB,
    Labelling,
    answer_of,
    assert_gapless,
    open_outbox,
    revisions_of,
)
from tests.support.mortal_bus import MortalBus, ProcessDiedError


async def test_command_has_its_effects_and_leaves_no_pending_record(buses: Buses) -> None:
    """Reply, state and events agree; what remains is the memory of the answer."""
    bus = await buses.open("service-scheduler")
    handler, _, _ = await open_outbox(bus)

    reply = await handler(
        LabelNode(node="n1", set={"zone": "a"}, command_id="command-1", reason="why"), ALICE
    )

    events = await stored_events(await buses.open("service-auditor"))
    assert reply == NodeLabelled(command_id="command-1", node="n1", labels={"zone": "a"})
    assert await revisions_of(bus, "n1") == {"zone": "a"}
    assert [event.id for event in events] == ["scheduler.command-1.0", "scheduler.command-1.1"]
    assert events[0].data.actor == ALICE.actor()
    assert (events[0].data.correlation, events[0].data.reason) == ("command-1", "why")
    assert_gapless(events)
    keys = {entry.key for entry in await bus.bucket(outbox_bucket("scheduler")).entries()}
    assert keys == {"done.command-1", "heads.heads"}


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("node", ["n1", "forbidden"])
async def test_process_may_die_at_any_write(buses: Buses, node: str, lands: bool) -> None:
    """Killed before or after each single write, then started again: done once or not at all.

    Not at all only if the command was never recorded; the caller's repeat then does it.
    """
    bus = await buses.open("service-scheduler")
    _, _, _ = await open_outbox(bus)
    answers: list[object] = []
    dies_at = 0
    while len(answers) == dies_at:
        dies_at += 1
        # Opening is a write of its own (the heads), so dying counts from the next one.
        mortal = MortalBus(bus, dies_at=dies_at + 1, lands=lands)
        handler, _, _ = await open_outbox(bus, mortal)
        request = LabelNode(node=node, set={f"k{dies_at}": "v"}, command_id=f"command-{dies_at}")
        try:
            await handler(request, ALICE)
        except ProcessDiedError:
            restarted, _, labelling = await open_outbox(bus)
            answers.append(await answer_of(restarted, request))
            recorded = dies_at > 1 or lands
            assert labelling.decisions == (0 if recorded else 1)
            assert await answer_of(restarted, request) == answers[-1]
        except RefusedError:
            break

    pending = await bus.bucket(outbox_bucket("scheduler")).entries("pending.")
    events = await stored_events(await buses.open("service-auditor"))
    # pending, change, two events, heads, done, pending deleted; and one command undisturbed.
    commands = 6 if node == "forbidden" else 8
    assert dies_at == commands
    assert pending == []
    assert_gapless(events)
    if node == "n1":
        assert set(await revisions_of(bus, "n1")) == {
            f"k{place}" for place in range(1, commands + 1)
        }
        assert answers == [
            ("n1", frozenset(f"k{place}" for place in range(1, dies_at + 1)))
            for dies_at in range(1, commands)
        ]
        assert len(events) == 2 * commands
    else:
        assert set(answers) == {"not_found"}
        assert {event.data.outcome for event in events} == {"refused"}
        assert len(events) == commands


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_recovery_may_die_at_any_write_too(buses: Buses, lands: bool) -> None:
    """However often the next start dies as well, the one after it finishes the command."""
    bus = await buses.open("service-scheduler")
    handler, _, _ = await open_outbox(bus, MortalBus(bus, dies_at=3, lands=False))
    request = LabelNode(node="n1", set={"zone": "a"}, command_id="command-1")
    with pytest.raises(ProcessDiedError):
        await handler(request, ALICE)

    deaths = 0
    for dies_at in range(1, 20):
        try:
            await open_outbox(bus, MortalBus(bus, dies_at=dies_at, lands=lands))
        except ProcessDiedError:
            deaths += 1
    restarted, _, labelling = await open_outbox(bus)

    assert deaths > 0
    assert await answer_of(restarted, request) == ("n1", frozenset({"zone"}))
    assert labelling.decisions == 0
    events = await stored_events(await buses.open("service-auditor"))
    assert len(events) == 2
    assert_gapless(events)


async def test_event_nobody_asked_for_is_emitted_once(buses: Buses) -> None:
    """The same event id again has no effect, nor has death at any write in between."""
    bus = await buses.open("service-scheduler")
    body = EventBody(action="deployment.complete", outcome="succeeded")
    for dies_at in range(1, 8):
        _, outbox, _ = await open_outbox(bus, MortalBus(bus, dies_at=dies_at + 1, lands=True))
        try:
            await outbox.emit(body, event_id=f"command-{dies_at}.complete")
        except ProcessDiedError:
            _, outbox, _ = await open_outbox(bus)
        await outbox.emit(body, event_id=f"command-{dies_at}.complete")

    events = await stored_events(await buses.open("service-auditor"))
    assert [event.id for event in events] == [f"command-{n}.complete" for n in range(1, 8)]
    assert_gapless(events)


async def test_concurrent_repeats_have_one_effect_and_one_answer(buses: Buses) -> None:
    """Twenty times the same command at once is one command."""
    bus = await buses.open("service-scheduler")
    handler, _, labelling = await open_outbox(bus)
    request = LabelNode(node="n1", set={"zone": "a"}, command_id="command-1")

    replies = await asyncio.gather(*(handler(request, ALICE) for _ in range(20)))

    assert len({reply.command_id for reply in replies if isinstance(reply, NodeLabelled)}) == 1
    assert all(reply == replies[0] for reply in replies)
    assert labelling.decisions == 1
    assert len(await stored_events(await buses.open("service-auditor"))) == 2


async def test_command_id_is_not_reused_for_anything_else(buses: Buses) -> None:
    """Another request, or another caller, under a known id is refused and changes nothing."""
    bus = await buses.open("service-scheduler")
    handler, _, labelling = await open_outbox(bus)
    request = LabelNode(node="n1", set={"zone": "a"}, command_id="command-1")
    await handler(request, ALICE)

    for other, caller in (
        (LabelNode(node="n1", set={"zone": "b"}, command_id="command-1"), ALICE),
        (request, BOB),
    ):
        with pytest.raises(RefusedError) as refused:
            await handler(other, caller)
        assert refused.value.refusal_code == "conflict"
        assert refused.value.reasons[0].path == "command_id"

    assert labelling.decisions == 1
    assert await revisions_of(bus, "n1") == {"zone": "a"}


async def test_refusal_is_remembered_and_told(buses: Buses) -> None:
    """A refused command has one event with every reason, and the same refusal for ever."""
    bus = await buses.open("service-scheduler")
    handler, _, labelling = await open_outbox(bus)
    request = LabelNode(node="forbidden", command_id="command-1")

    codes = [await answer_of(handler, request) for _ in range(3)]

    events = await stored_events(await buses.open("service-auditor"))
    assert codes == ["not_found"] * 3
    assert labelling.decisions == 1
    assert [(event.data.action, event.data.outcome) for event in events] == [
        ("node.label", "refused")
    ]
    assert events[0].data.details == {"code": "not_found", "message": "no"}


async def test_a_refusal_is_told_to_whom_it_concerns(buses: Buses) -> None:
    """And to nobody else; so is an event that nobody asked for.  Each audience has its count."""
    bus = await buses.open("service-scheduler")
    outbox, labelling = Outbox(bus, "scheduler"), Labelling(bus)

    async def concerned(request: LabelNode, caller: Caller) -> str:
        return f"p_{caller.name}" if request.reason else "public"

    handler = outbox.command(LABEL_NODE, labelling.decide, concerned=concerned)
    await outbox.open()

    for reason in ("", "why"):
        with pytest.raises(RefusedError):
            await handler(LabelNode(node="forbidden", reason=reason), ALICE)
    drifted = EventBody(action="chain.drift", outcome="observed")
    await outbox.emit(drifted, event_id="drift-1", audience="p_alice")

    events = await stored_events(await buses.open("service-auditor"))
    assert [(one.audience, one.data.action, one.sequence) for one in events] == [
        ("public", "node.label", 1),
        ("p_alice", "node.label", 1),
        ("p_alice", "chain.drift", 2),
    ]


@pytest.mark.parametrize("by_key", [False, True])
async def test_state_that_moved_is_decided_again(buses: Buses, by_key: bool) -> None:
    """A change by somebody else between decision and write is never overwritten."""
    bus = await buses.open("service-scheduler")
    labelling = Labelling(bus, by_key=by_key)
    labels = bus.bucket(NODE_LABELS)

    async def decide_slowly(
        request: LabelNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeLabelled]:
        decision = await labelling.decide(request, caller, command_id, now)
        if labelling.decisions == 1:
            await labels.put("n1", NodeLabels(node="n1", labels={"rack": "r1"}))
        return decision

    outbox = Outbox(bus, "scheduler")
    handler = outbox.command(LABEL_NODE, decide_slowly)
    await outbox.open()
    await handler(LabelNode(node="n1", set={"zone": "a"}, command_id="command-1"), ALICE)

    assert labelling.decisions == 2
    assert await revisions_of(bus, "n1") == {"zone": "a", "rack": "r1"}
    assert_gapless(await stored_events(await buses.open("service-auditor")))


@pytest.mark.parametrize(("by_key", "decisions"), [(False, 2), (True, 1)])
async def test_a_decision_about_one_key_does_not_mind_others(
    buses: Buses, by_key: bool, decisions: int
) -> None:
    """What is decided by a whole bucket is decided again when any key of it changed."""
    bus = await buses.open("service-scheduler")
    labelling = Labelling(bus, by_key=by_key)

    async def decide_slowly(
        request: LabelNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeLabelled]:
        decision = await labelling.decide(request, caller, command_id, now)
        if labelling.decisions == 1:
            await bus.bucket(NODE_LABELS).put("n2", NodeLabels(node="n2", labels={}))
        return decision

    outbox = Outbox(bus, "scheduler")
    handler = outbox.command(LABEL_NODE, decide_slowly)
    await outbox.open()
    await handler(LabelNode(node="n1", set={"zone": "a"}, command_id="command-1"), ALICE)

    assert labelling.decisions == decisions
    assert await revisions_of(bus, "n1") == {"zone": "a"}


async def test_fault_while_deciding_leaves_nothing(buses: Buses) -> None:
    """If something outside is down, nothing is recorded and a repeat is decided anew."""
    bus = await buses.open("service-scheduler")
    calls = 0

    async def decide(
        request: LabelNode, _caller: Caller, command_id: str, _now: datetime
    ) -> Decision[NodeLabelled]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise FaultError("catalog is not answering")
        return Decision(reply=NodeLabelled(command_id=command_id, node=request.node, labels={}))

    outbox = Outbox(bus, "scheduler")
    handler = outbox.command(LABEL_NODE, decide)
    await outbox.open()
    request = LabelNode(node="n1", command_id="command-1")

    with pytest.raises(FaultError):
        await handler(request, ALICE)
    keys = {entry.key for entry in await bus.bucket(outbox_bucket("scheduler")).entries()}
    await handler(request, ALICE)

    assert keys == {"heads.heads"}
    assert calls == 2


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_fault_at_any_write_is_repaired_without_a_restart(buses: Buses, lands: bool) -> None:
    """The caller is told that it is not certain; a repeat of the command has the answer."""
    bus = await buses.open("service-scheduler")
    for dies_at in range(1, 8):
        mortal = MortalBus(bus, dies_at=dies_at + 1, lands=lands, error=FaultError)
        handler, _, labelling = await open_outbox(bus, mortal)
        request = LabelNode(node="n1", set={f"k{dies_at}": "v"}, command_id=f"command-{dies_at}")

        with pytest.raises(FaultError):
            await handler(request, ALICE)
        answer = await answer_of(handler, request)

        assert answer == ("n1", frozenset(f"k{place}" for place in range(1, dies_at + 1)))
        assert labelling.decisions == (2 if dies_at == 1 and not lands else 1)

    events = await stored_events(await buses.open("service-auditor"))
    assert len(events) == 14
    assert_gapless(events)


async def test_fault_is_repaired_even_if_nobody_asks_again(buses: Buses) -> None:
    """A recorded command is finished although its caller has gone."""
    bus = await buses.open("service-scheduler")
    mortal = MortalBus(bus, dies_at=3, error=FaultError)
    handler, _, _ = await open_outbox(bus, mortal)

    with pytest.raises(FaultError):
        await handler(LabelNode(node="n1", set={"a": "b"}, command_id="command-1"), ALICE)

    async with asyncio.timeout(60):
        while await revisions_of(bus, "n1") != {"a": "b"}:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(60):
        while await bus.bucket(outbox_bucket("scheduler")).entries("pending."):
            await asyncio.sleep(0.02)
    assert_gapless(await stored_events(await buses.open("service-auditor")))


async def test_command_that_waits_for_recovery_is_decided_by_what_is_true_now(
    buses: Buses,
) -> None:
    """If the state moved between the record and a crash, the old decision is not carried out."""
    bus = await buses.open("service-scheduler")
    handler, _, _ = await open_outbox(bus, MortalBus(bus, dies_at=3, lands=False))
    request = LabelNode(node="n1", set={"zone": "a"}, command_id="command-1")
    with pytest.raises(ProcessDiedError):
        await handler(request, ALICE)
    await bus.bucket(NODE_LABELS).put("n1", NodeLabels(node="n1", labels={"rack": "r1"}))

    restarted, _, labelling = await open_outbox(bus)

    assert (labelling.decisions, labelling.asked_by) == (1, "alice")
    assert await answer_of(restarted, request) == ("n1", frozenset({"zone", "rack"}))
    assert await revisions_of(bus, "n1") == {"zone": "a", "rack": "r1"}
    assert_gapless(await stored_events(await buses.open("service-auditor")))
