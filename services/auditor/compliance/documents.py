# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Findings as files that somebody hands in: CSV and HTML.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from shared.audit_formats.pages import PageTable, html_page
from shared.audit_formats.tables import csv_table
from shared.contracts.findings import Finding, FindingChange, FindingsShown

FindingsFormat = Literal["csv", "html"]
_COLUMNS: Final = (
    "finding",
    "state",
    "since",
    "kind",
    "rule",
    "outcome",
    "package",
    "version",
    "archive_sha256",
    "deployment",
    "nodes",
    "opened_at",
    "open_seconds",
    "waived_seconds",
    "times_opened",
    "cause",
    "waivers",
    "until",
    "records",
    "actor_key",
    "actor_role",
    "reason",
    "audience",
)


def findings_csv(page: FindingsShown) -> str:
    """A line for each finding; of its history the last change."""
    return csv_table(_COLUMNS, (_cells(one) for one in page.findings))


def findings_html(page: FindingsShown) -> str:
    """One file: a table of findings, and one of every change with its records."""
    states = Counter(one.state for one in page.findings)
    counted = ", ".join(f"{states[one]} {one}" for one in ("open", "waived", "resolved"))
    remarks = [f"As of {page.at}, from {page.tree_size} records of the audit log: {counted}."]
    if page.unread:
        remarks.append(f"{page.unread} records cannot be read: this may not be all.")
    listed = (
        "finding", "state", "since", "what", "where", "open since", "days open", "times opened"
    )  # fmt: skip
    changed = ("finding", "at", "becomes", "because of", "records", "waivers, until", "who", "why")
    rows = (
        (
            one.id,
            one.state,
            one.state_since,
            what_of(one),
            where_of(one),
            one.opened_at,
            f"{one.open_seconds / 86400:.1f}",
            one.times_opened,
        )
        for one in page.findings
    )
    changes = (
        (
            one.id,
            change.at,
            change.state,
            change.cause,
            " ".join(map(str, change.records)),
            grace_of(change),
            f"{change.actor_role} {change.actor_key}".strip(),
            change.reason,
        )
        for one in page.findings
        for change in one.history
    )
    return html_page(
        "Compliance findings",
        remarks=remarks,
        tables=(
            PageTable("Findings", listed, rows),
            PageTable("What happened, and the records that prove it", changed, changes),
        ),
    )


FINDINGS_DOCUMENTS: Final[Mapping[FindingsFormat, Callable[[FindingsShown], str]]] = {
    "csv": findings_csv,
    "html": findings_html,
}


def what_of(finding: Finding) -> str:
    """As `policy-groups (refused)`."""
    if finding.kind == "revoked-runs":
        return "revoked, and deployed"
    return finding.rule + (f" ({finding.outcome})" if finding.outcome else "")


def where_of(finding: Finding) -> str:
    """Version and deployment."""
    version = f"{finding.package} {finding.version}".strip()
    return f"{finding.deployment}: {version}" if finding.deployment else version


def grace_of(change: FindingChange) -> str:
    """The waivers that a change is about, and until when they are in force."""
    return " ".join(change.waivers) + (f", until {change.until}" if change.until else "")


def _cells(one: Finding) -> Sequence[object]:
    last = one.history[-1]
    return (
        one.id,
        one.state,
        one.state_since,
        one.kind,
        one.rule,
        one.outcome,
        one.package,
        one.version,
        one.archive_sha256,
        one.deployment,
        " ".join(one.nodes),
        one.opened_at,
        one.open_seconds,
        one.waived_seconds,
        one.times_opened,
        last.cause,
        " ".join(last.waivers),
        last.until,
        " ".join(map(str, last.records)),
        last.actor_key,
        last.actor_role,
        last.reason,
        one.audience,
    )
