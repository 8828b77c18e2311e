# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af drain`: empty a node, and say what leaves it and what waits for what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
from cyclopts import Parameter
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, progress, run, say
from cli.rollout import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    CommandIdOption,
    ReasonOption,
    chosen_id,
    insist,
)
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.cordons import DRAIN_NODE, CordonStatus, DrainNode, DrainWait, NodeCordoned
from shared.contracts.errors import ErrorCode
from shared.contracts.scheduler import GET_NODE, GetNode
from shared.errors import FaultError, Reason, RefusedError
from shared.validation import convert_document

DRAIN_SECONDS: Final = 300.0


class DrainEndedError(RefusedError):
    """Somebody ended the drain before the node was empty."""

    code: ClassVar[ErrorCode] = "conflict"


class DrainDone(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `--json` prints."""

    accepted: NodeCordoned
    cordon: CordonStatus | None = None
    """As it was when the node was empty; left out: it was not waited for."""


def drain(
    node: NodeArgument,
    /,
    *,
    no_wait: Annotated[
        bool, Parameter(name="--no-wait", negative=(), help="Do not wait until it is empty.")
    ] = False,
    timeout: Annotated[
        float, Parameter(help="Seconds to wait until the node is empty.")
    ] = DRAIN_SECONDS,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Empty a node: nothing new is put on it, and what is there leaves it.

    A deployment leaves while fewer of its nodes are away than its rollout.max_unavailable.
    `l3af uncordon` brings everything back.
    """
    fields = {"node": node, "reason": reason, "command_id": chosen_id(command_id)}
    run(
        _drain(fields, credentials, is_waited_for=not no_wait, timeout=timeout, json=json),
        json=json,
    )


def render_drained(done: DrainDone) -> Text:
    """Whether the node is empty."""
    accepted, cordon = done.accepted, done.cordon
    if cordon is None:
        return Text(f"{accepted.node} is being drained (command {accepted.command_id})")
    left = ", ".join(cordon.left) or "nothing was there"
    return Text(f"{accepted.node} is drained: {plain(left)}", style="bold green")


def wait_line(one: DrainWait) -> str:
    """Why something is still there, in one line."""
    return f"{one.deployment}: {one.why}" if one.deployment else one.why


async def _drain(
    fields: dict[str, str],
    credentials: Path | None,
    *,
    is_waited_for: bool,
    timeout: float,  # noqa: ASYNC109 because it is the deadline of the whole command
    json: bool,
) -> None:
    message = convert_document(fields, DrainNode, what="drain")
    deadline = asyncio.get_running_loop().time() + timeout
    async with connected(credentials) as bus:
        accepted = await insist(
            bus,
            DRAIN_NODE,
            message,
            deadline=deadline,
            waiting=lambda what: say(f"waiting: {what}", json=json),
        )
        cordon = None
        if is_waited_for:
            cordon = await _until_empty(bus, accepted, deadline=deadline, json=json)
    emit(DrainDone(accepted=accepted, cordon=cordon), render_drained, json=json)


async def _until_empty(
    bus: Bus, accepted: NodeCordoned, *, deadline: float, json: bool
) -> CordonStatus:
    """The node's cordon once it runs nothing.

    Raises:
        DrainEndedError: Somebody ended the drain.
        FaultError: It runs something still, when the deadline is over; with what and why.
    """
    loop = asyncio.get_running_loop()
    wait_seconds, said = FIRST_WAIT_SECONDS, set[str]()
    waits: tuple[DrainWait, ...] = ()
    with progress(f"{accepted.node}: deployments that left") as update:
        while True:
            try:
                cordon = (await bus.request(GET_NODE, GetNode(node=accepted.node))).cordon
            except FaultError as error:
                waits = (DrainWait(why=error.message),)
            else:
                if cordon is None or not cordon.drains:
                    raise _ended(accepted.node)
                waits = cordon.waits
                update(len(cordon.left))
                if cordon.drained_at:
                    return cordon
                lines = [f"{one} left" for one in cordon.left] + list(map(wait_line, waits))
                for line in lines:
                    if line not in said:
                        say(line, json=json)
                said |= set(lines)
            if loop.time() + wait_seconds > deadline:
                raise _not_empty(accepted.node, waits)
            await asyncio.sleep(wait_seconds)
            wait_seconds = min(1.5 * wait_seconds, LONGEST_WAIT_SECONDS)


def _ended(node: str) -> DrainEndedError:
    reason = Reason(path="node", rule="its drain was ended by another command", got=node)
    return DrainEndedError(f"{node} is not drained any more", [reason])


def _not_empty(node: str, waits: tuple[DrainWait, ...]) -> FaultError:
    reasons = [
        Reason(path=f"nodes.{node}.{one.deployment}".rstrip("."), rule=one.why) for one in waits
    ]
    return FaultError(
        f"{node} is not empty yet; the drain goes on, `l3af node show {node}` says how far it is",
        reasons,
    )
