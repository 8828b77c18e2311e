# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waivers on a real bus: two principals, one clock, and every end said once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from cli.package_build import BuiltPackage
from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.package_index import PackageIndex
from services.catalog.adapters.packages import Packages
from services.catalog.adapters.waivers import Waivers
from shared.adapters.bus import Bus
from shared.adapters.outbox import Outbox
from shared.adapters.spaces import KnownSpaces
from shared.contracts.catalog import GET_PACKAGE, GetPackage
from shared.contracts.events import Event
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.package_records import CATALOG, StoredPackage
from shared.contracts.waivers import (
    GRANT_WAIVER,
    LIST_WAIVERS,
    REQUEST_WAIVER,
    REVOKE_WAIVER,
    GrantWaiver,
    ListWaivers,
    RequestWaiver,
    RevokeWaiver,
    WaiverScope,
)
from shared.errors import RefusedError
from shared.moments import render_time
from tests.integration.conftest import Buses
from tests.package_builders import a_version
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import a_stage
from tests.support.event_stream import stored_events

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCOPE = WaiverScope(rule="policy-groups", package="one", versions="^1")


class Desk:
    """A catalog's waivers at a time of the test's choosing, and two who deal with them."""

    def __init__(self, catalog: Bus, publisher: Bus, approver: Bus, auditor: Bus) -> None:
        self.now = START
        self.catalog, self.publisher, self.approver = catalog, publisher, approver
        self._auditor = auditor
        self.waivers = self.restarted()

    def restarted(self) -> Waivers:
        """What a new process of the catalog has."""
        self.outbox = Outbox(self.catalog, "catalog", now=lambda: self.now)
        artifacts = Artifacts(self.catalog.connection, folder=Path())
        known = KnownSpaces(self.catalog, now=lambda: self.now)
        packages = Packages(self.catalog, PackageIndex(self.catalog), artifacts, spaces=known)
        return Waivers(self.catalog, packages, self.outbox, spaces=known, now=lambda: self.now)

    async def request(self, days: float = 40, scope: WaiverScope = SCOPE) -> str:
        """The publisher asks; the waiver's id."""
        command = RequestWaiver(
            scope=scope, expires_at=render_time(self.now + timedelta(days=days)), reason="a test"
        )
        return (await self.publisher.request(REQUEST_WAIVER, command)).waiver

    async def grant(self, waiver: str, by: Bus | None = None) -> None:
        """Somebody grants it."""
        await (by or self.approver).request(GRANT_WAIVER, GrantWaiver(waiver=waiver))

    async def events(self) -> list[Event]:
        """Those that were not read before."""
        return await stored_events(self._auditor)

    async def publish_excused(self, waiver: str) -> None:
        """Version 1.0.0 of `one` is in the catalog by the grace of the waiver."""
        finding = LicenceFinding(rule="policy-groups", outcome="refused", waiver=waiver)
        verdict = LicenceVerdict(
            policy="p", policy_version="1.0.0", outcome="noted", findings=(finding,)
        )
        version = msgspec.structs.replace(a_version(), licences=verdict)
        stored = StoredPackage(name="one", versions=(version, a_version("1.1.0")))
        await self.catalog.bucket(CATALOG).put("one", stored)

    async def look(self, *, days: float) -> list[tuple[str, str]]:
        """What is said when it is looked twice, by two processes, so long after the start."""
        self.now = START + timedelta(days=days)
        await self.waivers.say_due()
        again = self.restarted()
        await self.outbox.open()
        await again.say_due()
        return [(event.data.action, event.data.version) for event in await self.events()]


@pytest.fixture
async def desk(buses: Buses) -> AsyncIterator[Desk]:
    """Served, with nothing requested."""
    async with AsyncExitStack() as stack:
        desk = Desk(
            await buses.open("service-catalog"),
            await buses.open("publisher", "alice"),
            await buses.open("approver", "bob"),
            await buses.open("service-auditor"),
        )
        await desk.outbox.open()
        endpoints = desk.waivers.endpoints()
        await stack.enter_async_context(desk.catalog.serve("catalog", endpoints, version="1.0.0"))
        yield desk


