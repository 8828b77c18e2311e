# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""History under another licence policy, from a catalog and an auditor that run."""

from __future__ import annotations

from pathlib import Path

from shared.contracts.audit import LIST_RECORDS, ListRecords
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor
from tests.support.catalog_stage import a_stage
from tests.support.command_line import run_l3af


async def test_what_the_catalog_published_is_judged_by_another_policy(
    buses: Buses, tmp_path: Path
) -> None:
    """By what the log has of it alone: the catalog does not run any more when it is asked."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        async with a_stage(buses, tmp_path / "catalog") as stage:
            await stage.publish()
        reader = await buses.open("auditor", "ann")

        async def recorded() -> bool:
            asked = ListRecords(action="package.publish")
            return bool((await reader.request(LIST_RECORDS, asked)).records)

        await eventually(recorded)
        policy = tmp_path / "mit.toml"
        policy.write_text(
            'name = "mit"\nversion = "1.0.0"\nsummary = "MIT alone"\n'
            '[groups.kernel]\nallows = ["MIT"]\nbecause = "we say so"\n'
        )
        credentials = buses.server.credentials("auditor", "ann")
        for pack, change in ((str(policy), "would-refuse"), ("gpl-ok", "same")):
            said = await run_l3af(
                "audit", "report", "policy-replay", pack, "--json", credentials=credentials
            )
            assert said.status == 0, said.message
            (event,) = said.document["events"]
            assert (event["package"], event["change"]) == ("rate-limit", change)
            assert said.document["counts"][change] == 1
        shown = await run_l3af(
            "audit", "report", "policy-replay", str(policy), credentials=credentials
        )
        assert "would-refuse" in shown.output
