# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node whose bus is away: it starts, settles, repairs, journals, and says it all afterwards."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from services.node_executor.adapters.state_store import StateStore
from services.node_executor.generations import Point
from services.node_executor.observed_hook import ObservedHook
from shared.adapters.bus import connect
from shared.contracts.events import Event
from shared.contracts.node import NODES, DesiredChain, MetricSource, ObservedChain
from shared.errors import FaultError
from tests.support.event_stream import stored_events
from tests.support.executors import (
    Wire,
    a_chain,
    a_program,
    pin_directory,
    pins_below,
    published,
    real_kernel,
    remove_pins,
    send_frames,
)
from tests.support.node_fleets import NODE, Fleet
from tests.support.operator_mode import OperatorModeServer

COUNTED = {"packets": MetricSource(map="packets", key="0")}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A bus with everything around one node; its executor is not started."""
    server = OperatorModeServer(tmp_path / "nats")
    server.start()
    with pin_directory() as base:
        async with AsyncExitStack() as stack:
            stack.callback(server.stop)
            made = Fleet(server, tmp_path, base)
            await made.open(stack)
            stack.callback(made.stop, signal.SIGKILL)
            yield made


def a_store(fleet: Fleet) -> StateStore:
    """The state of an executor that is not running."""
    return StateStore.open(
        fleet.state / "state.sqlite",
        emitter=f"node/{NODE}",
        now=lambda: "2026-01-01T00:00:00.000000Z",
        new_salt=lambda: secrets.token_bytes(16),
        on_event=lambda _event: None,
    )


async def running(fleet: Fleet, *chains: DesiredChain) -> tuple[ObservedChain, ...]:
    """The executor runs the chains, and has said so."""
    fleet.start()
    observed = (await fleet.observed(await fleet.desire(*chains))).chains
    await fleet.said(2 * len(chains))
    await fleet.until(lambda: _count(fleet, "node.register", 1))
    return observed


async def without_bus(fleet: Fleet, number: signal.Signals = signal.SIGKILL) -> None:
    """The executor has ended, and then the bus."""
    await everything_is_said(fleet)
    fleet.stop(number)
    fleet.server.stop()


async def everything_is_said(fleet: Fleet) -> None:
    """The bus has all that was journaled until now."""

    async def is_quiet() -> object:
        before = len(fleet.events)
        await asyncio.sleep(0.1)
        return before and len(fleet.events) == before

    await fleet.until(is_quiet)


def reboot(fleet: Fleet) -> None:
    """Nothing is pinned or attached any more, and what is remembered is of another boot."""
    remove_pins(fleet.base)
    store = a_store(fleet)
    for memory in store.remembered().values():
        store.journal([], msgspec.structs.replace(memory, boot_id="the boot before"))
    store.close()


async def attached(fleet: Fleet, wire: Wire) -> ObservedHook:
    """What is on the hook, once something is."""
    kernel, point = real_kernel(fleet.base / NODE), Point(wire.name, "xdp")

    async def look() -> ObservedHook | None:
        found = kernel.observe(point)
        return found if found.link_is_live else None

    found = await fleet.until(look)
    assert isinstance(found, ObservedHook)
    return found


async def read_stream(fleet: Fleet) -> None:
    """Events that were published before the test's own connections were back are known too."""
    try:
        async with connect(fleet.server.credentials("service-auditor")) as auditor:
            fleet.events += await stored_events(auditor)
    except FaultError:
        return


async def said_in_order(fleet: Fleet, action: str, count: int = 1) -> list[Event]:
    """All events, once there are `count` of an action: each once, their sequences without a gap."""

    async def read() -> list[Event] | None:
        await read_stream(fleet)
        once = {one.id: one for one in fleet.events}
        ordered = sorted(once.values(), key=lambda one: one.sequence)
        found = [one for one in ordered if one.data.action == action]
        is_whole = [one.sequence for one in ordered] == list(range(1, len(ordered) + 1))
        return ordered if len(found) >= count and is_whole else None

    found = await fleet.until(read)
    assert isinstance(found, list)
    return found


async def again(attempt: Callable[[], Awaitable[int]], fleet: Fleet) -> int:
    """What succeeds once the test's own connections are back."""

    async def once() -> object:
        try:
            return await attempt()
        except FaultError:
            return None

    found = await fleet.until(once)
    assert isinstance(found, int)
    return found


