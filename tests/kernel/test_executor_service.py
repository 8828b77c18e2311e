# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node executor as a process, on a real bus and the real kernel."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.node_executor.generations import Point
from services.node_executor.registration import is_outdated
from shared.adapters.bus import Bus
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.events import Event
from shared.contracts.node import (
    GET_CHAINS,
    NODES,
    STAGE_CHAINS,
    GetChains,
    NodeRecord,
    StageChains,
)
from shared.errors import FaultError, RefusedError
from tests.package_builders import STRANGER_SEED, sign
from tests.support.event_stream import stored_events
from tests.support.executors import (
    COUNTED,
    Executor,
    Wire,
    a_chain,
    a_program,
    pin_directory,
    pins_below,
    published,
    real_kernel,
    send_frames,
)
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet
from tests.support.offline_nodes import has_logged


async def test_a_desired_chain_is_attached_said_and_counted(fleet: Fleet, wire: Wire) -> None:
    """One desired record leads to a running chain, events in order, an observed record, metrics."""
    generation = await fleet.desire(a_chain(wire.name, a_program("one", metrics=COUNTED)))
    observed = await fleet.observed(generation)
    send_frames(wire.peer, 20)
    shown = await _shown(fleet)

    assert [(one.state, one.interface) for one in observed.chains] == [("attached", wire.name)]
    assert observed.chains[0].cause is not None
    assert observed.chains[0].cause.command_id == "command-1"
    assert shown.chains[0].metrics[0].value == 20
    assert await fleet.said(2) == ["chain.request", "chain.attach"]
    assert [one.sequence for one in fleet.events] == list(range(1, len(fleet.events) + 1))
    assert fleet.events[-1].data.correlation == "command-1"


async def test_a_node_registers_once_and_beats_at_once(fleet: Fleet) -> None:
    """The inventory is written and said when it changes; a restart with the same says nothing."""
    written: dict[int, NodeRecord | None] = {}

    async def note(_key: str, value: NodeRecord | None, revision: int) -> None:
        written[revision] = value

    nodes = fleet.scheduler.bucket(NODES)
    await nodes.follow(NODE, note)
    record = await nodes.get(NODE)
    assert record is not None
    written[record.revision] = record.value
    await fleet.until(lambda: _beats(fleet, 1))
    fleet.stop()
    before = len(fleet.heartbeats)
    fleet.start()

    await fleet.until(lambda: _beats(fleet, before + 1))

    said = [one.data for one in fleet.events]
    assert {one.action for one in said} == {"node.register"}
    records = [written[revision] for revision in sorted(written)]
    for stored, current in pairwise(records):  # others who use this machine make some
        assert current is not None
        assert is_outdated(stored, current)
    assert record.value.labels == {"role": "edge"}
    assert record.value.features["xdp"]


@pytest.mark.not_started
async def test_a_node_that_answers_is_registered(fleet: Fleet) -> None:
    """Whoever waited for its answer can name it: in labels, and where a chain shall be."""
    fleet.start()

    await _shown(fleet)

    assert await fleet.scheduler.bucket(NODES).get(NODE) is not None


async def _beats(fleet: Fleet, count: int) -> bool:
    return len(fleet.heartbeats) >= count


async def test_staging_attaches_nothing_and_the_change_that_follows_fetches_nothing(
    fleet: Fleet, wire: Wire
) -> None:
    """What was staged is swapped in as it is."""
    chain = a_chain(wire.name, a_program("one"), a_program("two", "2.0.0", order=20))

    staged = await fleet.scheduler.request(
        STAGE_CHAINS.at(node=NODE), StageChains(chains=(chain,)), timeout_seconds=DEADLINE_SECONDS
    )
    nothing_yet = pins_below(fleet.base)
    reads = len(fleet.reads)
    observed = await fleet.observed(await fleet.desire(chain))

    assert staged.chains[0].verified_instructions > 0
    assert {"fetch", "verify", "load", "link"} <= staged.duration_ms.keys()
    assert nothing_yet == []
    assert observed.chains[0].plan_sha256 == staged.chains[0].plan_sha256
    assert len(fleet.reads) == reads == 2


async def test_staging_refuses_with_every_problem(fleet: Fleet, wire: Wire) -> None:
    """All chains are looked at, and all that is wrong with each."""
    bad_values = a_program(config={"limits": {"70000": 1, "80": 2_000_000}, "packets": {"0": 1}})
    chains = (a_chain(wire.name, bad_values), a_chain("nowhere0", a_program("two")))

    with pytest.raises(RefusedError) as caught:
        await fleet.scheduler.request(
            STAGE_CHAINS.at(node=NODE), StageChains(chains=chains), timeout_seconds=10
        )

    paths = sorted(reason.path for reason in caught.value.reasons)
    assert paths == [
        "chain[0].config.limits.70000 (key)",
        "chain[0].config.limits.80",
        "chain[0].config.packets",
        "nowhere0",
    ]
    assert pins_below(fleet.base) == []


def _tampered(fleet: Fleet) -> DesiredProgram:
    program = a_program("one", "2.0.0")
    sha256 = program.signed.archive_sha256
    fleet.archives[sha256] = fleet.archives[sha256].replace(b"Dual BSD/GPL", b"Dual BSD/GPX")
    return program


def _unsigned(_fleet: Fleet) -> DesiredProgram:
    package = published("2.0.0")
    forged = sign(package.manifest, archive=package.archive, trust_seed=STRANGER_SEED)
    return a_program("one", "2.0.0", signed=forged)


