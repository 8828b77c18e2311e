# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An installation with a catalog and a publisher who works at the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.bus import Bus, connect
from shared.adapters.provisioning import provision
from shared.dsse import public_key_of
from tests.package_builders import PUBLISHER_SEED, TRUST_SEED
from tests.support.catalog_process import CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer


@dataclass(frozen=True)
class PublishersDesk:
    """Where the commands are run, as a publisher."""

    catalog: CatalogProcess
    credentials: Path
    folder: Path
    trust_root: str
    bus: Bus
    """The publisher's own."""

    async def l3af(self, *words: str) -> Answer:
        """Run one command."""
        return await run_l3af(*words, credentials=self.credentials, folder=self.folder)


@asynccontextmanager
async def publishers_desk(
    place: Path,
    *,
    name: str = "acme",
    seed: bytes = PUBLISHER_SEED,
    trust_seed: bytes = TRUST_SEED,
) -> AsyncIterator[PublishersDesk]:
    """An installation of its own below `place`, with its own trust root."""
    server = OperatorModeServer(place / "nats")
    server.start()
    catalog = CatalogProcess(server, place / "state", trust_seed=trust_seed)
    try:
        async with connect(server.credentials("provisioner")) as provisioner:
            await provision(provisioner.connection)
        credentials = server.credentials("publisher", name)
        write_publisher(credentials, name=name, seed=seed, trust_seed=trust_seed)
        folder = place / "desk"
        folder.mkdir()
        async with connect(credentials) as bus:
            await catalog.start(bus)
            root = public_key_of(trust_seed).hex()
            yield PublishersDesk(catalog, credentials, folder, root, bus)
    finally:
        catalog.kill()
        server.stop()
