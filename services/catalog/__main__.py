# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m services.catalog`: configuration, adapters, service."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.own_key import read_ticket_key
from services.catalog.adapters.uploads import Uploads
from services.catalog.config import CatalogConfig
from services.catalog.service import CatalogService
from shared.adapters import lifecycle
from shared.adapters.bus import connect
from shared.adapters.licence_policies import load_policy
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.config import load_config
from shared.contracts.catalog import CATALOG
from shared.contracts.desired import DESIRED
from shared.contracts.node import NODES
from shared.version import VERSION


async def main(stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    config = load_config(CatalogConfig, os.environ, prefix="CATALOG_")
    configure_logs(service="catalog", level=config.log_level)
    policy = load_policy(config.licence_policy)
    async with connect(config.credentials_dir) as bus:
        outbox = Outbox(bus, "catalog")
        service = CatalogService(
            packages=bus.bucket(CATALOG),
            desired=bus.bucket(DESIRED),
            nodes=bus.bucket(NODES),
            artifacts=Artifacts(bus.connection),
            uploads=Uploads(config.state_dir / "uploads"),
            outbox=outbox,
            trust_root=bytes.fromhex(bus.facts.trust_root),
            ticket_key=read_ticket_key(config.credentials_dir),
            licence_policy=policy,
            now=lambda: datetime.now(UTC),
        )
        endpoints = service.endpoints()
        await outbox.open()
        async with bus.serve("catalog", endpoints, version=VERSION):
            await stop.wait()


if __name__ == "__main__":
    lifecycle.run(main)
