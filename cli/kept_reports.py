# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report list|get`: reports that were made by a schedule."""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run, say
from cli.moments import parse_moment, shown_moment
from cli.report_schedules import ReportSpaceOption
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.events import PUBLIC
from shared.contracts.reports import (
    GET_REPORT,
    LIST_REPORTS,
    GetReport,
    KeptReport,
    ListReports,
    ReportList,
)
from shared.errors import FaultError, Reason, VerificationError
from shared.validation import convert_document

PATIENCE_SECONDS: Final = 30.0
SHOWN_DIGITS: Final = 12


def list_(
    name: str = "",
    *,
    space: Annotated[str, Parameter(help="Only those of this space.")] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Reports that were made, the newest of each first.

    Parameters
    ----------
    name
        Of one schedule; left out: all.
    """
    fields = {"name": name, "space": space}
    with refusing(json=json):
        wanted = convert_document(fields, ListReports, what="audit report list")

    async def asked() -> ReportList:
        async with connected(credentials) as bus:
            found: list[KeptReport] = []
            page = await bus.request(LIST_REPORTS, wanted)
            found += page.reports
            while page.next:
                following = msgspec.structs.replace(wanted, after=page.next)
                page = await bus.request(LIST_REPORTS, following)
                found += page.reports
            return ReportList(reports=tuple(found))

    emit(run(asked(), json=json), _listed, json=json)


def get(
    name: str,
    *,
    due: Annotated[str, Parameter(help="When it was due, as listed; else the newest.")] = "",
    space: ReportSpaceOption = PUBLIC,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Print a report that was made, or write it to a file; its digest is checked.

    Reading it is recorded.

    Parameters
    ----------
    out
        A file to write it to, instead of printing it.
    json
        Print what is known of the report, with --out beside it, and not the report itself.
    """
    with refusing(json=json):
        moment = parse_moment(due, now=datetime.now(UTC), path="--due")
        fields = {"name": name, "space": space, "due": moment}
        wanted = convert_document(fields, GetReport, what="audit report get")

    async def asked() -> tuple[KeptReport, bytes]:
        async with connected(credentials) as bus:
            return await whole_report(bus, wanted)

    report, content = run(asked(), json=json)
    if out is not None:
        with refusing(json=json):
            _write(out, content)
        say(f"written to {out}", json=json)
    if json:
        emit(report, lambda _: "", json=True)
    elif out is None:
        sys.stdout.write(plain(content.decode(errors="replace").replace("\r\n", "\n")))


async def whole_report(bus: Bus, wanted: GetReport) -> tuple[KeptReport, bytes]:
    """All parts of a report together, their digest checked.

    Raises:
        VerificationError: It is not what was made.
        RefusedError: There is none.
        FaultError: The auditor does not answer.
    """
    shown = await bus.request(GET_REPORT, wanted, timeout_seconds=PATIENCE_SECONDS)
    report, content = shown.report, shown.data
    with progress("reading", total=report.size_bytes) as advance:
        while len(content) < report.size_bytes:
            wanted = msgspec.structs.replace(wanted, due=report.due, part=wanted.part + 1)
            shown = await bus.request(GET_REPORT, wanted, timeout_seconds=PATIENCE_SECONDS)
            content += shown.data
            advance(len(content))
    digest = hashlib.sha256(content).hexdigest()
    if digest != report.sha256:
        reason = Reason(
            path=report.name, rule="is not the one made", got=digest, allowed=report.sha256
        )
        raise VerificationError(f"the report {report.name} is not the one that was made", [reason])
    return report, content


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror}") from error


def _listed(found: ReportList) -> RenderableType:
    if not found.reports:
        return Text("no report was made")
    table = Table("report", "due", "covers", "of", "bytes", "sha256", box=None, pad_edge=False)
    for one in found.reports:
        name = one.name + (f" ({one.space})" if one.space != PUBLIC else "")
        covers = f"{shown_moment(one.since)} to {shown_moment(one.until)}"
        what = one.sha256[:SHOWN_DIGITS] or one.problem
        row = (name, one.due, covers, f"{one.kind} {one.format}", str(one.size_bytes), what)
        table.add_row(*map(plain, row))
    return table
