# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Interfaces that come, go, are renamed or moved, under an executor that runs as a process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.hook_pins import HookPins
from services.node_executor.adapters.pins import open_pinned
from services.node_executor.generations import MapKey, Point
from services.node_executor.pin_paths import link_path
from shared.contracts.node import NODES, ChainState
from shared.contracts.reconciliation import RECONCILE_NODE, ReconcileNode
from shared.errors import RefusedError
from tests.support.executors import (
    Wire,
    a_chain,
    a_program,
    pins_below,
    send_frames,
)
from tests.support.namespaces import a_namespace, a_pair, delete, ip, move, rename
from tests.support.node_fleets import NODE, Fleet, a_fleet

pytestmark = pytest.mark.kernel
COUNTED = MapKey("one", "packets")
RETURN_SECONDS = 10.0
"""Within this an interface that returned has its chain: far sooner than the next round comes."""


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Everything runs and the executor answers."""
    async with a_fleet(tmp_path, Fleet) as made:
        made.settings["NODE_EXECUTOR_NAMED_NAMESPACES"] = "true"
        await made.start_and_register()
        yield made


async def in_state(fleet: Fleet, state: ChainState, interface: str, netns: str = "") -> None:
    """The node said that its chain there is in that state."""

    async def is_so() -> bool:
        observed = await fleet.observed(0)
        return any(
            (one.interface, one.netns, one.state) == (interface, netns, state)
            for one in observed.chains
        )

    await fleet.until(is_so)


def counted(fleet: Fleet, interface: str, netns: str = "") -> int:
    """Packets that the chain of the hook point saw, read past the executor; 0: there is none."""
    pinned = HookPins(fleet.base / NODE).read(Point(interface, "xdp", netns)).generations
    found = [one.maps[COUNTED] for one in pinned.values() if COUNTED in one.maps]
    if not found:
        return 0
    with kernel_info.map_by_id(found[-1]) as opened:
        return map_access.read_number(opened, None) or 0


def link_id(fleet: Fleet, interface: str, netns: str = "") -> int:
    """Of the pinned link; 0: there is none."""
    link = open_pinned(link_path(fleet.base / NODE, interface, "xdp", netns))
    if link is None:
        return 0
    with link:
        return kernel_info.link_info(link.fd).id


async def seconds_until_counted(fleet: Fleet, wire: Wire, *, netns: str = "") -> float:
    """From now until the chain sees a packet; one is sent every few milliseconds."""
    begun, before = time.monotonic(), counted(fleet, wire.name, netns)
    while counted(fleet, wire.name, netns) == before:
        assert time.monotonic() - begun < 10, fleet.log()
        send_frames(wire.peer, 1)
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def test_an_interface_that_returns_has_its_chain_within_a_second(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits while it is away; maps and counters go on."""
    with a_pair() as wire:
        chain = a_chain(wire.name, a_program("one", "4.0.0"))
        await fleet.observed(await fleet.desire(chain))
        send_frames(wire.peer, 3)
        delete(wire.name)
        await in_state(fleet, "waiting-for-interface", wire.name)
    with a_pair(wire.name.removesuffix("a")):
        seconds = await seconds_until_counted(fleet, wire)
        with capsys.disabled():
            sys.stdout.write(f"\nchain back {seconds * 1000:.0f} ms after its interface\n")

        await in_state(fleet, "attached", wire.name)
        assert seconds < RETURN_SECONDS
        assert counted(fleet, wire.name) > 3


async def test_an_interface_of_a_named_namespace_returns_like_any_other(fleet: Fleet) -> None:
    """The namespace goes too, and comes again under its name."""
    with a_pair() as wire, a_namespace() as blue:
        move(wire.name, blue)
        chain = a_chain(wire.name, a_program("one", "4.0.0"))
        await fleet.desire(msgspec.structs.replace(chain, netns=blue))
        await in_state(fleet, "attached", wire.name, blue)
        ip("netns", "del", blue)
        await in_state(fleet, "waiting-for-interface", wire.name, blue)
        ip("netns", "add", blue)
        with a_pair() as other:
            rename(other.name, wire.name)
            move(wire.name, blue)
            seconds = await seconds_until_counted(fleet, Wire(wire.name, other.peer), netns=blue)
            assert seconds < RETURN_SECONDS
            delete(other.peer)


