# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions in a space through a real catalog: resolved, reviewed, released and revoked there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.contracts.catalog import (
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARCHIVE,
    RESOLVE_PACKAGE,
    ListPackages,
    PackagePublished,
    PublishPackage,
    ReadArchive,
    ResolvePackage,
)
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    FIND_REVOKED,
    PROMOTE_PACKAGE,
    REVOKE_PACKAGE,
    SET_OWNERS,
    SUBMIT_PACKAGE,
    ApprovePackage,
    FindRevoked,
    PromotePackage,
    RevokePackage,
    SetOwners,
    SubmitPackage,
)
from shared.contracts.spaces import CREATE_SPACE, UPDATE_SPACE, CreateSpace, UpdateSpace
from shared.errors import RefusedError
from shared.moments import render_time
from tests.integration.conftest import Buses
from tests.package_builders import sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import Stage, a_stage
from tests.support.event_stream import stored_events

NAME: Final = "rate-limit"


class Desk:
    """A catalog, ada who makes spaces, acme who publishes in them, and eve who sees none."""

    def __init__(self, stage: Stage, ada: Bus, eve: Bus, scheduler: Bus) -> None:
        self.stage, self.ada, self.eve, self._scheduler = stage, ada, eve, scheduler

    async def space(self, *members: str, **fields: Any) -> str:
        """A new embargo of ada and acme, and whoever else."""
        request = CreateSpace(kind="embargo", members=("acme", *members), **fields)
        return (await self.ada.request(CREATE_SPACE, request)).space

    async def publish(
        self, version: str, space: str = "public", *, channel: str = "stable"
    ) -> PackagePublished:
        """By acme."""
        built = a_built_package(version=version)
        await upload(self.stage.publisher, built.archive)
        signed = sign(built.manifest, archive=built.archive)
        request = PublishPackage(signed=signed, space=space, channels=(channel,))
        return await self.stage.publisher.request(PUBLISH_PACKAGE, request)

    async def resolved(self, constraint: str, space: str = "public") -> tuple[str, str]:
        """Version and space, as the scheduler is told."""
        request = ResolvePackage(name=NAME, constraint=constraint, space=space)
        found = await self._scheduler.request(RESOLVE_PACKAGE, request)
        return found.package.version, found.package.space

    async def revoked(self) -> list[tuple[str, str]]:
        """Version and space of what must not run."""
        found = await self._scheduler.request(FIND_REVOKED, FindRevoked(packages=(NAME,)))
        return [(one.version, one.space) for one in found.revoked]

    async def is_seen_by_eve(self) -> bool:
        """Whether there is such a package, as far as she is told."""
        found = await self.eve.request(LIST_PACKAGES, ListPackages(name=NAME))
        return bool(found.packages)


@pytest.fixture
async def desk(buses: Buses, tmp_path: Path) -> AsyncIterator[Desk]:
    """`guarded` demands an approval; nothing is published."""
    settings = {"CATALOG_APPROVALS": "guarded=1"}
    async with a_stage(buses, tmp_path / "state", settings=settings) as stage:
        ada = await buses.open("administrator", "ada")
        eve = await buses.open("administrator", "eve")
        yield Desk(stage, ada, eve, await buses.open("service-scheduler"))


async def test_in_a_space_its_own_version_is_meant(desk: Desk) -> None:
    """Then what everybody sees; in `public`, nothing of a space that is not lifted."""
    space = await desk.space()
    await desk.publish("1.0.0")
    await desk.publish("1.0.0", space)
    await desk.publish("1.1.0", space)
    await desk.publish("1.2.0")

    assert await desk.resolved("1.0.0", space) == ("1.0.0", space)
    assert await desk.resolved("1.0.0") == ("1.0.0", "public")
    assert await desk.resolved("~1.1", space) == ("1.1.0", space)
    assert await desk.resolved("*", space) == ("1.2.0", "public")
    with pytest.raises(RefusedError):
        await desk.resolved("~1.1")


