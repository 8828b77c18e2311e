# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Review and release through a real catalog process: people, channels, and what is taken back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.canonical import sha256_hex
from shared.contracts.base import Endpoint
from shared.contracts.catalog import (
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    ListPackages,
    PublishPackage,
)
from shared.contracts.events import Event
from shared.contracts.lifecycle import Lifecycle
from shared.contracts.package_records import CATALOG
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    DEPRECATE_PACKAGE,
    FIND_REVOKED,
    GET_REVIEW,
    LIST_OWNERS,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    REVOKE_PACKAGE,
    SET_OWNERS,
    SUBMIT_PACKAGE,
    YANK_PACKAGE,
    ApprovePackage,
    DeprecatePackage,
    FindRevoked,
    GetReview,
    ListOwners,
    PackageMoved,
    PromotePackage,
    ReviewPackage,
    RevokePackage,
    SetOwners,
    SubmitPackage,
    YankPackage,
)
from shared.contracts.storage import outbox_bucket
from shared.dsse import manifest_digest
from shared.errors import FaultError, RefusedError
from tests.integration.conftest import Buses
from tests.package_builders import a_certificate, sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, Stage, a_stage

NAME: Final = "rate-limit"
DIGEST: Final = manifest_digest(sign(BUILT.manifest, archive=BUILT.archive))
SETTINGS: Final = {"CATALOG_APPROVALS": "stable=2", "CATALOG_KEPT_VERSIONS": "dev=1"}
PUBLISHERS: Final = 50
DEADLINE_SECONDS: Final = 20.0


class People:
    """Who decides, by what they may do."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def owner(self, name: str) -> Bus:
        """A code owner's connection."""
        return await self.stage.buses.open("code-owner", name)

    async def admin(self) -> Bus:
        """The administrator's."""
        return await self.stage.buses.open("administrator", "root")

    async def own(self, *names: str, packages: str = "rate-*", paths: str = "*") -> None:
        """These own the package's files."""
        request = SetOwners(packages=packages, paths=paths, owners=names)
        await (await self.admin()).request(SET_OWNERS, request)

    async def approve(self, name: str, **changes: Any) -> PackageMoved:
        """This owner approves."""
        fields = {"name": NAME, "version": "1.0.0", "manifest_sha256": DIGEST, **changes}
        return await (await self.owner(name)).request(APPROVE_PACKAGE, ApprovePackage(**fields))

    async def promote(self, to: str = "stable", **changes: Any) -> PackageMoved:
        """The publisher promotes."""
        fields = {"name": NAME, "version": "1.0.0", "to": to, **changes}
        return await self.stage.publisher.request(PROMOTE_PACKAGE, PromotePackage(**fields))

    async def said(self, count: int) -> list[tuple[str, str]]:
        """Action and outcome of all events, once there are so many."""
        await self.stage.until(lambda: len(self._events()) >= count)
        return [(one.data.action, one.data.outcome) for one in self._events()]

    def _events(self) -> list[Event]:
        """Each once: what is said again after a crash has its id, and the stream keeps one."""
        return list({one.id: one for one in self.stage.events}.values())


@pytest.fixture
async def people(buses: Buses, tmp_path: Path) -> AsyncIterator[People]:
    """`stable` demands two approvals; nothing is published."""
    async with a_stage(buses, tmp_path / "state", settings=SETTINGS) as stage:
        yield People(stage)


async def test_a_version_is_released_by_two_owners_and_a_promotion(people: People) -> None:
    """Published is submitted, approved is not released, and every step is one event."""
    stage = people.stage
    await people.own("acme", "alice", "bob")
    published = await stage.publish()
    with pytest.raises(RefusedError) as waits:
        await stage.resolve()
    looked = await (await people.owner("alice")).request(
        REVIEW_PACKAGE, ReviewPackage(name=NAME, version="1.0.0", reason="reading")
    )
    one = await people.approve("alice")
    with pytest.raises(RefusedError) as too_few:
        await people.promote()
    two = await people.approve("bob")
    with pytest.raises(RefusedError):
        await stage.resolve()
    promoted = await people.promote(notes="less is more", tags=("lts",))

    assert (published.submitted, published.awaits) == (("stable",), {})
    assert "waits to be promoted" in waits.value.reasons[0].rule
    assert [looked.state, one.state, two.state] == ["in-review", "in-review", "approved"]
    assert "1 of 2" in too_few.value.reasons[0].rule
    assert too_few.value.reasons[0].allowed == ["bob"]
    assert (promoted.state, promoted.channels) == ("released", ("stable",))
    assert promoted.approvals == ("alice", "bob")
    resolved = await stage.resolve()
    lifecycle = resolved.package.lifecycle
    assert lifecycle is not None
    assert (lifecycle.notes, lifecycle.tags, resolved.warnings) == ("less is more", ("lts",), ())
    assert await people.said(9) == [
        ("owners.set", "accepted"),
        ("package.publish", "accepted"),
        ("package.submit", "accepted"),
        ("package.review", "accepted"),
        ("package.approve", "accepted"),
        ("package.promote", "refused"),
        ("package.approve", "accepted"),
        ("package.promote", "accepted"),
        ("package.release", "succeeded"),
    ]
    assert {event.data.version for event in stage.events[1:]} == {"1.0.0"}


