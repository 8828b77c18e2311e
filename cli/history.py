# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af history` and `l3af diff`: who changed a deployment, why, and what."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.revision_difference import (
    FieldChange,
    RevisionDifference,
    kept_revision,
    revision_difference,
)
from cli.rollout import DeploymentArgument, named
from cli.session import connected
from shared.contracts.deployments import DeploymentRevision
from shared.contracts.scheduler import GET_DEPLOYMENT, DeploymentStatus, GetDeployment
from shared.validation import convert_document

BeforeArgument = Annotated[
    int,
    Parameter(help="A kept revision (`l3af history`).", show_default=lambda _: "the one before"),
]
AfterArgument = Annotated[int, Parameter(help="Another one.", show_default=lambda _: "the newest")]


class RevisionTold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One revision: whose, why, and what it changed."""

    revision: int
    at: str
    by: str
    version: str
    command_id: str
    reason: str = ""
    rollback_of: int = 0
    together: tuple[str, ...] = ()
    """Other deployments that the same command changed."""
    changes: tuple[FieldChange, ...] | None = None
    """Against the one before; null: that is not kept, or there is none."""


class DeploymentHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The kept revisions, newest first."""

    deployment: str
    generation: int
    removed: bool
    revisions: tuple[RevisionTold, ...]


def history(
    name: DeploymentArgument, /, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """Who changed a deployment, when, why, and what; of the kept revisions, newest first."""

    async def told() -> DeploymentHistory:
        return history_of(await _status(name, credentials))

    emit(run(told(), json=json), render_history, json=json)


def diff(
    name: DeploymentArgument,
    before: BeforeArgument = 0,
    after: AfterArgument = 0,
    /,
    *,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What differs between two revisions of a deployment."""

    async def compared() -> RevisionDifference:
        status = await _status(name, credentials)
        new = kept_revision(status, after or status.revisions[-1].revision, path="after")
        old = kept_revision(status, before or new.revision - 1, path="before")
        return revision_difference(status.key, old, new)

    emit(run(compared(), json=json), render_difference, json=json)


def history_of(status: DeploymentStatus) -> DeploymentHistory:
    """What a deployment's kept revisions tell."""
    kept = status.revisions
    pairs = list(zip((None, *kept), kept, strict=False))
    return DeploymentHistory(
        deployment=status.key,
        generation=status.generation,
        removed=status.removed,
        revisions=tuple(_told(status.key, old, new) for old, new in reversed(pairs)),
    )


def render_history(found: DeploymentHistory) -> RenderableType:
    """A block for each revision."""
    gone = ", removed" if found.removed else ""
    parts: list[RenderableType] = [
        Text(f"{found.deployment}: generation {found.generation}{gone}", style="bold")
    ]
    for one in found.revisions:
        parts.append(Text(f"revision {one.revision}  {one.at[:19].replace('T', ' ')}  {one.by}"))
        said = {
            "version": one.version,
            "rollback of": str(one.rollback_of or ""),
            "together with": ", ".join(one.together),
            "because": one.reason,
            "command": one.command_id,
        }
        parts += [Text(f"  {word:<13} {plain(text)}") for word, text in said.items() if text]
        if one.changes is None:
            parts.append(Text("  the one before is not kept", style="dim"))
        parts += [Text(f"  {_change_text(change)}", style="dim") for change in one.changes or ()]
    return Group(*parts)


def render_difference(found: RevisionDifference) -> RenderableType:
    """A line for each field that differs."""
    if not found.changes:
        return Text(f"{found.deployment}: revisions {found.before} and {found.after} are the same")
    table = Table(box=None, pad_edge=False)
    for heading in ("field", f"revision {found.before}", f"revision {found.after}"):
        table.add_column(heading, header_style="bold")
    for one in found.changes:
        table.add_row(plain(one.path), _value(one.before), _value(one.after))
    return table


def _told(key: str, old: DeploymentRevision | None, new: DeploymentRevision) -> RevisionTold:
    changes: tuple[FieldChange, ...] | None = () if new.revision == 1 else None
    if old is not None:
        changes = revision_difference(key, old, new).changes
    return RevisionTold(
        revision=new.revision,
        at=new.at,
        by=f"{new.actor_role} {new.actor_key[:8]}",
        version=new.version,
        command_id=new.command_id,
        reason=new.reason,
        rollback_of=new.rollback_of,
        together=tuple(one for one in new.together if one != key),
        changes=changes,
    )


def _change_text(change: FieldChange) -> str:
    return f"{plain(change.path)}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "left out"
    return plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())


async def _status(name: str, credentials: Any) -> DeploymentStatus:
    request = convert_document(named(name), GetDeployment, what="history")
    async with connected(credentials) as bus:
        return await bus.request(GET_DEPLOYMENT, request)
