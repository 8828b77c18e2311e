# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is secret is told to its members, until it is everybody's.

Lists and events of others, publications of the same, mistakes of members, subjects, and the day on
which an embargo is lifted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NotPermittedError
from shared.contracts.base import ARTIFACTS, EVENTS, Endpoint, Request
from shared.contracts.catalog import (
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    GetPackage,
    ListPackages,
    PublishPackage,
)
from shared.contracts.ratings import (
    LIST_RATINGS,
    ListRatings,
)
from shared.contracts.reviews import (
    GET_REVIEW,
    LIST_OWNERS,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    SET_OWNERS,
    GetReview,
    ListOwners,
    PromotePackage,
    ReviewPackage,
    SetOwners,
)
from shared.contracts.search import FIND_SHARING, SEARCH_PACKAGES, FindSharing, SearchPackages
from shared.contracts.spaces import (
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    GetSpace,
    LiftSpace,
    ListSpaces,
)
from shared.contracts.storage import EVENT_STREAM, kv_stream, kv_subject
from shared.contracts.trust import GET_TRUST, GetTrust
from shared.contracts.waivers import (
    LIST_WAIVERS,
    ListWaivers,
)
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.package_builders import a_certificate, sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, a_stage
from tests.support.differences import without
from tests.support.secret_questions import VERSION
from tests.support.secret_world import HIDDEN, QUIET, SECONDS, World, a_world, make_secret


@pytest.fixture
async def world(buses: Buses, tmp_path: Path) -> AsyncIterator[World]:
    """A catalog with a secret in it."""
    async with a_world(buses, tmp_path) as world:
        yield world


async def test_nothing_that_is_told_to_everybody_changes(buses: Buses, tmp_path: Path) -> None:
    """While the secret is made, worked on and got wrong: lists stay the same, and nobody hears."""
    views: list[tuple[Endpoint[Any, Any], Request]] = [
        (LIST_PACKAGES, ListPackages()),
        (LIST_PACKAGES, ListPackages(after="a")),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, withdrawn=True)),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, limit=1, sort="newest")),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, limit=1)),
        (GET_PACKAGE, GetPackage(name="rate-limit")),
        (FIND_SHARING, FindSharing(name="rate-limit")),
        (LIST_RATINGS, ListRatings(name="rate-limit")),
        (LIST_OWNERS, ListOwners()),
        (LIST_WAIVERS, ListWaivers(ended=True)),
        (LIST_SPACES, ListSpaces(lifted=True)),
        (GET_TRUST, GetTrust()),
    ]
    async with a_stage(buses, tmp_path / "state") as stage:
        eve = await buses.open("administrator", "eve")
        for version in ("1.0.0", "1.1.0"):
            await stage.publish(a_built_package(version=version))
        await stage.until(lambda: len(stage.events) >= 2)

        async def seen() -> list[bytes]:
            return [
                (
                    await eve.connection.ask(
                        endpoint.subject, msgspec.json.encode(request), timeout_seconds=SECONDS
                    )
                ).data
                for endpoint, request in views
            ]

        before = await seen()
        await make_secret(stage, await buses.open("administrator", "ada"))
        after = await seen()
        marker = SetOwners(packages="mine", owners=("eve",))
        await eve.request(SET_OWNERS, marker)
        await stage.until(lambda: len(stage.events) >= 3)

        assert after == before
        assert [(one.data.action, one.sequence) for one in stage.events] == [
            ("package.publish", 1),
            ("package.publish", 2),
            ("owners.set", 3),
        ]


async def test_what_is_secret_can_be_published_by_anybody(world: World) -> None:
    """The same name and version in `public` are accepted as any others, with the same words."""
    replies = []
    for kind in (world.hidden, world.missing):
        manifest = msgspec.structs.replace(BUILT.manifest, name=kind.package, version=VERSION)
        signed = sign(manifest, archive=BUILT.archive, certificate=a_certificate(publisher="eve"))
        await upload(world.eve, BUILT.archive)
        published = await world.eve.request(PUBLISH_PACKAGE, PublishPackage(signed=signed))
        names = {
            kind.package: "<package>",
            published.command_id: "<id>",
            published.manifest_sha256: "<manifest>",
        }
        replies.append(without(msgspec.json.encode(published).decode(), names))

    assert replies[0] == replies[1]
    mine = await world.eve.request(GET_PACKAGE, GetPackage(name=HIDDEN))
    theirs = await world.ada.request(GET_PACKAGE, GetPackage(name=HIDDEN, space=world.hidden.space))
    assert (mine.package.space, mine.versions) == ("public", (VERSION,))
    assert theirs.package.published_by != mine.package.published_by


