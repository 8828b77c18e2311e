# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af licence waiver`: what the licence policy stops is let through, by two people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.moments import parse_moment, shown_moment
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask
from shared.contracts.events import PUBLIC
from shared.contracts.waivers import (
    GRANT_WAIVER,
    LIST_WAIVERS,
    MAX_WAIVER_DAYS,
    REQUEST_WAIVER,
    REVOKE_WAIVER,
    ListWaivers,
    WaivableRule,
    WaiverGranted,
    WaiverList,
    WaiverRequested,
    WaiverRevoked,
    WaiverScope,
    WaiverState,
)
from shared.errors import Reason, RefusedError
from shared.moments import render_time

_STYLES: Final[dict[WaiverState, str]] = {
    "requested": "yellow",
    "granted": "green",
    "expired": "dim",
    "revoked": "dim",
}

app = cyclopts.App(name="licence", help="Waivers of the installation's licence policy.")
waiver = cyclopts.App(name="waiver", help="Request, grant, revoke and list waivers.")
app.command(waiver)


@waiver.command
def request(
    rule: WaivableRule,
    package: str,
    versions: str = "",
    *,
    reason: str,
    expires: str = "",
    days: int = 0,
    archive: str = "",
    space: str = PUBLIC,
    node: Annotated[tuple[str, ...], Parameter(negative=())] = ("*",),
    label: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Ask that a rule of the licence policy stops a package no more, for a while.

    It is in force once somebody else grants it.

    Parameters
    ----------
    rule
        As `l3af package licence` names it.
    package
        Its name.
    versions
        Constraint, as `=1.4.0` or `^1.2`; * for all.  May be left out with --archive.
    reason
        Why; whoever grants it reads it, and the audit log keeps it.
    expires
        2027-01-02, or 2027-01-02T03:04:05Z; at most 366 days ahead.
    days
        Instead: so many days from now.
    archive
        SHA-256 of the one archive that it is for.
    space
        Whose versions it is for; public: for all.
    node
        Names or globs of nodes where what it lets through may run.
    label
        `key=value` that such nodes must have.
    """
    with refusing(json=json):
        labels, expires_at = _labels(label), _expiry(expires, days)
    fields = {
        "scope": {
            "rule": rule,
            "package": package,
            "versions": versions,
            "archive_sha256": archive,
            "nodes": {"names": list(node), "labels": labels},
            "space": space,
        },
        "expires_at": expires_at,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }
    what = "licence waiver request"
    issue(REQUEST_WAIVER, fields, _render_requested, credentials, what=what, json=json)


@waiver.command
def grant(
    waiver_id: str,
    /,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Put a waiver in force that somebody else requested (approvers and administrators).

    Parameters
    ----------
    waiver_id
        As `list` shows it.
    """
    fields = _fields(waiver_id, reason, command_id)
    what = "licence waiver grant"
    issue(GRANT_WAIVER, fields, _render_granted, credentials, what=what, json=json)


@waiver.command
def revoke(
    waiver_id: str,
    /,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """End a waiver, or decline the request for one (approvers and administrators).

    What runs by its grace runs on, and is shown as violating.

    Parameters
    ----------
    waiver_id
        As `list` shows it.
    """
    fields = _fields(waiver_id, reason, command_id)
    what = "licence waiver revoke"
    issue(REVOKE_WAIVER, fields, _render_revoked, credentials, what=what, json=json)


@waiver.command(name="list")
def list_(
    package: str = "*",
    *,
    ended: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """List waivers, the first to expire first.

    Parameters
    ----------
    package
        Glob that the packages' names must match.
    ended
        Also those that expired or were revoked.
    """
    wanted = ListWaivers(package=package, ended=ended)
    emit(run(ask(LIST_WAIVERS, wanted, credentials), json=json), _render_list, json=json)


def _fields(waiver_id: str, reason: str, command_id: str) -> dict[str, Any]:
    return {"waiver": waiver_id, "reason": reason, "command_id": chosen_id(command_id)}


def _expiry(expires: str, days: int) -> str:
    if bool(expires) == bool(days):
        reason = Reason(path="expires", rule="either --expires or --days must be given")
        raise RefusedError("when the waiver expires is not said", [reason])
    now = datetime.now(UTC)
    if days and not 0 < days <= MAX_WAIVER_DAYS:
        reason = Reason(path="days", rule="is out of range", got=days, allowed=[1, MAX_WAIVER_DAYS])
        raise RefusedError("a waiver cannot be asked for so many days", [reason])
    if days:
        return render_time(now + timedelta(days=days))
    return parse_moment(expires, now=now, path="expires")


def _labels(words: tuple[str, ...]) -> dict[str, str]:
    wrong = [word for word in words if "=" not in word]
    if wrong:
        reasons = [Reason(path="label", rule="is not key=value", got=word) for word in wrong]
        raise RefusedError("labels cannot be read", reasons)
    return dict(word.split("=", 1) for word in words)


def _render_requested(reply: WaiverRequested) -> RenderableType:
    return Text(
        f"{plain(reply.waiver)} is requested until {plain(reply.expires_at)}; somebody else "
        f"grants it with: l3af licence waiver grant {plain(reply.waiver)}"
    )


def _render_granted(reply: WaiverGranted) -> RenderableType:
    return Text(f"{plain(reply.waiver)} is in force until {plain(reply.expires_at)}")


def _render_revoked(reply: WaiverRevoked) -> RenderableType:
    return Text(f"{plain(reply.waiver)} is revoked")


def _render_list(listed: WaiverList) -> RenderableType:
    if not listed.waivers:
        return Text("there is no waiver")
    table = Table("waiver", "state", "rule", "for", "nodes", "expires", "why", box=None)
    for view in listed.waivers:
        one = view.waiver
        table.add_row(
            plain(one.id),
            Text(view.state, style=_STYLES[view.state]),
            one.scope.rule,
            plain(_target(one.scope)),
            plain(_nodes(one.scope)),
            plain(shown_moment(one.expires_at)),
            plain(one.reason),
        )
    return table


def _target(scope: WaiverScope) -> str:
    archive = f"archive {scope.archive_sha256[:12]}" if scope.archive_sha256 else ""
    space = "" if scope.space == PUBLIC else f"in {scope.space}"
    return " ".join(part for part in (scope.package, scope.versions, archive, space) if part)


def _nodes(scope: WaiverScope) -> str:
    labels = [f"{key}={value}" for key, value in sorted(scope.nodes.labels.items())]
    return " ".join((",".join(scope.nodes.names), *labels))