async def test_whom_an_archive_of_a_space_is_given_to_its_members_know(
    desk: Desk, buses: Buses
) -> None:
    """What is everybody's is told to everybody; the space's own version to the space alone."""
    space = await desk.space()
    await desk.publish("1.0.0")
    await desk.publish("1.1.0", space)
    known, secret = [ReadArchive(name=NAME, version=one) for one in ("1.0.0", "1.1.0")]
    for wanted in (known, secret):
        await desk.stage.publisher.request(READ_ARCHIVE, wanted)
    with pytest.raises(RefusedError):
        await desk.eve.request(READ_ARCHIVE, secret)

    events = await stored_events(await buses.open("service-auditor"))

    told = [(one.data.version, one.audience) for one in events if one.data.action == DISTRIBUTE]
    assert told == [("1.0.0", "public"), ("1.1.0", space)]


async def test_the_first_release_lifts_an_embargo(desk: Desk) -> None:
    """A promotion to the channel that was named; a publication to it is refused by name."""
    space = await desk.space(lifts_on_release="stable")
    with pytest.raises(RefusedError) as at_once:
        await desk.publish("1.0.0", space)
    await desk.publish("1.0.0", space, channel="candidate")
    before = await desk.is_seen_by_eve()

    await desk.stage.publisher.request(
        PROMOTE_PACKAGE, PromotePackage(name=NAME, version="1.0.0", to="stable")
    )
    await desk.stage.until(
        lambda: any(one.data.action == "space.lift" for one in desk.stage.events)
    )

    assert [one.path for one in at_once.value.reasons] == ["channels"]
    assert (before, await desk.is_seen_by_eve()) == (False, True)
    assert [one.data.action for one in desk.stage.events] == ["space.lift"]
    with pytest.raises(RefusedError) as late:
        await desk.publish("1.1.0", space, channel="candidate")
    assert late.value.refusal_code == "conflict"


async def test_an_embargo_is_lifted_by_the_clock(desk: Desk) -> None:
    """Everybody is told at the moment, though nobody asks for anything and no round is due."""
    space = await desk.space()
    await desk.publish("1.0.0", space)
    before = await desk.is_seen_by_eve()
    moment = datetime.now(UTC) + timedelta(seconds=2)
    update = UpdateSpace(space=space, lifts_at=moment.isoformat())
    await desk.ada.request(UPDATE_SPACE, update)

    await desk.stage.until(lambda: bool(desk.stage.events))
    (event,) = desk.stage.events

    assert (before, await desk.is_seen_by_eve()) == (False, True)
    assert (event.data.action, event.data.outcome) == ("space.lift", "observed")
    assert event.data.details["lifted_at"] == render_time(moment)


async def test_code_owners_of_a_space_approve_there(desk: Desk, buses: Buses) -> None:
    """Those who see it; an owner by the public table who does not finds no such package."""
    space = await desk.space("bob")
    for owner, where in (("bob", space), ("eva", "public")):
        rule = SetOwners(packages="*", owners=(owner,), space=where)
        await desk.ada.request(SET_OWNERS, rule)
    published = await desk.publish("1.0.0", space, channel="dev")
    submit = SubmitPackage(name=NAME, version="1.0.0", channel="guarded")
    await desk.stage.publisher.request(SUBMIT_PACKAGE, submit)
    approval = ApprovePackage(name=NAME, version="1.0.0", manifest_sha256=published.manifest_sha256)
    eva = await buses.open("code-owner", "eva")
    bob = await buses.open("code-owner", "bob")

    with pytest.raises(RefusedError) as stranger:
        await eva.request(APPROVE_PACKAGE, approval)
    moved = await bob.request(APPROVE_PACKAGE, approval)

    assert stranger.value.refusal_code == "not_found"
    assert (moved.state, moved.approvals, moved.space) == ("approved", ("bob",), space)


async def test_what_is_revoked_in_a_space_is_revoked_there(desk: Desk) -> None:
    """The scheduler hears where; the public version of the same number goes on."""
    space = await desk.space()
    await desk.publish("1.0.0")
    await desk.publish("1.0.0", space)

    await desk.ada.request(
        REVOKE_PACKAGE, RevokePackage(name=NAME, version="1.0.0", space=space, reason="bad")
    )

    assert await desk.revoked() == [("1.0.0", space)]
    assert await desk.resolved("1.0.0") == ("1.0.0", "public")
    assert await desk.is_seen_by_eve()
