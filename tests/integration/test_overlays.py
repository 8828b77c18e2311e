# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A private fork beside upstream, in a catalog process on a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cli.package_build import BuiltPackage
from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.contracts.catalog import (
    GET_PACKAGE,
    PUBLISH_PACKAGE,
    RESOLVE_PACKAGE,
    GetPackage,
    PublishPackage,
    ResolvePackage,
)
from shared.contracts.events import Event
from shared.contracts.overlays import GET_OVERLAY, GetOverlay, OverlayPackage
from shared.contracts.spaces import CREATE_SPACE, CreateSpace
from shared.errors import RefusedError
from shared.package_archive import describe_files, unpack_archive, write_archive
from tests.integration.conftest import Buses
from tests.package_builders import sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import Stage, a_stage
from tests.support.event_stream import stored_events

NAME = "rate-limit"
SPACE = "p_acme"


def a_version(version: str, patch: bytes = b"") -> BuiltPackage:
    """Of the same package; the patch is one file more."""
    built = a_built_package(version=version)
    files = unpack_archive(built.archive)
    if patch:
        files["patch.bin"] = patch
    manifest = msgspec.structs.replace(built.manifest, files=describe_files(files))
    return BuiltPackage(manifest=manifest, archive=write_archive(files), elf=built.elf)


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """A catalog with a private space whose member publishes, and 1.4.2 of a public package."""
    async with a_stage(buses, tmp_path / "catalog") as stage:
        await publish(stage, a_version("1.4.2"))
        ada = await buses.open("approver", "ada")
        space = CreateSpace(kind="private", namespace="acme", members=("acme",), reason="a fork")
        await ada.request(CREATE_SPACE, space)
        yield stage


async def publish(stage: Stage, built: BuiltPackage, space: str = "public") -> None:
    """Published there."""
    await upload(stage.publisher, built.archive)
    signed = sign(built.manifest, archive=built.archive)
    await stage.publisher.request(
        PUBLISH_PACKAGE, PublishPackage(signed=signed, space=space, reason="a test")
    )


async def overlay(bus: Bus) -> OverlayPackage:
    """What the space has of its own of the package."""
    found = await bus.request(GET_OVERLAY, GetOverlay(space=SPACE))
    assert [one.name for one in found.packages] == [NAME]
    return found.packages[0]


async def caught_up(buses: Buses) -> list[Event]:
    """What members were told so far."""
    events = await stored_events(await buses.open("service-auditor"))
    return [one for one in events if one.data.action == "overlay.catch-up"]


async def test_own_versions_stand_on_public_ones(stage: Stage) -> None:
    """What would pass for upstream's, or stands on nothing, is refused by its version."""
    for version in ("1.4.2", "1.4.3", "1.4.2+other.1", "1.4.9+acme.1"):
        with pytest.raises(RefusedError) as caught:
            await publish(stage, a_version(version, b"fix"), SPACE)
        assert [one.path for one in caught.value.reasons] == ["manifest.version"]

    await publish(stage, a_version("1.4.2+acme.1", b"fix"), SPACE)

    with pytest.raises(RefusedError) as again:
        await publish(stage, a_version("1.4.2+acme.1", b"other"), SPACE)
    assert again.value.refusal_code == "conflict"


async def test_members_see_both_and_others_upstream_alone(stage: Stage, buses: Buses) -> None:
    """In the space `=1.4.2` is the fork's newest change of it; a pin names one exactly."""
    for number in (1, 2):
        await publish(stage, a_version(f"1.4.2+acme.{number}", b"%d" % number), SPACE)
    stranger = await buses.open("viewer", "vera")
    scheduler = await buses.open("service-scheduler")

    mine = await stage.publisher.request(GET_PACKAGE, GetPackage(name=NAME))
    theirs = await stranger.request(GET_PACKAGE, GetPackage(name=NAME))
    resolved = [
        (
            await scheduler.request(
                RESOLVE_PACKAGE, ResolvePackage(name=NAME, constraint=constraint, space=space)
            )
        ).package.version
        for constraint, space in (
            ("=1.4.2", SPACE),
            ("=1.4.2+acme.1", SPACE),
            ("^1.4", SPACE),
            ("^1.4", "public"),
        )
    ]

    assert mine.versions == ("1.4.2+acme.2", "1.4.2+acme.1", "1.4.2")
    assert theirs.versions == ("1.4.2",)
    assert resolved == ["1.4.2+acme.2", "1.4.2+acme.1", "1.4.2+acme.2", "1.4.2"]


async def test_the_space_shows_what_differs_and_when_upstream_has_caught_up(
    stage: Stage, buses: Buses
) -> None:
    """Current, behind, caught up; its members are told the last, once, also over a restart."""
    await publish(stage, a_version("1.4.2+acme.1", b"fix"), SPACE)
    first = await overlay(stage.publisher)
    await publish(stage, a_version("1.4.3", b"something else"))
    second = await overlay(stage.publisher)
    await publish(stage, a_version("1.5.0", b"fix"))
    third = await overlay(stage.publisher)
    events = await caught_up(buses)
    while not events:
        events = await caught_up(buses)
    stage.catalog.kill()
    await stage.catalog.start(stage.publisher)
    await publish(stage, a_version("1.6.0", b"newer"))

    assert (first.state, first.upstream, first.versions[0].base) == ("current", "1.4.2", "1.4.2")
    assert [(one.path, one.change) for one in first.changes] == [("patch.bin", "added")]
    assert (second.state, second.upstream) == ("behind", "1.4.3")
    assert (third.state, third.versions[0].caught_up_by) == ("caught-up", "1.5.0")
    assert [(one.audience, one.data.package, one.data.version) for one in events] == [
        (SPACE, NAME, "1.5.0")
    ]
    assert events[0].data.details == {"own_versions": ["1.4.2+acme.1"]}
    assert await caught_up(buses) == []


async def test_a_stranger_cannot_tell_a_fork_from_none(stage: Stage, buses: Buses) -> None:
    """The same refusal, but for the name that was asked for."""
    await publish(stage, a_version("1.4.2+acme.1", b"fix"), SPACE)
    stranger = await buses.open("administrator", "eve")
    refusals = []
    for space in (SPACE, "p_none"):
        with pytest.raises(RefusedError) as caught:
            await stranger.request(GET_OVERLAY, GetOverlay(space=space))
        refusals.append(msgspec.json.encode(caught.value.refusal()).replace(space.encode(), b""))

    assert refusals[0] == refusals[1]
