# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains are shown, explained and tried through the bus, by who may, also after a restart."""

from __future__ import annotations

import signal
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import connect
from shared.contracts.base import Endpoint
from shared.contracts.inspection import (
    EXPLAIN_CHAIN,
    TEST_CHAIN,
    ExplainChain,
    TryPackets,
    draft_digest,
)
from shared.contracts.node import (
    GET_CHAINS,
    METRICS,
    STAGE_CHAINS,
    GetChains,
    NodeMetrics,
    StageChains,
)
from shared.contracts.permissions import UserRole
from shared.errors import FaultError, RefusedError
from tests.support.executors import (
    Wire,
    a_chain,
    a_program,
    send_frames,
)
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet
from tests.support.packets import ipv4, tcp

PACKET = ipv4(tcp(80))


async def ask(fleet: Fleet, endpoint: Endpoint[Any, Any], request: Any, role: UserRole) -> Any:
    """What the node answers to somebody of that role; waits while it starts."""
    async with connect(fleet.server.credentials(role, f"{role}-1")) as bus:

        async def answer() -> object:
            try:
                return await bus.request(
                    endpoint.at(node=NODE), request, timeout_seconds=DEADLINE_SECONDS
                )
            except FaultError:
                return None

        return await fleet.until(answer)


async def test_what_runs_is_counted_explained_and_tried(fleet: Fleet, wire: Wire) -> None:
    """One chain, three questions; the answers are the same after the executor was killed."""
    chain = a_chain(wire.name, a_program("one"), a_program("two", "4.0.0", order=20))
    await fleet.observed(await fleet.desire(chain))
    send_frames(wire.peer, 25)

    async def all_answers() -> tuple[Any, Any, Any]:
        shown = await ask(fleet, GET_CHAINS, GetChains(per_cpu=True), "viewer")
        explained = await ask(fleet, EXPLAIN_CHAIN, ExplainChain(hook="xdp"), "viewer")
        request = TryPackets(interface=wire.name, hook="xdp", packets=(PACKET,))
        return shown, explained, await ask(fleet, TEST_CHAIN, request, "operator")

    shown, explained, tried = await all_answers()
    fleet.stop(signal.SIGKILL)
    fleet.start()
    again = await all_answers()

    (one,) = shown.chains
    slots = {slot.deployment: slot for slot in one.counters.slots}
    assert (slots["one"].verdicts, slots["one"].went_on) == ({"pass": 25}, 25)
    assert (slots["two"].verdicts, slots["two"].went_on) == ({"drop": 25}, 0)
    assert sum(cpu.slots[0].packets_in for cpu in one.counters.cpus) == 25
    (segment,) = one.chain.segments
    assert (segment.program_id, segment.gpl_compatible) == (one.chain.program_id, True)
    assert (segment.licence, segment.maps_used) == ("Dual BSD/GPL", 9)
    (said,) = explained.chains
    assert said.generation == 1
    assert [body.deployment for body in said.explanation.programs] == ["one", "two"]
    assert said.explanation.has_counters
    assert (tried.packets[0].verdict, tried.packets[0].decided_by) == ("drop", "two")
    assert again[0].chains[0].counters == one.counters
    assert again[1] == explained
    assert again[2].packets[0].programs == tried.packets[0].programs


async def test_a_staged_chain_is_explained_and_tried_and_nothing_is_attached(
    fleet: Fleet, wire: Wire
) -> None:
    """By the digest that its plan names; one that was never staged is not found."""
    chain = a_chain(wire.name, a_program("one", "4.0.0", config={"limits": {"80": 3}}))
    digest = draft_digest(chain)
    unknown = TryPackets(interface=wire.name, hook="xdp", packets=(PACKET,), draft=digest)

    with pytest.raises(RefusedError, match="plan the deployment again"):
        await ask(fleet, TEST_CHAIN, unknown, "operator")
    await fleet.scheduler.request(
        STAGE_CHAINS.at(node=NODE), StageChains(chains=(chain,)), timeout_seconds=DEADLINE_SECONDS
    )
    explained = await ask(fleet, EXPLAIN_CHAIN, ExplainChain(draft=digest), "viewer")
    tried = await ask(fleet, TEST_CHAIN, unknown, "operator")
    shown = await ask(fleet, GET_CHAINS, GetChains(), "viewer")

    assert explained.chains[0].source == "draft"
    assert explained.chains[0].explanation.programs[0].mode == "inline"
    assert (tried.source, tried.packets[0].decided_by) == ("draft", "one")
    assert shown.chains == ()


async def test_who_only_reads_tries_nothing(fleet: Fleet, wire: Wire) -> None:
    """Trying loads programs, so it takes the right to deploy them."""
    request = TryPackets(interface=wire.name, hook="xdp", packets=(PACKET,))

    with pytest.raises(RefusedError) as caught:
        await ask(fleet, TEST_CHAIN, request, "viewer")
    with pytest.raises(RefusedError) as absent:
        await ask(fleet, EXPLAIN_CHAIN, ExplainChain(interface=wire.name), "viewer")

    assert caught.value.refusal_code == "not_permitted"
    assert absent.value.refusal_code == "not_found"


async def test_the_counters_are_metrics_too(fleet: Fleet, wire: Wire) -> None:
    """Under names that stay, beside those that the deployment asked for."""
    values: dict[str, float | int] = {}

    async def keep(_subject: str, data: bytes) -> None:
        values.update(msgspec.json.decode(data, type=NodeMetrics).values)

    await fleet.scheduler.subscribe(METRICS.at(node=NODE).subject, keep)
    await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    send_frames(wire.peer, 3)
    fleet.stop()
    fleet.start()
    packets_in = f"{wire.name}/xdp/one/l3af.packets_in"

    async def counted() -> bool:
        return packets_in in values

    await fleet.until(counted)

    assert values[packets_in] == 3
    assert values[f"{wire.name}/xdp/one/l3af.verdict.pass"] == 3
    assert values[f"{wire.name}/xdp/l3af.missed"] == 0
