# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package`: submit, review, approve, promote, deprecate, yank, revoke, standing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType

from cli import console, session
from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag
from cli.moments import shown_moment
from cli.package_statements import fact_table
from cli.rollout import CommandIdOption, ReasonOption, SpaceOption, chosen_id
from shared.contracts.catalog import PackagePublished, PackageVersion
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.lifecycle import Statement
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    DEPRECATE_PACKAGE,
    GET_REVIEW,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    REVOKE_PACKAGE,
    SUBMIT_PACKAGE,
    YANK_PACKAGE,
    ApprovePackage,
    GetReview,
    PackageMoved,
    PackageReview,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

NotesOption = Annotated[
    Path | None, Parameter(name="--notes", help="File with the release notes, at most 4 KiB.")
]
TagOption = Annotated[
    tuple[str, ...],
    Parameter(name="--tag", negative=(), help="Name that no other version of the package has."),
]
WhyOption = Annotated[str, Parameter(name="--reason", help="Why; people and the log get it.")]


def submit(
    name: str,
    version: str,
    *,
    channel: str = "stable",
    notes: NotesOption = None,
    tag: TagOption = (),
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Ask that a published version be reviewed for a channel.

    Publishing to a channel that demands approvals does so by itself.

    Parameters
    ----------
    channel
        Where it shall be released to.
    """
    fields = {"channel": channel, **_described(notes, tag, json=json)}
    fields |= _fields(name, version, space, reason, command_id)
    issue(SUBMIT_PACKAGE, fields, _render_moved, credentials, json=json)


def review(
    name: str,
    version: str,
    *,
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Say that you look at a version, with --reason as your remark (code owners)."""
    issue(
        REVIEW_PACKAGE,
        _fields(name, version, space, reason, command_id),
        _render_moved,
        credentials,
        json=json,
    )


def approve(
    name: str,
    version: str,
    *,
    digest: str = "",
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Approve exactly these bytes (code owners, never who published or submitted them).

    Parameters
    ----------
    digest
        SHA-256 of the manifest that you read, as `package standing` shows it; left out: of what is
        published now.
    """

    async def ask() -> PackageMoved:
        async with session.connected(credentials) as bus:
            known = digest
            if not known:
                wanted = GetReview(name=name, version=version, space=space)
                found = await bus.request(GET_REVIEW, wanted)
                known = found.manifest_sha256
            fields = {"manifest_sha256": known, **_fields(name, version, space, reason, command_id)}
            command = convert_document(fields, ApprovePackage, what="command")
            return await bus.request(APPROVE_PACKAGE, command)

    console.emit(console.run(ask(), json=json), _render_moved, json=json)


def promote(
    name: str,
    version: str,
    *,
    to: str,
    notes: NotesOption = None,
    tag: TagOption = (),
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Release a version to a channel, or be told everything that is missing.

    If only kernels are missing, it enters once they have passed it.

    Parameters
    ----------
    to
        The channel, as candidate or stable.
    """
    fields = {"to": to, **_described(notes, tag, json=json)}
    fields |= _fields(name, version, space, reason, command_id)
    issue(PROMOTE_PACKAGE, fields, _render_moved, credentials, json=json)


def deprecate(
    name: str,
    version: str,
    *,
    space: SpaceOption = "",
    reason: WhyOption,
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Say that a version should no longer be chosen; it still can be, with a warning."""
    issue(
        DEPRECATE_PACKAGE,
        _fields(name, version, space, reason, command_id),
        _render_moved,
        credentials,
        json=json,
    )


def yank(
    name: str,
    version: str,
    *,
    space: SpaceOption = "",
    reason: WhyOption,
    undo: Annotated[bool, Parameter(negative=())] = False,
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Hide a version: only who names it exactly gets it, with a warning.

    Parameters
    ----------
    undo
        It is seen again.
    """
    fields = {"undo": undo, **_fields(name, version, space, reason, command_id)}
    issue(YANK_PACKAGE, fields, _render_moved, credentials, json=json)


def revoke(
    name: str,
    version: str,
    *,
    space: SpaceOption = "",
    reason: WhyOption,
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Forbid a version for ever (approvers and administrators).

    Where it runs, each deployment does what its on_revoked says: stop, replace, or alarm.
    """
    issue(
        REVOKE_PACKAGE,
        _fields(name, version, space, reason, command_id),
        _render_moved,
        credentials,
        json=json,
    )


def standing(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show where a version stands, who approved it, and what is missing for which channel.

    Parameters
    ----------
    version
        Left out: the one that was published last.
    """
    wanted = GetReview(name=name, version=version, space=space)
    found = console.run(session.ask(GET_REVIEW, wanted, credentials), json=json)
    console.emit(found, _render_review, json=json)


def release_facts(version: PackageVersion | PackagePublished) -> dict[str, str]:
    """What is known of a version beside its channels, for a table of facts."""
    facts: dict[str, str] = {}
    if isinstance(version, PackagePublished):
        targets = version.submitted
    else:
        found = version.lifecycle
        targets = found.targets if found else ()
        for verb in ("yanked", "deprecated", "revoked") if found else ():
            statement: Statement | None = getattr(found, verb)
            if statement is not None:
                facts[verb] = f"{shown_moment(statement.at)}: {statement.why}"
        if found is not None and found.tags:
            facts["tags"] = ", ".join(found.tags)
        if found is not None and found.notes:
            facts["notes"] = found.notes
    if targets:
        facts["submitted for"] = f"{', '.join(targets)}: l3af package standing"
    if version.unchanged:
        platforms = [f"{platform} since {old}" for platform, old in version.unchanged.items()]
        facts["no change for"] = ", ".join(platforms)
    return facts


def space_facts(space: Audience) -> dict[str, str]:
    """Where a version is that not everybody sees, or did not see from the beginning."""
    return {} if space == PUBLIC else {"space": space}


def _fields(name: str, version: str, space: str, reason: str, command_id: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "space": space,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }


def _described(notes: Path | None, tags: tuple[str, ...], *, json: bool) -> dict[str, Any]:
    with console.refusing(json=json):
        try:
            text = notes.read_text() if notes is not None else ""
        except (OSError, UnicodeDecodeError) as error:
            reason = Reason(path="notes", rule=f"cannot be read: {error}", got=str(notes))
            raise RefusedError("the release notes cannot be read", [reason]) from error
    return {"notes": text, "tags": list(tags)}


def _render_moved(moved: PackageMoved) -> RenderableType:
    facts = {
        f"{moved.name} {moved.version}": moved.state,
        "channels": ", ".join(moved.channels) or "none",
        "submitted for": ", ".join(moved.targets),
        "approved by": ", ".join(moved.approvals),
        "waits for kernels": ", ".join(f"{one} ({count})" for one, count in moved.awaits.items()),
        "missing": "\n".join(moved.waits_for),
    }
    return fact_table({name: value for name, value in facts.items() if value})


def _render_review(found: PackageReview) -> RenderableType:
    lifecycle = found.lifecycle
    said = {
        "submitted by": lifecycle.submitted,
        "reviewed by": lifecycle.reviews,
        "approvals": lifecycle.approvals,
        "yanked": (lifecycle.yanked,) if lifecycle.yanked else (),
        "deprecated": (lifecycle.deprecated,) if lifecycle.deprecated else (),
        "revoked": (lifecycle.revoked,) if lifecycle.revoked else (),
    }
    facts = {
        f"{found.name} {found.version}": found.state,
        "manifest sha256": found.manifest_sha256,
        "channels": ", ".join(found.channels) or "none",
        **{what: "\n".join(map(_statement, words)) for what, words in said.items()},
        "approvals that count": ", ".join(found.approvals),
        "tags": ", ".join(lifecycle.tags),
        "notes": lifecycle.notes,
    }
    for channel, missing in found.waits_for.items():
        facts[f"for {channel}"] = "\n".join(missing) or "nothing is missing: l3af package promote"
    return fact_table({name: value for name, value in facts.items() if value})


def _statement(one: Statement) -> str:
    why = f": {one.why}" if one.why else ""
    return f"{one.name} ({one.role}) {shown_moment(one.at)}{why}"
