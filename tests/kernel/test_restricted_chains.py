# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A program under embargo on a real interface: it filters, members see it, strangers that it is."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus
from shared.contracts.base import Endpoint
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.ebpf import LIST_EBPF, EbpfListed, ListEbpf
from shared.contracts.events import PUBLIC, Event
from shared.contracts.inspection import EXPLAIN_CHAIN, TEST_CHAIN, ExplainChain, TryPackets
from shared.contracts.map_reading import READ_MAP, ReadMap
from shared.contracts.node import GET_CHAINS, ChainShown, GetChains
from shared.contracts.reconciliation import RECONCILE_NODE, ReconcileNode
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_NODE,
    LIST_NODES,
    PLAN_DEPLOYMENT,
    ApplyDeployment,
    GetNode,
    ListNodes,
    PlanDeployment,
)
from shared.contracts.spaces import SPACES, SpaceRecord
from shared.errors import FaultError, RefusedError
from shared.moments import render_time
from tests.support.event_stream import stored_events
from tests.support.executors import COUNTED, PACKETS, Wire, a_counter, send_frames
from tests.support.frame_sender import FrameReceiver, arrived
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet, a_fleet
from tests.support.scheduler_neighbours import a_catalog, until_running

pytestmark = pytest.mark.kernel

EMBARGO = "r_0123456789abcdef"
SECRET = "quiet-fix"
KEY = f"{EMBARGO}.{SECRET}"
PASSING, DROPPING = a_counter("1.0.0", code="1.0.0"), a_counter("1.4.1", code="4.0.0")
FRAME = bytes.fromhex("ffffffffffff020000000001") + b"\x88\xb5" + bytes(50)


class EmbargoFleet(Fleet):
    """The scheduler is the real one; ann is a member of the embargo, and bob is not."""

    async def open(self, stack: AsyncExitStack) -> None:
        """The bus is provisioned, and everything but the executor answers."""
        await super().open(stack)
        versions = (PASSING, DROPPING)
        self.archives |= {one.signed.archive_sha256: archive for one, archive in versions}
        catalog = await self._connect(stack, "service-catalog")
        await stack.enter_async_context(a_catalog(catalog, *(one for one, _ in versions)))
        await self.put()
        await stack.enter_async_context(scheduling(self.scheduler))
        self.ann = await self._connect(stack, "operator", "ann")
        self.bob = await self._connect(stack, "operator", "bob")
        self.auditor = await self.as_auditor()

    async def put(self, **fields: str) -> None:
        """The embargo is so."""
        space = SpaceRecord(
            audience=EMBARGO,
            kind="embargo",
            members=("ann",),
            created_at="2026-01-01T00:00:00Z",
            created_by="U",
            **fields,  # type: ignore[arg-type]
        )
        await self.catalog.bucket(SPACES).put(EMBARGO, space)

    async def apply(self, asker: Bus, interface: str, name: str, **fields: Any) -> None:
        """The deployment runs."""
        spec = a_spec(interface, name, **fields)
        await asker.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=DEADLINE_SECONDS
        )
        await until_running(asker, name, space=spec.space)

    async def chain(self, asker: Bus) -> ChainShown:
        """As the node shows it to them."""
        (shown,) = (await asker.request(GET_CHAINS.at(node=NODE), GetChains())).chains
        return shown

    async def shown(self, asker: Bus, interface: str) -> dict[str, str]:
        """Everything that a node and the scheduler show of it, by endpoint."""
        questions: tuple[tuple[Endpoint[Any, Any], Any], ...] = (
            (GET_CHAINS.at(node=NODE), GetChains(per_cpu=True)),
            (EXPLAIN_CHAIN.at(node=NODE), ExplainChain()),
            (LIST_EBPF.at(node=NODE), ListEbpf()),
            (RECONCILE_NODE.at(node=NODE), ReconcileNode()),
            (
                TEST_CHAIN.at(node=NODE),
                TryPackets(interface=interface, hook="xdp", packets=(FRAME,)),
            ),
            (READ_MAP.at(node=NODE), _a_map(interface, KEY)),
            (LIST_NODES, ListNodes()),
            (GET_NODE, GetNode(node=NODE)),
        )
        said = {}
        for endpoint, request in questions:
            try:
                reply = await asker.request(endpoint, request, timeout_seconds=DEADLINE_SECONDS)
            except RefusedError as error:
                reply = error.refusal()
            if isinstance(reply, EbpfListed):  # others may have programs of the same code here
                own = tuple(one for one in reply.programs if one.managed)
                reply = msgspec.structs.replace(reply, programs=own)
            said[endpoint.subject] = msgspec.json.encode(reply).decode()
        return said

    async def events_of_chains(self) -> list[Event]:
        """Of the node, that were not read before."""
        return [
            one
            for one in await stored_events(self.auditor)
            if one.emitter == f"node/{NODE}" and one.data.action.startswith("chain.")
        ]

    async def knows(self, interface: str) -> bool:
        """Whether the scheduler has heard of the interface."""
        listed = await self.ann.request(LIST_NODES, ListNodes())
        return any(
            one.place == interface for node in listed.nodes for one in node.record.interfaces
        )


