# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A catalog killed while it takes an upload or publishes: finished afterwards, or as before."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from cli.package_build import BuiltPackage
from cli.package_publish import upload
from services.catalog.version_entries import content_of
from shared.adapters.bus import Bus
from shared.contracts.catalog import (
    CHUNK_BYTES,
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    GetPackage,
    ListPackages,
    PackagePublished,
    PublishPackage,
)
from shared.contracts.package_records import CATALOG
from shared.contracts.reviews import YANK_PACKAGE, YankPackage
from shared.contracts.storage import ARTIFACT_STREAM, outbox_bucket
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.package_builders import sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, Stage, a_stage
from tests.support.earlier_records import earlier_package

NAME: Final = "rate-limit"
COMMAND: Final = "killed-in-publish"
DEADLINE_SECONDS: Final = 20.0


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """A catalog that answers."""
    async with a_stage(buses, tmp_path / "state") as stage:
        yield stage


async def _artifacts(provisioner: Bus) -> int:
    """How many chunks are stored."""
    subject = f"$JS.API.STREAM.INFO.{ARTIFACT_STREAM}"
    answer = await provisioner.connection.ask(subject, b"", timeout_seconds=DEADLINE_SECONDS)
    return int(json.loads(answer.data)["state"]["messages"])


async def _is_recorded(reader: Bus) -> bool:
    pending = await reader.bucket(outbox_bucket("catalog")).get(f"pending.{COMMAND}")
    return pending is not None


async def _killed_when(
    stage: Stage, is_so: Callable[[], Awaitable[bool]], asked: asyncio.Task[object]
) -> None:
    """The catalog is gone as soon as something is so, or what was asked is done; and back."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not asked.done() and not await is_so():
            pass
    stage.catalog.kill()
    asked.cancel()
    with contextlib.suppress(FaultError, asyncio.CancelledError):
        await asked
    await stage.catalog.start(stage.publisher)


@pytest.mark.parametrize("chunks", [1, 4, 8])
async def test_an_upload_goes_on_after_a_kill(stage: Stage, chunks: int) -> None:
    """Killed while an archive is moved into the store, at its first, middle or last chunk."""
    built = a_built_package(padding_bytes=8 * CHUNK_BYTES)
    provisioner = await stage.buses.open("provisioner")

    async def is_so() -> bool:
        return await _artifacts(provisioner) >= chunks

    await _killed_when(stage, is_so, asyncio.create_task(upload(stage.publisher, built.archive)))
    published = await stage.publish(built)

    node = await stage.buses.open("node", "n1")
    ticket = (await stage.resolve()).ticket
    assert await stage.read(node, published.archive_sha256, ticket=ticket) == built.archive


async def _asked(stage: Stage, built: BuiltPackage, command_id: str = "") -> PackagePublished:
    signed = sign(built.manifest, archive=built.archive)
    command = PublishPackage(signed=signed, command_id=command_id)
    return await stage.publisher.request(PUBLISH_PACKAGE, command)


@pytest.mark.parametrize("moment", ["content", "recorded", "changed"])
async def test_a_killed_publication_is_made_or_never_was(stage: Stage, moment: str) -> None:
    """Killed once the content was stored, the command recorded or the record changed.

    What the catalog says afterwards stays so until the command is repeated, which then has the one
    answer, and the one event.
    """
    reader = await stage.buses.open("service-catalog")
    provisioner = await stage.buses.open("provisioner")
    await upload(stage.publisher, BUILT.archive)
    chunks = await _artifacts(provisioner)

    async def is_so() -> bool:
        if moment == "content":
            return await _artifacts(provisioner) > chunks
        if moment == "recorded":
            return await _is_recorded(reader)
        return await reader.bucket(CATALOG).get(NAME) is not None

    await _killed_when(stage, is_so, asyncio.create_task(_asked(stage, BUILT, COMMAND)))
    listed = await stage.publisher.request(LIST_PACKAGES, ListPackages())
    assert [one.versions for one in listed.packages] in ([], [("1.0.0",)])
    assert moment != "changed" or listed.packages

    published = await _asked(stage, BUILT, COMMAND)
    shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name=NAME))

    assert published.command_id == shown.package.command_id == COMMAND
    assert shown.package.manifest == BUILT.manifest
    assert (await stage.resolve()).package.manifest == shown.package.manifest
    assert shown.package.elf == BUILT.elf
    told = {event.id for event in stage.events if event.data.action == "package.publish"}
    assert len(told) == 1


@pytest.mark.parametrize("moment", ["recorded", "changed"])
async def test_a_record_that_becomes_light_under_a_kill_loses_nothing(
    stage: Stage, moment: str
) -> None:
    """One that an earlier release wrote is as before or light, and says the same of the rest."""
    reader = await stage.buses.open("service-catalog")
    root = await stage.buses.open("administrator", "root")
    before = await reader.bucket(CATALOG).put("one", earlier_package())
    yank = YankPackage(name="one", version="1.0.0", command_id=COMMAND, reason="a test")

    async def is_so() -> bool:
        if moment == "recorded":
            return await _is_recorded(reader)
        stored = await reader.bucket(CATALOG).get("one")
        return stored is not None and stored.revision > before

    await _killed_when(stage, is_so, asyncio.create_task(root.request(YANK_PACKAGE, yank)))
    await root.request(YANK_PACKAGE, yank)

    stored = await reader.bucket(CATALOG).get("one")
    assert stored is not None
    assert (stored.value.versions, stored.value.command_id) == ((), COMMAND)
    for version in earlier_package().versions:
        request = GetPackage(name="one", version=version.version)
        shown = (await root.request(GET_PACKAGE, request)).package
        assert content_of(shown) == content_of(version)
        assert (shown == version) == (version.version != "1.0.0")
