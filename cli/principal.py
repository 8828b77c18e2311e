# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af principal add|list|revoke|rotate`: the people and systems that may ask."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from cli.console import JsonFlag, emit, plain, refusing, run, say
from cli.session import installation_dir
from installation import members, trusting
from installation.members import MemberChange
from installation.registry import Member, MemberKind, parse_user_role
from shared.contracts.events import Audience
from shared.contracts.permissions import Role

app = cyclopts.App(name="principal", help="Add, list, revoke and rotate people and systems.")

InstallationOption = Annotated[
    Path | None,
    Parameter(
        name="--installation",
        help="Directory of the installation.  Default: L3AF_INSTALLATION or ~/.local/share/l3af.",
    ),
]
ExpiresOption = Annotated[
    datetime | None,
    Parameter(
        name="--expires",
        help="From when the key is refused, as 2027-12-31 or 2027-12-31T18:00:00+01:00; "
        "UTC if no zone is given.",
    ),
]
SpacesOption = Annotated[
    tuple[str, ...],
    Parameter(
        name="--space",
        negative=(),
        help="A space whose events the key hears live, as p_acme; repeat it.  What is seen "
        "otherwise is said by l3af space.",
    ),
]


class MemberChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of one change."""

    member: Member
    credentials: str
    """Directory; empty once the credentials are gone."""
    is_in_force: bool
    """Whether a running server knows; else it will from its next start."""


@app.command
def add(
    name: str,
    *,
    role: str,
    space: SpacesOption = (),
    expires: ExpiresOption = None,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Give a person or system a key; the running server knows it at once.

    Parameters
    ----------
    name
        Lower-case letters, digits and '-'.
    role
        viewer, operator, publisher, code-owner, approver, auditor or administrator.
    """
    with refusing(json=json):
        parsed = parse_user_role(role)
    add_member(name, parsed, expires, installation, spaces=space, json=json)


@app.command(name="list")
def list_principals(*, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Everybody who ever had a key, oldest first."""
    show_members(chosen(installation), "principal", json=json)


@app.command
def revoke(name: str, *, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Refuse a principal's key from now on and cut its connections.

    Parameters
    ----------
    name
        Whose.
    """
    change_member("principal", "revoke", name, None, installation, json=json)


@app.command
def rotate(
    name: str,
    *,
    space: SpacesOption = (),
    no_space: Annotated[
        bool, Parameter(negative=(), help="The new key hears no space but public.")
    ] = False,
    expires: ExpiresOption = None,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Give a principal a new key with the same role; the old one is refused from now on.

    Without --space and --no-space the new key hears what the old one heard.

    Parameters
    ----------
    name
        Whose.
    """
    spaces = space if space or no_space else None
    change_member("principal", "rotate", name, expires, installation, spaces=spaces, json=json)


def chosen(installation: Path | None) -> Path:
    """The installation's directory."""
    return installation.expanduser() if installation else installation_dir()


def _in_utc(moment: datetime | None) -> datetime | None:
    """The moment with a zone."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def show_members(installation: Path, kind: MemberKind, *, json: bool) -> None:
    """Print everybody of a kind."""
    with refusing(json=json):
        found = members.members(installation, kind=kind)
    emit(found, _render_members, json=json)


def add_member(
    name: str,
    role: Role,
    expires: datetime | None,
    installation: Path | None,
    *,
    spaces: Sequence[Audience] = (),
    json: bool,
) -> None:
    """Give somebody a key, and print where it lies."""
    with refusing(json=json):
        change = members.add(
            chosen(installation),
            name=name,
            role=role,
            now=datetime.now(UTC),
            expires_at=_in_utc(expires),
            spaces=spaces,
        )
    _show_change(change, json=json)


def change_member(
    kind: MemberKind,
    change: Literal["revoke", "rotate"],
    name: str,
    expires: datetime | None,
    installation: Path | None,
    *,
    spaces: Sequence[Audience] | None = None,
    json: bool,
) -> None:
    """Take a key back or replace it, and print what became of it."""
    directory, now = chosen(installation), datetime.now(UTC)
    if change == "revoke":
        changing = members.revoke(directory, kind=kind, name=name, now=now)
    else:
        changing = members.rotate(
            directory,
            kind=kind,
            name=name,
            now=now,
            expires_at=_in_utc(expires),
            spaces=spaces,
        )
    _show_change(run(changing, json=json), json=json)
    if kind == "principal":
        for namespace in trusting.namespaces_trusting(directory, name):
            say(
                f"what its key signs still counts in {namespace}: l3af trust {change} {name}"
                f" --namespace {namespace}, then l3af trust push {namespace}",
                json=json,
            )


def _show_change(change: MemberChange, *, json: bool) -> None:
    """Print what became of a member."""
    revoked = change.member.revoked_at is not None
    if not change.is_in_force:
        say("nats-server does not run; it will know from its next start", json=json)
    printed = MemberChanged(
        member=change.member,
        credentials="" if revoked else str(change.credentials_dir),
        is_in_force=change.is_in_force,
    )
    emit(printed, _render_change, json=json)


def _render_change(changed: MemberChanged) -> RenderableType:
    member = changed.member
    if member.revoked_at is not None:
        return Text(f"revoked: {member.kind} {plain(member.name)} ({member.key})")
    table = Table.grid(padding=(0, 2))
    table.add_row(member.kind, f"{plain(member.name)} ({member.role})")
    if member.spaces:
        table.add_row("hears", plain(", ".join(member.spaces)))
    table.add_row("key", member.key)
    table.add_row("credentials", plain(changed.credentials))
    return table


def _render_members(found: Sequence[Member]) -> RenderableType:
    table = Table("name", "role", "since", "state", "hears", Column("key", overflow="fold"))
    now = datetime.now(UTC)
    for member in found:
        if member.revoked_at is not None:
            state = f"revoked {member.revoked_at:%Y-%m-%d %H:%M}"
        elif member.expires_at is not None:
            word = "until" if member.is_valid(now=now) else "expired"
            state = f"{word} {member.expires_at:%Y-%m-%d %H:%M}"
        else:
            state = "valid"
        created = f"{member.created_at:%Y-%m-%d %H:%M}"
        hears = plain("\n".join(member.spaces))
        table.add_row(plain(member.name), member.role, created, state, hears, member.key)
    return table
