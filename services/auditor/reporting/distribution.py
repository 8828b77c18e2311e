# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of the log -> what was handed out to whom.

Pure: the same records give the same report, whatever order they came in.

Rules:
 * The catalog alone is believed about it.
 * One archive is one entry, whoever it went to; two that share name and version are two.
 * Of one principal and destination it is said when and how often; times are the catalog's clock's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from services.auditor.reporting.pruned import pruned_through
from shared.audit_formats.tables import csv_table
from shared.contracts.audit import AuditRecord
from shared.contracts.distribution import (
    DISTRIBUTE,
    DistributedVersion,
    DistributionReport,
    Recipient,
)
from shared.contracts.events import PUBLIC, Event
from shared.moments import read_time

CATALOG: Final = "catalog"


class _Archive(NamedTuple):
    package: str
    version: str
    archive_sha256: str
    space: str


class _To(NamedTuple):
    key: str
    role: str
    destination: str


class _Handed(NamedTuple):
    at: str
    record: int


def distribution_report(
    records: Iterable[AuditRecord],
    *,
    since: str,
    until: str,
    tree_size: int,
    prunings: Iterable[AuditRecord] = (),
) -> DistributionReport:
    """What was handed out.

    Args:
        records: Those of the range; others than DISTRIBUTE are passed over.
        since: First moment of the range, RFC 3339; empty: from the beginning.
        until: First moment behind it.
        tree_size: Leaves of the log that they are from.
        prunings: What the log says of records that were pruned (`pruned.PRUNINGS`).
    """
    through = pruned_through(prunings)
    found: dict[_Archive, dict[_To, list[_Handed]]] = {}
    said: dict[_Archive, tuple[int, dict[str, Any]]] = {}
    for record in records:
        event = record.event
        if event is None or record.problem or not _is_handing(event):
            continue
        body = event.data
        details = body.details
        space = "" if event.audience == PUBLIC else event.audience
        digest = str(details.get("archive_sha256", ""))
        archive = _Archive(body.package, body.version, digest, space)
        actor = body.actor
        to = _To(
            actor.key if actor is not None else "",
            actor.role if actor is not None else "",
            str(details.get("destination", "")),
        )
        found.setdefault(archive, {}).setdefault(to, []).append(_Handed(event.time, record.index))
        first = said.get(archive)
        if first is None or record.index < first[0]:
            said[archive] = (record.index, details)
    versions = (
        _version(archive, said[archive][1], handed) for archive, handed in sorted(found.items())
    )
    return DistributionReport(
        since=since,
        until=until,
        tree_size=tree_size,
        pruned_through=through if _reaches(through, since) else "",
        versions=tuple(versions),
    )


def _reaches(through: str, since: str) -> bool:
    return bool(through) and (not since or read_time(through) >= read_time(since))


COLUMNS: Final = (
    "package", "version", "archive_sha256", "licence", "space", "recipient", "role",
    "destination", "times", "first_at", "last_at", "first_record", "last_record",
)  # fmt: skip


def distribution_csv(report: DistributionReport) -> str:
    """A line for each archive and recipient."""
    return csv_table(
        COLUMNS,
        (
            (
                one.package, one.version, one.archive_sha256, one.licence, one.space, to.key,
                to.role, to.destination, to.times, to.first_at, to.last_at, to.first_record,
                to.last_record,
            )
            for one in report.versions
            for to in one.recipients
        ),
    )  # fmt: skip


def _is_handing(event: Event) -> bool:
    return event.emitter == CATALOG and event.data.action == DISTRIBUTE


def _version(
    archive: _Archive, details: dict[str, Any], handed: dict[_To, list[_Handed]]
) -> DistributedVersion:
    size_bytes = details.get("size_bytes", 0)
    return DistributedVersion(
        package=archive.package,
        version=archive.version,
        archive_sha256=archive.archive_sha256,
        manifest_sha256=str(details.get("manifest_sha256", "")),
        licence=str(details.get("licence", "")),
        space=archive.space,
        size_bytes=size_bytes if isinstance(size_bytes, int) else 0,
        recipients=tuple(_recipient(to, times) for to, times in sorted(handed.items())),
    )


def _recipient(to: _To, handed: list[_Handed]) -> Recipient:
    first, last = min(handed), max(handed)
    return Recipient(
        key=to.key,
        role=to.role,
        destination=to.destination,
        times=len(handed),
        first_at=first.at,
        last_at=last.at,
        first_record=first.record,
        last_record=last.record,
    )
