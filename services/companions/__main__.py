# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the companion supervisor of a node: `python -m services.companions`."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from services.companions.adapters.accounts import take_open_files
from services.companions.adapters.control_groups import ControlGroups, read_layout
from services.companions.adapters.event_store import EventStore
from services.companions.adapters.executables import Executables
from services.companions.adapters.reaping import Reaper
from services.companions.adapters.socket_server import serving
from services.companions.adapters.surroundings import Surroundings
from services.companions.config import CompanionsConfig, check_may_lack
from services.companions.service import CompanionSupervisor
from services.companions.user_ids import parse_user_ids
from shared.adapters import lifecycle
from shared.adapters.logs import configure_logs
from shared.config import load_config
from shared.moments import render_time


def _moment(at: float) -> str:
    """When the clock of decisions shows `at`."""
    return render_time(datetime.now(UTC) + timedelta(seconds=at - monotonic()))


def _first_number() -> int:
    """Above all that an earlier file of this node can have given."""
    return int(datetime.now(UTC).timestamp() * 1000)


def _boot_id() -> str:
    """Changes whenever the machine starts."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def main(stop: asyncio.Event) -> None:
    """Runs until `stop` is set; companions end with it."""
    config = load_config(CompanionsConfig, os.environ, prefix="COMPANIONS_")
    configure_logs(service="companions", level=config.log_level)
    may_lack, user_ids = check_may_lack(config.may_lack), parse_user_ids(config.user_ids)
    take_open_files()
    async with AsyncExitStack() as held:
        store = EventStore(
            config.state_dir, max_bytes=config.event_bytes, first_number=_first_number
        )
        held.callback(store.close)
        groups = ControlGroups(read_layout(), config.cgroup)
        held.callback(groups.close)
        around = Surroundings(
            groups=groups,
            executables=Executables(config.state_dir / "executables"),
            reaper=Reaper(),
            sockets=config.state_dir / "sockets",
            may_lack=may_lack,
        )
        around.furnish()
        tasks = await held.enter_async_context(asyncio.TaskGroup())
        supervisor = CompanionSupervisor(
            around=around,
            store=store,
            user_ids=user_ids,
            boot_id=_boot_id(),
            clock=monotonic,
            moment=_moment,
            tasks=tasks,
        )
        await supervisor.recover()
        watching = tasks.create_task(supervisor.watch())
        async with serving(config.socket, supervisor.answer):
            await stop.wait()
            await supervisor.stop()
        watching.cancel()


if __name__ == "__main__":
    lifecycle.run(main)
