# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An installation with a secret in it, those who know it, and Eve, who may do everything else."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from cli.package_publish import upload
from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus
from shared.canonical import sha256_hex
from shared.contracts.base import Command, Endpoint, Request
from shared.contracts.catalog import PUBLISH_PACKAGE, PublishPackage, SignedPackage
from shared.contracts.events import Event
from shared.contracts.ratings import RATE_PACKAGE, REMOVE_RATING, RatePackage, RemoveRating
from shared.contracts.reviews import (
    PROMOTE_PACKAGE,
    SET_OWNERS,
    SUBMIT_PACKAGE,
    PromotePackage,
    SetOwners,
    SubmitPackage,
)
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.contracts.spaces import CREATE_SPACE, UPDATE_SPACE, CreateSpace, UpdateSpace
from shared.contracts.verification import VERIFY_PACKAGE, VerifyPackage
from shared.contracts.waivers import (
    GRANT_WAIVER,
    REQUEST_WAIVER,
    GrantWaiver,
    RequestWaiver,
    WaiverScope,
)
from shared.dsse import manifest_digest
from shared.errors import RefusedError
from tests.fleets import a_spec
from tests.package_builders import sign
from tests.support.auditing import running_auditor
from tests.support.catalog_stage import BUILT, OpensBuses, Stage, a_stage
from tests.support.differences import told, without
from tests.support.scheduler_neighbours import a_test_node, until_running
from tests.support.secret_questions import VERSION, Kind, Row

HIDDEN: Final = "hidden-a"
QUIET: Final = "hidden-z"
MISSING: Final = "absent-a"
SECONDS: Final = 30.0
_LOG_SIZE: Final = re.compile(r'"(?:tree_size|scanned|position|behind)":\d+')
"""How large the log is, how much of it was looked through and where to go on: asking the auditor
changes all three."""
_THIS_MOMENT: Final = re.compile(r'(?<="until":")[^"]+(?=","by":)')
"""Where a licence report ends that was asked for up to now."""


@dataclass
class World:
    """A catalog with a secret in it, a member, and somebody who is none."""

    stage: Stage
    ada: Bus
    eve: Bus
    hidden: Kind
    missing: Kind

    async def answer(self, row: Row, kind: Kind) -> tuple[str, str, float]:
        """What Eve is told, without the names of the kind; the command's id; and seconds."""
        endpoint, make = row
        request = make(kind)
        names = dict(kind.names)
        command_id = ""
        if isinstance(request, Command):
            command_id = secrets.token_hex(16)
            request = msgspec.structs.replace(request, command_id=command_id)
            names[command_id] = "<id>"
        data = msgspec.json.encode(request)
        started = time.perf_counter()
        reply = await self.eve.connection.ask(endpoint.subject, data, timeout_seconds=SECONDS)
        seconds = time.perf_counter() - started
        text = _THIS_MOMENT.sub("<now>", _LOG_SIZE.sub("<size>", reply.data.decode()))
        whole = f"{sorted((reply.headers or {}).items())}\n{text}"
        return without(whole, names), command_id, seconds

    async def said(self, command_id: str, kind: Kind) -> list[str]:
        """The public events that a command of Eve led to, without what is their own."""
        await self.stage.until(lambda: any(self._of(command_id)))
        return [told(one, {**kind.names, command_id: "<id>"}) for one in self._of(command_id)]

    def _of(self, command_id: str) -> Iterator[Event]:
        return (one for one in self.stage.events if one.data.correlation == command_id)


