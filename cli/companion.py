# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af companion`: programs of user space that packages bring, as nodes run them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_places import asked_nodes
from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.node_request import request_of_node
from cli.rollout import ReasonOption
from cli.session import connected
from shared.contracts.base import Endpoint
from shared.contracts.node_companions import (
    LIST_COMPANIONS,
    READ_COMPANION_LOG,
    RESTART_COMPANION,
    CompanionLine,
    CompanionLog,
    CompanionRestarted,
    CompanionShown,
    CompanionsListed,
    ListCompanions,
    ObservedCompanion,
)
from shared.errors import FaultError
from shared.identifiers import Hook, parse_token, split_place
from shared.validation import convert_document

app = cyclopts.App(name="companion", help="Programs of user space that packages bring.")

_MIB: Final = 1 << 20
_STYLES: Final = {
    "ready": "green",
    "starting": "yellow",
    "backing-off": "yellow",
    "stopping": "yellow",
    "gave-up": "red",
    "unknown": "magenta",
    "stopped": "dim",
}

DeploymentArgument = Annotated[str, Parameter(help="The deployment that it belongs to.")]
CompanionArgument = Annotated[str, Parameter(help="Its name in the package.")]
InterfaceOption = Annotated[
    str,
    Parameter(
        name="--interface",
        help="Where the deployment has it on several hook points; in a named network namespace"
        " NETNS/INTERFACE.",
    ),
]
HookOption = Annotated[Hook | None, Parameter(name="--hook", help="The same.")]


class NodesListed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The companions of all nodes that are alive; what `--json` prints if no node was named."""

    nodes: tuple[CompanionsListed, ...]
    silent: dict[str, str] = {}
    """Nodes that did not answer, and why."""


@app.command(name="list")
def list_companions(
    node: str = "",
    /,
    *,
    deployment: Annotated[
        str, Parameter(name="--deployment", help="Those of this one alone.")
    ] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """The companions of nodes: whether each does its work, and what it uses.

    Parameters
    ----------
    node
        Its name; all that are alive without.
    """
    fields = {"deployment": deployment or None}
    if node:
        asked = _ask(LIST_COMPANIONS, node, fields, credentials, what="companion list")
        emit(run(asked, json=json), render_companions, json=json)
    else:
        everywhere = _ask_everywhere(fields, credentials)
        emit(run(everywhere, json=json), render_everywhere, json=json)


@app.command
def logs(
    node: NodeArgument,
    deployment: DeploymentArgument,
    companion: CompanionArgument,
    /,
    *,
    lines: Annotated[int, Parameter(name="--lines", help="How many, 1 to 1000.")] = 100,
    interface: InterfaceOption = "",
    hook: HookOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What a companion wrote last, to its output and its error output."""
    fields = {**_address(deployment, companion, interface, hook), "lines": lines}
    asked = _ask(READ_COMPANION_LOG, node, fields, credentials, what="companion logs")
    emit(run(asked, json=json), render_log, json=json)


@app.command
def restart(
    node: NodeArgument,
    deployment: DeploymentArgument,
    companion: CompanionArgument,
    /,
    *,
    reason: ReasonOption = "",
    interface: InterfaceOption = "",
    hook: HookOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Stop a companion and start it anew; one that was given up is tried again."""
    fields = {**_address(deployment, companion, interface, hook), "reason": reason}
    asked = _ask(RESTART_COMPANION, node, fields, credentials, what="companion restart")
    emit(run(asked, json=json), render_restarted, json=json)


def render_everywhere(found: NodesListed) -> RenderableType:
    """Every node that has some, then who did not answer."""
    having = [one for one in found.nodes if one.companions]
    silent = (Text(f"{node}: {plain(why)}", style="red") for node, why in found.silent.items())
    if not having:
        return Group(Text("no node runs companions"), *silent)
    parts = (
        part for one in having for part in (Text(one.node, style="bold"), render_companions(one))
    )
    return Group(*parts, *silent)


def render_companions(listed: CompanionsListed) -> RenderableType:
    """A line for each, and why it is not as it should be."""
    problem = [Text(plain(listed.problem), style="red")] if listed.problem else []
    if not listed.companions:
        return Group(*problem, Text(f"{listed.node} runs no companions"))
    table = Table(box=None, pad_edge=False)
    headings = ("deployment", "companion", "hook point", "package", "state", "pid", "restarts")
    for heading in (*headings, "cpu", "memory", "processes"):
        table.add_column(heading, header_style="bold")
    for one in listed.companions:
        seen = one.companion
        table.add_row(
            seen.deployment,
            seen.companion,
            f"{one.place}/{one.hook}",
            f"{one.package} {one.version}".strip(),
            Text(seen.state, style=_STYLES[seen.state]),
            str(seen.pid or ""),
            str(seen.restarts),
            *_usage(one),
        )
    why = [companion_line(one.companion) for one in listed.companions if one.companion.reason]
    return Group(*problem, table, *(Text(plain(line), style="yellow") for line in why))


def companion_line(seen: ObservedCompanion) -> str:
    """Which one, its state, and why where that is not as it should be."""
    why = f": {seen.reason}" if seen.reason else ""
    return f"companion {seen.companion} of {seen.deployment} is {seen.state}{why}"


def render_log(found: CompanionLog) -> RenderableType:
    """The lines, oldest first."""
    if not found.lines:
        return Text(f"{found.companion} of {found.deployment} wrote nothing yet")
    return Group(*map(_line, found.lines))


def render_restarted(done: CompanionRestarted) -> RenderableType:
    """Which one."""
    seen = done.companion.companion
    place = f"{done.companion.place}/{done.companion.hook}"
    return Text(f"{seen.companion} of {seen.deployment} on {done.node} {place} is started anew")


def _line(one: CompanionLine) -> Text:
    left_out = f"({one.left_out} lines are left out) " if one.left_out else ""
    text = f"{one.at[:23]} {left_out}{plain(one.text)}{' …' if one.is_cut else ''}"
    return Text(text, style="" if one.stream == "stdout" else "yellow")


def _usage(one: CompanionShown) -> tuple[str, str, str]:
    used = one.usage
    if used is None:
        return "", "", ""
    memory = f"{used.memory_bytes / _MIB:.1f} MiB"
    return f"{used.cpu_seconds:.1f} s", memory, str(used.processes)


def _address(deployment: str, companion: str, interface: str, hook: Hook | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"deployment": deployment, "companion": companion, "hook": hook}
    if interface:
        name, netns = split_place(interface)
        fields |= {"interface": name, "netns": netns}
    return fields


async def _ask(
    endpoint: Endpoint[Any, Any],
    node: str,
    fields: dict[str, Any],
    credentials: CredentialsOption,
    *,
    what: str,
) -> Any:
    """What the node says."""
    request = convert_document(fields, endpoint.request, what=what)
    name = parse_token(node, path="node")
    async with connected(credentials) as bus:
        return await request_of_node(bus, endpoint, name, request)


async def _ask_everywhere(fields: dict[str, Any], credentials: CredentialsOption) -> NodesListed:
    """What every node says that is alive."""
    request = convert_document(fields, ListCompanions, what="companion list")
    async with connected(credentials) as bus:
        names = await asked_nodes(bus, "")
        answers = await asyncio.gather(
            *(request_of_node(bus, LIST_COMPANIONS, name, request) for name in names),
            return_exceptions=True,
        )
    listed, silent = [], {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, CompanionsListed):
            listed.append(answer)
        elif isinstance(answer, FaultError):
            silent[name] = answer.message
        else:
            raise answer
    return NodesListed(nodes=tuple(listed), silent=silent)