async def test_what_a_member_mistypes_is_heard_by_nobody(world: World) -> None:
    """A command that cannot be read is told with its place and rule, and not with what stood there.

    So is a command id that was used before, to the space of the command that used it.
    """
    mistyped = b'{"name": "Hidden-A", "version": "1.0.0", "to": "Hidden"}'
    answer = await world.ada.connection.ask(
        PROMOTE_PACKAGE.subject, mistyped, timeout_seconds=SECONDS
    )
    again = ReviewPackage(
        name=HIDDEN, version=VERSION, space=world.hidden.space, command_id="hidden-command"
    )
    with pytest.raises(RefusedError):
        await world.ada.request(REVIEW_PACKAGE, again)
    with pytest.raises(RefusedError) as reused:
        await world.ada.request(
            REVIEW_PACKAGE, msgspec.structs.replace(again, reason="another one")
        )
    marker = SetOwners(packages="mine", owners=("eve",))
    await world.eve.request(SET_OWNERS, marker)
    await world.stage.until(lambda: len(world.stage.events) >= 2)

    assert b"Hidden-A" in answer.data
    assert "was used for another request" in reused.value.message
    told = [msgspec.json.encode(one).decode().lower() for one in world.stage.events]
    assert [one.data.action for one in world.stage.events] == ["package.promote", "owners.set"]
    assert [one.path for one in world.stage.events[0].data.reasons] == ["name", "to"]
    assert "hidden" not in told[0]


async def test_no_subject_tells_what_is_stored(world: World) -> None:
    """Keys, objects and events of the secret are refused as any others, whatever is behind them."""
    kinds = (world.hidden, world.missing)
    refused = []
    for kind in kinds:
        key = kv_subject("catalog", f"{kind.space}.{kind.package}")
        asked = (
            key,
            f"$JS.API.DIRECT.GET.{kv_stream('catalog')}.{key}",
            f"$JS.API.DIRECT.GET.{kv_stream('spaces')}.{kv_subject('spaces', kind.space)}",
            f"$JS.API.DIRECT.GET.{EVENT_STREAM}.{EVENTS}.{kind.space}.catalog.package.publish",
            f"$JS.API.STREAM.INFO.{EVENT_STREAM}",
            f"{ARTIFACTS}.{kind.archive}.0",
            f"{EVENTS}.{kind.space}.catalog.package.publish",
        )
        messages = []
        for subject in asked:
            with pytest.raises(NotPermittedError) as caught:
                await world.eve.connection.ask(subject, b"", timeout_seconds=SECONDS)
            messages.append(without(caught.value.message, kind.names))
        for subject in (key, asked[-1], f"{EVENTS}.{kind.space}.>"):
            with pytest.raises(NotPermittedError) as heard:
                await _listen(world.eve, subject)
            messages.append(without(heard.value.message, kind.names))
        refused.append(messages)

    assert refused[0] == refused[1]


async def test_once_it_is_lifted_everybody_sees_it_with_its_history(world: World) -> None:
    """The version, its standing, its owners and its waiver, and from now on its events."""
    await world.ada.request(LIFT_SPACE, LiftSpace(space=world.hidden.space, reason="today"))

    shown = await world.eve.request(GET_PACKAGE, GetPackage(name=HIDDEN))
    standing = await world.eve.request(GET_REVIEW, GetReview(name=HIDDEN))
    owners = await world.eve.request(LIST_OWNERS, ListOwners(package=HIDDEN))
    waivers = await world.eve.request(LIST_WAIVERS, ListWaivers(package=HIDDEN))
    space = await world.eve.request(GET_SPACE, GetSpace(space=world.hidden.space))
    await world.stage.publisher.request(
        PROMOTE_PACKAGE, PromotePackage(name=HIDDEN, version=VERSION, to="stable")
    )
    await world.stage.until(
        lambda: any(one.data.action == "package.promote" for one in world.stage.events)
    )

    assert shown.package.space == world.hidden.space
    assert [one.name for one in standing.lifecycle.submitted] == ["acme"]
    assert [one.owners for one in owners.rules] == [("bob",)]
    assert [one.state for one in waivers.waivers] == ["granted"]
    assert [one.name for one in space.packages] == [HIDDEN, QUIET]
    assert space.view.is_open
    actions = [one.data.action for one in world.stage.events]
    assert actions[0] == "space.lift"
    listed = await world.eve.request(LIST_PACKAGES, ListPackages())
    assert [(one.versions, one.restricted) for one in listed.packages] == [((VERSION,), {})] * 2


async def _listen(bus: Bus, subject: str) -> None:
    async def ignored(_subject: str, _data: bytes) -> None:
        await asyncio.sleep(0)

    await bus.subscribe(subject, ignored)
