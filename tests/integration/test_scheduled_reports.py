# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports that the auditor makes by itself: each once, whoever dies, for those who may see it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.kept_reports import whole_report
from services.auditor.reporting.keeping import kept_report, key_of, parts_of
from services.auditor.reporting.schedules import Covered
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.base import Endpoint, Request
from shared.contracts.distribution import DISTRIBUTE, DistributionReport
from shared.contracts.events import PUBLIC, Event
from shared.contracts.findings import FindingsShown
from shared.contracts.licence_reports import LicenceReport
from shared.contracts.reports import (
    GET_REPORT,
    LIST_REPORTS,
    LIST_SCHEDULES,
    MAKE,
    PART_BYTES,
    REPORT_PARTS,
    REPORTS,
    SET_SCHEDULE,
    BillOptions,
    DistributionOptions,
    EvidenceOptions,
    FindingsOptions,
    GetReport,
    KeptReport,
    LicencesOptions,
    ListReports,
    ListSchedules,
    ReportOptions,
    ReportPart,
    SetSchedule,
)
from shared.errors import RefusedError, VerificationError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor
from tests.support.bill_schemas import cyclonedx_problems
from tests.support.command_line import Answer, run_l3af
from tests.support.inventories import a_reading, chain_event, digest_of
from tests.support.report_plans import (
    DETAILS,
    LAST_YEAR,
    THIS_YEAR,
    a_schedule,
    plan,
    set_long_ago,
)
from tests.support.space_stage import EMBARGO, Stage, space_stage


def at_a_desk(credentials: Path, folder: Path) -> Callable[..., Awaitable[Answer]]:
    """Runs `l3af audit report …`, which must work."""

    async def l3af(*words: str) -> Answer:
        said = await run_l3af("audit", "report", *words, credentials=credentials, folder=folder)
        assert said.status == 0, said.message
        return said

    return l3af


async def made(bus: Bus, count: int, **fields: Any) -> Sequence[KeptReport]:
    """So many reports, once there are as many."""

    async def enough() -> Sequence[KeptReport]:
        found = (await bus.request(LIST_REPORTS, ListReports(**fields))).reports
        return found if len(found) >= count else ()

    found: Sequence[KeptReport] = await eventually(enough)
    return found


async def told(bus: Bus, action: str) -> list[Event]:
    """What the log says with this action, to who asks, oldest first."""
    found = (await bus.request(LIST_RECORDS, ListRecords(action=action, limit=1000))).records
    return [one.event for one in reversed(found) if one.event is not None]


def ran_last_year() -> Event:
    """A node's word that a program was put on a hook point."""
    event = chain_event("chain.attach", a_reading("limit"), node="n1", sequence=1, seconds=0)
    return msgspec.structs.replace(event, time=LAST_YEAR)


async def has_read(bus: Bus, names: list[str]) -> bool:
    """Whether the log says that these reports were read, in this order."""
    read = [one.data.details.get("made_report") for one in await told(bus, "log.read")]
    return [one["name"] for one in read if one] == names