def a_spec(interface: str, name: str, **fields: Any) -> DeploymentSpec:
    """A deployment of `counter`."""
    return DeploymentSpec(
        name=name,
        package="counter",
        hook="xdp",
        interfaces=(interface,),
        metrics=COUNTED,
        **fields,
    )


def _a_map(interface: str, program: str) -> ReadMap:
    return ReadMap(interface=interface, hook="xdp", program=program, map=PACKETS)


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await is_so():
            await asyncio.sleep(0.01)


@pytest.fixture
async def fleet(tmp_path: Path, wire: Wire) -> AsyncIterator[EmbargoFleet]:
    """The scheduler knows the node and its interface."""
    async with a_fleet(tmp_path, EmbargoFleet) as made:
        await made.start_and_register()
        await made.until(lambda: made.knows(wire.name))
        yield made


def _passed(wire: Wire, count: int) -> int:
    """Of so many frames, those that no program dropped."""
    before = arrived(wire.name)
    with closing(FrameReceiver(wire.name)) as receiver:
        send_frames(wire.peer, count)
        assert arrived(wire.name) == before + count
        return receiver.drain()


async def test_an_embargoed_program_filters_is_seen_by_members_and_opens(
    fleet: EmbargoFleet, wire: Wire
) -> None:
    """Beside a public one of a stranger, which works; lifting touches nothing."""
    await fleet.apply(fleet.bob, wire.name, "edge", version="1.0.0", order=10)
    passed = _passed(wire, 20)
    await fleet.apply(fleet.ann, wire.name, SECRET, version="1.4.1", order=20, space=EMBARGO)
    filtered = _passed(wire, 20)
    to_ann, to_bob = (
        await fleet.shown(fleet.ann, wire.name),
        await fleet.shown(fleet.bob, wire.name),
    )
    own = await fleet.bob.request(READ_MAP.at(node=NODE), _a_map(wire.name, "edge"))
    seen, before = await fleet.chain(fleet.bob), await fleet.chain(fleet.ann)
    embargoed = await fleet.events_of_chains()
    await fleet.put(lifted_at=render_time(datetime.now(UTC)))

    async def is_open() -> bool:
        return not (await fleet.chain(fleet.bob)).chain.restricted

    await _until(is_open)
    after = await fleet.chain(fleet.bob)

    assert (passed, filtered) == (20, 0)
    archive = DROPPING[0].signed.archive_sha256
    words = {SECRET, EMBARGO, archive, "1.4.1", before.chain.program_tag}
    refused = to_bob.pop(READ_MAP.at(node=NODE).subject)  # repeats what was asked for
    assert '"allowed":["edge"]' in refused
    for endpoint, text in to_bob.items():
        assert not {word for word in words if word in text}, endpoint
    assert SECRET in to_ann[GET_CHAINS.at(node=NODE).subject]
    assert SECRET in to_ann[EXPLAIN_CHAIN.at(node=NODE).subject]
    assert SECRET in to_ann[TEST_CHAIN.at(node=NODE).subject]
    assert '"entries"' in to_ann[READ_MAP.at(node=NODE).subject]
    assert before.chain.program_tag in to_ann[LIST_EBPF.at(node=NODE).subject]
    assert [(one.deployment, one.restricted) for one in seen.chain.programs] == [
        ("edge", False),
        ("", True),
    ]
    assert [one.deployment for one in seen.counters.slots] == ["edge"]
    assert [one.deployment for one in seen.metrics] == ["edge"]
    assert own.program == "edge"
    assert [one.deployment for one in after.chain.programs] == ["edge", KEY]
    assert (after.chain.program_id, after.chain.link_id, after.chain.generation) == (
        before.chain.program_id,
        before.chain.link_id,
        before.chain.generation,
    )
    told = {
        audience: [one.data.action for one in embargoed if one.audience == audience]
        for audience in (PUBLIC, EMBARGO)
    }
    assert list(told.values()) == [["chain.request", "chain.attach"]] * 2
    assert [one.sequence for one in embargoed if one.audience == EMBARGO] == [1, 2]
    public = [msgspec.json.encode(one).decode() for one in embargoed if one.audience == PUBLIC]
    assert not [text for text in public if SECRET in text or EMBARGO in text]