async def test_who_published_does_not_approve(people: People) -> None:
    """Nor does an owner of nothing, nor does another digest count; every reason is named."""
    await people.own("acme", "alice")
    await people.stage.publish()

    with pytest.raises(RefusedError) as own:
        await people.approve("acme")
    with pytest.raises(RefusedError) as stranger:
        await people.approve("eve", manifest_sha256="0" * 64)
    with pytest.raises(RefusedError) as role:
        await people.stage.publisher.request(
            APPROVE_PACKAGE, ApprovePackage(name=NAME, version="1.0.0", manifest_sha256=DIGEST)
        )
    await people.approve("alice")
    with pytest.raises(RefusedError) as twice:
        await people.approve("alice", reason="again")

    assert [one.rule for one in own.value.reasons] == [
        "who published or submitted a version does not approve it"
    ]
    assert [one.path for one in stranger.value.reasons] == ["caller", "manifest_sha256"]
    assert role.value.refusal_code == "not_permitted"
    assert [one.path for one in twice.value.reasons] == ["approvals"]


async def test_what_is_yanked_is_pinned_and_what_is_revoked_is_not(people: People) -> None:
    """A yank hides and can be undone, deprecation warns, revocation forbids and is final."""
    stage = people.stage
    admin = await people.admin()
    await people.own("alice", "bob")
    await stage.publish()
    for name in ("alice", "bob"):
        await people.approve(name)
    await people.promote()

    async def say(endpoint: Endpoint[Any, PackageMoved], command: Any) -> str:
        return (await admin.request(endpoint, command)).state

    yank = YankPackage(name=NAME, version="1.0.0", reason="drops too much")
    assert await say(YANK_PACKAGE, yank) == "released"
    with pytest.raises(RefusedError) as hidden:
        await stage.resolve()
    pinned = await stage.resolve("1.0.0")
    await say(YANK_PACKAGE, msgspec.structs.replace(yank, undo=True))
    shown = await stage.resolve()
    deprecate = DeprecatePackage(name=NAME, version="1.0.0", reason="use 2")
    assert await say(DEPRECATE_PACKAGE, deprecate) == "deprecated"
    warned = await stage.resolve()
    revoke = RevokePackage(name=NAME, version="1.0.0", reason="lets everything through")
    assert await say(REVOKE_PACKAGE, revoke) == "revoked"
    with pytest.raises(RefusedError) as forbidden:
        await stage.resolve("1.0.0")
    with pytest.raises(RefusedError) as final:
        await say(YANK_PACKAGE, msgspec.structs.replace(yank, undo=True))
    with pytest.raises(RefusedError) as silent:
        await say(REVOKE_PACKAGE, msgspec.structs.replace(revoke, reason=" "))
    scheduler = await stage.buses.open("service-scheduler")
    told = await scheduler.request(FIND_REVOKED, FindRevoked(packages=(NAME, "unknown")))

    assert [(one.package, one.version, one.why) for one in told.revoked] == [
        (NAME, "1.0.0", "lets everything through")
    ]
    assert told.revoked[0].archive_sha256 == sha256_hex(BUILT.archive)
    assert "has to be named exactly" in hidden.value.reasons[0].rule
    assert pinned.warnings == ("rate-limit 1.0.0 was yanked: drops too much",)
    assert shown.warnings == ()
    assert warned.warnings == ("rate-limit 1.0.0 is deprecated: use 2",)
    assert "was revoked: lets everything through" in forbidden.value.reasons[0].rule
    assert [one.path for one in final.value.reasons] == ["version"]
    assert [one.path for one in silent.value.reasons] == ["reason", "version"]


async def test_a_channel_keeps_its_newest_and_is_submitted_for(people: People) -> None:
    """An older version in `dev` gives way; what is there is no release, and can be submitted."""
    stage = people.stage
    replies = []
    for built in (BUILT, a_built_package(version="1.0.1")):
        await upload(stage.publisher, built.archive)
        signed = sign(built.manifest, archive=built.archive)
        command = PublishPackage(signed=signed, channels=("dev",))
        replies.append(await stage.publisher.request(PUBLISH_PACKAGE, command))
    published = replies[-1]
    submit = SubmitPackage(name=NAME, version="1.0.1", tags=("next",))
    moved = await stage.publisher.request(SUBMIT_PACKAGE, submit)
    with pytest.raises(RefusedError) as taken:
        await stage.publisher.request(
            SUBMIT_PACKAGE, SubmitPackage(name=NAME, version="1.0.0", tags=("next",))
        )
    first = await stage.publisher.request(GET_REVIEW, GetReview(name=NAME, version="1.0.0"))

    assert set(published.unchanged.values()) == {"1.0.0"}
    assert "linux-x86_64" in published.unchanged
    assert (moved.state, moved.channels, moved.targets) == ("submitted", ("dev",), ("stable",))
    assert len(moved.waits_for) == 1
    assert moved.waits_for[0].startswith("stable: 0 of 2 different code owners have approved it")
    assert [one.path for one in taken.value.reasons] == ["tags"]
    assert first.lifecycle.retired == ("dev",)


