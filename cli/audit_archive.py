# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit archive`: segments of pruned records, and whether they are the log's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.moments import shown_moment
from cli.proof_files import trusted_key
from cli.session import connected
from services.auditor.checkpoint import VerifierKey, parse_verifier_key
from services.auditor.log_keys import follow_keys
from services.auditor.retention.segments import SegmentHead, VerifiedSegment, verify_segment
from shared.canonical import sha256_hex
from shared.contracts.retention import LIST_SEGMENTS, ListSegments, SegmentsShown
from shared.errors import FaultError

NEEDS_ATTENTION = 1

app = cyclopts.App(name="archive", help="Records that were archived.")


class SegmentVerified(msgspec.Struct, frozen=True, kw_only=True):
    """What `archive verify --json` prints of a segment that holds."""

    verified: bool = True
    sha256: str
    """Of the file: the log says it in the record that pruned them."""
    origin: str
    tree_size: int
    """Of the signed head that the records lead to."""
    rule: str
    audience: str
    records: int
    first: int
    last: int
    unproved: int
    """Bodies that only the file's digest vouches for: words of persons are kept apart."""
    key_source: str
    """Whose word it is that the key is the log's."""


@app.command(name="list")
def list_(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show what was archived; exit status 1: a file is not the one that the log speaks of."""

    async def asked() -> SegmentsShown:
        found: list[SegmentsShown] = []
        async with connected(credentials) as bus:
            while not found or found[-1].next is not None:
                after = -1 if not found else (found[-1].next or 0)
                found.append(await bus.request(LIST_SEGMENTS, ListSegments(after=after)))
        return SegmentsShown(segments=tuple(one for page in found for one in page.segments))

    shown = run(asked(), json=json)
    emit(shown, _table, json=json)
    if any(one.problem for one in shown.segments):
        sys.exit(NEEDS_ATTENTION)


@app.command
def verify(
    file: Path,
    *,
    key: Annotated[str, Parameter(help="The log's verifier key that you trust.")] = "",
    json: JsonFlag = False,
) -> None:
    """Check a segment against the log's key; needs no server and no credentials.

    Parameters
    ----------
    file
        From the auditor's archive.
    """
    with refusing(json=json):
        try:
            data = file.read_bytes()
        except OSError as error:
            raise FaultError(f"{file}: cannot be read: {error.strerror}") from error
        trusted, source = trusted_key(key)

        def key_of(head: SegmentHead) -> VerifierKey:
            first = parse_verifier_key(trusted or head.verifier_key)
            return follow_keys(first, head.key_chain)[-1]

        found = verify_segment(data, key_of=key_of)
    emit(_verified(found, data, source or "the segment's own word"), _said, json=json)


def _verified(found: VerifiedSegment, data: bytes, source: str) -> SegmentVerified:
    return SegmentVerified(
        sha256=sha256_hex(data),
        origin=found.tree.origin,
        tree_size=found.tree.size,
        rule=found.head.rule,
        audience=found.head.audience,
        records=len(found.records),
        first=found.head.first,
        last=found.head.last,
        unproved=found.unproved,
        key_source=source,
    )


def _said(one: SegmentVerified) -> RenderableType:
    proved = f"each leads to its signed head of {one.tree_size}"
    lines = [
        f"{one.records} records, {one.first} to {one.last}, are those of {one.origin}: {proved}",
        f"pruned by rule {one.rule}, told to {one.audience}",
        f"SHA-256 {one.sha256}; the log's key, by {one.key_source}",
    ]
    if one.unproved:
        lines.append(f"of {one.unproved} bodies only that digest says that they are the archived")
    return Text("\n".join(map(plain, lines)))


def _table(shown: SegmentsShown) -> RenderableType:
    if not shown.segments:
        return Text("nothing was archived")
    table = Table(box=None, pad_edge=False)
    for column in ("segment", "pruned", "rule", "records", "said by", ""):
        table.add_column(column, overflow="fold")
    for one in shown.segments:
        table.add_row(
            plain(one.name),
            shown_moment(one.at),
            plain(one.rule),
            f"{one.records} ({one.first} to {one.last})",
            str(one.record),
            Text(plain(one.problem), style="red"),
        )
    return table
