# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports that the auditor makes by a plan: what of, when, and the ones that were made."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.findings import FindingState
from shared.contracts.licence_reports import LicenceGrouping
from shared.contracts.sbom import BillFormat
from shared.contracts.selectors import LabelRule
from shared.contracts.spaces import SpaceOrAny, SpaceText
from shared.identifiers import Token

MAKE: Final = "report.make"
SCHEDULE_SET: Final = "schedule.set"
SCHEDULE_REMOVED: Final = "schedule.remove"
PART_BYTES: Final = 256 * 1024
"""Of a report in one message."""
MAX_REPORT_BYTES: Final = 64 * 1024 * 1024
MAX_SCHEDULES: Final = 50
"""In one space."""

StandardName = Literal["pci-dss", "openchain"]
Covers = Literal["day", "week", "month", "quarter", "year"]
"""Of the calendar in the schedule's time zone: the last one that was over when the report was due.
Weeks begin on Monday (ISO 8601)."""
NodeOrAll = Annotated[str, Meta(max_length=63)]
PackageOrAll = Annotated[str, Meta(max_length=63)]


class _Options(Document, frozen=True, kw_only=True, tag_field="kind"):
    """What a report is of."""


class DistributionOptions(_Options, frozen=True, kw_only=True, tag="distribution"):
    """What was handed out to whom."""

    package: PackageOrAll = ""
    """Empty: every package."""
    format: Literal["json", "csv"] = "json"


class BillOptions(_Options, frozen=True, kw_only=True, tag="sbom"):
    """Bill of materials of what ran."""

    of: Literal["end", "range"] = "end"
    """When the time ended, with every hook point; or at any moment of it, with every chain."""

    node: NodeOrAll = ""
    """Empty: every node."""
    format: BillFormat = "cyclonedx"


class FindingsOptions(_Options, frozen=True, kw_only=True, tag="findings"):
    """Findings of compliance as they were when the time ended, without those resolved before it."""

    package: PackageOrAll = ""
    """Empty: every package."""
    state: FindingState | Literal[""] = ""
    """Empty: every state."""
    format: Literal["json", "csv", "html"] = "json"


class LicencesOptions(_Options, frozen=True, kw_only=True, tag="licences"):
    """Under which licences nodes ran in the time."""

    by: LicenceGrouping = "licence"
    node: Annotated[str, Meta(max_length=128)] = ""
    """Glob over nodes' names; empty: all."""
    labels: Annotated[tuple[LabelRule, ...], Meta(max_length=64)] = ()
    """Rules for the labels that a node had when the time ended; all must hold."""
    format: Literal["json", "csv", "html"] = "json"


class EvidenceOptions(_Options, frozen=True, kw_only=True, tag="evidence"):
    """What a standard asks, and what the log has to show for it; as JSON."""

    standard: StandardName


ReportOptions = (
    DistributionOptions | BillOptions | EvidenceOptions | FindingsOptions | LicencesOptions
)


class ReportSchedule(Document, frozen=True, kw_only=True):
    """One report, made again and again."""

    name: Token
    space: SpaceText = PUBLIC
    """Who may have it: its members, of `public` everybody with the right.  The report holds what
    they see: what was told to this space, and to everybody."""
    report: ReportOptions
    covers: Covers = "month"
    cron: Annotated[str, Meta(min_length=9, max_length=100)]
    """When it is due, as crontab(5): minute, hour, day, month, day of week."""
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    """Name of the IANA database that `cron` and `covers` are read in."""
    keep: Annotated[int, Meta(ge=1, le=400)] = 24
    """So many are kept, the newest."""


class ReportScheduleRecord(Message, frozen=True, kw_only=True):
    """KV `report_schedules`, key `<space>.<name>`."""

    name: str
    space: Audience
    schedule: ReportSchedule | None = None
    """Null: it was removed."""
    removes_reports: bool = False
    """Whether those that were made go with it."""
    generation: int
    """Up by one with every accepted command."""
    command_id: str
    actor_key: str
    actor_role: str
    at: str
    """Nothing that was due before is made."""
    reason: str = ""


