# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node whose bus is away: it starts, settles, repairs, journals, and says it all afterwards."""

from __future__ import annotations

import signal

import msgspec
import pytest

from services.node_executor.generations import Point
from shared.contracts.node import NODES
from tests.support.counters import total_in
from tests.support.executors import (
    COUNTED,
    Wire,
    a_chain,
    a_program,
    pins_below,
    published,
    real_kernel,
    remove_pins,
    send_frames,
)
from tests.support.frame_sender import FrameReceiver, FrameSender, arrived
from tests.support.node_fleets import NODE, Fleet
from tests.support.offline_nodes import (
    a_store,
    again,
    attached,
    everything_is_said,
    has_logged,
    has_stored,
    reboot,
    running,
    said_in_order,
    times_said,
    without_bus,
)

pytestmark = pytest.mark.not_started


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
    counted = total_in(kernel, hook.map_pins["one", "packets"])  # type: ignore[index]
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
    await fleet.until(lambda: has_logged(fleet, "settling_failed"))
    nothing = pins_below(fleet.base)
    fleet.server.start()
    events = await said_in_order(fleet, "chain.attach", 2)

    assert nothing == []
    assert "artifact.damage" in [one.data.action for one in events]


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
        await fleet.until(lambda: has_logged(fleet, "bus_away"))
        fleet.stop(signal.SIGKILL)
        store = a_store(fleet)
        ids = [one.id for one in store.unpublished()]
        store.close()
        assert ids[: len(journaled)] == journaled
        journaled = ids

    fleet.start()
    fleet.server.start()
    await fleet.until(lambda: has_stored(fleet, journaled))
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
    await fleet.until(lambda: has_logged(fleet, "bus_away"))
    send_frames(wire.peer, 5)
    hook = real_kernel(fleet.base / NODE).observe(Point(wire.name, "xdp"))
    fleet.server.start()
    observed = await fleet.observed(
        await again(lambda: fleet.desire(a_chain(wire.name, a_program("one", "2.0.0"))), fleet)
    )

    assert hook.link_program_id == before[0].program_id
    assert observed.chains[0].programs[0].version == "2.0.0"
    await said_in_order(fleet, "journal.resume")


def _fill(fleet: Fleet) -> None:
    """The journal has more events than it may have."""
    store = a_store(fleet)
    body = msgspec.structs.replace(fleet.events[-1].data, details={"text": "x" * 20_000})
    store.journal([(f"filler-{number}", body) for number in range(60)])
    store.close()


async def test_an_upgrade_of_the_executor_loses_nothing(fleet: Fleet, wire: Wire) -> None:
    """SIGTERM, SIGKILL, a new process after each: every packet is dropped and counted."""
    dropping = a_chain(wire.name, a_program("one", "4.0.0", metrics=COUNTED))
    before = await running(fleet, dropping)
    receiver, sender = FrameReceiver(wire.name), FrameSender(wire.peer)
    before_arrived = arrived(wire.name)
    try:
        sender.go_on()
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            adopted = times_said(fleet, "chain.adopt")
            fleet.stop(number)
            fleet.start()
            await said_in_order(fleet, "chain.adopt", adopted + 1)
        sender.pause()
    finally:
        sender.stop()
    kernel = real_kernel(fleet.base / NODE)
    hook = kernel.observe(Point(wire.name, "xdp"))
    counted = total_in(kernel, hook.map_pins["one", "packets"])  # type: ignore[index]
    got_through = receiver.drain()
    receiver.close()

    assert got_through == 0
    assert counted == arrived(wire.name) - before_arrived > 100
    assert hook.link_program_id == before[0].program_id
    assert hook.link_id == before[0].link_id
    assert times_said(fleet, "chain.attach") == 1
