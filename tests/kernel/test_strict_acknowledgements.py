# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Mode `strict` on a real server whose audit stream takes nothing, or does not say that it did.

Core NATS goes on: the node hears what is desired.  It does nothing of it until the stream has
acknowledged each change's request, and needs nobody once it does.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from nats.errors import Error as NatsError

from services.node_executor.generations import MapKey, Point
from services.node_executor.observed_hook import ObservedHook
from shared.adapters.bus import connect
from shared.adapters.provisioning import provision, stream_settings
from shared.contracts.node import OBSERVED
from shared.contracts.storage import EVENT_STREAM, EVENTS_STREAM
from shared.identifiers import Hook
from tests.support.event_stream import stored_events
from tests.support.executors import Wire, a_chain, a_program, pins_below, published, real_kernel
from tests.support.frame_sender import FrameReceiver, FrameSender, arrived
from tests.support.node_fleets import NODE, Fleet, a_fleet
from tests.support.offline_nodes import running, said_in_order
from tests.support.raw_nats import unrestricted_client

TC: Hook = "tc-ingress"
WAITS = "the change waits until the audit stream"
TRIES = 2
"""Rounds in which the node could have changed something."""


class Kernel(NamedTuple):
    """What the node has in the kernel."""

    pins: tuple[str, ...]
    hooks: tuple[ObservedHook, ...]
    limits: Mapping[bytes, bytes]


class Node(Fleet):
    """A node in mode `strict` on a wire."""

    wire: Wire

    @property
    def points(self) -> tuple[Point, ...]:
        """Both directions of both ends."""
        return tuple(Point(name, hook) for name in _ends(self.wire) for hook in ("xdp", TC))

    def kernel(self) -> Kernel:
        """Everything that a change could touch, read back."""
        kernel = real_kernel(self.base / NODE)
        hooks = tuple(kernel.observe(point) for point in self.points)
        configured = hooks[1].map_pins[MapKey("late", "limits")]
        return Kernel(tuple(pins_below(self.base)), hooks, kernel.read_entries(configured))

    async def tries(self) -> None:
        """Each of the four changes was tried from now on, and waited."""
        before = len(self.log())

        async def has_tried() -> bool:
            lines = [line for line in self.log()[before:].splitlines() if WAITS in line]
            return all(sum(str(point) in line for line in lines) >= TRIES for point in self.points)

        await self.until(has_tried)


def _ends(wire: Wire) -> tuple[str, str]:
    return wire.name, wire.peer


@pytest.fixture
async def node(tmp_path: Path, wire: Wire) -> AsyncIterator[Node]:
    """The executor is not started."""
    async with a_fleet(tmp_path, Node) as made:
        made.wire = wire
        made.settings["NODE_EXECUTOR_OFFLINE_MODE"] = "strict"
        for version in ("1.0.0", "2.0.0"):
            package = published(version, TC)
            made.archives[package.signed.archive_sha256] = package.archive
        yield made


async def _api(node: Node, what: str, settings: dict[str, Any] | None = None) -> None:
    async with unrestricted_client(node.server) as client:
        body = msgspec.json.encode(settings) if settings else b""
        reply = await client.request(f"$JS.API.STREAM.{what}.{EVENT_STREAM}", body, timeout=5)
    assert "error" not in msgspec.json.decode(reply.data), reply.data


async def _update(node: Node, **changes: Any) -> None:
    await _api(node, "UPDATE", {**stream_settings(EVENTS_STREAM), **changes})


async def _provision(node: Node) -> None:
    """As the provisioner does it at each of its starts."""
    async with connect(node.server.credentials("provisioner")) as bus:
        await provision(bus.connection)


async def _fill(node: Node) -> None:
    await _update(node, discard="new", max_msgs=1)


async def _seal(node: Node) -> None:
    await _update(node, sealed=True)


async def _delete(node: Node) -> None:
    await _api(node, "DELETE")


async def _delete_and_provision(node: Node) -> None:
    await _delete(node)
    await _provision(node)


async def _withhold(node: Node) -> None:
    await _update(node, no_ack=True)


async def _switch_off(node: Node) -> None:
    _reload(node, "jetstream { ", "jetstream { enabled: false, ")
    await node.until(lambda: _is_off(node))
    await node.tries()


async def _as_before(_node: Node) -> None:
    """It stays as it is."""


async def _is_on(node: Node) -> bool:
    return not await _is_off(node)


