# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What reports from the log can be told, and how they are given: shown, printed or in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from cyclopts import Parameter
from rich.console import RenderableType

from cli.console import emit
from cli.moments import parse_moment, parse_zone
from cli.package_notice import hand_out
from shared.errors import Reason, RefusedError
from shared.moments import render_time

SinceOption = Annotated[str, Parameter(help="From then on: 90d, 2026-01-01, RFC 3339.")]
UntilOption = Annotated[str, Parameter(help="Before then; else up to now.")]
ZoneOption = Annotated[str, Parameter(help="Time zone of times without one; else UTC.")]
OutOption = Annotated[
    Path | None,
    Parameter(
        name=("--out", "-o"), help="A file for the JSON, CSV or HTML, instead of printing it."
    ),
]
ReportFormat = Literal["table", "csv", "html"]
ReportT = TypeVar("ReportT", bound=msgspec.Struct)


def parse_range(since: str, until: str, *, zone: str = "") -> tuple[str, str]:
    """Both ends, RFC 3339: no beginning if none is given, and the end now if none is.

    Raises:
        RefusedError: A time or the zone cannot be read.
    """
    now, clock = datetime.now(UTC), parse_zone(zone)
    return (
        parse_moment(since, now=now, path="--since", zone=clock),
        parse_moment(until, now=now, path="--until", zone=clock) or render_time(now),
    )


def check_out(form: ReportFormat, out: Path | None, *, json: bool) -> None:
    """A file is asked for only where one is written.

    Raises:
        RefusedError: A table is shown, and is no file.
    """
    if out is not None and form == "table" and not json:
        rule = "is for --format csv or html, or for --json: a table is only shown"
        raise RefusedError(f"--out {rule}", [Reason(path="--out", rule=rule)])


def give(
    report: ReportT,
    render: Callable[[ReportT], RenderableType],
    documents: Mapping[Any, Callable[[ReportT], str]],
    *,
    form: str,
    out: Path | None,
    json: bool,
) -> None:
    """The report is shown, printed or in the file.

    Args:
        report: What was found.
        render: How it is shown.
        documents: How it is written, by form.
        form: Which; what is in no document is shown.
        out: The file.
        json: As JSON, whatever the form.

    Raises:
        SystemExit: The file cannot be written.
    """
    if json:
        hand_out(msgspec.json.encode(report).decode() + "\n", out, json=True)
    elif form in documents:
        hand_out(documents[form](report), out, json=False)
    else:
        emit(report, render, json=False)
