# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package search` and `sbom` as people run them, beside a catalog that answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from shared.adapters.callers import Caller
from shared.contracts.usage import GET_USAGE, FleetUsage, GetUsage, SpaceUse
from tests.integration.conftest import Buses
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer

PACKAGES = ROOT / "packages"
WAIT_SECONDS = 60.0


USES: Final = (
    SpaceUse(package="port-count", version="1.0.0", nodes=12),
    SpaceUse(package="port-count", version="1.0.0", space="r_0123456789abcdef", nodes=700),
    SpaceUse(package="port-count", version="0.9.0", nodes=5),
    SpaceUse(package="gone", version="1.0.0", nodes=5),
)


async def some_usage(request: GetUsage, _: Caller) -> FleetUsage:
    """What a scheduler would say, on two pages."""
    return FleetUsage(uses=USES[2:]) if request.after else FleetUsage(uses=USES[:2], next="x")


@pytest.fixture
async def credentials(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[Path]:
    """Of a publisher, beside a catalog that has two packages, and a scheduler that counts."""
    scheduler = await buses.open("service-scheduler")
    async with scheduler.serve("scheduler", {GET_USAGE: some_usage}, version="0"):
        async for publisher in _beside_a_catalog(provisioned, buses, tmp_path):
            yield publisher


async def _beside_a_catalog(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[Path]:
    catalog = CatalogProcess(provisioned, tmp_path / "state")
    await catalog.start(await buses.open("viewer", "vera"))
    publisher = provisioned.credentials("publisher", "acme")
    write_publisher(publisher)
    try:
        for name in ("port-count", "rate-limit"):
            folder = str(PACKAGES / name)
            answer = await run_l3af("package", "publish", folder, credentials=publisher)
            assert answer.status == 0, answer.output
        yield publisher
    finally:
        catalog.kill()


async def l3af(credentials: Path, *words: str) -> Answer:
    """One command of `l3af package`."""
    return await run_l3af("package", *words, credentials=credentials)


async def test_what_was_published_is_found_at_once(credentials: Path) -> None:
    """By words, by facets, and page by page; a refusal names the field."""
    by_words = await l3af(credentials, "search", "connections")
    by_facets = await l3af(credentials, "search", "--hook", "tc-egress", "--json")
    first = await l3af(credentials, "search", "--limit", "1", "--json")
    words = ("--limit", "1", "--after", first.document["next"], "--json")
    second = await l3af(credentials, "search", *words)
    wrong = await l3af(credentials, "search", "--after", "x")

    assert "rate-limit" in by_words.output
    assert "port-count" not in by_words.output
    assert [one["name"] for one in by_facets.document["packages"]] == ["port-count"]
    assert {"value": "xdp", "count": 2} in first.document["facets"]["hook"]
    shown = [one["name"] for page in (first, second) for one in page.document["packages"]]
    assert shown == ["port-count", "rate-limit"]
    assert "next" not in second.document
    assert (wrong.status, "after" in wrong.message) == (2, True)


async def test_nodes_are_counted_as_far_as_deployments_are_seen(credentials: Path) -> None:
    """What runs for a space that one does not see is not in the number."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await l3af(credentials, "search", "--sort", "nodes", "--json")
            counts = [(one["name"], one.get("nodes", 0)) for one in found.document["packages"]]
            if counts[0][1]:
                break
    many = await l3af(credentials, "search", "--min-nodes", "13", "--json")

    assert counts == [("port-count", 12), ("rate-limit", 0)]
    assert found.document["facets"]["nodes"] == [
        {"value": "1+", "count": 1},
        {"value": "10+", "count": 1},
    ]
    assert many.document["total"] == 0


async def test_bills_of_packages_and_of_channels_are_valid(
    credentials: Path, tmp_path: Path
) -> None:
    """In both formats, the same bytes each time; the facts are there too."""
    file = tmp_path / "bill.json"
    cyclonedx = await l3af(credentials, "sbom", "port-count")
    await l3af(credentials, "sbom", "port-count", "1.0.0", "-o", str(file))
    spdx = await l3af(credentials, "sbom", "port-count", "--format", "spdx")
    channel = await l3af(credentials, "sbom", "--channel", "stable")
    channel_spdx = await l3af(credentials, "sbom", "--channel", "stable", "--format", "spdx")
    facts = await l3af(credentials, "sbom", "port-count", "--json")
    unclear = await l3af(credentials, "sbom", "port-count", "--channel", "stable")

    assert cyclonedx_problems(cyclonedx.output) == []
    assert cyclonedx_problems(channel.output) == []
    assert spdx_problems(spdx.output) == []
    assert spdx_problems(channel_spdx.output) == []
    assert file.read_text() == cyclonedx.output
    named = [one["name"] for one in json.loads(channel.output)["components"]]
    assert named == ["port-count", "rate-limit"]
    objects = [one["path"] for one in facts.document["files"] if one["kind"] == "object"]
    assert objects == ["port_count.bpf.o"]
    assert unclear.status == 2


async def test_the_impact_of_a_version_that_is_not_there_is_not_nothing(credentials: Path) -> None:
    """It is refused, before anybody could take it for harmless."""
    answer = await l3af(credentials, "impact", "port-count", "9.9.9")
    sharing = await l3af(credentials, "sharing", "port-count")

    assert sharing.output.strip() == "port-count 1.0.0 declares no map to be one for all"
    assert (answer.status, "has no version 9.9.9" in answer.message) == (2, True)
