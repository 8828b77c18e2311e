# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A process with an outbox, to be killed: `python -m tests.support.labelling_process DIR`.

Labels nodes until it is told to stop or dies; says `ready` on standard output.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from shared.adapters import lifecycle
from shared.adapters.bus import connect
from shared.adapters.callers import Caller
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.contracts.events import EventBody
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled, NodeLabels
from shared.outbox_records import Change, Decision


async def main(stop: asyncio.Event) -> None:
    """Serves `node.label` until it is stopped."""
    configure_logs(service="scheduler")
    async with connect(Path(sys.argv[1])) as bus:
        labels = bus.bucket(NODE_LABELS)

        async def decide(
            request: LabelNode, _caller: Caller, command_id: str, _now: datetime
        ) -> Decision[NodeLabelled]:
            snapshot = await labels.snapshot()
            before = snapshot.entries.get(request.node)
            merged = {**(before.value.labels if before else {}), **request.set}
            return Decision(
                reply=NodeLabelled(command_id=command_id, node=request.node, labels=merged),
                change=Change(
                    NODE_LABELS,
                    request.node,
                    NodeLabels(node=request.node, labels=merged, command_id=command_id),
                    snapshot.sequence,
                ),
                events=(EventBody(action="node.label", outcome="accepted", node=request.node),),
            )

        outbox = Outbox(bus, "scheduler")
        endpoints = {LABEL_NODE: outbox.command(LABEL_NODE, decide)}
        await outbox.open()
        async with bus.serve("scheduler", endpoints, version="0.1.0"):
            print("ready", flush=True)  # noqa: T201 because the test reads it
            await stop.wait()


if __name__ == "__main__":
    lifecycle.run(main)
