# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Giving a command to the scheduler and seeing it through, whatever is away for a while."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar, Final, TypeVar

from cyclopts import Parameter

from cli.rollout_view import OVER, rollout_line
from shared.adapters.bus import Bus
from shared.contracts.base import Endpoint, Message, Request
from shared.contracts.errors import ERROR_NUMBERS, ErrorCode
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    DeploymentAccepted,
    DeploymentPlaceStatus,
    DeploymentStatus,
    GetDeployment,
)
from shared.deployment_keys import split_key
from shared.errors import FaultError, Reason, RefusedError

FIRST_REQUEST_SECONDS: Final = 5.0
"""Who died with a request cannot say so: it is asked again, each time with more patience."""
MORE_PATIENCE: Final = 6
"""So that the second request outlasts what the scheduler waits for its nodes."""
LONGEST_REQUEST_SECONDS: Final = 30.0
"""Longer than the scheduler waits for its nodes."""
FIRST_WAIT_SECONDS: Final = 0.01
LONGEST_WAIT_SECONDS: Final = 0.5
REST: Final = 4
"""So many times as long as an answer took, the scheduler is left alone: of thousands of nodes it
looks at every one for it."""
LONGEST_REST_SECONDS: Final = 2.0
NAMED: Final = 20
"""Of the nodes that something is said of; of the others, how many there are."""

DeploymentArgument = Annotated[
    str, Parameter(help="The deployment; of another space than public SPACE.NAME.")
]
SpaceOption = Annotated[
    str, Parameter(name="--space", help="Where the version is; left out: wherever you see it.")
]
ReasonOption = Annotated[str, Parameter(name="--reason", help="Why; goes into the audit log.")]
CommandIdOption = Annotated[
    str,
    Parameter(
        name="--command-id",
        help="8 to 64 letters, digits, _ or -; the same id again has no second effect.",
    ),
]

Progress = tuple[str, int, int, int]
"""Phase, wave, nodes of it that were told, places that run."""

RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)


class DeploymentFailedError(RefusedError):
    """A node refuses what it was told; what ran there before still runs."""

    code: ClassVar[ErrorCode] = "conflict"


def chosen_id(given: str) -> str:
    """The command id that was given, or a new one."""
    return given or secrets.token_hex(16)


def named(key: str) -> dict[str, str]:
    """Fields of a request for the deployment that is known by this key."""
    space, name = split_key(key)
    return {"name": name, "space": space}


async def insist(
    bus: Bus,
    endpoint: Endpoint[RequestT, ReplyT],
    message: RequestT,
    *,
    deadline: float,
    waiting: Callable[[str], None],
) -> ReplyT:
    """The reply; the same is asked again while something is away.

    Args:
        bus: The connection to speak through.
        endpoint: What is asked.
        message: If it is a command, its command id keeps a repeat without a second effect.
        deadline: By the event loop's clock.
        waiting: Told what is being waited for, whenever that changes.

    Raises:
        RefusedError: The rules say no.
        FaultError: Something is away still, when the deadline is over; the last that named what.
    """
    loop = asyncio.get_running_loop()
    wait_seconds, said = FIRST_WAIT_SECONDS, ""
    named: FaultError | None = None
    request_seconds = FIRST_REQUEST_SECONDS
    while True:
        left_seconds = deadline - loop.time()
        try:
            return await bus.request(
                endpoint, message, timeout_seconds=max(1.0, min(request_seconds, left_seconds))
            )
        except FaultError as error:
            request_seconds = min(MORE_PATIENCE * request_seconds, LONGEST_REQUEST_SECONDS)
            named = error if error.reasons else named
            if loop.time() + wait_seconds > deadline:
                raise (named or error) from None
            if error.message != said:
                waiting(error.message)
            said = error.message
        await asyncio.sleep(wait_seconds)
        wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)


async def until_over(
    bus: Bus,
    accepted: DeploymentAccepted,
    *,
    deadline: float,
    patience_seconds: float = 0.0,
    progressed: Callable[[DeploymentStatus], None],
) -> DeploymentStatus:
    """The deployment once every place of the accepted command runs, or is free if it was removed.

    Nodes that are silent are not waited for: they follow when they return.  A rollout is waited for
    until it is over, however long it takes, as long as it goes on.

    Args:
        bus: The connection to speak through.
        accepted: What the scheduler said.
        deadline: By the event loop's clock.
        patience_seconds: How long a rollout may stand still, beside the time that it bakes.
        progressed: Told what is so, at every look.

    Raises:
        DeploymentFailedError: A node refuses, or the rollout went back or was paused; with reasons.
        FaultError: Some place is pending still, when the deadline is over.
    """
    loop = asyncio.get_running_loop()
    wait_seconds = FIRST_WAIT_SECONDS
    came: Progress | None = None
    while True:
        asked = loop.time()
        status, problem = await _look(bus, accepted)
        rest_seconds = min(REST * (loop.time() - asked), LONGEST_REST_SECONDS)
        if status is not None:
            refuse_failed(status, accepted)
            progressed(status)
            if is_over(status):
                return status
            if status.rollout is not None and came != (came := progress_of(status)):
                deadline = max(deadline, loop.time() + patience_seconds + bake_seconds(status))
                wait_seconds = FIRST_WAIT_SECONDS
        if loop.time() + wait_seconds > deadline:
            raise _not_over(accepted, status, problem)
        await asyncio.sleep(max(wait_seconds, rest_seconds))
        wait_seconds = min(1.5 * wait_seconds, LONGEST_WAIT_SECONDS)


