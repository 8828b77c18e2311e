# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A licence report as a document to hand in: CSV, or one HTML file that is read and printed.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from shared.audit_formats.pages import PageTable, html_page
from shared.audit_formats.tables import csv_table
from shared.contracts.licence_reports import (
    LicenceGrouping,
    LicenceReport,
    LicenceUse,
    UsedArchive,
)

NOT_SAID: Final = "(not said)"
_HOUR_SECONDS: Final = 3600.0
_DIGITS: Final = 12
_Column = tuple[str, Callable[[LicenceUse], object]]


def _hours(seconds: float) -> str:
    return f"{seconds / _HOUR_SECONDS:.2f}"


_LEADING: Final[dict[LicenceGrouping, tuple[_Column, ...]]] = {
    "licence": (
        ("licence", lambda row: row.name or NOT_SAID),
        ("declared", lambda row: row.declared),
    ),
    "obligation": (
        ("obligation", lambda row: row.name),
        ("licence", lambda row: row.licence or NOT_SAID),
        ("clause", lambda row: row.clause),
    ),
    "package": (("package", lambda row: row.name or NOT_SAID),),
}
_FIGURES: Final[tuple[_Column, ...]] = (
    ("nodes", lambda row: row.nodes),
    ("hook points", lambda row: row.hook_points),
    ("node-hours", lambda row: _hours(row.node_seconds)),
    ("first", lambda row: row.since),
    ("last", lambda row: row.until or "it runs"),
    ("record", lambda row: row.record),
    ("archives", lambda row: row.archive_count),
    ("findings", lambda row: ", ".join(row.findings)),
    ("waivers", lambda row: ", ".join(row.waivers)),
)


def columns_of(by: LicenceGrouping) -> list[str]:
    """Headings of a table."""
    return [name for name, _ in (*_LEADING[by], *_FIGURES)]


def cells_of(row: LicenceUse, by: LicenceGrouping) -> list[str]:
    """One row of a table."""
    return [str(read(row)) for _, read in (*_LEADING[by], *_FIGURES)]


_CSV_COLUMNS: Final = (
    "name", "declared", "elected", "licence", "clause", "since", "until", "record", "nodes",
    "hook_points", "node_seconds", "hook_point_seconds", "node_names", "package", "version",
    "archive_sha256", "objects", "archive_declared", "archive_elected", "findings", "waivers",
)  # fmt: skip


def licences_csv(report: LicenceReport) -> str:
    """A line for each row and archive; of a row without archives one."""
    return csv_table(_CSV_COLUMNS, _csv_rows(report))


def _csv_rows(report: LicenceReport) -> Iterable[Sequence[object]]:
    for row in report.rows:
        for one in row.archives or (UsedArchive(package=""),):
            yield (
                row.name, row.declared, row.elected, row.licence, row.clause, row.since, row.until,
                row.record, row.nodes, row.hook_points, row.node_seconds, row.hook_point_seconds,
                " ".join(row.node_names), one.package, one.version, one.archive_sha256,
                " ".join(one.objects), "; ".join(one.declared), "; ".join(one.elected),
                "; ".join(row.findings), " ".join(row.waivers),
            )  # fmt: skip


def licences_html(report: LicenceReport) -> str:
    """One file: what ran under which licences, and of what that was."""
    return html_page(
        f"Licences by {report.by}",
        remarks=(summary(report), f"Worked out of the audit log as of {report.tree_size} records."),
        tables=(
            PageTable(
                f"By {report.by}",
                columns_of(report.by),
                [cells_of(row, report.by) for row in report.rows],
            ),
            PageTable(
                "What it was",
                ("of", "package", "version", "archive", "declared", "taken under"),
                [
                    (
                        row.name or NOT_SAID, one.package or NOT_SAID, one.version,
                        one.archive_sha256, "; ".join(one.declared), "; ".join(one.elected),
                    )
                    for row in report.rows
                    for one in row.archives
                ],
            ),
            PageTable(
                "Where",
                ("of", "nodes"),
                [(row.name or NOT_SAID, _nodes(row)) for row in report.rows],
            ),
        ),
    )  # fmt: skip


def summary(report: LicenceReport) -> str:
    """The range and how much ran, in a sentence."""
    nodes = f"{report.nodes} node{'s' if report.nodes != 1 else ''}"
    points = f"{report.hook_points} hook point{'s' if report.hook_points != 1 else ''}"
    return f"From {report.since} until {report.until}: {nodes}, {points}."


def _nodes(row: LicenceUse) -> str:
    left = row.nodes - len(row.node_names)
    return " ".join(row.node_names) + (f" and {left} more" if left else "")


LICENCE_DOCUMENTS: Final[Mapping[Literal["csv", "html"], Callable[[LicenceReport], str]]] = {
    "csv": licences_csv,
    "html": licences_html,
}
"""What makes each format."""
