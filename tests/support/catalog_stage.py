# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A catalog process on a bus, a publisher who talks to it, and an ear on its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
import pytest

from cli.package_build import BuiltPackage
from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.contracts.base import EVENTS
from shared.contracts.catalog import (
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARTIFACT,
    RESOLVE_PACKAGE,
    ListPackages,
    PackagePublished,
    PackageResolved,
    PublishPackage,
    ReadArtifact,
    ResolvePackage,
    SignedPackage,
)
from shared.contracts.events import PUBLIC, Event
from shared.contracts.permissions import Role
from shared.errors import RefusedError
from tests.package_builders import sign
from tests.support.catalog_process import CatalogProcess, a_built_package
from tests.support.operator_mode import OperatorModeServer

DEADLINE_SECONDS = 60.0
BUILT = a_built_package()


class OpensBuses(Protocol):
    """Makes connections of any role."""

    server: OperatorModeServer

    async def open(self, role: Role, name: str | None = None) -> Bus:
        """A bus of a user of that role."""


class Stage:
    """A running catalog, a publisher who talks to it, and what the event stream says."""

    def __init__(self, catalog: CatalogProcess, buses: OpensBuses, publisher: Bus) -> None:
        self.catalog = catalog
        self.buses = buses
        self.publisher = publisher
        self.events: list[Event] = []

    async def publish(
        self,
        built: BuiltPackage = BUILT,
        *,
        signed: SignedPackage | None = None,
        command_id: str = "",
    ) -> PackagePublished:
        """Upload and publish."""
        await upload(self.publisher, built.archive)
        command = PublishPackage(
            signed=signed or sign(built.manifest, archive=built.archive),
            command_id=command_id,
            reason="a test",
        )
        return await self.publisher.request(PUBLISH_PACKAGE, command)

    async def refused(self, **arguments: Any) -> RefusedError:
        """Why a publication is refused; nothing is published by it."""
        before = await self.publisher.request(LIST_PACKAGES, ListPackages())
        with pytest.raises(RefusedError) as caught:
            await self.publish(**arguments)
        assert await self.publisher.request(LIST_PACKAGES, ListPackages()) == before
        return caught.value

    async def resolve(self, constraint: str = "*") -> PackageResolved:
        """As the scheduler asks."""
        scheduler = await self.buses.open("service-scheduler")
        question = ResolvePackage(name="rate-limit", constraint=constraint)
        return await scheduler.request(RESOLVE_PACKAGE, question)

    async def read(self, node: Bus, digest: str, *, ticket: str = "") -> bytes:
        """A whole archive, as a node reads it."""
        data = b""
        while True:
            chunk = await node.request(
                READ_ARTIFACT.at(node=node.name),
                ReadArtifact(sha256=digest, offset_bytes=len(data), ticket=ticket),
            )
            data += chunk.data
            if len(data) == chunk.size_bytes:
                return data

    async def until(self, condition: Callable[[], bool]) -> None:
        """The events say it."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def a_stage(
    buses: OpensBuses,
    state_dir: Path,
    *,
    licence_policy: str = "gpl-ok",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Stage]:
    """A catalog that answers for the length of the block."""
    catalog = CatalogProcess(
        buses.server, state_dir, licence_policy=licence_policy, settings=settings
    )
    publisher = await buses.open("publisher", "acme")
    stage = Stage(catalog, buses, publisher)

    async def note(_subject: str, data: bytes) -> None:
        stage.events.append(msgspec.json.decode(data, type=Event))

    await publisher.subscribe(f"{EVENTS}.{PUBLIC}.>", note)
    try:
        await catalog.start(publisher)
        yield stage
    finally:
        catalog.kill()
