# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit history|command`: the life of one thing, and the way of one command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from cli.audit_log import LimitOption, ListedRecords, ask
from cli.audit_query import Filters, requests_of
from cli.audit_trace import trace_command
from cli.audit_trace_view import render_trace
from cli.audit_view import OUTCOME_STYLES, describe, moment, why
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.people import Names, read_names, render_actor
from cli.session import connected
from shared.contracts.audit import AuditRecord
from shared.errors import Reason, RefusedError

Kind = Literal["node", "package", "deployment", "principal"]


def history(
    kind: Kind,
    name: str,
    *,
    since: str = "",
    until: str = "",
    zone: str = "",
    limit: LimitOption = 200,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What happened to one thing, or what one principal did: a line for each event, newest last.

    Parameters
    ----------
    kind
        node, package, deployment or principal.
    name
        Of the thing; of a principal its name or public key.
    since
        From then on, as for `log`.
    until
        Before then.
    zone
        Time zone of times without one.
    """
    names = read_names()
    with refusing(json=json):
        field = "actor" if kind == "principal" else kind
        filters = Filters(since=since, until=until, zone=zone, **{field: name})
        requests = requests_of(filters, names, now=datetime.now(UTC))
        if limit < 1:
            reason = Reason(path="--limit", rule="must be at least 1", got=limit)
            raise RefusedError("nothing can be shown", [reason])

    async def found() -> ListedRecords:
        async with connected(credentials) as bus:
            listed = await ask(bus, requests, limit)
        return msgspec.structs.replace(listed, records=listed.records[::-1])

    emit(run(found(), json=json), lambda one: _render(one, kind, name, names), json=json)


def command(
    command_id: str, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """The way of one command: who asked, what was decided, what each node did, how it ended.

    Parameters
    ----------
    command_id
        As the command printed it, or as `l3af audit log` has it.
    """
    names = read_names()
    with refusing(json=json):
        if not command_id:
            raise RefusedError("the command's id is empty")
        requests = requests_of(
            Filters(correlation=command_id), names, now=datetime.now(UTC), order="oldest"
        )

    async def found() -> ListedRecords:
        async with connected(credentials) as bus:
            return await ask(bus, requests, None)

    listed = run(found(), json=json)
    with refusing(json=json):
        trace = trace_command(command_id, listed.records)
    emit(trace, lambda one: render_trace(one, names), json=json)


def render_line(record: AuditRecord, names: Names) -> Text:
    """One event in one line."""
    event = record.event
    if record.problem or event is None:
        text = plain(record.problem or "its body was erased").replace("\n", " ")
        return Text.assemble(
            f"{moment(record.received_at)}  ", ("PROBLEM", "bold red"), f"  {text}"
        )
    body = event.data
    reason = why(body)
    parts = [
        f"  {describe(body)}",
        f"  by {render_actor(body.actor, names) or event.emitter}",
        f"  ({reason})" if reason else "",
    ]
    rest = plain("".join(parts)).replace("\n", " ").replace("\t", " ")
    return Text.assemble(
        f"{plain(moment(event.time))}  {plain(body.action)} ",
        (body.outcome, OUTCOME_STYLES[body.outcome]),
        rest,
        f"  [{record.index}]",
        overflow="fold",
    )


def _render(listed: ListedRecords, kind: Kind, name: str, names: Names) -> RenderableType:
    if not listed.records:
        return Text(plain(f"the log holds nothing about the {kind} {name}"))
    earlier = [Text("earlier events are not shown; --limit", style="dim")] if listed.more else []
    return Group(*earlier, *(render_line(record, names) for record in listed.records))