async def test_a_chain_follows_a_renamed_interface_that_is_desired_under_its_new_name(
    fleet: Fleet,
) -> None:
    """The same link and maps, no packet unseen, and nothing is left under the old name."""
    with a_pair() as wire:
        old, new = wire.name, f"{wire.name}x"
        await fleet.observed(await fleet.desire(a_chain(old, a_program("one", "4.0.0"))))
        send_frames(wire.peer, 5)
        held = link_id(fleet, old)
        rename(old, new)
        await in_state(fleet, "waiting-for-interface", old)
        send_frames(wire.peer, 5)
        await fleet.desire(a_chain(new, a_program("one", "4.0.0")))
        await in_state(fleet, "attached", new)
        send_frames(wire.peer, 5)

        assert link_id(fleet, new) == held != 0
        assert counted(fleet, new) == 15
        assert {path.split("/")[0] for path in pins_below(fleet.base / NODE)} == {new}
        assert await fleet.said(3) == ["chain.request", "chain.attach", "chain.adopt"]
        said = [one.data for one in fleet.events if one.data.action == "chain.adopt"]
        assert said[0].details["came_from"] == f"{old}/xdp"
        delete(new)


async def test_a_chain_follows_an_interface_into_a_named_namespace(fleet: Fleet) -> None:
    """If it is desired there; and back."""
    with a_pair() as wire, a_namespace() as blue:
        chain = a_chain(wire.name, a_program("one", "4.0.0"))
        there = msgspec.structs.replace(chain, netns=blue)
        await fleet.observed(await fleet.desire(chain, there))
        send_frames(wire.peer, 5)
        move(wire.name, blue)
        await in_state(fleet, "attached", wire.name, blue)
        await in_state(fleet, "waiting-for-interface", wire.name)
        send_frames(wire.peer, 5)

        assert counted(fleet, wire.name) == 0
        assert counted(fleet, wire.name, blue) >= 5


async def test_another_interface_under_the_old_name_gets_the_chain_and_the_renamed_loses_it(
    fleet: Fleet,
) -> None:
    """A chain belongs to a name."""
    with a_pair() as wire, a_pair() as other:
        old, new = wire.name, f"{wire.name}x"
        await fleet.observed(await fleet.desire(a_chain(old, a_program("one", "4.0.0"))))
        rename(old, new)
        await in_state(fleet, "waiting-for-interface", old)
        rename(other.name, old)
        seconds = await seconds_until_counted(fleet, Wire(old, other.peer))
        before = counted(fleet, old)
        send_frames(wire.peer, 5)

        assert seconds < RETURN_SECONDS
        assert counted(fleet, old) == before
        actions = await fleet.said(4)
        assert "chain.detach" in actions
        assert "chain.drift" not in actions
        delete(new)
        delete(old)


async def test_the_inventory_follows_at_once(fleet: Fleet) -> None:
    """A new interface, its MTU, and that it is gone, without waiting for a timer."""

    async def known(name: str, mtu: int | None) -> bool:
        entry = await fleet.scheduler.bucket(NODES).get(NODE)
        assert entry is not None
        found = [one.mtu for one in entry.value.interfaces if one.name == name]
        return found == ([] if mtu is None else [mtu])

    begun = time.monotonic()
    with a_pair() as wire:
        await fleet.until(lambda: known(wire.name, 1500))
        ip("link", "set", wire.name, "mtu", "1400")
        await fleet.until(lambda: known(wire.name, 1400))
    await fleet.until(lambda: known(wire.name, None))
    assert time.monotonic() - begun < 5


async def test_a_round_can_be_asked_for(fleet: Fleet) -> None:
    """The answer says what the round left; nobody but operators may ask."""
    with a_pair() as wire:
        chains = (
            a_chain(wire.name, a_program("one")),
            a_chain("nosuch0", a_program("one")),
        )
        generation = await fleet.desire(*chains)
        await fleet.observed(generation)
        operator = await fleet.as_operator()
        answer = await operator.request(RECONCILE_NODE.at(node=NODE), ReconcileNode())

    assert answer.node == NODE
    assert answer.desired_generation == generation
    assert answer.states == {"attached": 1, "waiting-for-interface": 1}
    with pytest.raises(RefusedError):
        await fleet.viewer.request(RECONCILE_NODE.at(node=NODE), ReconcileNode())
