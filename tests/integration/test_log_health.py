# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit check` over a real bus, and alarms that are said once, also across restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.auditor.health.adapters.database_disk import NOT_TOLD, DatabaseDisk
from services.auditor.health.adapters.state_directory import StateDirectory
from services.auditor.health.alarms import ALARM, RECOVER
from shared.contracts.log_health import GET_HEALTH
from shared.contracts.permissions import USER_ROLES, UserRole, may_call
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, heard_actions, running_auditor
from tests.support.command_line import Answer, run_l3af
from tests.support.independent_log import leaves_on_disk
from tests.support.postgres import PostgresServer, run_statement

QUICK = {"look_seconds": "0.05", "disk_mib": "0.001"}
EVER_DUE = {**QUICK, "backup_days": "0.000001"}


async def check(buses: Buses, *words: str, role: UserRole = "operator") -> Answer:
    """The command, by somebody in that role."""
    credentials = buses.server.credentials(role, "ann")
    return await run_l3af("audit", "check", *words, credentials=credentials)


def conditions(answer: Answer) -> dict[str, Any]:
    """By name."""
    return {one["condition"]: one for one in answer.document["conditions"]}


async def test_the_room_of_a_database_is_what_its_server_tells(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Its size in any case; what is free if the server is here and says where its files are."""
    url = await postgres.new_database()
    directory = StateDirectory(tmp_path)
    seen = (await DatabaseDisk(url, directory).look()).database
    assert seen is not None
    assert (seen.used_bytes > 1 << 20, (seen.free_bytes or 0) > 1 << 20) == (True, True)

    await run_statement(url, "CREATE ROLE nobody_special LOGIN")
    poor = url.replace("auditor@", "nobody_special@")
    seen = (await DatabaseDisk(poor, directory).look()).database
    assert seen is not None
    assert (seen.used_bytes > 1 << 20, seen.free_bytes, seen.why) == (True, None, NOT_TOLD)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_gap_and_a_fast_clock_need_attention_and_a_log_in_order_does_not(
    buses: Buses, tmp_path: Path, postgres: PostgresServer, kind: str
) -> None:
    """Status 0, then 1 with the emitter named, in the table and in JSON, whatever the store."""
    store = await postgres.new_database() if kind == "postgresql" else kind
    async with running_auditor(buses.server, tmp_path, alarms=QUICK, store=store):
        answer = await check(buses)
        assert answer.status == 0, answer
        assert "attention" not in answer.output

        catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
        catalog.time = "2100-01-02T03:04:05.000006Z"
        await catalog.emit()
        catalog.sequence += 2
        await catalog.emit()

        async def both() -> Answer | None:
            answer = await check(buses, "--json", role="auditor")
            seen = conditions(answer)
            has_both = all(seen[name].get("needs_attention") for name in ("gaps", "clock"))
            return answer if has_both else None

        found = await eventually(both)
        seen = conditions(found)
        assert found.status == 1
        assert "catalog missing 2-3" in seen["gaps"]["summary"]
        assert "catalog" in seen["clock"]["summary"]
        assert found.document["clocks"][0]["offset_seconds"] < -1e9
        assert "attention" in (await check(buses)).output


async def test_a_copy_is_noticed_and_an_alarm_is_said_once_across_restarts(
    buses: Buses, tmp_path: Path
) -> None:
    """It stands while the auditor is started anew, ends with the copy, and is never repeated."""
    state_dir = tmp_path / "auditor"

    said = await heard_actions(await buses.open("viewer", "eve"), ALARM, RECOVER)
    first = ["log-alarm-backup-1"]
    async with running_auditor(buses.server, state_dir, alarms=EVER_DUE):
        await EmittingBus(await buses.open("service-catalog"), "catalog").emit()
        await eventually(lambda: first[0].encode() in b"".join(leaves_on_disk(state_dir)))
        assert said == first

    async with running_auditor(buses.server, state_dir, alarms=EVER_DUE):

        async def stands() -> bool:
            seen = conditions(await check(buses, "--json"))["backup"]
            return bool(seen.get("is_alarm") and seen.get("needs_attention"))

        await eventually(stands)
        assert said == first

    made = await run_l3af("audit", "backup", str(tmp_path / "copy"), "--state-dir", str(state_dir))
    assert (made.status, made.message) == (0, "")
    async with running_auditor(buses.server, state_dir, alarms=QUICK):
        await eventually(lambda: len(said) > 1)
        assert said == [*first, "log-recover-backup-1"]
        answer = await check(buses, "--json")
        assert "copied" in conditions(answer)["backup"]["summary"]
        assert answer.status == 0, answer


def test_who_runs_or_audits_the_installation_may_ask() -> None:
    """And nobody else."""
    allowed = {role for role in USER_ROLES if may_call(role, GET_HEALTH)}
    assert allowed == {"operator", "auditor", "administrator"}
