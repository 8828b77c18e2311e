# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One simulated node: the node executor as it is, over a kernel and a journal in memory.

Connection, key, permissions, signatures, staging, reconciliation, journal, events and records are
those of a real node.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import partial
from pathlib import Path, PurePath
from time import monotonic

from services.node_executor.adapters.assembly import (
    Grounds,
    Machine,
    Workshop,
    assembled,
    now_text,
)
from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.processor_time import ProcessorTime
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.adapters.trust_keeper import TrustKeeper
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints
from services.node_executor.companion_set import CompanionNode
from services.node_executor.event_tally import EventTally
from services.node_executor.execution import Steps
from services.node_executor.simulation.adapters.host import SimulatedHost
from services.node_executor.simulation.adapters.machine import (
    NoCompiler,
    NoMachine,
    SimulatedThread,
)
from services.node_executor.simulation.inventory import SimulatedInventory
from services.node_executor.simulation.linking import linker_of
from services.node_executor.simulation.troubles import Troubles
from shared.contracts.events import Event

PLATFORM = "linux-x86_64"


class SimulatedNode:
    """One run of its executor, from its start to its end."""

    def __init__(
        self,
        credentials_dir: Path,
        host: SimulatedHost,
        *,
        troubles: Troubles,
        period_seconds: float,
    ) -> None:
        """Nothing is connected.

        Args:
            credentials_dir: Its own.
            host: What earlier runs left; no other run is over it now.
            troubles: What goes wrong.
            period_seconds: How often everything is compared without anybody asking.

        Raises:
            RefusedError: The credentials directory holds something malformed.
            FaultError: It cannot be read.
        """
        bus = NodeBus(credentials_dir, connecting=host.line.connected)
        self.name = bus.name
        kernel = host.kernel
        thread = SimulatedThread(troubles, troubles.rng(bus.name, "latency"))
        journaled = asyncio.Queue[Event]()
        tally = EventTally()

        def on_event(event: Event) -> None:
            journaled.put_nowait(event)
            tally.note(event)

        store = StateStore.in_memory(
            host.state,
            emitter=f"node/{bus.name}",
            now=now_text,
            new_salt=partial(secrets.token_bytes, 16),
            on_event=on_event,
        )
        journal = ChainJournal(
            node=bus.name, start=secrets.token_hex(16), boot_id=host.boot_id, store=store
        )
        steps = Steps(kernel)
        points = HookPoints(kernel=kernel, steps=steps, journal=journal, clock=monotonic)
        self._trust = trust = TrustKeeper(
            node=bus.name, trust_root=bus.trust_root, mode="trusted", thread=thread, store=store
        )
        shop = Workshop(
            Grounds(
                bus=bus,
                thread=thread,
                disk=thread,
                kernel=kernel,
                steps=steps,
                counters=kernel,
                store=store,
                journal=journal,
                points=points,
                trust=trust,
                cache=host.cache,
                compiler=NoCompiler(),
                link=linker_of(kernel),
                companions=CompanionNode(bus.name, PLATFORM, PurePath()),
                companion_files=CompanionFiles(Path()),
                supervisor=None,
                listener=None,
                boot_id=host.boot_id,
                uptime=monotonic,
                moment=lambda _: "",
            )
        )
        machine = NoMachine(bus.name)
        self._service, self._records = assembled(
            shop,
            Machine(
                inventory=SimulatedInventory(
                    bus.name, host.number, kernel=kernel, boot_id=host.boot_id, at=now_text()
                ),
                host=machine,
                maps=machine,
                trials=machine,
                links=machine,
                metrics=machine,
                listen=None,
                verification=machine,
                processors=lambda: ProcessorTime(monotonic(), 0.0),
            ),
            journaled=journaled,
            tally=tally,
            period_seconds=period_seconds,
        )

    async def registered(self) -> None:
        """The bus has its inventory, or did not take it at the first attempt."""
        await self._records.first_registration()

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set.

        Raises:
            FaultError: Something that it cannot do without failed.
        """
        await self._trust.open()
        await self._service.run(stop)