async def test_a_draft_is_explained_to_those_who_see_it(fleet: EmbargoFleet, wire: Wire) -> None:
    """Also by a node that never had anything of the space, before anything is applied."""
    spec = a_spec(wire.name, SECRET, version="1.4.1", space=EMBARGO)
    plan = await fleet.ann.request(
        PLAN_DEPLOYMENT, PlanDeployment(spec=spec), timeout_seconds=DEADLINE_SECONDS
    )
    draft = plan.chains[0].draft
    question = ExplainChain(draft=draft)

    to_ann = await fleet.ann.request(
        EXPLAIN_CHAIN.at(node=NODE), question, timeout_seconds=DEADLINE_SECONDS
    )
    to_bob = await fleet.bob.request(
        EXPLAIN_CHAIN.at(node=NODE), question, timeout_seconds=DEADLINE_SECONDS
    )
    with pytest.raises(RefusedError) as caught:
        await fleet.bob.request(
            TEST_CHAIN.at(node=NODE),
            TryPackets(interface=wire.name, hook="xdp", packets=(FRAME,), draft=draft),
            timeout_seconds=DEADLINE_SECONDS,
        )

    assert to_ann.chains[0].explanation is not None
    assert to_ann.chains[0].places[0].deployment == KEY
    assert SECRET not in msgspec.json.encode(to_bob).decode()
    assert to_bob.chains[0].explanation is None
    assert caught.value.refusal_code == "not_permitted"


async def test_a_map_of_another_space_is_answered_for_as_one_that_is_not_there(
    fleet: EmbargoFleet, wire: Wire
) -> None:
    """Whatever it is called."""
    await fleet.apply(fleet.bob, wire.name, "edge", version="1.0.0", order=10)
    asked = _a_map(wire.name, KEY)

    async def answer() -> bytes:
        with pytest.raises(RefusedError) as caught:
            await fleet.bob.request(READ_MAP.at(node=NODE), asked)
        return msgspec.json.encode(caught.value.refusal())

    missing = await answer()
    await fleet.apply(fleet.ann, wire.name, SECRET, version="1.4.1", order=20, space=EMBARGO)

    assert await answer() == missing


async def test_an_audience_is_numbered_on_after_the_journal_was_lost(
    fleet: EmbargoFleet, wire: Wire
) -> None:
    """The bus says where the node stopped, for each audience."""
    found: list[Event] = []

    async def attached(times: int) -> None:
        async def is_said() -> bool:
            found.extend(await fleet.events_of_chains())
            return [one.data.action for one in found].count("chain.attach") == times

        await _until(is_said)

    await fleet.apply(fleet.ann, wire.name, SECRET, version="1.0.0", order=20, space=EMBARGO)
    await attached(1)
    fleet.stop()
    shutil.rmtree(fleet.state)
    os.sync()
    fleet.start()

    async def answers() -> bool:
        try:
            return (await fleet.chain(fleet.ann)).chain.state == "attached"
        except FaultError:
            return False

    await _until(answers)
    await fleet.apply(fleet.ann, wire.name, SECRET, version="1.4.1", order=20, space=EMBARGO)
    await attached(2)
    numbers = [one.sequence for one in found if one.audience == EMBARGO]

    assert numbers == list(range(1, len(numbers) + 1))
    assert {one.audience for one in found} == {EMBARGO}
