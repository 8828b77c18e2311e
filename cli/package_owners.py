# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package owners`: who owns the files of which packages."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask
from shared.contracts.events import PUBLIC
from shared.contracts.reviews import (
    LIST_OWNERS,
    SET_OWNERS,
    ListOwners,
    OwnerList,
    OwnersSet,
)

app = cyclopts.App(name="owners", help="Show and set who owns the files of which packages.")
PathsOption = Annotated[str, Parameter(name="--paths", help="Glob over paths in the archive.")]
SpaceOption = Annotated[
    str, Parameter(name="--space", help="Whose versions it is for; public: for all versions.")
]


@app.command(name="list")
def list_(
    package: str = "", *, credentials: CredentialsOption = None, json: JsonFlag = False
) -> None:
    """List the rules, or those for one package.

    Parameters
    ----------
    package
        Its name; left out: all rules.
    """
    found = run(ask(LIST_OWNERS, ListOwners(package=package), credentials), json=json)
    emit(found, _render, json=json)


@app.command(name="set")
def set_(
    packages: str,
    *,
    owner: Annotated[tuple[str, ...], Parameter(negative=())],
    paths: PathsOption = "*",
    space: SpaceOption = PUBLIC,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Give files of packages these owners and no others (administrators).

    Parameters
    ----------
    packages
        Glob over names of packages.
    owner
        Name of a principal; repeat it.
    """
    fields = {"owners": list(owner), **_fields(packages, paths, space, reason, command_id)}
    issue(SET_OWNERS, fields, _render, credentials, what="owners", json=json)


@app.command
def remove(
    packages: str,
    *,
    paths: PathsOption = "*",
    space: SpaceOption = PUBLIC,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Take the rule with exactly these globs away (administrators).

    Parameters
    ----------
    packages
        The glob as it was set.
    """
    issue(
        SET_OWNERS,
        _fields(packages, paths, space, reason, command_id),
        _render,
        credentials,
        what="owners",
        json=json,
    )


def _fields(packages: str, paths: str, space: str, reason: str, command_id: str) -> dict[str, Any]:
    return {
        "packages": packages,
        "paths": paths,
        "space": space,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }


def _render(found: OwnerList | OwnersSet) -> RenderableType:
    if not found.rules:
        return Text("nobody owns anything: l3af package owners set GLOB --owner NAME")
    table = Table("packages", "paths", "owners", "space", box=None)
    for rule in found.rules:
        owners = plain(", ".join(rule.owners))
        table.add_row(plain(rule.packages), plain(rule.paths), owners, plain(rule.space))
    return table