def _other_function(_fleet: Fleet) -> DesiredProgram:
    return a_program("one", "2.0.0", function="another")


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (_tampered, "verification_failed"),
        (_unsigned, "verification_failed"),
        (_other_function, "invalid_request"),
    ],
)
async def test_what_is_not_what_its_publisher_signed_never_runs(
    fleet: Fleet, wire: Wire, bad: Callable[[Fleet], DesiredProgram], code: str
) -> None:
    """What ran before still runs, the record says why, and the log has one failed change."""
    before = await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))

    after = await fleet.observed(await fleet.desire(a_chain(wire.name, bad(fleet))))

    refusal = after.chains[0].refusal
    assert refusal is not None
    assert refusal.code == code
    assert after.chains[0].program_id == before.chains[0].program_id
    assert (await fleet.said(3))[2:] == ["chain.change"]
    assert next(one for one in fleet.events if one.data.action == "chain.change").data.reasons


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_data_path_outlives_the_executor(
    fleet: Fleet, wire: Wire, number: signal.Signals
) -> None:
    """Without the executor packets are counted on; the next start adopts and changes nothing."""
    chain = a_chain(wire.name, a_program("one", metrics=COUNTED))
    before = await fleet.observed(await fleet.desire(chain))

    status = fleet.stop(number)
    send_frames(wire.peer, 30)
    fleet.start()

    said = await fleet.said(3)
    shown = await _shown(fleet)
    assert status == (0 if number == signal.SIGTERM else -number)
    assert said == ["chain.request", "chain.attach", "chain.adopt"]
    assert shown.chains[0].chain.program_id == before.chains[0].program_id
    assert shown.chains[0].chain.link_id == before.chains[0].link_id
    assert shown.chains[0].metrics[0].value == 30


async def _shown(fleet: Fleet) -> Any:
    async def ask() -> object:
        try:
            return await fleet.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
        except FaultError:
            return None

    return await fleet.until(ask)


async def test_another_owner_of_the_hook_is_named_and_left_alone(
    fleet: Fleet, wire: Wire, tmp_path: Path
) -> None:
    """The refusal says who is there; once the hook is free the chain is put on."""
    chain, point = a_chain(wire.name, a_program("one")), Point(wire.name, "xdp")
    with pin_directory() as elsewhere:
        owner = Executor(real_kernel(elsewhere), tmp_path / "owner.sqlite")
        owner.start()
        owner.settle(a_chain(wire.name, a_program("theirs")), point, 1)
        theirs = owner.kernel.observe(point).link_program_id

        refused = (await fleet.observed(await fleet.desire(chain))).chains[0]
        still_theirs = owner.kernel.observe(point).link_program_id
        owner.settle(None, point, 2)
        owner.stop()
    attached = (await fleet.observed(await fleet.desire(chain))).chains[0]

    assert refused.state == "failed"
    assert refused.refusal is not None
    assert refused.refusal.code == "hook_owned"
    assert str(theirs) in refused.refusal.message
    assert still_theirs == theirs
    assert (attached.state, attached.refusal) == ("attached", None)


async def test_a_catalog_that_is_down_only_delays(fleet: Fleet, wire: Wire) -> None:
    """A fault is no refusal: the change is tried again until it succeeds."""
    program = a_program("one")
    sha256 = program.signed.archive_sha256
    archive = fleet.archives.pop(sha256)
    fleet.unavailable = True

    generation = await fleet.desire(a_chain(wire.name, program))
    await fleet.until(lambda: _has_read(fleet))
    fleet.archives[sha256] = archive
    fleet.unavailable = False
    observed = await fleet.observed(generation)

    assert observed.chains[0].state == "attached"
    assert await fleet.said(2) == ["chain.request", "chain.attach"]


async def _has_read(fleet: Fleet) -> bool:
    return bool(fleet.reads)


async def test_what_is_desired_of_another_node_changes_nothing(fleet: Fleet, wire: Wire) -> None:
    """A record below this node's key that names another one is skipped, and what runs goes on."""
    before = await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    empty = DesiredNode(node="n2", generation=99, chains=())

    await fleet.scheduler.bucket(DESIRED).put(NODE, empty)
    await fleet.until(lambda: has_logged(fleet, "record_skipped"))
    fleet.stop()
    fleet.start()
    shown = await _shown(fleet)

    assert shown.chains[0].chain.program_id == before.chains[0].program_id
    assert await fleet.said(3) == ["chain.request", "chain.attach", "chain.adopt"]


async def test_events_wait_for_the_bus_and_come_once(fleet: Fleet, wire: Wire) -> None:
    """A bus that goes away and comes back has every event once, in order."""
    await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    fleet.server.restart()

    generation = await _desire_again(fleet, a_chain(wire.name, a_program("one", "2.0.0")))
    await fleet.observed(generation)

    # A subscriber misses what is published before it is back; the stream does not.
    auditor = await fleet.as_auditor()
    events: list[Event] = []
    stored = await fleet.until(lambda: _stored_actions(auditor, events, 4))
    assert stored == 2 * ["chain.request", "chain.attach"]


async def _desire_again(fleet: Fleet, chain: DesiredChain) -> int:
    async def attempt() -> object:
        try:
            return await fleet.desire(chain)
        except FaultError:
            return None

    generation = await fleet.until(attempt)
    assert isinstance(generation, int)
    return generation


async def _stored_actions(auditor: Bus, events: list[Event], count: int) -> list[str] | None:
    events += [one for one in await stored_events(auditor) if one.emitter == f"node/{NODE}"]
    actions = [one.data.action for one in events if one.data.action.startswith("chain.")]
    if len(actions) < count:
        return None
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    return actions
