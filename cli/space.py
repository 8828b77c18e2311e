# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af space`: private namespaces and embargoes, and who sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.moments import parse_moment, shown_moment
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask
from shared.contracts.overlays import GET_OVERLAY, GetOverlay, OverlayPackage, OverlayShown
from shared.contracts.spaces import (
    CREATE_SPACE,
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    UPDATE_SPACE,
    GetSpace,
    ListSpaces,
    SpaceCreated,
    SpaceLifted,
    SpaceList,
    SpaceShown,
    SpaceUpdated,
    SpaceView,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

NEVER: Final = "never"
SHOWN_CHANGES: Final = 8

app = cyclopts.App(name="space", help="Make, change and lift private namespaces and embargoes.")

TitleOption = Annotated[str, Parameter(help="What it is about; its members alone read this.")]
UntilOption = Annotated[
    str, Parameter(help="When everybody sees it, as 2027-01-02 or 2027-01-02T09:00:00+01:00.")
]
UntilReleaseOption = Annotated[
    str, Parameter(help="Channel; the first version in it that enters this channel lifts it.")
]


@app.command
def create(
    namespace: str = "",
    *,
    embargo: Annotated[
        bool, Parameter(negative=(), help="Instead of a namespace: what is secret until its day.")
    ] = False,
    member: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    title: TitleOption = "",
    until: UntilOption = "",
    until_release: UntilReleaseOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Make a space that its members alone see (approvers and administrators).

    You are a member.  Its name is what `publish --space` and a deployment's `space` take.

    Parameters
    ----------
    namespace
        Of a private namespace, as acme; left out with --embargo.
    member
        Name of a principal; repeat it.
    """
    with refusing(json=json):
        if bool(namespace) == embargo:
            rule = "either a namespace or --embargo must be given"
            raise RefusedError(rule, [Reason(path="namespace", rule=rule, got=namespace)])
        fields = {
            "kind": "embargo" if embargo else "private",
            "namespace": namespace,
            "title": title,
            "members": list(member),
            "lifts_at": _moment(until),
            "lifts_on_release": until_release,
            **_spoken(reason, command_id),
        }
    issue(CREATE_SPACE, fields, _render_created, credentials, what="space", json=json)


@app.command
def update(
    space: str,
    *,
    add: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    remove: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    title: Annotated[str | None, Parameter(help="What it is about; '' takes it away.")] = None,
    until: Annotated[
        str | None, Parameter(help="When everybody sees it; never: at no time of its own.")
    ] = None,
    until_release: Annotated[
        str | None, Parameter(help="Channel whose first version lifts it; never: by no release.")
    ] = None,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Change who sees a space, or when everybody does (its members).

    Parameters
    ----------
    space
        As `list` shows it.
    add
        Name of a principal who sees it from now on; repeat it.
    remove
        Name of a principal who sees it no more; repeat it.
    """
    with refusing(json=json):
        changes: dict[str, Any] = {
            "title": title,
            "lifts_at": None if until is None else _moment("" if until == NEVER else until),
            "lifts_on_release": "" if until_release == NEVER else until_release,
        }
    fields = {
        "space": space,
        "add": list(add),
        "remove": list(remove),
        **{key: value for key, value in changes.items() if value is not None},
        **_spoken(reason, command_id),
    }
    issue(UPDATE_SPACE, fields, _render_updated, credentials, what="space", json=json)


@app.command
def lift(
    space: str,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Show everybody what is in an embargo, with its history, from now on and for ever (members).

    Parameters
    ----------
    space
        As `list` shows it.
    """
    fields = {"space": space, **_spoken(reason, command_id)}
    issue(LIFT_SPACE, fields, _render_lifted, credentials, what="space", json=json)


@app.command(name="list")
def list_(
    *,
    lifted: Annotated[
        bool, Parameter(negative=(), help="Also those that everybody sees by now.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """List the spaces that you see."""
    found = run(ask(LIST_SPACES, ListSpaces(lifted=lifted), credentials), json=json)
    emit(found, _render_list, json=json)


@app.command
def show(space: str, *, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show a space, its members and the versions in it.

    Parameters
    ----------
    space
        As `list` shows it.
    """
    with refusing(json=json):
        wanted = convert_document({"space": space}, GetSpace, what="space")
    emit(run(ask(GET_SPACE, wanted, credentials), json=json), _render_shown, json=json)


@app.command
def overlay(
    space: str,
    *,
    package: Annotated[str, Parameter(help="Glob of names; all: *")] = "*",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What a private space has of its own beside what is public, and whether upstream caught up.

    Parameters
    ----------
    space
        As p_acme.
    """
    with refusing(json=json):
        request = convert_document(
            {"space": space, "package": package}, GetOverlay, what="space overlay"
        )
    emit(run(ask(GET_OVERLAY, request, credentials), json=json), _render_overlay, json=json)


def _moment(text: str) -> str:
    return parse_moment(text, now=datetime.now(UTC), path="until")


def _spoken(reason: str, command_id: str) -> dict[str, Any]:
    return {"reason": reason, "command_id": chosen_id(command_id)}


def _render_created(reply: SpaceCreated) -> RenderableType:
    space = plain(reply.space)
    return Text(
        f"{space} is seen by {plain(', '.join(reply.members))}; "
        f"publish into it with: l3af package publish --space {space}"
    )


def _render_updated(reply: SpaceUpdated) -> RenderableType:
    opens = _opens(reply.lifts_at, reply.lifts_on_release)
    return Text(f"{plain(reply.space)} is seen by {plain(', '.join(reply.members))}{opens}")


def _render_lifted(reply: SpaceLifted) -> RenderableType:
    return Text(f"{plain(reply.space)} is seen by everybody since {plain(reply.lifted_at)}")


def _render_list(found: SpaceList) -> RenderableType:
    if not found.spaces:
        return Text("there is no space that you see but public")
    table = Table("space", "title", "members", "opens", box=None)
    for view in found.spaces:
        one = view.space
        members = plain(", ".join(one.members))
        table.add_row(plain(one.audience), plain(one.title), members, plain(_state(view)))
    return table


def _render_shown(shown: SpaceShown) -> RenderableType:
    space = shown.view.space
    facts = Table.grid(padding=(0, 2))
    facts.add_row("space", f"{plain(space.audience)} ({space.kind})")
    facts.add_row("title", plain(space.title))
    facts.add_row("members", plain(", ".join(space.members)))
    facts.add_row("opens", plain(_state(shown.view)))
    if not shown.packages:
        return Group(facts, Text("nothing is in it"))
    table = Table("package", "version", "channels", box=None)
    for one in shown.packages:
        table.add_row(plain(one.name), plain(one.version), plain(", ".join(one.channels)))
    return Group(facts, table)


def _render_overlay(shown: OverlayShown) -> RenderableType:
    if not shown.packages:
        return Text(f"{shown.space} has nothing of its own.")
    table = Table(box=None, pad_edge=False)
    for heading in ("package", "own version", "stands on", "public", "state", "files changed"):
        table.add_column(heading, header_style="bold")
    for one in shown.packages:
        for place, version in enumerate(one.versions):
            is_newest = place == 0
            caught = f"caught up by {version.caught_up_by}" if version.caught_up_by else ""
            state = one.state if is_newest and not caught else caught
            changed = _changes(one) if is_newest else ""
            name = plain(one.name) if is_newest else ""
            table.add_row(name, version.version, version.base, one.upstream, state, changed)
    return table


def _changes(one: OverlayPackage) -> str:
    if not one.changes:
        return "none" if one.versions[0].base else ""
    shown = [f"{change.change} {change.path}" for change in one.changes[:SHOWN_CHANGES]]
    left = len(one.changes) - len(shown) + one.more_changes
    return plain("\n".join([*shown, *([f"and {left} more"] if left else [])]))


def _state(view: SpaceView) -> str:
    space = view.space
    if view.is_open:
        return f"since {shown_moment(space.lifted_at or space.lifts_at)}"
    return _opens(space.lifts_at, space.lifts_on_release).removeprefix(", opens ") or "never"


def _opens(lifts_at: str, lifts_on_release: str) -> str:
    ways = [f"at {shown_moment(lifts_at)}"] if lifts_at else []
    if lifts_on_release:
        ways.append(f"by a release to {lifts_on_release}")
    return f", opens {' or '.join(ways)}" if ways else ""
