# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m installation.provision`: creates what the services store in, once, then ends.

Exit status 0: everything is as the contract says.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from shared.adapters.connection import open_connection
from shared.adapters.lifecycle import run
from shared.adapters.logs import configure_logs
from shared.adapters.provisioning import provision
from shared.config import LogLevel, load_config
from shared.errors import FaultError

DEADLINE_SECONDS: Final = 30.0
"""How long the server may take to come up."""
RETRY_SECONDS: Final = 0.2

_log = structlog.get_logger()


class ProvisionerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Variables with the prefix PROVISIONER_."""

    credentials_dir: Path
    log_level: LogLevel = "info"


async def provision_when_reachable(
    credentials_dir: Path,
    stop: asyncio.Event,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Streams, buckets and the auditor's consumer are as the contract says, unless stopped first.

    Raises:
        RefusedError: The credentials are refused.
        FaultError: The server did not come up, or not do what it was asked, before the deadline.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + deadline_seconds
    while not stop.is_set():
        try:
            async with open_connection(credentials_dir) as connection:
                await provision(connection)
        except FaultError as fault:
            if clock() >= deadline:
                raise
            _log.info("provisioning_postponed", problem=fault.message)
            await asyncio.sleep(retry_seconds)
        else:
            _log.info("provisioned")
            return


async def main(stop: asyncio.Event) -> None:
    """The process, between start and exit status."""
    config = load_config(ProvisionerConfig, os.environ, prefix="PROVISIONER_")
    configure_logs(service="provisioner", level=config.log_level)
    await provision_when_reachable(config.credentials_dir, stop)


if __name__ == "__main__":
    run(main)
