# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Findings of a running auditor: asked over the bus and by the command line, closed by people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.auditor.compliance.life_cycles import findings_at
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.findings import (
    ANNOTATE_FINDING,
    GET_FINDING,
    LIST_FINDINGS,
    RESOLVE_FINDING,
    AnnotateFinding,
    Finding,
    FindingsShown,
    GetFinding,
    ListFindings,
    ResolveFinding,
)
from shared.contracts.persons import ERASE_PERSON, ErasePerson
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor
from tests.support.command_line import run_l3af
from tests.support.compliance import ANN, Story

GROUPS, SOURCE = "policy-groups", "source-present"


async def told(buses: Buses, story: Story) -> None:
    """The services say it, each its own part."""
    speakers = {
        "catalog": await buses.open("service-catalog"),
        "scheduler": await buses.open("service-scheduler"),
    }
    for event in story.events:
        await speakers[event.emitter].publish_event(event)


async def listed(bus: Bus, count: int, **asked: Any) -> FindingsShown:
    """The answer, once it has so many findings."""

    async def enough() -> FindingsShown | None:
        page = await bus.request(LIST_FINDINGS, ListFindings(**asked))
        return page if len(page.findings) == count else None

    found = await eventually(enough)
    assert isinstance(found, FindingsShown)
    return found


def a_story() -> Story:
    """Two versions with findings, one of them waived for a while; a deployment that breaks one."""
    story = Story()
    story.publish(1, "filter", "1.0.0", [(GROUPS, "review", ""), (SOURCE, "review", "")])
    story.grant(2, "w-1", GROUPS, "filter", until=10)
    story.publish(3, "shaper", "1.0.0", [(SOURCE, "review", "")])
    story.standing(4, "edge", "shaper", "1.0.0", [SOURCE])
    return story


async def test_findings_are_listed_by_page_filter_and_moment(buses: Buses, tmp_path: Path) -> None:
    """Every page together is the answer; one finding is given whole."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await told(buses, a_story())
        reader = await buses.open("auditor", "ann")
        whole = await listed(reader, 4)
        paged: list[Finding] = []
        after = ""
        while True:
            request = ListFindings(limit=1, after=after, at=whole.at)
            page = await reader.request(LIST_FINDINGS, request)
            paged += page.findings
            if not page.next:
                break
            after = page.next
        assert [one.id for one in paged] == [one.id for one in whole.findings]
        at_five = "2026-01-01T05:00:00Z"
        (waived,) = (await listed(reader, 1, at=at_five, state="waived")).findings
        assert (waived.rule, waived.package, waived.open_seconds) == (GROUPS, "filter", 3600)
        (edge,) = (await listed(reader, 1, node="h1")).findings
        assert (edge.kind, edge.deployment) == ("deployment-rule", "edge")
        await listed(reader, 3, since="2026-01-01T05:00:00Z", rule=SOURCE)
        one = await reader.request(GET_FINDING, GetFinding(finding=waived.id))
        assert [change.state for change in one.finding.history] == ["open", "waived", "open"]
        with pytest.raises(RefusedError, match="unknown finding"):
            await reader.request(GET_FINDING, GetFinding(finding="f-0123456789abcdef"))
        with pytest.raises(RefusedError, match="time"):
            await reader.request(LIST_FINDINGS, ListFindings(at="yesterday"))

        async def readings() -> list[dict[str, Any]]:
            said = await reader.request(LIST_RECORDS, ListRecords(action="log.read", limit=1000))
            asked = [one.event.data.details for one in said.records if one.event]
            is_last_there = any("finding" in one.get("filters", {}) for one in asked[:2])
            return asked if is_last_there else []

        asked = await eventually(readings)
    pages = [one for one in asked if one.get("findings_at") == whole.at]
    assert len(pages) == 1  # every page of one answer is one reading


async def test_a_person_closes_a_finding_with_reason_and_evidence(
    buses: Buses, tmp_path: Path
) -> None:
    """By the roles that may, once, with records that they see; repeated, it is the same answer."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await told(buses, a_story())
        reader = await buses.open("auditor", "ann")
        page = await listed(reader, 4)
        name = page.findings[-1].id
        fields: dict[str, Any] = {"finding": name, "reason": "mended", "evidence": (3,)}
        command = ResolveFinding(**fields, command_id="command-1")
        operator = await buses.open("operator", "olaf")
        with pytest.raises(RefusedError):
            await operator.request(RESOLVE_FINDING, command)
        for wrong in ({"reason": " "}, {"evidence": (9999,)}, {"finding": "f-0123456789abcdef"}):
            with pytest.raises(RefusedError):
                await reader.request(RESOLVE_FINDING, ResolveFinding(**{**fields, **wrong}))
        note = AnnotateFinding(finding=name, reason="the lawyers look at it")
        await reader.request(ANNOTATE_FINDING, note)
        for _ in range(2):
            done = await reader.request(RESOLVE_FINDING, command)
            assert (done.command_id, done.finding) == ("command-1", name)
        (resolved,) = (await listed(reader, 1, state="resolved")).findings
        last = resolved.history[-1]
        assert (last.cause, last.reason, last.evidence) == ("person", "mended", (3,))
        assert [one.reason for one in resolved.notes] == ["the lawyers look at it"]
        with pytest.raises(RefusedError, match="is resolved"):
            await reader.request(RESOLVE_FINDING, ResolveFinding(finding=name, reason="again"))

        async def outcomes() -> list[str]:
            said = await reader.request(LIST_RECORDS, ListRecords(action="finding.*", limit=1000))
            return sorted(one.event.data.outcome for one in said.records if one.event)

        async def all_said() -> bool:
            return await outcomes() == ["accepted"] * 2 + ["refused"] * 4

        await eventually(all_said)