async def test_reports_of_a_running_auditor(buses: Buses, tmp_path: Path) -> None:
    """Every kind, as the log says it; listed, given out whole, read on record, removed."""
    bus = await buses.open("service-auditor")
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    node = await buses.open("node", "n1")
    kinds: dict[str, ReportOptions] = {
        "bill": BillOptions(format="spdx"),
        "bills": BillOptions(of="range"),
        "evidence": EvidenceOptions(standard="pci-dss"),
        "found": FindingsOptions(),
        "page": FindingsOptions(format="html", state="open"),
        "handed": DistributionOptions(),
        "terms": LicencesOptions(by="package"),
        "table": DistributionOptions(format="csv"),
    }
    l3af = at_a_desk(buses.server.credentials("administrator", "adam"), tmp_path)
    async with running_auditor(buses.server, tmp_path / "auditor"):
        catalog.time = LAST_YEAR
        broken = {"findings": [{"rule": "policy-groups", "outcome": "review"}]}
        await catalog.emit(package="one", version="1.0.0", details={"licences": broken})
        await catalog.emit(DISTRIBUTE, package="one", version="1.0.0", details=DETAILS)
        await node.publish_event(ran_last_year())
        reader = await buses.open("auditor", "ann")
        await eventually(lambda: told(reader, DISTRIBUTE))
    await plan(bus, *(a_schedule(name, options) for name, options in kinds.items()))
    for _ in range(2):  # whoever starts again makes nothing again
        async with running_auditor(buses.server, tmp_path / "auditor"):
            reports = await made(reader, len(kinds))

            async def all_said() -> bool:
                return len(await told(reader, MAKE)) >= len(kinds)

            await eventually(all_said)
            events = await told(reader, MAKE)
            assert [one.name for one in reports] == sorted(kinds)
            assert sorted(one.data.details["name"] for one in events) == sorted(kinds)

    async with running_auditor(buses.server, tmp_path / "auditor"):
        listed = (await l3af("list", "--json")).document["reports"]
        digests = {one["name"]: one["sha256"] for one in listed}
        contents = {}
        for name in kinds:
            _, contents[name] = await whole_report(reader, GetReport(name=name))
            assert hashlib.sha256(contents[name]).hexdigest() == digests[name]
        findings = msgspec.json.decode(contents["found"], type=FindingsShown)
        assert [(one.package, one.state) for one in findings.findings] == [("one", "open")]
        assert findings.at == f"{THIS_YEAR}-01-01T00:00:00.000000Z"
        assert findings.findings[0].id in contents["page"].decode()
        found = msgspec.json.decode(contents["handed"], type=DistributionReport)
        assert [one.package for one in found.versions] == ["one"]
        assert (found.since, found.until) == (
            f"{THIS_YEAR - 1}-01-01T00:00:00.000000Z",
            f"{THIS_YEAR}-01-01T00:00:00.000000Z",
        )
        terms = msgspec.json.decode(contents["terms"], type=LicenceReport)
        assert [one.name for one in terms.rows] == ["limit"]
        bill = contents["bills"].decode()
        assert (cyclonedx_problems(bill), digest_of("archive limit") in bill) == ([], True)
        await l3af("get", "table", "-o", "table.out")
        assert '"one"' in (tmp_path / "table.out").read_text()
        assert "requirement 10" in (await l3af("get", "evidence")).output
        await eventually(lambda: has_read(reader, [*kinds, "table", "evidence"]))


async def test_a_report_of_several_pieces_is_given_out_whole(buses: Buses, tmp_path: Path) -> None:
    """Reading it is one reading; one with another piece in it is refused."""
    bus = await buses.open("service-auditor")
    schedule, content = a_schedule("large", DistributionOptions()), bytes(2 * PART_BYTES + 1)
    report = kept_report(
        set_long_ago(schedule),
        schedule,
        due=datetime(THIS_YEAR, 1, 1, tzinfo=UTC),
        covers=Covered("", ""),
        content=content,
        tree_size=1,
        now=datetime(THIS_YEAR, 1, 1, tzinfo=UTC),
    )
    parts = parts_of(report, content)
    await bus.bucket(REPORTS).put(key_of(report), report)
    for key, part in parts.items():
        await bus.bucket(REPORT_PARTS).put(key, part)
    async with running_auditor(buses.server, tmp_path / "auditor"):
        reader = await buses.open("auditor", "ann")
        whole = await whole_report(reader, GetReport(name="large"))
        await eventually(lambda: has_read(reader, ["large"]))
        await bus.bucket(REPORT_PARTS).put(list(parts)[1], ReportPart(data=b"x" * PART_BYTES))
        with pytest.raises(VerificationError):
            await whole_report(reader, GetReport(name="large"))

    assert len(parts) == 3
    assert whole == (report, content)


