# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What reports there are, and how each is made from the log.

Pure but for the asking.  A kind of report is a type of options in `shared.contracts.reports` and an
entry in MAKERS here.

Rules:
 * A report is bytes that follow from the log up to `tree_size`, the options and the range alone.
 * It holds what the log's reader sees (`ReportLog`), and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from services.auditor.compliance.documents import FINDINGS_DOCUMENTS
from services.auditor.compliance.listing import FoundFindings, all_findings
from services.auditor.records import parse_time_us
from services.auditor.reporting.distribution import distribution_csv, distribution_report
from services.auditor.reporting.evidence import MOST, Found, LogFacts, evidence_list
from services.auditor.reporting.licence_documents import LICENCE_DOCUMENTS
from services.auditor.reporting.licences import licence_report
from services.auditor.reporting.pruned import PRUNINGS, pruned_through
from services.auditor.reporting.schedules import Covered
from services.auditor.told_places import Range, RanSpans
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.findings import ListFindings
from shared.contracts.inventory import ChainInRange, HookRun
from shared.contracts.licence_reports import ReportLicences
from shared.contracts.log_health import LogHealth
from shared.contracts.reports import (
    BillOptions,
    DistributionOptions,
    EvidenceOptions,
    FindingsOptions,
    LicencesOptions,
    ReportOptions,
)
from shared.moments import read_time
from shared.sbom.running import ran_between, ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS


class ReportLog(Protocol):
    """The log as one report reads it: up to one record, and what is told to its readers."""

    @property
    def tree_size(self) -> int:
        """Leaves that are looked at."""

    @property
    def now(self) -> datetime:
        """When the report is made."""

    def records(self, question: StreamRecords) -> AsyncIterator[AuditRecord]:
        """Records that match, in the question's order, each once."""

    async def running(self, at: str, *, node: str = "") -> list[HookRun]:
        """What ran at a moment, by place.

        Raises:
            RefusedError: That is not known any more.
        """

    async def chains(self, covers: Covered, *, node: str = "") -> list[ChainInRange]:
        """What ran at any moment of a range.

        Raises:
            RefusedError: That is not known any more of all of it.
        """

    async def findings(self, at: str) -> FoundFindings:
        """Every finding of compliance as of a moment."""

    async def licensed(self, request: ReportLicences, asked: Range) -> RanSpans:
        """What ran within a range, for a licence report.

        Raises:
            RefusedError: That is not known any more of all of it.
        """

    async def health(self) -> LogHealth:
        """What about the log needs attention now."""


Maker = Callable[[ReportLog, Any, Covered], Awaitable[bytes]]


async def made_report(log: ReportLog, options: ReportOptions, covers: Covered) -> bytes:
    """The report.

    Raises:
        FaultError: The log cannot be read now.
    """
    return await MAKERS[type(options)](log, options, covers)


def kind_of(options: ReportOptions) -> str:
    """What reports of these options are called."""
    return str(options.__struct_config__.tag)


def format_of(options: ReportOptions) -> str:
    """What a report of these options is written in."""
    return str(getattr(options, "format", "json"))


async def _distribution(log: ReportLog, options: DistributionOptions, covers: Covered) -> bytes:
    question = StreamRecords(
        since=covers.since,
        until=covers.until,
        action=DISTRIBUTE,
        package=options.package,
        order="oldest",
    )
    report = distribution_report(
        [record async for record in log.records(question)],
        since=covers.since,
        until=covers.until,
        tree_size=log.tree_size,
        prunings=[record async for record in log.records(PRUNINGS)],
    )
    return distribution_csv(report).encode() if options.format == "csv" else _json(report)


async def _bill(log: ReportLog, options: BillOptions, covers: Covered) -> bytes:
    if options.of == "range":
        found = await log.chains(covers, node=options.node)
        ran = ran_between(
            found,
            since=covers.since,
            until=covers.until,
            tree_size=log.tree_size,
            node=options.node,
        )
        return RUNNING_DOCUMENTS[options.format](ran).encode()
    runs = await log.running(covers.until, node=options.node)
    ran = ran_then(runs, at=covers.until, tree_size=log.tree_size, node=options.node)
    return RUNNING_DOCUMENTS[options.format](ran).encode()


async def _findings(log: ReportLog, options: FindingsOptions, covers: Covered) -> bytes:
    asked = ListFindings(since=covers.since, package=options.package, state=options.state)
    report = all_findings(asked, await log.findings(covers.until))
    if options.format == "json":
        return _json(report)
    return FINDINGS_DOCUMENTS[options.format](report).encode()


async def _licences(log: ReportLog, options: LicencesOptions, covers: Covered) -> bytes:
    request = ReportLicences(
        since=covers.since, until=covers.until, node=options.node, labels=options.labels
    )
    asked = Range(parse_time_us(covers.since), parse_time_us(covers.until))
    ran = await log.licensed(request, asked)
    report = licence_report(ran._replace(tree_size=log.tree_size), asked, by=options.by)
    if options.format == "json":
        return _json(report)
    return LICENCE_DOCUMENTS[options.format](report).encode()


async def _evidence(log: ReportLog, options: EvidenceOptions, covers: Covered) -> bytes:
    async def find(question: StreamRecords) -> Found:
        found: list[int] = []
        async for record in log.records(question):
            if len(found) == MOST:
                return Found(MOST, more=True, newest=found[0])
            found.append(record.index)
        return Found(len(found), more=False, newest=found[0] if found else None)

    kept_since = None
    async for oldest in log.records(StreamRecords(order="oldest", limit=1)):
        kept_since = read_time(oldest.received_at) if oldest.received_at else None
        break
    through = pruned_through([record async for record in log.records(PRUNINGS)])
    facts = LogFacts(await log.health(), kept_since, log.now, through)
    asked = StreamRecords(since=covers.since, until=covers.until)
    return _json(await evidence_list(options.standard, asked, facts, find))


def _json(report: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


MAKERS: Final[Mapping[type[Any], Maker]] = {
    BillOptions: _bill,
    DistributionOptions: _distribution,
    EvidenceOptions: _evidence,
    FindingsOptions: _findings,
    LicencesOptions: _licences,
}
