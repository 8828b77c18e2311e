# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af rollout`, and `l3af pause`, `resume`, `approve`, `abort`: about a revision on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import cyclopts
from cyclopts import Parameter
from rich.text import Text

from cli.commanding import issue
from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.rollout import CommandIdOption, DeploymentArgument, ReasonOption, chosen_id, named
from cli.rollout_view import PHASE_STYLES, render_progress
from cli.session import ask
from shared.contracts.base import Endpoint
from shared.contracts.rollout_commands import (
    ABORT_ROLLOUT,
    APPROVE_ROLLOUT,
    PAUSE_ROLLOUT,
    RESUME_ROLLOUT,
    RolloutAnswered,
    RolloutCommand,
)
from shared.contracts.scheduler import GET_DEPLOYMENT, DeploymentStatus, GetDeployment
from shared.deployment_keys import deployment_key
from shared.validation import convert_document

CommandT = TypeVar("CommandT", bound=RolloutCommand)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RolloutOptions:
    """What every command about a rollout can be told."""

    reason: ReasonOption = ""
    if_generation: Annotated[
        int | None,
        Parameter(
            name="--if-generation",
            help="Refuse unless the deployment's generation is this (`l3af status`).",
        ),
    ] = None
    command_id: CommandIdOption = ""
    json: JsonFlag = False
    credentials: CredentialsOption = None


_DEFAULTS: Final = RolloutOptions()

app = cyclopts.App(name="rollout")


@app.command
def pause(name: DeploymentArgument, /, *, options: RolloutOptions = _DEFAULTS) -> None:
    """Change no further node; what has the new revision keeps it, until `resume` or `abort`."""
    _issue(PAUSE_ROLLOUT, name, options)


@app.command
def resume(
    name: DeploymentArgument,
    /,
    *,
    override: Annotated[
        bool,
        Parameter(
            name="--override",
            negative=(),
            help="Also outside change windows and inside freezes; needs --reason, and a role that "
            "the rollout policy names.",
        ),
    ] = False,
    options: RolloutOptions = _DEFAULTS,
) -> None:
    """Go on with a rollout that is paused; a wave that was baking bakes anew."""
    _issue(RESUME_ROLLOUT, name, options, override=override)


@app.command
def abort(name: DeploymentArgument, /, *, options: RolloutOptions = _DEFAULTS) -> None:
    """Bring back what was everywhere before; a deployment that was nowhere is removed."""
    _issue(ABORT_ROLLOUT, name, options)


@app.command
def approve(
    name: DeploymentArgument,
    /,
    *,
    wave: Annotated[
        int | None,
        Parameter(name="--wave", help="Which, from 1 (`l3af status`); left out: the next one."),
    ] = None,
    options: RolloutOptions = _DEFAULTS,
) -> None:
    """Let the next wave begin, where a gate or the rollout policy asks for somebody's approval."""
    _issue(APPROVE_ROLLOUT, name, options, wave=None if wave is None else wave - 1)


@app.command
def show(
    name: DeploymentArgument, /, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """How far a rollout came, wave by wave, what it waits for and what failed."""

    async def got() -> DeploymentStatus:
        request = convert_document(named(name), GetDeployment, what="rollout")
        return await ask(GET_DEPLOYMENT, request, credentials)

    emit(run(got(), json=json), render_progress, json=json)


def render_answer(done: RolloutAnswered) -> Text:
    """How the rollout is now."""
    key = deployment_key(done.space, done.name)
    where = f", wave {done.wave + 1} of {done.waves}" if done.waves else ""
    why = f": {plain(done.why)}" if done.why else ""
    text = f"{key} revision {done.revision} is {done.phase}{where}{why}"
    return Text(text, style=PHASE_STYLES[done.phase])


def _issue(
    endpoint: Endpoint[CommandT, RolloutAnswered], name: str, options: RolloutOptions, **more: Any
) -> None:
    fields = {
        **named(name),
        "reason": options.reason,
        "if_generation": options.if_generation,
        "command_id": chosen_id(options.command_id),
        **more,
    }
    issue(endpoint, fields, render_answer, options.credentials, what="rollout", json=options.json)
