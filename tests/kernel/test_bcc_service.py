# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An executor as a process that compiles C source for bcc on its way to a running chain."""

from __future__ import annotations

import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from shared.contracts.metrics import MetricSource
from shared.contracts.node import GET_CHAINS, NODES, GetChains
from shared.errors import FaultError
from tests.support.bcc_packages import a_gate, port_gate
from tests.support.executors import Wire, a_chain, a_program, pin_directory
from tests.support.node_fleets import NODE, Fleet
from tests.support.operator_mode import OperatorModeServer
from tests.support.packets import UDP, ipv4, udp
from tests.support.softirqs import wait_until_received

CLOSED_PORT = 9000


async def test_source_is_compiled_attached_configured_counted_and_said(
    tmp_path: Path, wire: Wire
) -> None:
    """The node offers bcc, and everything of such a program is like that of others."""
    server = OperatorModeServer(tmp_path / "nats")
    server.start()
    gate = a_gate(
        config={"closed": {str(CLOSED_PORT): 1}}, metrics={"dropped": MetricSource(map="dropped")}
    )
    with pin_directory() as base:
        async with AsyncExitStack() as stack:
            stack.callback(server.stop)
            fleet = Fleet(server, tmp_path, base)
            fleet.archives[gate.signed.archive_sha256] = port_gate().archive
            await fleet.open(stack)
            fleet.start()
            stack.callback(fleet.stop, signal.SIGKILL)
            await fleet.until(lambda: _answers(fleet))

            generation = await fleet.desire(a_chain(wire.name, gate, a_program("one", order=20)))
            observed = await fleet.observed(generation)
            _send(wire.peer, 5)
            shown = await fleet.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
            await fleet.said(2)
            record = await fleet.scheduler.bucket(NODES).get(NODE)

    assert [one.state for one in observed.chains] == ["attached"]
    assert [one.value for one in shown.chains[0].metrics] == [5]
    made, other = (program.compilation for program in observed.chains[0].programs)
    assert made is not None
    assert other is None
    attached = next(one for one in fleet.events if one.data.action == "chain.attach")
    assert attached.data.details["compilations"] == {"gate": msgspec.to_builtins(made)}
    assert record is not None
    assert record.value.features["bcc"]
    assert made.source == "port_gate.c"
    assert made.compiler in fleet.log()


async def _answers(fleet: Fleet) -> bool:
    try:
        await fleet.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
    except FaultError:
        return False
    return True


def _send(interface: str, count: int) -> None:
    frame = ipv4(udp(CLOSED_PORT, bytes(20)), UDP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        for _ in range(count):
            sender.send(frame)
    wait_until_received()
