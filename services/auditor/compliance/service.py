# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers about findings, and what people say of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from services.auditor.compliance.execution import ComplianceLog
from services.auditor.compliance.listing import (
    command_event,
    find_case,
    findings_page,
    findings_reading,
    moment_of,
    one_finding,
)
from services.auditor.disclosure import audience_of
from services.auditor.page_readings import PageReadings
from services.auditor.reading.execution import ReadingNotes
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.canonical import canonical_digest
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.findings import (
    ANNOTATE,
    ANNOTATE_FINDING,
    GET_FINDING,
    LIST_FINDINGS,
    RESOLVE,
    RESOLVE_FINDING,
    AnnotateFinding,
    FindingAnnotated,
    FindingResolved,
    FindingShown,
    FindingsShown,
    GetFinding,
    ListFindings,
    ResolveFinding,
)
from shared.outbox_records import Decision


class FindingDesk:
    """Answers about findings; commands about them go through the outbox."""

    def __init__(
        self,
        findings: ComplianceLog,
        log: LogStore,
        outbox: Outbox,
        *,
        spaces: SeenSpaces,
    ) -> None:
        """Nothing is served yet."""
        self._findings: Final = findings
        self._log: Final = log
        self._spaces: Final = spaces
        self._sight: Final = Sight(log, spaces)
        self._notes: Final = ReadingNotes(outbox, spaces)
        self._readings: Final = PageReadings()
        self._resolve: Final = outbox.command(
            RESOLVE_FINDING, self._decide_resolution, concerned=self._concerned
        )
        self._annotate: Final = outbox.command(
            ANNOTATE_FINDING, self._decide_annotation, concerned=self._concerned
        )

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            LIST_FINDINGS: self.list_findings,
            GET_FINDING: self.get_finding,
            RESOLVE_FINDING: self._resolve,
            ANNOTATE_FINDING: self._annotate,
        }

    async def list_findings(self, request: ListFindings, caller: Caller) -> FindingsShown:
        """One page of the findings that match."""
        at_us = moment_of(request.at, path="at")
        details = findings_reading(request)
        begins = self._readings.begins(
            canonical_digest(details),
            is_first=not request.after,
            caller=caller.key,
            now=datetime.now(UTC),
        )
        if begins:
            await self._notes.note(caller, details)
        found = await self._findings.findings(await self._sight.of(caller.name), at_us=at_us)
        return findings_page(request, found)

    async def get_finding(self, request: GetFinding, caller: Caller) -> FindingShown:
        """One finding, whole."""
        at_us = moment_of(request.at, path="at")
        await self._notes.note(caller, findings_reading(request))
        found = await self._findings.findings(await self._sight.of(caller.name), at_us=at_us)
        return one_finding(request, found)

    async def _decide_resolution(
        self, command: ResolveFinding, caller: Caller, command_id: str, _: datetime
    ) -> Decision[FindingResolved]:
        event, audience = await self._said(RESOLVE, command, caller)
        reply = FindingResolved(command_id=command_id, finding=command.finding)
        return Decision(reply=reply, events=(event,), audience=audience)

    async def _decide_annotation(
        self, command: AnnotateFinding, caller: Caller, command_id: str, _: datetime
    ) -> Decision[FindingAnnotated]:
        event, audience = await self._said(ANNOTATE, command, caller)
        reply = FindingAnnotated(command_id=command_id, finding=command.finding)
        return Decision(reply=reply, events=(event,), audience=audience)

    async def _said(
        self, action: str, command: ResolveFinding | AnnotateFinding, caller: Caller
    ) -> tuple[EventBody, Audience]:
        audiences = await self._sight.of(caller.name)
        case = find_case((await self._findings.findings(audiences)).cases, command.finding)
        unseen = [one for one in command.evidence if not await self._sees(one, audiences)]
        event = command_event(action, case, command, unseen=unseen)
        return event, self._spaces.audience_now(case.audience)

    async def _sees(self, record: int, audiences: frozenset[Audience]) -> bool:
        stored = await self._log.record(record)
        return stored is not None and audience_of(stored.leaf) in audiences

    async def _concerned(
        self, command: ResolveFinding | AnnotateFinding, caller: Caller
    ) -> Audience:
        """To whom a refusal is told: of a finding that the caller does not see, to everybody."""
        found = await self._findings.findings(await self._sight.of(caller.name))
        told = {case.id: case.audience for case in found.cases}
        return self._spaces.audience_now(told.get(command.finding, PUBLIC))
