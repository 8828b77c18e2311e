# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions are copied between two installations; what is broken off goes on."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.package_origins import check_origins
from tests.package_builders import STRANGER_SEED
from tests.support.catalog_desks import PublishersDesk, publishers_desk
from tests.support.catalog_process import a_built_package
from tests.support.command_line import Answer

ELSEWHERE_SEED = b"the trust root of somebody else."


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishersDesk]:
    """The installation that publishes; each test has a package of its own there."""
    with publishers_desk(
        tmp_path_factory.mktemp("mirror") / "upstream",
        name="upstream",
        seed=STRANGER_SEED,
        trust_seed=ELSEWHERE_SEED,
    ) as there:
        yield there


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PublishersDesk]:
    """The installation that takes over."""
    with publishers_desk(tmp_path / "here") as here:
        yield here


async def mirror(upstream: PublishersDesk, desk: PublishersDesk, *words: str) -> Answer:
    """From the one to the other."""
    places = ("--from", str(upstream.credentials), "--to", str(desk.credentials))
    return await desk.l3af("package", "mirror", *places, *words, "--json")


def outcomes(answer: Answer) -> list[tuple[str, str]]:
    """Version and outcome of each."""
    return [(one["version"], one["outcome"]) for one in answer.document["versions"]]


async def test_versions_are_copied_with_their_digests_and_signatures(
    upstream: PublishersDesk, desk: PublishersDesk, tmp_path: Path
) -> None:
    """What is wanted arrives, a repeat copies nothing, and another package is never replaced."""
    await upstream.publish(a_built_package(version="1.0.0"), "dev")
    await upstream.publish(a_built_package(version="1.1.0"), "dev", "stable")
    await desk.publish(a_built_package(version="1.0.0", padding_bytes=10), "dev")
    words = ("--package", "rate-*")

    lying = await mirror(pretending(upstream, tmp_path / "lying"), desk, *words)
    stable = await mirror(upstream, desk, *words, "--channel", "stable")
    everything = await mirror(upstream, desk, *words)
    backwards = await mirror(upstream, upstream)

    assert (lying.status, stable.status, everything.status, backwards.status) == (2, 0, 2, 2)
    assert outcomes(lying) == [("1.0.0", "conflict"), ("1.1.0", "refused")]
    assert lying.document["versions"][1]["refusal"]["code"] == "verification_failed"
    assert outcomes(stable) == [("1.0.0", "left out"), ("1.1.0", "published")]
    assert outcomes(everything) == [("1.0.0", "conflict"), ("1.1.0", "already there")]
    assert "is the same installation" in backwards.message
    before = await upstream.version(version="1.1.0")
    after = await desk.version(version="1.1.0")
    assert after.signed.archive_sha256 == before.signed.archive_sha256
    assert after.signed.manifest.payload == before.signed.manifest.payload
    assert after.channels == ("stable",)
    assert [one.publisher for one in check_origins(after.signed)] == ["upstream"]
    assert after.signed.origins[0].trust_root == upstream.trust_root
    assert after.published_by == desk.key


def pretending(desk: PublishersDesk, place: Path) -> PublishersDesk:
    """The same installation, if it had another trust root than the one that signs there."""
    shutil.copytree(desk.credentials, place)
    facts = place / "installation.json"
    facts.write_text(facts.read_text().replace(desk.trust_root, "ab" * 32))
    return dataclasses.replace(desk, credentials=place)


async def test_a_run_that_was_broken_off_goes_on(
    upstream: PublishersDesk, desk: PublishersDesk
) -> None:
    """A target that is away is a fault; repeated, the rest is copied, and what is yanked is not."""
    words = ("--package", "port-*")
    package = partial(a_built_package, "port-count")
    await upstream.publish(package(version="1.0.0"), "stable")
    await upstream.publish(package(version="2.0.0", padding_bytes=400_000), "stable")
    partly = await mirror(upstream, desk, *words)
    await upstream.publish(package(version="3.0.0"), "stable")
    yanked = await upstream.l3af("package", "yank", "port-count", "1.0.0", "--reason", "wrong")
    desk.catalog.kill()
    broken = await mirror(upstream, desk, *words)
    await desk.start_catalog()
    resumed = await mirror(upstream, desk, *words)

    assert (partly.status, yanked.status, broken.status, resumed.status) == (0, 0, 3, 0), broken
    assert outcomes(partly) == [("1.0.0", "published"), ("2.0.0", "published")]
    assert outcomes(resumed)[-2:] == [("2.0.0", "already there"), ("3.0.0", "published")]
    assert ("1.0.0", "already there") not in outcomes(resumed)
