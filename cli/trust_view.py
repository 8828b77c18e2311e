# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How trust documents look to people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from cli.console import plain
from cli.moments import shown_moment
from shared.contracts.base import Message
from shared.contracts.catalog import PackagePublished, PackageVersion
from shared.contracts.trust import TrustDocument, TrustedKey, TrustSet

NORMAL = "THE CATALOG RUNS IN TRUST MODE normal: it takes what nobody signed"


class TrustPrinted(Message, frozen=True, kw_only=True):
    """What `--json` prints of a document."""

    document: TrustDocument
    mode: str = ""
    """The catalog's; empty: it was not asked."""
    clock: str = ""
    """The key of the catalog's receipts; empty: it was not asked."""


def render_trust(printed: TrustPrinted) -> RenderableType:
    """The document, a line for each key."""
    document = printed.document
    facts = Table.grid(padding=(0, 2))
    facts.add_row("namespace", plain(document.namespace))
    facts.add_row("version", f"{document.version}, of {shown_moment(document.issued_at)}")
    facts.add_row("must sign", f"{document.threshold} of {len({k.name for k in document.keys})}")
    for clock in document.clocks:
        facts.add_row("catalog's key", clock)
    parts: list[RenderableType] = [facts]
    if printed.mode == "normal":
        parts.insert(0, Text(NORMAL, style="bold red"))
    if printed.clock and printed.clock not in document.clocks:
        warning = f"the catalog's receipts are signed by {printed.clock}, which is not named here"
        parts.append(Text(warning, style="bold red"))
    if not document.keys:
        parts.append(Text("it trusts nobody: l3af trust add-key NAME"))
        return Group(*parts)
    table = Table("name", "may sign", "packages", "state", Column("key", overflow="fold"), box=None)
    for key in document.keys:
        may = ", ".join(key.roles) + (" (foreign)" if key.is_foreign else "")
        globs = plain(", ".join(key.packages))
        table.add_row(plain(key.name), may, globs, _state(key), key.key)
    return Group(*parts, table)


def render_pushed(pushed: TrustSet) -> RenderableType:
    """The version that is in force."""
    return Text(f"{pushed.namespace}: version {pushed.version} is in force ({pushed.sha256})")


def trust_facts(package: PackageVersion) -> dict[str, str | Text]:
    """Who signed a version, whose word that is, and how it was built."""
    keys = ", ".join(one.keyid for one in package.signed.manifest.signatures) or "nobody"
    facts: dict[str, str | Text] = {"signed by": keys}
    note = package.trust
    if note is not None and note.document:
        facts["trusted"] = (
            f"{', '.join(note.signers)}, by trust document {note.document} of {note.namespace}"
        )
    if note is not None and note.warning:
        facts["trusted"] = Text(plain(note.warning), style="bold red")
    if package.provenance is not None:
        facts["provenance"] = f"l3af package provenance {package.manifest.name} {package.version}"
    return facts


def warning_facts(published: PackagePublished) -> dict[str, str | Text]:
    """What trust mode `normal` let pass."""
    if not published.warnings:
        return {}
    return {"warning": Text(plain("; ".join(published.warnings)), style="bold red")}


def _state(key: TrustedKey) -> str:
    if key.revoked_at:
        kept = "older kept" if key.older_signatures == "keep" else "older rejected"
        return f"revoked {shown_moment(key.revoked_at)}, {kept}"
    words = []
    if key.not_before:
        words.append(f"from {shown_moment(key.not_before)}")
    if key.not_after:
        words.append(f"until {shown_moment(key.not_after)}")
    return " ".join(words) or "valid"
