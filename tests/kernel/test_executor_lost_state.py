# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""State that is damaged or gone: known again from pins and bus, and orphans by policy."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from services.node_executor.generations import Point
from tests.support.executors import (
    COUNTED,
    Wire,
    a_chain,
    a_program,
    real_kernel,
    send_frames,
)
from tests.support.node_fleets import NODE, Fleet
from tests.support.offline_nodes import (
    everything_is_said,
    has_logged,
    has_said,
    running,
    said_in_order,
    times_said,
    without_bus,
)

pytestmark = pytest.mark.not_started


@pytest.mark.parametrize("damage", ["truncated", "gone", "changed"])
async def test_a_lost_state_file_costs_nothing(fleet: Fleet, wire: Wire, damage: str) -> None:
    """The pins tell what runs; packets go on; events go on behind those that the bus has."""
    before = await running(fleet, a_chain(wire.name, a_program("one", metrics=COUNTED)))
    await without_bus(fleet, signal.SIGTERM)
    _damage(fleet.state / "state.sqlite", damage)

    fleet.start()
    await fleet.until(lambda: has_logged(fleet, '"adopted"'))
    send_frames(wire.peer, 5)
    fleet.server.start()
    events = await said_in_order(fleet, "chain.adopt")
    observed = await fleet.observed(1)

    actions = [one.data.action for one in events]
    rebuilt = actions.index("state.rebuild")
    assert actions[rebuilt + 1] == "chain.adopt"
    set_aside = events[rebuilt].data.details["set_aside"]
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
    await fleet.until(lambda: has_said(fleet, "chain.adopt", 2 if policy == "report" else 1))
    await everything_is_said(fleet)

    orphan = next(one.data for one in events if one.data.action == "chain.orphan")
    hook = real_kernel(fleet.base / NODE).observe(Point(wire.name, "xdp"))
    assert orphan.details["program_id"] == before[0].program_id
    assert orphan.details["policy"] == policy
    assert hook.link_program_id == (before[0].program_id if policy == "report" else 0)
    assert times_said(fleet, "chain.orphan") == 1
