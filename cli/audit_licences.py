# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report licences`: under which licences the fleet ran in a range of time."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, plain, refusing, run
from cli.log_pages import every_page
from cli.report_options import (
    OutOption,
    ReportFormat,
    SinceOption,
    UntilOption,
    ZoneOption,
    check_out,
    give,
    parse_range,
)
from cli.session import connected
from services.auditor.reporting.licence_documents import (
    LICENCE_DOCUMENTS,
    cells_of,
    columns_of,
    summary,
)
from shared.adapters.bus import Bus
from shared.contracts.licence_reports import (
    REPORT_LICENCES,
    LicenceGrouping,
    LicenceReport,
    ReportLicences,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

_LABEL: Final = re.compile(r"(!?)([^=!]+)(?:(!?=)(.*))?")


def licences(
    *,
    since: SinceOption = "30d",
    until: UntilOption = "",
    zone: ZoneOption = "",
    by: Annotated[LicenceGrouping, Parameter(help="What a row is of.")] = "licence",
    node: Annotated[str, Parameter(help="Only nodes whose names match this glob.")] = "",
    label: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    space: Annotated[str, Parameter(help="Only what was told to this audience.")] = "",
    format: ReportFormat = "table",  # noqa: A002 because it is the option's name
    out: OutOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Under which licences nodes ran, for how long, and what was found of those packages.

    It is worked out of what nodes wrote into the log, by their own clocks.  Asking is recorded too.

    Parameters
    ----------
    label
        Only nodes that had this label at the end of the range: `key=value`, `key!=value`, `key`
        or `!key`; repeat for more.
    """
    with refusing(json=json):
        check_out(format, out, json=json)
        request = _request(since, until, zone, label, by=by, node=node, space=space)

    async def asked() -> LicenceReport:
        async with connected(credentials) as bus:
            return await reported(bus, request)

    report = run(asked(), json=json)
    give(report, _render, LICENCE_DOCUMENTS, form=format, out=out, json=json)


async def reported(bus: Bus, request: ReportLicences) -> LicenceReport:
    """The whole report, all pages together."""
    pages = await every_page(bus, REPORT_LICENCES, request, lambda page: len(page.rows))
    rows = tuple(row for page in pages for row in page.rows)
    return msgspec.structs.replace(pages[-1], rows=rows)


def label_rules(words: tuple[str, ...]) -> list[dict[str, Any]]:
    """What is asked of labels.

    Raises:
        RefusedError: A word says nothing of the kind; every one that does not is named.
    """
    found = [(word, _LABEL.fullmatch(word)) for word in words]
    wrong = [
        Reason(path="--label", rule="is not key=value, key!=value, key or !key", got=word)
        for word, match in found
        if match is None or (match[1] and match[3])
    ]
    if wrong:
        raise RefusedError("labels cannot be read", wrong)
    rules: list[dict[str, Any]] = []
    for _, match in found:
        assert match is not None
        absent, key, relation, value = match.groups()
        if relation is None:
            rules.append({"label": key, "operator": "not-exists" if absent else "exists"})
        else:
            operator = "in" if relation == "=" else "not-in"
            rules.append({"label": key, "operator": operator, "values": [value]})
    return rules


def _request(
    since: str, until: str, zone: str, labels: tuple[str, ...], **others: str
) -> ReportLicences:
    begin, end = parse_range(since, until, zone=zone)
    fields = {
        "since": begin,
        "until": end,
        "labels": label_rules(labels),
        **others,
    }
    return convert_document(fields, ReportLicences, what="audit report licences")


def _render(report: LicenceReport) -> RenderableType:
    end = Text(f"{summary(report)} {report.tree_size} records in the log.", style="dim")
    if not report.rows:
        return Group(Text("nothing ran"), end)
    table = Table(*columns_of(report.by), box=None, pad_edge=False)
    for row in report.rows:
        table.add_row(*map(plain, cells_of(row, report.by)))
    return Group(table, end)