async def test_fifty_publishers_of_one_version(buses: Buses, tmp_path: Path) -> None:
    """One wins, and each of the others is told that it is there already."""

    async def publish(number: int) -> str:
        bus = await buses.open("publisher", f"p{number}")
        certificate = a_certificate(publisher=f"p{number}")
        signed = sign(BUILT.manifest, archive=BUILT.archive, certificate=certificate)
        await upload(bus, BUILT.archive)
        try:
            await bus.request(PUBLISH_PACKAGE, PublishPackage(signed=signed), timeout_seconds=60)
        except RefusedError as error:
            return error.refusal_code
        return "published"

    async with a_stage(buses, tmp_path / "state") as stage:
        answers = await asyncio.gather(*(publish(number) for number in range(PUBLISHERS)))
        listed = await stage.publisher.request(LIST_PACKAGES, ListPackages())

    assert sorted(answers) == sorted(["published", *["conflict"] * (PUBLISHERS - 1)])
    assert [one.versions for one in listed.packages] == [("1.0.0",)]


async def _kill_in(people: People, moment: str, command_id: str, asked: asyncio.Task[Any]) -> None:
    """The catalog is gone once the command was recorded, or its change stored, or all is done."""
    reader = await people.stage.buses.open("service-catalog")
    before = await reader.bucket(CATALOG).get(NAME)
    assert before is not None
    while not asked.done():
        if moment == "recorded":
            pending = await reader.bucket(outbox_bucket("catalog")).get(f"pending.{command_id}")
            if pending is not None:
                break
        else:
            stored = await reader.bucket(CATALOG).get(NAME)
            if stored is not None and stored.revision != before.revision:
                break
    people.stage.catalog.kill()


async def _lifecycle(people: People) -> tuple[tuple[str, ...], Lifecycle]:
    request = GetReview(name=NAME, version="1.0.0")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with contextlib.suppress(FaultError):
                found = await people.stage.publisher.request(GET_REVIEW, request)
                return found.channels, found.lifecycle


@pytest.mark.parametrize("moment", ["recorded", "changed"])
async def test_a_killed_catalog_finishes_or_never_began(people: People, moment: str) -> None:
    """In an approval and in a promotion: said once, done once, or as before; and a repeat works."""
    stage = people.stage
    await people.own("alice", "bob")
    await stage.publish()
    await people.approve("bob")
    for step, verb in enumerate(("approve", "promote"), start=1):
        command_id = f"killed-in-{verb}"
        asked: asyncio.Task[Any] = asyncio.create_task(
            people.approve("alice", command_id=command_id)
            if verb == "approve"
            else people.promote(command_id=command_id)
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await _kill_in(people, moment, command_id, asked)
        asked.cancel()
        with contextlib.suppress(FaultError, asyncio.CancelledError):
            await asked
        await stage.catalog.start(stage.publisher)
        channels, lifecycle = await _lifecycle(people)
        assert len(lifecycle.approvals) == 2
        assert len(channels) == step - 1

        if verb == "approve":
            await people.approve("alice", command_id=command_id)
        else:
            await people.promote(command_id=command_id)
        assert (await _lifecycle(people))[1] == lifecycle
    said = await people.said(7)
    assert said.count(("package.approve", "accepted")) == 2
    assert said.count(("package.promote", "accepted")) == 1
    assert said.count(("package.release", "succeeded")) == 1


async def test_the_table_of_owners_is_the_administrators(people: People) -> None:
    """Others read it; a rule is replaced under its globs, and goes when it names nobody."""
    await people.own("alice")
    await people.own("bob", "carol")
    await people.own("dave", paths="src/*")
    alice = await people.owner("alice")
    with pytest.raises(RefusedError) as refused:
        await alice.request(SET_OWNERS, SetOwners(packages="*", owners=("alice",)))
    await people.own(paths="src/*")
    with pytest.raises(RefusedError) as gone:
        await people.own(paths="src/*")
    found = await alice.request(LIST_OWNERS, ListOwners(package=NAME))

    assert refused.value.refusal_code == "not_permitted"
    assert gone.value.refusal_code == "not_found"
    assert [(one.packages, one.owners) for one in found.rules] == [("rate-*", ("bob", "carol"))]