async def test_after_a_reboot_chains_are_back_before_the_bus(fleet: Fleet, wire: Wire) -> None:
    """From the disk, verified again, with their maps' entries; what the bus desires then wins."""
    dropping = a_program("one", "4.0.0", metrics=COUNTED, config={"limits": {"80": 7}})
    before = await running(fleet, a_chain(wire.name, dropping))
    fleet.server.stop()
    fleet.stop()
    reboot(fleet)

    fleet.start()
    hook = await attached(fleet, wire)
    send_frames(wire.peer, 20)
    kernel = real_kernel(fleet.base / NODE)
    counted = kernel.read_scalar(hook.map_pins["one", "packets"], "*")  # type: ignore[index]
    limits = kernel.read_entries(hook.map_pins["one", "limits"])  # type: ignore[index]
    fleet.server.start()
    events = await said_in_order(fleet, "chain.attach", 2)

    assert counted == 20
    assert limits == {(80).to_bytes(2, "little"): (7).to_bytes(4, "little")}
    chained = [one.data for one in events if one.data.action.startswith("chain.")]
    put_on = ["chain.request", "chain.attach"]
    assert [one.action for one in chained] == [*put_on, "chain.adopt", *put_on]
    assert chained[-1].after == before[0].plan_sha256
    assert chained[-1].details["generation"] == before[0].generation + 1
    observed = await fleet.observed(
        await again(lambda: fleet.desire(a_chain(wire.name, a_program("one", "2.0.0"))), fleet)
    )
    assert observed.chains[0].programs[0].version == "2.0.0"


async def test_what_is_damaged_in_the_cache_is_not_run_without_the_bus(
    fleet: Fleet, wire: Wire
) -> None:
    """Every load verifies again; once the catalog is there the archive is fetched and it runs."""
    await running(fleet, a_chain(wire.name, a_program("one")))
    await without_bus(fleet)
    reboot(fleet)
    archive = fleet.state / "artifacts" / published("1.0.0").signed.archive_sha256
    archive.write_bytes(archive.read_bytes().replace(b"Dual BSD/GPL", b"Dual BSD/GPX"))

    fleet.start()
    await fleet.until(lambda: _logged(fleet, "settling_failed"))
    nothing = pins_below(fleet.base)
    fleet.server.start()
    events = await said_in_order(fleet, "chain.attach", 2)

    assert nothing == []
    assert "artifact.damage" in [one.data.action for one in events]


async def _logged(fleet: Fleet, words: str) -> bool:
    return words in fleet.log()


@pytest.mark.parametrize("damage", ["truncated", "gone", "changed"])
async def test_a_lost_state_file_costs_nothing(fleet: Fleet, wire: Wire, damage: str) -> None:
    """The pins tell what runs; packets go on; events go on behind those that the bus has."""
    before = await running(fleet, a_chain(wire.name, a_program("one", metrics=COUNTED)))
    await without_bus(fleet, signal.SIGTERM)
    _damage(fleet.state / "state.sqlite", damage)

    fleet.start()
    await fleet.until(lambda: _logged(fleet, '"adopted"'))
    send_frames(wire.peer, 5)
    fleet.server.start()
    events = await said_in_order(fleet, "state.rebuild")
    observed = await fleet.observed(1)

    assert [one.data.action for one in events][-2:] == ["state.rebuild", "chain.adopt"]
    set_aside = events[-2].data.details["set_aside"]
    assert bool(set_aside) is (damage != "gone")
    assert not set_aside or (fleet.state / set_aside).exists()
    assert observed.chains[0].program_id == before[0].program_id
    assert observed.chains[0].link_id == before[0].link_id


def _damage(path: Path, damage: str) -> None:
    if damage == "gone":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE chain SET memory = x'7b7d'")
        connection.commit()
        connection.close()


@pytest.mark.parametrize("policy", ["remove", "report"])
async def test_pins_that_nobody_remembers_or_desires(fleet: Fleet, wire: Wire, policy: str) -> None:
    """They are said, and then removed or left as they are; a later start says nothing new."""
    before = await running(fleet, a_chain(wire.name, a_program("one")))
    await everything_is_said(fleet)
    fleet.stop()
    await fleet.desire()
    (fleet.state / "state.sqlite").unlink()
    fleet.settings["NODE_EXECUTOR_ORPHANS"] = policy

    fleet.start()
    events = await said_in_order(fleet, "chain.orphan")
    await fleet.observed(2)
    fleet.stop()
    fleet.start()
    await fleet.until(lambda: _count(fleet, "chain.adopt", 2 if policy == "report" else 1))
    await everything_is_said(fleet)

    orphan = next(one.data for one in events if one.data.action == "chain.orphan")
    hook = real_kernel(fleet.base / NODE).observe(Point(wire.name, "xdp"))
    assert orphan.details["program_id"] == before[0].program_id
    assert orphan.details["policy"] == policy
    assert hook.link_program_id == (before[0].program_id if policy == "report" else 0)
    assert _times(fleet, "chain.orphan") == 1


