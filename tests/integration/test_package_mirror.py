# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions are copied between two installations; what is broken off goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.package_build import BuiltPackage
from cli.package_publish import load_publisher, upload
from shared.contracts.catalog import (
    GET_PACKAGE,
    PUBLISH_PACKAGE,
    GetPackage,
    PackageVersion,
    PublishPackage,
)
from shared.package_origins import check_origins
from tests.package_builders import STRANGER_SEED
from tests.support.catalog_desks import PublishersDesk, publishers_desk
from tests.support.catalog_process import a_built_package
from tests.support.command_line import Answer

ELSEWHERE_SEED = b"the trust root of somebody else."


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[PublishersDesk]:
    """The installation that publishes."""
    async with publishers_desk(
        tmp_path / "upstream", name="upstream", seed=STRANGER_SEED, trust_seed=ELSEWHERE_SEED
    ) as there:
        yield there


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[PublishersDesk]:
    """The installation that takes over."""
    async with publishers_desk(tmp_path / "here") as here:
        yield here


async def publish(desk: PublishersDesk, built: BuiltPackage, *channels: str) -> None:
    """By the desk's publisher."""
    await upload(desk.bus, built.archive)
    signed = load_publisher(desk.credentials).sign(built)
    await desk.bus.request(PUBLISH_PACKAGE, PublishPackage(signed=signed, channels=channels))


async def mirror(upstream: PublishersDesk, desk: PublishersDesk, *words: str) -> Answer:
    """From the one to the other."""
    places = ("--from", str(upstream.credentials), "--to", str(desk.credentials))
    return await desk.l3af("package", "mirror", *places, *words, "--json")


def outcomes(answer: Answer) -> list[tuple[str, str, str]]:
    """Name, version and outcome of each."""
    return [(one["name"], one["version"], one["outcome"]) for one in answer.document["versions"]]


async def at(desk: PublishersDesk, name: str, version: str) -> PackageVersion:
    """As the catalog shows it."""
    return (await desk.bus.request(GET_PACKAGE, GetPackage(name=name, version=version))).package


async def test_versions_are_copied_with_their_digests_and_signatures(
    upstream: PublishersDesk, desk: PublishersDesk
) -> None:
    """What is wanted arrives, a repeat copies nothing, and another package is never replaced."""
    first, second = (a_built_package(version=version) for version in ("1.0.0", "1.1.0"))
    other = a_built_package("port-count")
    await publish(upstream, first, "stable")
    await publish(upstream, second, "dev", "stable")
    await publish(upstream, other, "dev")
    await publish(desk, a_built_package("port-count", padding_bytes=10), "dev")

    stable = await mirror(upstream, desk, "--channel", "stable")
    everything = await mirror(upstream, desk)
    backwards = await mirror(upstream, upstream)

    assert (stable.status, everything.status, backwards.status) == (0, 2, 2), stable.message
    assert outcomes(stable) == [
        ("port-count", "1.0.0", "left out"),
        ("rate-limit", "1.0.0", "published"),
        ("rate-limit", "1.1.0", "published"),
    ]
    assert outcomes(everything) == [
        ("port-count", "1.0.0", "conflict"),
        ("rate-limit", "1.0.0", "already there"),
        ("rate-limit", "1.1.0", "already there"),
    ]
    assert "is the same installation" in backwards.message
    before = await at(upstream, "rate-limit", "1.1.0")
    after = await at(desk, "rate-limit", "1.1.0")
    assert after.signed.archive_sha256 == before.signed.archive_sha256
    assert after.signed.manifest.payload == before.signed.manifest.payload
    assert after.channels == ("stable",)
    assert [one.publisher for one in check_origins(after.signed)] == ["upstream"]
    assert after.signed.origins[0].trust_root == upstream.trust_root
    assert after.published_by == desk.bus.key


async def test_a_run_that_was_broken_off_goes_on(
    upstream: PublishersDesk, desk: PublishersDesk
) -> None:
    """A target that is away is a fault; repeated, the rest is copied and revoked ones are not."""
    await publish(upstream, a_built_package(version="1.0.0"), "stable")
    await publish(upstream, a_built_package(version="2.0.0", padding_bytes=400_000), "stable")
    partly = await mirror(upstream, desk, "--package", "rate-*")
    await publish(upstream, a_built_package(version="3.0.0"), "stable")
    yanked = await upstream.l3af("package", "yank", "rate-limit", "1.0.0", "--reason", "wrong")
    desk.catalog.kill()
    broken = await mirror(upstream, desk)
    await desk.catalog.start(desk.bus)
    resumed = await mirror(upstream, desk)

    assert (partly.status, yanked.status, broken.status, resumed.status) == (0, 0, 3, 0), broken
    assert [outcome for _, _, outcome in outcomes(partly)] == ["published", "published"]
    assert ("rate-limit", "2.0.0", "already there") in outcomes(resumed)
    assert ("rate-limit", "3.0.0", "published") in outcomes(resumed)
    assert ("rate-limit", "1.0.0", "already there") not in outcomes(resumed)


async def test_a_source_that_lies_is_refused(
    upstream: PublishersDesk, desk: PublishersDesk
) -> None:
    """Whose packages are not signed by the trust root that its credentials name."""
    await publish(upstream, a_built_package(), "stable")
    facts = upstream.credentials / "installation.json"
    facts.write_text(facts.read_text().replace(upstream.trust_root, "ab" * 32))

    answer = await mirror(upstream, desk)

    assert answer.status == 2
    (one,) = answer.document["versions"]
    assert one["outcome"] == "refused"
    assert one["refusal"]["code"] == "verification_failed"
    assert (await desk.l3af("package", "list", "--json")).document["packages"] == []
