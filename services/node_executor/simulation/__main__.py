# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Starts many simulated nodes: `python -m services.node_executor.simulation`."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial

from services.node_executor.simulation.adapters.fleet import SimulatedFleet, write_progress
from services.node_executor.simulation.config import SimulationConfig
from services.node_executor.simulation.troubles import Troubles
from shared.adapters import lifecycle
from shared.adapters.logs import configure_logs
from shared.config import load_config


async def main(stop: asyncio.Event) -> None:
    """Runs until `stop` is set; SIGUSR1 sends away the nodes that go away."""
    config = load_config(SimulationConfig, os.environ, prefix="SIMULATION_")
    configure_logs(service="node_executor", level=config.log_level)
    names = sorted(path.name for path in config.credentials_dir.iterdir())
    fleet = SimulatedFleet(
        {name: number for number, name in enumerate(names) if number % config.parts == config.part},
        credentials_dir=config.credentials_dir,
        troubles=Troubles(
            config.seed,
            config.failure_rate,
            config.latency_ms,
            config.vanish_rate,
            config.away_seconds,
        ),
        period_seconds=config.period_seconds,
        told=partial(write_progress, config.progress_file),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, fleet.send_away)
    await fleet.run(stop)


if __name__ == "__main__":
    lifecycle.run(main)