class KeptReport(Message, frozen=True, kw_only=True):
    """One report that was made.  KV `reports`, key `<space>.<name>.<due as 20260102T030405Z>`."""

    name: str
    space: Audience
    due: str
    """RFC 3339 UTC."""
    since: str
    until: str
    """The first moment behind what it covers."""
    kind: str
    format: str
    sha256: str = ""
    """Empty: it could not be made."""
    size_bytes: int = 0
    tree_size: int
    """Leaves of the log that it was made from."""
    made_at: str
    problem: str = ""
    """Why it could not be made."""
    generation: int
    """Of the schedule."""
    command_id: str = ""
    """The step that wrote this."""


class ReportPart(Message, frozen=True, kw_only=True):
    """KV `report_parts`, key `<sha256 of the whole>.<number>`: PART_BYTES, fewer at the end.

    Under `draft.<sha256>` it is noted, while a report is being kept, that its parts are.
    """

    data: bytes


REPORT_SCHEDULES: Final = Bucket("report_schedules", ReportScheduleRecord)
REPORTS: Final = Bucket("reports", KeptReport)
REPORT_PARTS: Final = Bucket("report_parts", ReportPart)


class ListSchedules(Request, frozen=True, kw_only=True):
    """Every schedule of what the caller sees."""


class ScheduleView(Message, frozen=True, kw_only=True):
    """One schedule."""

    schedule: ReportSchedule
    generation: int
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""
    next_due: str = ""
    """Empty: at no time within fifty years."""


class ScheduleList(Message, frozen=True, kw_only=True):
    """By space and name."""

    schedules: tuple[ScheduleView, ...]


class SetSchedule(Command, frozen=True, kw_only=True):
    """A report is made by this plan from now on."""

    schedule: ReportSchedule
    if_generation: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """What the generation must be, 0 of a new one, so that nobody's change is overwritten unseen;
    null: any."""


class ScheduleSet(Accepted, frozen=True, kw_only=True):
    """In force."""

    generation: int


class RemoveSchedule(Command, frozen=True, kw_only=True):
    """It is made no more."""

    name: Token
    space: SpaceText = PUBLIC
    with_reports: bool = False
    """Also those that were made are there no more."""


class ScheduleRemoved(Accepted, frozen=True, kw_only=True):
    """It is made no more."""

    generation: int


class ListReports(Request, frozen=True, kw_only=True):
    """Reports that were made, of what the caller sees."""

    name: Annotated[str, Meta(max_length=63)] = ""
    """Empty: all."""
    space: SpaceOrAny = ""
    after: Annotated[str, Meta(max_length=200)] = ""
    """Go on behind this one: `next` of the page before."""


class ReportList(Message, frozen=True, kw_only=True):
    """By space, name and time, the newest of each first; one page."""

    reports: tuple[KeptReport, ...]
    next: str = ""
    """Where the next page goes on; empty: this is the end."""


class GetReport(Request, frozen=True, kw_only=True):
    """A part of one report; reading it is recorded."""

    name: Token
    space: SpaceText = PUBLIC
    due: Annotated[str, Meta(max_length=40)] = ""
    """Empty: the newest that could be made."""
    part: Annotated[int, Meta(ge=0, le=MAX_REPORT_BYTES // PART_BYTES)] = 0


class ReportShown(Message, frozen=True, kw_only=True):
    """One part; all parts together have the report's digest."""

    report: KeptReport
    data: bytes


LIST_SCHEDULES: Final = Endpoint(f"{API}.auditor.schedule.list", ListSchedules, ScheduleList)
SET_SCHEDULE: Final = Endpoint(f"{API}.auditor.schedule.set", SetSchedule, ScheduleSet)
REMOVE_SCHEDULE: Final = Endpoint(f"{API}.auditor.schedule.remove", RemoveSchedule, ScheduleRemoved)
LIST_REPORTS: Final = Endpoint(f"{API}.auditor.report.list", ListReports, ReportList)
GET_REPORT: Final = Endpoint(f"{API}.auditor.report.get", GetReport, ReportShown)
