# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which licences the fleet ran in a range of time, and what they ask for: from the log."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.selectors import LabelRule

LicenceGrouping = Literal["licence", "obligation", "package"]
MAX_NAMED: Final = 1_000
"""Nodes, and archives, that one row names; it counts all."""


class UsedArchive(Message, frozen=True, kw_only=True):
    """One archive of which programs ran."""

    package: str
    version: str = ""
    archive_sha256: str = ""
    objects: tuple[str, ...] = ()
    """SHA-256 of each object that was loaded, as far as it was said."""
    declared: tuple[str, ...] = ()
    """SPDX expressions; none: nobody said one."""
    elected: tuple[str, ...] = ()
    """The choices that were taken of them."""


class LicenceUse(Message, frozen=True, kw_only=True):
    """One licence, obligation or package, and where it ran."""

    key: str
    """Tells it from all others; where the next page goes on."""
    name: str
    """The choice that was taken, else the expression; the obligation; the package.  Empty: nobody
    said it."""
    declared: str = ""
    """By licence: the expression that was declared."""
    elected: str = ""
    """By licence: the choice that was taken; empty: none was elected."""
    licence: str = ""
    """By obligation: the licence that it is of."""
    clause: str = ""
    """By obligation: where the licence says so."""
    since: str
    """When it ran first within the range, RFC 3339 UTC."""
    until: str = ""
    """When it ran for the last time; empty: it ran at the end of the range."""
    record: int
    """Index of the record that says what ran at `since`."""
    nodes: int
    hook_points: int
    node_seconds: float
    """Of each node the time in which it ran there, on however many hook points."""
    hook_point_seconds: float
    """Of each hook point the same."""
    node_names: tuple[str, ...] = ()
    """The first MAX_NAMED."""
    archive_count: int = 0
    archives: tuple[UsedArchive, ...] = ()
    """The first MAX_NAMED, by package, version and digest."""
    findings: tuple[str, ...] = ()
    """Rules that did not simply hold of them at publication, as `source-present: review`."""
    waivers: tuple[str, ...] = ()
    """By whose grace they were published."""


class ReportLicences(Request, frozen=True, kw_only=True):
    """What ran within a range of time, by the nodes' clocks, and under which licences."""

    since: str = ""
    """RFC 3339, inclusive; empty: from the beginning."""
    until: str = ""
    """RFC 3339, exclusive; empty, or in the future: now."""
    by: LicenceGrouping = "licence"
    node: Annotated[str, Meta(max_length=128)] = ""
    """Glob over nodes' names; empty: all."""
    labels: Annotated[tuple[LabelRule, ...], Meta(max_length=64)] = ()
    """Rules for the labels that a node had at the end of the range; all must hold."""
    space: Annotated[str, Meta(max_length=80)] = ""
    """Only what was told to this audience; one that the caller does not see has nothing."""
    after: Annotated[str, Meta(max_length=4096)] = ""
    """Go on behind the row with this key: `next` of the page before."""


class LicenceReport(Message, frozen=True, kw_only=True):
    """Rows by key; one page."""

    since: str
    until: str
    by: LicenceGrouping
    rows: tuple[LicenceUse, ...]
    nodes: int
    """On which anything ran."""
    hook_points: int
    tree_size: int
    """Leaves in the log when this was read."""
    next: str = ""
    """Where the next page goes on; empty: this is the end."""


REPORT_LICENCES: Final = Endpoint(f"{API}.auditor.licence.report", ReportLicences, LicenceReport)