async def make_secret(stage: Stage, ada: Bus) -> Kind:
    """An embargo with everything that the catalog can hold, and a private namespace.

    Members also get wrong what can be got wrong; that is told to members too.
    """
    embargo = CreateSpace(kind="embargo", title="cve", members=("acme",))
    space = (await ada.request(CREATE_SPACE, embargo)).space
    private = CreateSpace(kind="private", namespace="secret-a", members=("acme",))
    namespace = (await ada.request(CREATE_SPACE, private)).space
    archive = BUILT.archive
    await upload(stage.publisher, archive)
    signed = await _published(stage, HIDDEN, space)
    await _published(stage, HIDDEN, namespace)
    await _published(stage, QUIET, space)
    await ada.request(SET_OWNERS, SetOwners(packages="hidden-*", owners=("bob",), space=space))
    scope = WaiverScope(rule="policy-groups", package=HIDDEN, versions="*", space=space)
    asked = RequestWaiver(scope=scope, expires_at="2026-12-31T00:00:00Z", reason="why")
    waiver = (await stage.publisher.request(REQUEST_WAIVER, asked)).waiver
    await ada.request(GRANT_WAIVER, GrantWaiver(waiver=waiver))
    place: dict[str, Any] = {"name": HIDDEN, "version": VERSION, "space": space}
    await ada.request(RATE_PACKAGE, RatePackage(**place, stars=1, text="secret"))
    await stage.publisher.request(SUBMIT_PACKAGE, SubmitPackage(**place, channel="stable"))
    wrong: list[tuple[Endpoint[Any, Any], Request]] = [
        (PROMOTE_PACKAGE, PromotePackage(name=HIDDEN, version="9.9.9", to="stable")),
        (PROMOTE_PACKAGE, PromotePackage(**place, to="candidate")),
        (VERIFY_PACKAGE, VerifyPackage(**place)),
        (VERIFY_PACKAGE, VerifyPackage(name=HIDDEN, version="9.9.9")),
        (RATE_PACKAGE, RatePackage(name=HIDDEN, version="9.9.9", stars=1)),
        (REMOVE_RATING, RemoveRating(**place, author="nobody")),
        (PUBLISH_PACKAGE, PublishPackage(signed=signed, space=space)),
        (GRANT_WAIVER, GrantWaiver(waiver=waiver)),
        (SET_OWNERS, SetOwners(packages="hidden-b", space=space)),
        (UPDATE_SPACE, UpdateSpace(space=space, remove=("nobody",))),
    ]
    for endpoint, request in wrong:
        with pytest.raises(RefusedError):
            await ada.request(endpoint, request)
    digests = sha256_hex(archive), manifest_digest(signed)
    return Kind(HIDDEN, space, *digests, waiver, namespace, QUIET, len(archive))


async def _published(stage: Stage, name: str, space: str) -> SignedPackage:
    """By acme, who has brought the archive."""
    manifest = msgspec.structs.replace(BUILT.manifest, name=name, version=VERSION)
    signed = sign(manifest, archive=BUILT.archive)
    request = PublishPackage(signed=signed, channels=("candidate",), space=space)
    await stage.publisher.request(PUBLISH_PACKAGE, request)
    return signed


@asynccontextmanager
async def a_world(buses: OpensBuses, folder: Path) -> AsyncIterator[World]:
    """A catalog alone, with the secret in it."""
    async with a_stage(buses, folder / "state") as stage:
        ada = await buses.open("administrator", "ada")
        eve = await buses.open("administrator", "eve")
        hidden = await make_secret(stage, ada)
        missing = Kind(
            MISSING,
            "r_" + "0" * 16,
            "0" * 64,
            "1" * 64,
            "w-000000000000",
            "p_absent-a",
            "absent-z",
            hidden.size_bytes,
        )
        yield World(stage, ada, eve, hidden, missing)


@asynccontextmanager
async def a_wide_world(buses: OpensBuses, folder: Path) -> AsyncIterator[World]:
    """With scheduler, auditor and a node too, where the secret runs and everything is recorded."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_auditor(buses.server, folder / "auditor"))
        scheduler = await buses.open("service-scheduler")
        await stack.enter_async_context(scheduling(scheduler, now=lambda: datetime.now(UTC)))
        world = await stack.enter_async_context(a_world(buses, folder))
        await stack.enter_async_context(a_test_node(await buses.open("node", "n1"), "eth0"))
        space = world.hidden.space
        for order, name in enumerate((HIDDEN, QUIET), start=10):
            spec = a_spec(
                name, package=name, version=VERSION, channel="candidate", space=space, order=order
            )
            await world.ada.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=spec))
            await until_running(world.ada, name, space=space)
        yield world
