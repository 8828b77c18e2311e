# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""History under another licence policy, from a catalog and an auditor that run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.events import EventBody
from shared.contracts.policy_replay import LICENCE_POLICY, POLICY_KEY, REPLAY, PolicyInForce
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor
from tests.support.catalog_stage import a_stage
from tests.support.command_line import run_l3af

MIT_ALONE = (
    'name = "mit"\nversion = "1.0.0"\nsummary = "MIT alone"\n'
    '[groups.kernel]\nallows = ["MIT"]\nbecause = "we say so"\n'
)


async def test_another_pack_is_said_once_with_what_it_would_have_stopped(
    buses: Buses, tmp_path: Path
) -> None:
    """Whoever dies in between; the first pack of an installation is no change, nor is a restart."""
    policy = tmp_path / "mit.toml"
    policy.write_text(MIT_ALONE)
    catalog = await buses.open("service-catalog")
    heard: dict[str, EventBody] = {}
    """By event: whoever ends before it notes that an event was taken publishes it again."""

    async def in_force() -> PolicyInForce | None:
        entry = await catalog.bucket(LICENCE_POLICY).get(POLICY_KEY)
        return entry.value if entry is not None else None

    async def started(pack: str, name: str, changes: int, *, said: int) -> list[dict[str, Any]]:
        async with a_stage(buses, tmp_path / "catalog", licence_policy=pack) as stage:

            async def is_recorded() -> bool:
                found = await in_force()
                return found is not None and (found.name, found.changes) == (name, changes)

            await eventually(is_recorded)
            if not changes:
                await stage.publish()

            before = set(heard)

            def replays() -> list[EventBody]:
                told = [one for one in stage.events if one.data.action == REPLAY]
                heard.update({one.id: one.data for one in told})
                return [body for event_id, body in heard.items() if event_id not in before]

            await stage.until(lambda: len(replays()) >= said)
            events = replays()
            assert all(one.before != one.after for one in events)
            return [one.details for one in events]

    assert await started("gpl-ok", "gpl-ok", 0, said=0) == []
    (said,) = await started(str(policy), "mit", 1, said=1)
    assert (said["was_policy"], said["policy"], said["versions"]) == ("gpl-ok", "mit", 1)
    assert said["counts"]["would-refuse"] == 1
    assert said["refused"] == ["rate-limit 1.0.0"]
    policy.write_text(f"# laid out otherwise\n{MIT_ALONE}")
    assert await started(str(policy), "mit", 1, said=0) == []
    policy.write_text(MIT_ALONE.replace("we say so", "they say so"))
    (said,) = await started(str(policy), "mit", 2, said=1)
    assert said["was_policy_sha256"] != said["policy_sha256"]


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
        policy.write_text(MIT_ALONE)
        credentials = buses.server.credentials("auditor", "ann")
        said = await run_l3af(
            "audit", "report", "policy-replay", str(policy), "--json", credentials=credentials
        )
        assert said.status == 0, said.message
        (event,) = said.document["events"]
        assert (event["package"], event["change"]) == ("rate-limit", "would-refuse")
        assert said.document["counts"]["would-refuse"] == 1