async def _is_off(node: Node) -> bool:
    """Whether nobody answers who always did."""
    try:
        async with unrestricted_client(node.server) as client:
            await client.request("$JS.API.INFO", b"", timeout=0.3)
    except (TimeoutError, NatsError):
        return True
    return False


async def _switch_on(node: Node) -> None:
    _reload(node, "enabled: false, ", "")
    await node.until(lambda: _is_on(node))
    await _provision(node)


def _reload(node: Node, old: str, new: str) -> None:
    path = node.server.directory / "server.conf"
    path.write_text(path.read_text().replace(old, new))
    assert node.server.process is not None
    node.server.process.send_signal(signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Fault:
    """How the audit stream fails, and ends to."""

    begin: Callable[[Node], Awaitable[None]]
    end: Callable[[Node], Awaitable[None]]
    goes_on: Callable[[Node], Awaitable[None]] = _as_before
    """What happens once the node waits."""


FAULTS = {
    "full": Fault(_fill, _provision),
    "sealed": Fault(_seal, _delete_and_provision),
    "deleted": Fault(_delete, _provision),
    "acks-withheld": Fault(_withhold, _provision),
    "jetstream-off": Fault(_withhold, _switch_on, goes_on=_switch_off),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_nothing_changes_before_the_stream_acknowledged_it(node: Node, fault: Fault) -> None:
    """Not one pin, link, program or entry; once it acknowledges, all four changes are made."""
    name, peer = node.wire.name, node.wire.peer
    drop = a_program("drop", "4.0.0", order=20)
    await running(
        node,
        a_chain(name, a_program("count"), drop),
        a_chain(name, a_program("late", hook=TC, config={"limits": {"80": 7}}), hook=TC),
        a_chain(peer, a_program("gone")),
    )
    before = node.kernel()
    receiver, sender = FrameReceiver(name), FrameSender(peer)
    try:
        sender.go_on()
        with node.frozen():
            generation = await node.desire(
                a_chain(name, a_program("count", "2.0.0"), drop),
                a_chain(name, a_program("late", hook=TC, config={"limits": {"80": 9}}), hook=TC),
                a_chain(peer, a_program("new", hook=TC), hook=TC),
            )
            await fault.begin(node)
        await node.tries()
        await node.until(lambda: _says_that_it_waits(node))
        await fault.goes_on(node)
        frames = arrived(name)
        after = node.kernel()
        await fault.end(node)
        observed = await node.observed(generation)
        sender.pause()
    finally:
        sender.stop()
    got_through = receiver.drain()
    receiver.close()

    assert after == before, "changed although nobody had acknowledged it"
    assert got_through == 0
    assert arrived(name) > frames > 0
    _check_changes(node, before)
    assert {(one.interface, one.hook) for one in observed.chains if one.state == "attached"} == {
        (name, "xdp"),
        (name, TC),
        (peer, TC),
    }
    await said_in_order(node, "chain.detach")
    await _check_order(node)


async def _says_that_it_waits(node: Node) -> bool:
    entry = await node.scheduler.bucket(OBSERVED).get(NODE)
    chains = entry.value.chains if entry else ()
    waiting = [one for one in chains if one.refusal and one.refusal.code == "unavailable"]
    return len(waiting) == len(node.points)


def _check_changes(node: Node, before: Kernel) -> None:
    """One replaced under its link, one configured, one taken off, one put on."""
    _, hooks, entries = node.kernel()
    replaced, configured, removed, made = hooks
    assert replaced.link_id == before.hooks[0].link_id
    assert replaced.link_program_id != before.hooks[0].link_program_id
    assert configured.link_program_id == before.hooks[1].link_program_id
    assert entries == {(80).to_bytes(2, "little"): (9).to_bytes(4, "little")}
    assert (removed.link_program_id, removed.generations) == (0, {})
    assert made.link_is_live


async def _check_order(node: Node) -> None:
    """In the stream each request is there, once, before what it led to."""
    async with connect(node.server.credentials("service-auditor")) as auditor:
        stored = await stored_events(auditor)
    asked = set()
    for event in stored:
        if event.data.action == "chain.request":
            asked.add((event.data.interface, event.data.hook, event.data.after))
        elif event.data.action in {"chain.attach", "chain.configure", "chain.detach"}:
            assert (event.data.interface, event.data.hook, event.data.after) in asked