async def test_a_waiver_needs_two_principals(desk: Desk, buses: Buses) -> None:
    """Neither the requester's role nor the requester's name under another role will do."""
    waiver = await desk.request()
    alice = await buses.open("approver", "alice")

    with pytest.raises(RefusedError) as own:
        await desk.grant(waiver, by=alice)
    with pytest.raises(RefusedError) as role:
        await desk.grant(waiver, by=desk.publisher)
    await desk.grant(waiver)

    codes = [own.value.refusal_code, role.value.refusal_code]
    assert codes == ["not_permitted", "not_permitted"]
    assert "who requested a waiver cannot grant it" in own.value.message
    (view,) = (await desk.publisher.request(LIST_WAIVERS, ListWaivers())).waivers
    assert (view.state, view.waiver.granted_role) == ("granted", "approver")
    assert [one.id for one in await desk.waivers.in_force()] == [waiver]
    events = await desk.events()
    assert [(one.data.action, one.data.outcome) for one in events] == [
        ("waiver.request", "accepted"),
        ("waiver.grant", "refused"),
        ("waiver.grant", "accepted"),
    ]
    assert events[-1].data.details["scope"]["rule"] == "policy-groups"


async def test_every_end_is_said_once(desk: Desk) -> None:
    """Warned of 30, 7 and 1 days before; at the end, every version that needs another is named."""
    waiver = await desk.request()
    await desk.grant(waiver)
    await desk.publish_excused(waiver)
    await desk.events()

    assert await desk.look(days=9.9) == []
    assert await desk.look(days=10) == [("waiver.warn", "")]
    assert await desk.look(days=33) == [("waiver.warn", "")]
    assert await desk.look(days=39.5) == [("waiver.warn", "")]
    assert await desk.look(days=40) == [("waiver.end", ""), ("licence.violate", "1.0.0")]
    assert await desk.look(days=90) == []
    assert await desk.waivers.in_force() == ()


async def test_another_waiver_takes_the_place_of_one_that_ends(desk: Desk) -> None:
    """What it covers violates nothing; a revoked waiver ends at once."""
    first, second = await desk.request(), await desk.request(days=50)
    await desk.grant(first)
    await desk.grant(second)
    await desk.publish_excused(first)
    await desk.approver.request(REVOKE_WAIVER, RevokeWaiver(waiver=first, reason="a mistake"))
    await desk.events()

    said = await desk.look(days=1)
    with pytest.raises(RefusedError) as again:
        await desk.grant(first)

    assert said == [("waiver.end", "")]
    assert again.value.refusal_code == "conflict"
    listed = await desk.publisher.request(LIST_WAIVERS, ListWaivers(ended=True))
    assert [one.state for one in listed.waivers] == ["revoked", "granted"]


async def test_a_publication_uses_a_waiver_and_says_so(buses: Buses, tmp_path: Path) -> None:
    """Another expression is refused, and accepted once somebody granted a waiver for it."""
    drifted = a_built_package(version="2.0.0")
    manifest = msgspec.structs.replace(
        drifted.manifest, licence=f"{drifted.manifest.licence} OR MIT"
    )
    changed = BuiltPackage(manifest=manifest, archive=drifted.archive, elf=drifted.elf)
    async with a_stage(buses, tmp_path / "state") as stage:
        await stage.publish()
        refusal = await stage.refused(built=changed)
        asked = await stage.publisher.request(
            REQUEST_WAIVER,
            RequestWaiver(
                scope=WaiverScope(rule="licence-drift", package="rate-limit", versions="=2.0.0"),
                expires_at=render_time(datetime.now(UTC) + timedelta(days=3)),
                reason="MIT was added",
            ),
        )
        approver = await buses.open("approver", "bob")
        await approver.request(GRANT_WAIVER, GrantWaiver(waiver=asked.waiver))
        await stage.publish(changed)
        shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name="rate-limit"))
        await stage.until(lambda: any(one.data.action == "waiver.use" for one in stage.events))

    assert [one.path for one in refusal.reasons] == ["manifest.licence"]
    verdict = shown.package.licences
    assert verdict is not None
    assert {one.rule for one in verdict.findings if one.waiver} == {"licence-drift"}
    (use,) = [one.data for one in stage.events if one.data.action == "waiver.use"]
    assert (use.version, use.details["waiver"]) == ("2.0.0", asked.waiver)
