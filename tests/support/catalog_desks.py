# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An installation with a catalog and a publisher who works at the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.package_build import BuiltPackage
from cli.package_publish import load_publisher, upload
from shared.adapters.bus import connect
from shared.adapters.provisioning import provision
from shared.contracts.catalog import (
    GET_PACKAGE,
    PUBLISH_PACKAGE,
    GetPackage,
    PackageVersion,
    PublishPackage,
)
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
    key: str
    """The publisher's, on the bus."""

    async def l3af(self, *words: str) -> Answer:
        """Run one command."""
        return await run_l3af(*words, credentials=self.credentials, folder=self.folder)

    async def version(self, name: str = "rate-limit", version: str = "1.0.0") -> PackageVersion:
        """As the catalog shows it."""
        async with connect(self.credentials) as bus:
            wanted = GetPackage(name=name, version=version)
            return (await bus.request(GET_PACKAGE, wanted)).package

    async def publish(self, built: BuiltPackage, *channels: str) -> None:
        """The package is in the catalog, signed by the publisher."""
        signed = load_publisher(self.credentials).sign(built)
        async with connect(self.credentials) as bus:
            await upload(bus, built.archive)
            await bus.request(PUBLISH_PACKAGE, PublishPackage(signed=signed, channels=channels))

    async def start_catalog(self) -> None:
        """It answers again."""
        async with connect(self.credentials) as bus:
            await self.catalog.start(bus)


@contextmanager
def publishers_desk(
    place: Path,
    *,
    name: str = "acme",
    seed: bytes = PUBLISHER_SEED,
    trust_seed: bytes = TRUST_SEED,
) -> Iterator[PublishersDesk]:
    """An installation of its own below `place`, with its own trust root; for fixtures."""
    server = OperatorModeServer(place / "nats")
    server.start()
    catalog = CatalogProcess(server, place / "state", trust_seed=trust_seed)
    credentials = server.credentials("publisher", name)
    write_publisher(credentials, name=name, seed=seed, trust_seed=trust_seed)
    desk = PublishersDesk(
        catalog,
        credentials,
        place / "desk",
        public_key_of(trust_seed).hex(),
        server.key_of("publisher", name),
    )
    desk.folder.mkdir()
    try:
        asyncio.run(_open(desk, server.credentials("provisioner")))
        yield desk
    finally:
        catalog.kill()
        server.stop()


async def _open(desk: PublishersDesk, provisioner: Path) -> None:
    async with connect(provisioner) as bus:
        await provision(bus.connection)
    await desk.start_catalog()
