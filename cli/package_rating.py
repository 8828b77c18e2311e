# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package rate`, `unrate` and `ratings`: what principals think of a version."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, plain
from cli.moments import shown_moment
from cli.package_review import space_facts
from cli.package_statements import fact_table
from cli.rollout import CommandIdOption, ReasonOption, SpaceOption, chosen_id
from shared.contracts.ratings import (
    LIST_RATINGS,
    MAX_RATINGS,
    RATE_PACKAGE,
    REMOVE_RATING,
    ListRatings,
    RatingChanged,
    RatingList,
)
from shared.validation import convert_document


def rate(
    name: str,
    version: str,
    *,
    stars: Annotated[int, Parameter(help="1 to 5.")],
    text: Annotated[str, Parameter(help="Why, in at most 1,000 characters.")] = "",
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what you think of a version; what you said before of it is replaced."""
    fields = {"name": name, "version": version, "space": space, "stars": stars, "text": text}
    fields |= {"reason": reason, "command_id": chosen_id(command_id)}
    issue(RATE_PACKAGE, fields, _render_changed, credentials, json=json)


def unrate(
    name: str,
    version: str,
    *,
    author: Annotated[str, Parameter(help="Whose; left out: your own. Administrators.")] = "",
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Remove your rating of a version, with its text."""
    fields = {"name": name, "version": version, "space": space, "author": author}
    fields |= {"reason": reason, "command_id": chosen_id(command_id)}
    issue(REMOVE_RATING, fields, _render_changed, credentials, json=json)


def ratings(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    after: Annotated[str, Parameter(help="What the page before said about the next.")] = "",
    limit: Annotated[int, Parameter(help=f"1 to {MAX_RATINGS}.")] = 20,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was said of a version.

    Parameters
    ----------
    version
        Left out: the newest release.
    """
    fields = {"name": name, "version": version, "space": space, "after": after, "limit": limit}
    with console.refusing(json=json):
        wanted = convert_document(fields, ListRatings, what="request")
    found = console.run(session.ask(LIST_RATINGS, wanted, credentials), json=json)
    console.emit(found, _render_list, json=json)


def _render_changed(changed: RatingChanged) -> RenderableType:
    return fact_table(
        {
            "version": f"{changed.name} {changed.version}",
            **space_facts(changed.space),
            "author": changed.author,
            "stars": str(changed.stars) if changed.stars else "removed",
            "command": changed.command_id,
        }
    )


def _render_list(found: RatingList) -> RenderableType:
    what = f"{found.name} {found.version}"
    if not found.count:
        return Text(plain(f"nobody has rated {what}"))
    table = Table("author", "stars", "when", "what")
    for one in found.ratings:
        when = shown_moment(one.edited_at or one.at)
        table.add_row(plain(one.author), str(one.stars), when, plain(one.text))
    parts: list[RenderableType] = [
        Text(plain(f"{what}: {found.stars:.1f} of 5, {found.count} ratings")),
        table,
    ]
    if found.next:
        parts.append(Text(plain(f"more with --after {found.next}")))
    return Group(*parts)
