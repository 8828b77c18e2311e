# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A process with an outbox, to be killed: `python -m tests.support.labelling_process DIR`.

Labels nodes until it is told to stop or dies; says `ready` on standard output.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from shared.adapters import lifecycle
from shared.adapters.bus import connect
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.contracts.scheduler import LABEL_NODE
from tests.support.labelling import Labelling


async def main(stop: asyncio.Event) -> None:
    """Serves `node.label` until it is stopped."""
    configure_logs(service="scheduler")
    async with connect(Path(sys.argv[1])) as bus:
        outbox, labelling = Outbox(bus, "scheduler"), Labelling(bus, outcomes=("accepted",))
        endpoints = {LABEL_NODE: outbox.command(LABEL_NODE, labelling.decide)}
        await outbox.open()
        async with bus.serve("scheduler", endpoints, version="0.1.0"):
            print("ready", flush=True)  # noqa: T201 because the test reads it
            await stop.wait()


if __name__ == "__main__":
    lifecycle.run(main)