async def test_what_is_made_is_planned_by_administrators(buses: Buses, tmp_path: Path) -> None:
    """A file says it; a plan goes with its reports, or without; who has no right is refused."""
    bus = await buses.open("service-auditor")
    await plan(bus, a_schedule("handed", DistributionOptions()), a_schedule("bill", BillOptions()))
    l3af = at_a_desk(buses.server.credentials("administrator", "adam"), tmp_path)
    (tmp_path / "plan.toml").write_text(
        'apiVersion = "l3af/v1"\nname = "quarterly"\ncovers = "quarter"\n'
        'cron = "0 6 1 1,4,7,10 *"\ntime_zone = "Europe/Berlin"\n'
        '[report]\nkind = "evidence"\nstandard = "openchain"\n'
    )
    async with running_auditor(buses.server, tmp_path / "auditor"):
        reader = await buses.open("auditor", "ann")
        await made(reader, 2)
        await l3af("schedule", "set", "plan.toml", "--reason", "for the auditors")
        shown = (await l3af("schedule", "show", "--json")).document["schedules"]
        (quarterly,) = [one for one in shown if one["schedule"]["name"] == "quarterly"]
        assert quarterly["next_due"].endswith(("T04:00:00.000000Z", "T05:00:00.000000Z"))
        await l3af("schedule", "remove", "bill")
        await l3af("schedule", "remove", "handed", "--with-reports")

        async def is_gone() -> bool:
            found = (await reader.request(LIST_REPORTS, ListReports())).reports
            return [one.name for one in found] == ["bill"]

        await eventually(is_gone)
        viewer = await buses.open("viewer", "vera")
        wanted = SetSchedule(schedule=a_schedule("mine", DistributionOptions()))
        refused: list[tuple[Bus, Endpoint[Any, Any], Request]] = [
            (viewer, GET_REPORT, GetReport(name="bill")),
            (reader, GET_REPORT, GetReport(name="no")),
            (reader, SET_SCHEDULE, wanted),
        ]
        for who, endpoint, request in refused:
            with pytest.raises(RefusedError):
                await who.request(endpoint, request)
        accepted = [one for one in await told(reader, "schedule.set") if one.data.details]
    assert [one.data.reason for one in accepted] == ["for the auditors"]


async def test_a_report_of_a_space_is_its_members(buses: Buses, tmp_path: Path) -> None:
    """It holds what the space was told, and to strangers neither plan nor report exists."""
    async with space_stage(buses, tmp_path) as stage:
        await _fill(stage)
    bus = await buses.open("service-auditor")
    await plan(
        bus,
        a_schedule("handed", DistributionOptions(), space=EMBARGO),
        a_schedule("handed", DistributionOptions()),
    )
    async with space_stage(buses, tmp_path) as stage:
        reports = await made(stage.member, 2)
        others = (await stage.stranger.request(LIST_REPORTS, ListReports())).reports
        seen = [
            (await who.request(LIST_SCHEDULES, ListSchedules())).schedules
            for who in (stage.member, stage.stranger)
        ]
        contents = []
        for space in (EMBARGO, PUBLIC):
            shown = await stage.member.request(GET_REPORT, GetReport(name="handed", space=space))
            contents.append(msgspec.json.decode(shown.data, type=DistributionReport))
        refusals = []
        for space in (EMBARGO, "r_0000000000000000"):
            with pytest.raises(RefusedError) as caught:
                await stage.stranger.request(GET_REPORT, GetReport(name="handed", space=space))
            refusals.append(caught.value.refusal())
        to_members, to_strangers = [
            [(one.audience, one.data.details) for one in await told(who, MAKE)]
            for who in (stage.member, stage.stranger)
        ]
        reads = [one.data.details for one in await told(stage.stranger, "log.read")]

    assert {one.space for one in reports} == {EMBARGO, PUBLIC}
    assert [one.space for one in others] == [PUBLIC]
    spaces = [[one.schedule.space for one in found] for found in seen]
    assert spaces == [[PUBLIC, EMBARGO], [PUBLIC]]
    assert [[one.package for one in found.versions] for found in contents] == [
        ["known", "quiet"],
        ["known"],
    ]
    assert refusals[0] == refusals[1]
    assert {audience for audience, _ in to_members} == {EMBARGO, PUBLIC}
    assert {audience for audience, _ in to_strangers} == {PUBLIC}
    assert {"withheld": ["made_report"]} in reads
    assert EMBARGO not in str(reads)


async def _fill(stage: Stage) -> None:
    stage.catalog.time = LAST_YEAR
    await stage.catalog.emit(DISTRIBUTE, package="known", version="1.0.0", details=DETAILS)
    secret = await stage.catalog.emit(
        DISTRIBUTE, package="quiet", version="1.0.0", details=DETAILS, audience=EMBARGO
    )
    await stage.recorded(secret)