async def _look(bus: Bus, accepted: DeploymentAccepted) -> tuple[DeploymentStatus | None, str]:
    request = GetDeployment(name=accepted.name, space=accepted.space)
    try:
        return await bus.request(GET_DEPLOYMENT, request), ""
    except FaultError as error:
        return None, error.message


def is_over(status: DeploymentStatus) -> bool:
    """Whether everything that was accepted is done, as far as nodes can be heard."""
    if status.rollout is not None and status.rollout.phase not in OVER:
        return False
    over = status.count_of("running") + status.count_of("node-silent")
    return over == status.place_count


def progress_of(status: DeploymentStatus) -> Progress:
    """What changes whenever a rollout comes further."""
    running = status.count_of("running")
    state = status.rollout
    if state is None:
        return "", 0, 0, running
    return state.phase, state.wave, state.released, running


def bake_seconds(status: DeploymentStatus) -> int:
    """How long nothing happens because it must not."""
    is_baking = status.rollout is not None and status.rollout.phase == "baking"
    return status.spec.rollout.bake_seconds if is_baking else 0


def refuse_failed(status: DeploymentStatus, accepted: DeploymentAccepted) -> None:
    """Nothing, as long as the accepted command may still come to a good end.

    Raises:
        DeploymentFailedError: It cannot; with the reasons.
    """
    _refuse_ended(status, accepted)
    if status.removed and any(one.command_id == accepted.command_id for one in status.revisions):
        reason = Reason(path="", rule="it was taken off every node meanwhile")
        raise DeploymentFailedError(f"{status.key}: revision {accepted.revision} is over", [reason])
    if status.revision > accepted.revision:
        reason = Reason(path="", rule="a later revision overtook this one", got=status.revision)
        raise DeploymentFailedError(f"{status.key}: revision {accepted.revision} is over", [reason])
    failed = [place for place in status.places if place.state == "failed"]
    is_going_on = status.rollout is not None and status.rollout.phase not in OVER
    if failed and not is_going_on:
        nodes = _some(place.node for place in failed)
        raise DeploymentFailedError(
            f"{status.key} revision {status.revision} is refused on {nodes}; "
            "what ran there before still runs",
            [reason for place in failed for reason in _located(place)],
            code=_code(failed[0]),
        )


def _refuse_ended(status: DeploymentStatus, accepted: DeploymentAccepted) -> None:
    state = status.rollout
    if state is None or state.revision != accepted.revision:
        return
    if state.phase in ("rolled-back", "aborted"):
        back = "it is on no node" if status.removed else f"revision {state.base_revision} is back"
        raise DeploymentFailedError(
            f"{status.key} revision {state.revision} was {state.phase}, {back}: {state.why}",
            state.evidence,
        )
    if state.phase == "paused":
        raise DeploymentFailedError(
            f"{status.key} revision {state.revision} is paused in wave {state.wave + 1} of"
            f" {len(state.waves)} until somebody resumes or aborts it: {state.why}",
            state.evidence,
        )


def _code(place: DeploymentPlaceStatus) -> ErrorCode | None:
    """The code of the node's refusal, if this release knows it."""
    refusal = place.chain.refusal if place.chain else None
    return next((code for code in ERROR_NUMBERS if refusal and code == refusal.code), None)


def _not_over(
    accepted: DeploymentAccepted, status: DeploymentStatus | None, problem: str
) -> FaultError:
    places = [place for place in (status.places if status else ()) if place.state != "running"]
    away = _some(f"{place.node} ({place.state})" for place in places) or problem
    reasons = [reason for place in places for reason in _located(place)]
    which = f"{accepted.key} revision {accepted.revision} is accepted"
    if status is not None and status.rollout is not None and status.rollout.phase not in OVER:
        where = "; ".join(filter(None, (rollout_line(status.rollout), away)))
        how = f"`l3af status {accepted.key} --watch` shows how it comes on"
        return FaultError(
            f"{which}, and its rollout goes on without this command: {where}; {how}", reasons
        )
    return FaultError(f"{which} and will be done, but not in time: {away}", reasons)


def _some(said: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    every = sorted(set(said))
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more


def _located(place: DeploymentPlaceStatus) -> list[Reason]:
    at = f"nodes.{place.node}.{place.place}"
    return [
        Reason(
            path=f"{at}.{reason.path}" if reason.path else at,
            rule=reason.rule,
            got=reason.got,
            allowed=reason.allowed,
        )
        for reason in place.why
    ]
