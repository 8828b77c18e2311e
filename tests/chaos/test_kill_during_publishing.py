# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog is killed while versions are uploaded, published, approved and promoted."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

import pytest

from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.contracts.base import Command, Endpoint, Message
from shared.contracts.catalog import (
    CHUNK_BYTES,
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    GetPackage,
    ListPackages,
    PublishPackage,
)
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    PROMOTE_PACKAGE,
    SET_OWNERS,
    ApprovePackage,
    PromotePackage,
    SetOwners,
)
from shared.errors import FaultError
from tests.integration.conftest import Buses, buses, nats_server, provisioned
from tests.package_builders import sign
from tests.support.auditing import SEED
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import Stage, a_stage
from tests.support.event_stream import stored_events
from tests.support.labelling import assert_gapless

__all__ = ["buses", "nats_server", "provisioned"]

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
KILLS: Final = int(os.environ.get("L3AF_KILLS", "100" if IS_SOAK else "5"))
LONGEST_LIFE_SECONDS: Final = 0.4
PATIENCE_SECONDS: Final = 60.0
NAME: Final = "rate-limit"
SAID: Final = {
    "package.publish": 1,
    "package.submit": 1,
    "package.approve": 2,
    "package.promote": 1,
    "package.release": 1,
}
"""Events of each version."""
AnswerT = TypeVar("AnswerT")
CommandT = TypeVar("CommandT", bound=Command)
ReplyT = TypeVar("ReplyT", bound=Message)


class People:
    """They ask until they are answered, each command under its own id."""

    def __init__(self, publisher: Bus, *owners: Bus) -> None:
        self._publisher: Final = publisher
        self._owners: Final = owners
        self.released: list[str] = []

    async def release(self, number: int) -> None:
        """One more version is in `stable`, by two approvals."""
        built = a_built_package(version=f"1.{number}.0", padding_bytes=4 * CHUNK_BYTES)
        version, signed = built.manifest.version, sign(built.manifest, archive=built.archive)
        await _insisting(lambda: upload(self._publisher, built.archive))
        publish = PublishPackage(
            signed=signed, channels=("dev", "stable"), command_id=f"publish-{number:06}"
        )
        published = await self._told(self._publisher, PUBLISH_PACKAGE, publish)
        for place, owner in enumerate(self._owners):
            approve = ApprovePackage(
                name=NAME,
                version=version,
                manifest_sha256=published.manifest_sha256,
                command_id=f"approve-{number:06}-{place}",
            )
            await self._told(owner, APPROVE_PACKAGE, approve)
        promote = PromotePackage(
            name=NAME, version=version, to="stable", command_id=f"promote-{number:06}"
        )
        await self._told(self._publisher, PROMOTE_PACKAGE, promote)
        self.released.append(version)

    async def _told(
        self, by: Bus, endpoint: Endpoint[CommandT, ReplyT], command: CommandT
    ) -> ReplyT:
        return await _insisting(lambda: by.request(endpoint, command, timeout_seconds=2.0))


async def _insisting(ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await ask()
            except FaultError:
                await asyncio.sleep(0.02)


@pytest.mark.soak
async def test_what_is_asked_for_is_done_once_whenever_the_catalog_dies(
    buses: Buses, tmp_path: Path
) -> None:
    """Every version ends in `stable` with two approvals; every step is in the stream once."""
    settings = {"CATALOG_APPROVALS": "stable=2"}
    async with a_stage(buses, tmp_path / "state", settings=settings) as stage:
        root = await buses.open("administrator", "root")
        await root.request(SET_OWNERS, SetOwners(packages="*", owners=("alice", "bob")))
        owners = [await buses.open("code-owner", name) for name in ("alice", "bob")]
        people = People(stage.publisher, *owners)

        await _killed_while(stage, people)

        listed = await root.request(LIST_PACKAGES, ListPackages())
        assert set(listed.packages[0].versions) == set(people.released)
        for version in people.released:
            shown = await root.request(GET_PACKAGE, GetPackage(name=NAME, version=version))
            assert shown.package.channels == ("dev", "stable")
            assert shown.package.lifecycle is not None
            assert [one.name for one in shown.package.lifecycle.approvals] == ["alice", "bob"]
        events = await stored_events(await buses.open("service-auditor"))

    assert_gapless(events)
    said = Counter((one.data.action, one.data.version) for one in events if one.data.version)
    assert said == {
        (action, version): times for action, times in SAID.items() for version in people.released
    }


async def _killed_while(stage: Stage, people: People) -> None:
    """Versions are released one after another, until the catalog was killed so many times."""
    chance = random.Random(SEED)
    kills, number = 0, 0
    while kills < KILLS:
        releasing = asyncio.create_task(people.release(number))
        while not releasing.done() and kills < KILLS:
            await asyncio.wait([releasing], timeout=chance.uniform(0, LONGEST_LIFE_SECONDS))
            stage.catalog.kill()
            await stage.catalog.start(stage.publisher)
            kills += 1
        await releasing
        number += 1
