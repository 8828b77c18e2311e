# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af deploy`, `l3af rollback`, `l3af undeploy`: the plan, the command, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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
from cli.deployment_files import read_deployments
from cli.plan_view import render_plan
from cli.rollout import (
    CommandIdOption,
    DeploymentArgument,
    ReasonOption,
    chosen_id,
    insist,
    named,
    until_over,
)
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.base import Command, Endpoint
from shared.contracts.deployments import DeploymentSpec
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
        tuple[str, ...],
        Parameter(
            name="--if-generation",
            help="Refuse unless the deployment's generation is this (`l3af status`); 0: none yet."
            " Of several: NAME=N, once for each.",
        ),
    ] = ()
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
    also: tuple[DeploymentStatus, ...] = ()
    """Of the other deployments of the command."""


@app.default
def deploy(
    file: Path,
    /,
    *more: Path,
    together: Annotated[
        bool,
        Parameter(
            name="--together",
            negative=(),
            help="Apply several deployments as one: all of them are accepted, or none.",
        ),
    ] = False,
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
        The deployment in TOML, YAML (.yaml, .yml) or JSON (.json), as docs/deployments.md has it;
        with --together also several in one file, or a directory of such files.
    more
        Further ones, with --together.
    """

    def read() -> list[DeploymentSpec]:
        specs = read_deployments((file, *more))
        if len(specs) > 1 and not together:
            rule = "there are several deployments: apply them as one with --together, or singly"
            raise RefusedError(rule, [Reason(path="--together", rule=rule, got=len(specs))])
        return [_taking_over(spec) for spec in specs] if take_over else specs

    run(_deploy(read, options, dry_run=dry_run), json=options.json)


def rollback(
    name: DeploymentArgument,
    /,
    *,
    to: Annotated[
        int | None, Parameter(name="--to", help="Revision; without it, the one before the current.")
    ] = None,
    options: CommandOptions = _DEFAULTS,
) -> None:
    """Bring an earlier revision of a deployment back, as a new revision."""
    with refusing(json=options.json):
        fields = {**named(name), "to_revision": to or 0, **_given(options)}
        if to is not None and to < 1:
            reason = Reason(path="--to", rule="must be a revision, from 1", got=to)
            raise RefusedError(f"{reason.path} {reason.rule}", [reason])
        message = convert_document(fields, RollBackDeployment, what="rollback")
    run(_see_through(ROLL_BACK_DEPLOYMENT, message, options), json=options.json)


def undeploy(name: DeploymentArgument, /, *, options: CommandOptions = _DEFAULTS) -> None:
    """Take a deployment off every node; its history stays."""
    with refusing(json=options.json):
        fields = {**named(name), **_given(options)}
        message = convert_document(fields, RemoveDeployment, what="undeploy")
    run(_see_through(REMOVE_DEPLOYMENT, message, options), json=options.json)


def render_done(done: CommandDone) -> RenderableType:
    """Of each deployment one line, and a line for each place."""
    if not done.accepted.also:
        return _rendered(done.accepted, done.status)
    each = list(_each(done.accepted))
    shown = [None] * len(each) if done.status is None else [done.status, *done.also]
    return Group(*(_rendered(one, status) for one, status in zip(each, shown, strict=True)))


def _rendered(accepted: DeploymentAccepted, status: DeploymentStatus | None) -> RenderableType:
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
    if status.more_places:
        table.add_row("", f"and {status.more_places} more places")
    headline = (
        f"{accepted.key} revision {accepted.revision} runs: {status.package} {status.version} "
        f"(command {accepted.command_id})"
    )
    return Group(Text(headline, style="bold green"), table, *silent)


def _taking_over(spec: DeploymentSpec) -> DeploymentSpec:
    if spec.link.take_over is False:
        rule = "is false in the file, and --take-over says the contrary: leave one of them out"
        reason = Reason(path="link.take_over", rule=rule)
        raise RefusedError(f"{spec.key}: {reason.path} {rule}", [reason])
    link = msgspec.structs.replace(spec.link, take_over=True)
    return msgspec.structs.replace(spec, link=link)


async def _deploy(
    read: Callable[[], list[DeploymentSpec]], options: CommandOptions, *, dry_run: bool
) -> None:
    spec, *also = read()
    fields = {
        "spec": msgspec.to_builtins(spec),
        "also": [msgspec.to_builtins(one) for one in also],
        **_given(options, has_several=bool(also)),
    }
    message = convert_document(fields, ApplyDeployment, what="deploy")
    deadline = asyncio.get_running_loop().time() + options.timeout
    async with connected(options.credentials) as bus:
        if dry_run or not options.json:
            plan = await insist(
                bus,
                PLAN_DEPLOYMENT,
                PlanDeployment(spec=spec, also=tuple(also)),
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
    first, *others = [
        await _followed(bus, one, deadline=deadline, options=options) for one in _each(accepted)
    ]
    done = CommandDone(accepted=accepted, status=first, also=tuple(others))
    emit(done, render_done, json=json)


def _each(accepted: DeploymentAccepted) -> Iterator[DeploymentAccepted]:
    """Of each deployment of the command, what was accepted."""
    yield accepted
    for one in accepted.also:
        fields = {"name": one.name, "space": one.space, "revision": one.revision}
        yield msgspec.structs.replace(accepted, **fields, also=())


async def _followed(
    bus: Bus, accepted: DeploymentAccepted, *, deadline: float, options: CommandOptions
) -> DeploymentStatus:
    """The deployment once it is as accepted."""
    with following(accepted.key, json=options.json) as progressed:
        return await until_over(
            bus,
            accepted,
            deadline=deadline,
            patience_seconds=options.timeout,
            progressed=progressed,
        )


def _given(options: CommandOptions, *, has_several: bool = False) -> dict[str, Any]:
    """What every command carries.

    Raises:
        RefusedError: `--if-generation` is none.
    """
    return {
        "command_id": chosen_id(options.command_id),
        "reason": options.reason,
        **_believed(options.if_generation, has_several=has_several),
    }


def _believed(given: tuple[str, ...], *, has_several: bool) -> dict[str, Any]:
    if not given:
        return {}
    parts = [one.rpartition("=") for one in given]
    if all(number.isdigit() for _, _, number in parts):
        if has_several and all(key for key, _, _ in parts):
            return {"if_generations": {key: int(number) for key, _, number in parts}}
        if not has_several and len(given) == 1 and not parts[0][0]:
            return {"if_generation": int(given[0])}
    rule = "is NAME=N for each of several" if has_several else "is one number, from 0"
    reason = Reason(path="--if-generation", rule=rule, got=list(given))
    raise RefusedError(f"{reason.path} {rule}", [reason])
