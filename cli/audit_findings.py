# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report findings`, `l3af audit finding`: what is not as the licence policy wants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run
from cli.moments import parse_moment, parse_zone, shown_moment
from cli.people import Names, read_names, render_actor
from cli.report_options import OutOption, ReportFormat, ZoneOption, check_out, give
from cli.rollout import CommandIdOption, chosen_id
from cli.session import ask, connected
from services.auditor.compliance.documents import (
    FINDINGS_DOCUMENTS,
    grace_of,
    what_of,
    where_of,
)
from shared.adapters.bus import Bus
from shared.contracts.events import Actor
from shared.contracts.findings import (
    ANNOTATE_FINDING,
    GET_FINDING,
    LIST_FINDINGS,
    RESOLVE_FINDING,
    Finding,
    FindingAnnotated,
    FindingChange,
    FindingResolved,
    FindingShown,
    FindingsShown,
    GetFinding,
    ListFindings,
)
from shared.validation import convert_document

PATIENCE_SECONDS = 60.0
DAY_SECONDS = 86_400

FindingArgument = Annotated[str, Parameter(help="Its id, as `l3af audit report findings` shows.")]
AtOption = Annotated[
    str, Parameter(name=("--at", "--until"), help="As they were then: 7d, a date, RFC 3339.")
]
EvidenceOption = Annotated[
    tuple[int, ...], Parameter(negative=(), help="Number of a record that shows it; repeat.")
]
WhyOption = Annotated[str, Parameter(help="Why; it goes into the audit log.")]

app = cyclopts.App(name="finding", help="One finding of compliance, and what people say of it.")


