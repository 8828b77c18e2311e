# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af deploy`, `l3af rollback`, `l3af undeploy`: the plan, the command, and its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, refusing, run, say
from cli.deploy_progress import following
from cli.deployment_document import read_deployment
from cli.plan_view import render_plan
from cli.rollout import CommandIdOption, ReasonOption, chosen_id, insist, named, until_over
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.base import Command, Endpoint
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    DeploymentAccepted,
    DeploymentStatus,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

CommandT = TypeVar("CommandT", bound=Command)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """What every command that changes a deployment can be told."""

    timeout: Annotated[
        float,
        Parameter(
            help="Seconds to wait for what is away, and for every place; a rollout is waited for"
            " until it is over, as long as it comes further within them."
        ),
    ] = 60.0
    wait: Annotated[
        bool,
        Parameter(name="--wait", help="Wait until it is done; else only until it is accepted."),
    ] = True
    reason: ReasonOption = ""
    command_id: CommandIdOption = ""
    if_generation: Annotated[
        int | None,
        Parameter(
            name="--if-generation",
            help="Refuse unless the deployment's generation is this (`l3af status`); 0: none yet.",
        ),
    ] = None
    json: JsonFlag = False
    credentials: CredentialsOption = None


_DEFAULTS: Final = CommandOptions()

app = cyclopts.App(name="deploy")
app.command("cli.history:diff", help="What differs between two revisions of a deployment.")


class CommandDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `--json` prints once a command is over."""

    accepted: DeploymentAccepted
    status: DeploymentStatus | None = None
    """None: that was not waited for."""


@app.default
def deploy(
    file: Path,
    /,
    *,
    dry_run: Annotated[
        bool, Parameter(name="--dry-run", negative=(), help="Only show what would change.")
    ] = False,
    take_over: Annotated[
        bool,
        Parameter(
            name="--take-over",
            negative=(),
            help="Replace another owner's XDP program, and put it back when the chain goes.",
        ),
    ] = False,
    options: CommandOptions = _DEFAULTS,
) -> None:
    """Make a deployment what its file says: show the plan, apply it, wait until it runs.

    Parameters
    ----------
    file
        The deployment in TOML, YAML (.yaml, .yml) or JSON (.json), as docs/deployments.md has it.
    """
    run(_deploy(file, options, dry_run=dry_run, take_over=take_over), json=options.json)


def rollback(
    name: str,
    /,
    *,
    to: Annotated[
        int | None, Parameter(name="--to", help="Revision; without it, the one before the current.")
    ] = None,
    options: CommandOptions = _DEFAULTS,
) -> None:
    """Bring an earlier revision of a deployment back, as a new revision.

    Parameters
    ----------
    name
        The deployment; of another space than public SPACE.NAME.
    """
    fields = {**named(name), "to_revision": to or 0, **_given(options)}
    with refusing(json=options.json):
        if to is not None and to < 1:
            reason = Reason(path="--to", rule="must be a revision, from 1", got=to)
            raise RefusedError(f"{reason.path} {reason.rule}", [reason])
        message = convert_document(fields, RollBackDeployment, what="rollback")
    run(_see_through(ROLL_BACK_DEPLOYMENT, message, options), json=options.json)


def undeploy(name: str, /, *, options: CommandOptions = _DEFAULTS) -> None:
    """Take a deployment off every node; its history stays.

    Parameters
    ----------
    name
        The deployment; of another space than public SPACE.NAME.
    """
    fields = {**named(name), **_given(options)}
    with refusing(json=options.json):
        message = convert_document(fields, RemoveDeployment, what="undeploy")
    run(_see_through(REMOVE_DEPLOYMENT, message, options), json=options.json)


def render_done(done: CommandDone) -> RenderableType:
    """One line, and a line for each place."""
    accepted, status = done.accepted, done.status
    if status is None:
        how = f"`l3af status {accepted.key} --watch` shows how it comes on"
        which = f"{accepted.key} revision {accepted.revision}"
        return Text(f"{which} is accepted; {how} (command {accepted.command_id})")
    silent = [
        Text(f"{node} is silent: it follows when it returns", style="magenta")
        for node in sorted({one.node for one in status.places if one.state == "node-silent"})
    ]
    if status.removed:
        which = "that answers " if silent else ""
        return Group(
            Text(f"{accepted.key} is on no node {which}(command {accepted.command_id})"), *silent
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "hook point", "version", "program", "tag", "generation"):
        table.add_column(heading, header_style="bold")
    for place in status.places:
        chain = place.chain
        table.add_row(
            place.node,
            f"{place.place}/{status.hook}",
            place.observed_version,
            str(chain.program_id if chain else ""),
            chain.program_tag if chain else "",
            str(chain.generation if chain else ""),
        )
    headline = (
        f"{accepted.key} revision {accepted.revision} runs: {status.package} {status.version} "
        f"(command {accepted.command_id})"
    )
    return Group(Text(headline, style="bold green"), table, *silent)


async def _deploy(file: Path, options: CommandOptions, *, dry_run: bool, take_over: bool) -> None:
    spec = read_deployment(file)
    if take_over:
        if spec.link.take_over is False:
            rule = "is false in the file, and --take-over says the contrary: leave one of them out"
            reason = Reason(path="link.take_over", rule=rule)
            raise RefusedError(f"{file}: {reason.path} {rule}", [reason])
        link = msgspec.structs.replace(spec.link, take_over=True)
        spec = msgspec.structs.replace(spec, link=link)
    fields = {"spec": msgspec.to_builtins(spec), **_given(options)}
    message = convert_document(fields, ApplyDeployment, what="deploy")
    deadline = asyncio.get_running_loop().time() + options.timeout
    async with connected(options.credentials) as bus:
        if dry_run or not options.json:
            plan = await insist(
                bus,
                PLAN_DEPLOYMENT,
                PlanDeployment(spec=spec),
                deadline=deadline,
                waiting=lambda what: say(f"waiting: {what}", json=options.json),
            )
            emit(plan, render_plan, json=options.json)
        if not dry_run:
            await _give(bus, APPLY_DEPLOYMENT, message, deadline=deadline, options=options)


async def _see_through(
    endpoint: Endpoint[CommandT, DeploymentAccepted], message: CommandT, options: CommandOptions
) -> None:
    deadline = asyncio.get_running_loop().time() + options.timeout
    async with connected(options.credentials) as bus:
        await _give(bus, endpoint, message, deadline=deadline, options=options)


async def _give(
    bus: Bus,
    endpoint: Endpoint[CommandT, DeploymentAccepted],
    message: CommandT,
    *,
    deadline: float,
    options: CommandOptions,
) -> None:
    """The command is given, and everything that follows from it has happened and is printed."""
    json = options.json
    accepted = await insist(
        bus,
        endpoint,
        message,
        deadline=deadline,
        waiting=lambda what: say(f"waiting: {what}", json=json),
    )
    if not json and endpoint is not APPLY_DEPLOYMENT:
        emit(accepted.plan, render_plan, json=json)
    if not options.wait:
        emit(CommandDone(accepted=accepted), render_done, json=json)
        return
    with following(accepted.key, json=options.json) as progressed:
        status = await until_over(
            bus,
            accepted,
            deadline=deadline,
            patience_seconds=options.timeout,
            progressed=progressed,
        )
    emit(CommandDone(accepted=accepted, status=status), render_done, json=json)


def _given(options: CommandOptions) -> dict[str, Any]:
    """What every command carries."""
    return {
        "command_id": chosen_id(options.command_id),
        "reason": options.reason,
        "if_generation": options.if_generation,
    }