async def _count(fleet: Fleet, action: str, count: int) -> bool:
    return _times(fleet, action) >= count


def _times(fleet: Fleet, action: str) -> int:
    return len({one.id for one in fleet.events if one.data.action == action})


async def test_in_mode_strict_a_change_waits_for_its_acknowledgement(
    fleet: Fleet, wire: Wire
) -> None:
    """Changes and removals wait, and are said to; what was confirmed is put back all the same."""
    fleet.settings["NODE_EXECUTOR_OFFLINE_MODE"] = "strict"
    first = a_chain(wire.name, a_program("one"))
    before = await running(fleet, first)
    record = await fleet.scheduler.bucket(NODES).get(NODE)
    await without_bus(fleet)
    reboot(fleet)

    fleet.start()
    hook = await attached(fleet, wire)

    assert record is not None
    assert record.value.offline_mode == "strict"
    assert hook.link_program_id not in (0, before[0].program_id)
    fleet.server.start()
    events = await said_in_order(fleet, "chain.attach", 2)
    observed = await fleet.observed(
        await again(lambda: fleet.desire(a_chain(wire.name, a_program("one", "2.0.0"))), fleet)
    )
    assert observed.chains[0].programs[0].version == "2.0.0"
    removed = await fleet.observed(await fleet.desire())
    assert [one.state for one in removed.chains] in ([], ["absent"])
    chained = [one.data.action for one in events if one.data.action.startswith("chain.")]
    assert chained.count("chain.request") == 2


async def test_the_offline_mode_is_said_when_it_changes(fleet: Fleet, wire: Wire) -> None:
    """The first one is in the registration; every other has an event."""
    await running(fleet, a_chain(wire.name, a_program("one")))
    fleet.stop()
    fleet.settings["NODE_EXECUTOR_OFFLINE_MODE"] = "strict"
    fleet.start()

    events = await said_in_order(fleet, "node.mode")
    modes = [one.data.details for one in events if one.data.action == "node.mode"]
    registered = [one.data for one in events if one.data.action == "node.register"]

    assert modes == [{"offline_mode": "strict", "before": "available"}]
    assert registered[0].details["offline_mode"] == "available"


async def test_offline_the_node_repairs_and_says_it_afterwards(fleet: Fleet, wire: Wire) -> None:
    """Killed twice while the bus is away: each event is said once, with its first id."""
    await running(fleet, a_chain(wire.name, a_program("one")))
    await without_bus(fleet)
    journaled: list[str] = []
    for _ in range(2):
        remove_pins(fleet.base)
        fleet.start()
        await attached(fleet, wire)
        await fleet.until(lambda: _logged(fleet, "bus_away"))
        fleet.stop(signal.SIGKILL)
        store = a_store(fleet)
        ids = [one.id for one in store.unpublished()]
        store.close()
        assert ids[: len(journaled)] == journaled
        journaled = ids

    fleet.start()
    fleet.server.start()
    events = await said_in_order(fleet, "chain.attach", 3)

    after = [one.id for one in events]
    assert set(journaled) <= set(after)
    assert after.index(journaled[-1]) - after.index(journaled[0]) == len(journaled) - 1


async def test_a_full_journal_stops_changes_and_nothing_else(fleet: Fleet, wire: Wire) -> None:
    """The chain runs on; when there is room again the change is made and the outage is said."""
    before = await running(fleet, a_chain(wire.name, a_program("one", metrics=COUNTED)))
    await everything_is_said(fleet)
    fleet.stop()
    _fill(fleet)
    fleet.settings["NODE_EXECUTOR_JOURNAL_BYTES"] = str(1024 * 1024)
    fleet.server.stop()

    fleet.start()
    await fleet.until(lambda: _logged(fleet, "bus_away"))
    send_frames(wire.peer, 5)
    hook = real_kernel(fleet.base / NODE).observe(Point(wire.name, "xdp"))
    fleet.server.start()
    observed = await fleet.observed(
        await again(lambda: fleet.desire(a_chain(wire.name, a_program("one", "2.0.0"))), fleet)
    )

    assert hook.link_program_id == before[0].program_id
    assert observed.chains[0].programs[0].version == "2.0.0"
    assert "journal.resume" in [one.data.action for one in fleet.events]


def _fill(fleet: Fleet) -> None:
    """The journal has more events than it may have."""
    store = a_store(fleet)
    body = msgspec.structs.replace(fleet.events[-1].data, details={"text": "x" * 20_000})
    store.journal([(f"filler-{number}", body) for number in range(60)])
    store.close()