async def test_who_was_erased_is_in_no_finding(buses: Buses, tmp_path: Path) -> None:
    """Neither key nor words, also where they were read before; the states stay."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await told(buses, a_story())
        reader = await buses.open("auditor", "ann")
        before = await listed(reader, 4)
        assert any(one.reason == "agreed" for each in before.findings for one in each.history)
        administrator = await buses.open("administrator", "adam")
        erase = ErasePerson(keys=(ANN.key,), reason="she asked for it")
        await administrator.request(ERASE_PERSON, erase, timeout_seconds=30)
        after = await listed(reader, 4)
    assert ANN.key not in repr(after)
    assert "agreed" not in repr(after)
    assert [(one.id, one.state) for one in after.findings] == [
        (one.id, one.state) for one in before.findings
    ]


async def test_findings_of_a_space_are_its_members_alone(buses: Buses, tmp_path: Path) -> None:
    """A stranger is answered as if nothing of it had been said, by list and by id."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        secret = Story()
        secret.publish(1, "hidden", "1.0.0", [(GROUPS, "review", "")], audience="p_acme")
        secret.publish(1, "seen", "1.0.0", [(GROUPS, "review", "")])
        await told(buses, secret)
        reader = await buses.open("auditor", "ann")
        page = await listed(reader, 1)
        assert page.findings[0].package == "seen"
        anew = Story()
        anew.publish(1, "hidden", "1.0.0", [(GROUPS, "review", "")], audience="p_acme")
        (case,) = findings_at(anew.facts(), at_us=2**60)[0]
        with pytest.raises(RefusedError, match="unknown finding"):
            await reader.request(GET_FINDING, GetFinding(finding=case.id))
        with pytest.raises(RefusedError, match="unknown finding"):
            await reader.request(RESOLVE_FINDING, ResolveFinding(finding=case.id, reason="x"))


async def test_the_report_is_a_table_or_a_page(buses: Buses, tmp_path: Path) -> None:
    """The same findings in each; the page has no script, and texts of others are escaped."""
    credentials = buses.server.credentials("auditor", "ann")

    async def l3af(*words: str) -> Any:
        said = await run_l3af("audit", *words, credentials=credentials, folder=tmp_path)
        assert said.status == 0, said.message
        return said

    async with running_auditor(buses.server, tmp_path / "auditor"):
        story = a_story()
        story.say(
            5,
            "catalog",
            "package.publish",
            package="<script>alert(1)</script>",
            version="1.0.0",
            details={"licences": {"findings": [{"rule": "=1+1", "outcome": "review"}]}},
        )
        await told(buses, story)
        await listed(await buses.open("auditor", "ann"), 5)
        await l3af("report", "findings", "--format", "html", "-o", "findings.html")
        page = (tmp_path / "findings.html").read_text()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        table = (await l3af("report", "findings", "--state", "open")).output
        names = [one.split()[0] for one in table.splitlines() if one.startswith("f-")]
        assert len(names) == 5
        assert all(one in page for one in names)
        done = await l3af("finding", "resolve", names[0], "--reason", "agreed", "--evidence", "0",
                          "--json")  # fmt: skip
        assert done.document["finding"] == names[0]