def findings(
    *,
    at: AtOption = "",
    since: Annotated[
        str, Parameter(help="Only what was open or waived, or changed, from then on.")
    ] = "",
    zone: ZoneOption = "",
    state: Literal["open", "waived", "resolved", ""] = "",
    kind: Literal["version-rule", "deployment-rule", "revoked-runs", ""] = "",
    rule: Annotated[str, Parameter(help="Of the licence policy, as policy-groups.")] = "",
    package: str = "",
    version: str = "",
    deployment: str = "",
    node: str = "",
    space: str = "",
    format: ReportFormat = "table",  # noqa: A002 because it is the option's name
    out: OutOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What was not as the licence policy wants it: since when, by whose grace, how it ended.

    All of it follows from the audit log alone; each change names the records that prove it.
    Asking is recorded too.
    """
    with refusing(json=json):
        check_out(format, out, json=json)
        now, where = datetime.now(UTC), parse_zone(zone)
        filters = {
            "at": parse_moment(at, now=now, path="--at", zone=where),
            "since": parse_moment(since, now=now, path="--since", zone=where),
            "state": state,
            "kind": kind,
            "rule": rule,
            "package": package,
            "version": version,
            "deployment": deployment,
            "node": node,
            "space": space,
        }
        request = convert_document(filters, ListFindings, what="audit report findings")

    async def asked() -> FindingsShown:
        async with connected(credentials) as bus:
            return await all_findings(bus, request)

    found = run(asked(), json=json)
    give(found, _listed, FINDINGS_DOCUMENTS, form=format, out=out, json=json)


@app.command
def show(
    finding: FindingArgument,
    /,
    *,
    at: AtOption = "",
    zone: ZoneOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Show one finding with its whole history and the records that prove it."""
    with refusing(json=json):
        moment = parse_moment(at, now=datetime.now(UTC), path="--at", zone=parse_zone(zone))
        fields = {"finding": finding, "at": moment}
        request = convert_document(fields, GetFinding, what="audit finding show")
    asked = ask(GET_FINDING, request, credentials, timeout_seconds=PATIENCE_SECONDS)
    shown = run(asked, json=json)
    names = read_names()
    emit(shown, lambda one: _shown(one, names), json=json)


@app.command
def resolve(
    finding: FindingArgument,
    /,
    *,
    reason: WhyOption,
    evidence: EvidenceOption = (),
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Close a finding that no event closes (auditors, administrators).

    It opens again if it happens again.
    """
    fields = _fields(finding, reason, evidence, command_id)
    issue(
        RESOLVE_FINDING,
        fields,
        _resolved,
        credentials,
        what="audit finding",
        json=json,
        timeout_seconds=PATIENCE_SECONDS,
    )


@app.command
def annotate(
    finding: FindingArgument,
    /,
    *,
    reason: WhyOption,
    evidence: EvidenceOption = (),
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Say something of a finding (auditors, administrators); its state stays."""
    fields = _fields(finding, reason, evidence, command_id)
    issue(
        ANNOTATE_FINDING,
        fields,
        _annotated,
        credentials,
        what="audit finding",
        json=json,
        timeout_seconds=PATIENCE_SECONDS,
    )


async def all_findings(bus: Bus, request: ListFindings) -> FindingsShown:
    """All pages together.

    Raises:
        RefusedError: It cannot be asked so.
        FaultError: The auditor does not answer.
    """
    found: list[Finding] = []
    with progress("going through the log") as advance:
        while True:
            page = await bus.request(LIST_FINDINGS, request, timeout_seconds=PATIENCE_SECONDS)
            found += page.findings
            advance(len(found))
            if not page.next:
                return msgspec.structs.replace(page, findings=tuple(found))
            request = msgspec.structs.replace(request, after=page.next, at=request.at or page.at)


def _fields(
    finding: str, reason: str, evidence: tuple[int, ...], command_id: str
) -> dict[str, Any]:
    return {
        "finding": finding,
        "reason": reason,
        "evidence": list(evidence),
        "command_id": chosen_id(command_id),
    }


def _resolved(done: FindingResolved) -> RenderableType:
    return Text(f"finding {done.finding} is resolved, as soon as it is recorded")


def _annotated(done: FindingAnnotated) -> RenderableType:
    return Text(f"noted of finding {done.finding}")


_STYLES = {"open": "bold red", "waived": "yellow", "resolved": "green"}


def _listed(page: FindingsShown) -> RenderableType:
    parts: list[RenderableType] = []
    if page.findings:
        table = Table(box=None, pad_edge=False)
        for name in ("finding", "state", "since", "what", "where", "days open", "because of"):
            table.add_column(name, header_style="bold", overflow="fold")
        for one in page.findings:
            last = one.history[-1]
            table.add_row(
                one.id,
                Text(one.state, style=_STYLES[one.state]),
                shown_moment(one.state_since),
                plain(what_of(one)),
                plain(where_of(one)),
                f"{one.open_seconds / DAY_SECONDS:.1f}",
                plain(_cause(last)),
            )
        parts.append(table)
    else:
        parts.append(Text("no findings"))
    return Group(*parts, _end(page.at, page.tree_size, page.unread))


def _shown(shown: FindingShown, names: Names) -> RenderableType:
    one = shown.finding
    head = Text.assemble(
        (f"{one.id} ", "bold"),
        (one.state, _STYLES[one.state]),
        plain(f" since {one.state_since}: {what_of(one)}, {where_of(one)}"),
    )
    table = Table(box=None, pad_edge=False)
    for name in ("at", "becomes", "because of", "records", "who", "why"):
        table.add_column(name, header_style="bold", overflow="fold")
    for change in one.history:
        numbers = " ".join(map(str, (*change.records, *change.evidence)))
        who = _who(change.actor_key, change.actor_role, names)
        row = (change.at, change.state, _cause(change), numbers, who, change.reason)
        table.add_row(*map(plain, row))
    for note in one.notes:
        numbers = " ".join(map(str, (note.record, *note.evidence)))
        who = _who(note.actor_key, note.actor_role, names)
        table.add_row(*map(plain, (note.at, "", "noted", numbers, who, note.reason)))
    facts = [f"open {one.open_seconds / DAY_SECONDS:.1f} days in all"]
    facts += [f"on {one.node_count} nodes: {' '.join(one.nodes)}"] if one.nodes else []
    facts += [f"at {', '.join(one.paths)}"] if one.paths else []
    remarks = [Text(plain(fact), style="dim") for fact in facts]
    return Group(head, *remarks, table, _end(shown.at, shown.tree_size, shown.unread))


def _cause(change: FindingChange) -> str:
    grace = grace_of(change)
    return f"{change.cause} {grace}" if grace else change.cause


def _who(key: str, role: str, names: Names) -> str:
    return render_actor(Actor(key=key, role=role, attested=True) if key else None, names)


def _end(at: str, tree_size: int, unread: int) -> Text:
    missing = f"; {unread} records cannot be read, this may not be all" if unread else ""
    return Text(f"as of {at}, {tree_size} records in the log{missing}", style="dim")
