# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node list`, `show`, `ebpf`, `label`, `forget`: nodes, and the deployments they attract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_view import program_text
from cli.commanding import issue
from cli.companion import companion_line
from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.drain import wait_line
from cli.node_capabilities import capability_rows, hook_points_row, slot_words, xdp_words
from cli.node_pages import all_nodes
from cli.probe_view import target_text
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import connected
from shared.contracts.cordons import CordonStatus
from shared.contracts.node import NodeRecord
from shared.contracts.scheduler import (
    FORGET_NODE,
    GET_NODE,
    LABEL_NODE,
    GetNode,
    LabelNode,
    NodeForgotten,
    NodeLabelled,
    NodeList,
    NodeStatus,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

_UNFIT = {True: "stays here, although", False: "is not put here:"}

app = cyclopts.App(
    name="node", help="List, show, label and forget nodes; give and take their keys."
)
app.command("cli.node_ebpf:ebpf", help="Every eBPF program of a node, whoever loaded it.")
app.command("cli.node_reconcile:reconcile", help="Make a node look at every hook point now.")
app.command("cli.node_admin:add", help="Give a node a key.")
app.command("cli.node_admin:revoke", help="Refuse a node's key from now on.")
app.command("cli.node_admin:rotate", help="Give a node a new key; the old one is refused.")


@app.command(name="list")
def list_nodes(
    *,
    forgotten: Annotated[
        bool, Parameter(name="--all", negative=(), help="Also those that were forgotten.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """The nodes that registered and were not forgotten."""

    async def listed() -> NodeList:
        async with connected(credentials) as bus:
            return await all_nodes(bus, forgotten=forgotten)

    emit(run(listed(), json=json), render_list, json=json)


@app.command
def show(
    node: NodeArgument, /, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """One node: inventory, labels, features, chains."""

    async def got() -> NodeStatus:
        request = convert_document({"node": node}, GetNode, what="node show")
        async with connected(credentials) as bus:
            return await bus.request(GET_NODE, request)

    emit(run(got(), json=json), render_node, json=json)


@app.command
def label(
    node: NodeArgument,
    /,
    *changes: Annotated[str, Parameter(help="`key=value` sets a label, `key-` removes one.")],
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Set and remove labels; deployments follow at once."""
    labelled = _label(node, changes, reason=reason, command_id=command_id, credentials=credentials)
    emit(run(labelled, json=json), render_labels, json=json)


@app.command
def forget(
    node: NodeArgument,
    /,
    *,
    undo: Annotated[
        bool, Parameter(name="--undo", negative=(), help="Take a forgotten node back.")
    ] = False,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Give up a node that is lost for ever, so that nothing waits for it (administrators only)."""
    fields: dict[str, Any] = {
        "node": node,
        "undo": undo,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }
    issue(FORGET_NODE, fields, render_forgotten, credentials, what="node forget", json=json)


def parse_changes(changes: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """The labels to set and those to remove.

    Raises:
        RefusedError: Naming every word that is neither `key=value` nor `key-`.
    """
    to_set: dict[str, str] = {}
    to_remove: list[str] = []
    problems: list[Reason] = []
    for index, change in enumerate(changes):
        key, separator, value = change.partition("=")
        if separator and key:
            to_set[key] = value
        elif change.endswith("-") and len(change) > 1:
            to_remove.append(change[:-1])
        else:
            rule = "is neither key=value nor key-"
            problems.append(Reason(path=f"changes[{index}]", rule=rule, got=change))
    if not changes:
        problems.append(Reason(path="changes", rule="at least one label must be set or removed"))
    if problems:
        raise RefusedError("these are not label changes", problems)
    return to_set, to_remove


def render_list(listed: NodeList) -> RenderableType:
    """A line for each node."""
    if not listed.nodes:
        return Text("there is no node")
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "alive", "kernel", "interfaces", "labels", "chains", "generation"):
        table.add_column(heading, header_style="bold")
    for node in listed.nodes:
        attached = sum(chain.state == "attached" for chain in node.chains)
        table.add_row(
            node.node,
            _liveness(node),
            plain(node.record.kernel),
            " ".join(plain(one.place) for one in node.record.interfaces),
            _labels(node.labels),
            str(attached),
            _generations(node),
        )
    return table


def _trust_row(record: NodeRecord) -> dict[str, Text]:
    """Loud, where signatures do not matter; nothing elsewhere."""
    if record.trust_mode == "trusted":
        return {}
    return {"trust": Text("MODE normal: it runs what nobody signed", style="bold red")}


def render_node(node: NodeStatus) -> RenderableType:
    """Everything that is known of one node."""
    record = node.record
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column()
    rows = {
        "node": Text(node.node),
        "alive": _liveness(node),
        **({"away": Text(plain(f"it {node.away}"), style="yellow")} if node.away else {}),
        **_cordon_row(node),
        "host name": Text(plain(record.hostname)),
        "kernel": Text(plain(f"{record.kernel} {record.architecture}")),
        "executor": Text(plain(record.executor_version)),
        **_trust_row(record),
        "registered": Text(record.registered_at),
        "labels": Text(_labels(node.labels)),
        "features": Text(
            " ".join(name if has else f"no-{name}" for name, has in sorted(record.features.items()))
        ),
        "generation": Text(_generations(node)),
    }
    rows |= {f"on {name}": Text(plain(note)) for name, note in record.feature_notes.items()}
    lines = {**capability_rows(record.capabilities), "hook points": hook_points_row(node)}
    rows |= {name: Text(plain(line)) for name, line in lines.items()}
    for name, value in rows.items():
        facts.add_row(name, value)
    interfaces = Table(box=None, pad_edge=False)
    facts_of_links = ("index", "kind", "mac", "mtu", "up", "routes", "driver", "XDP", "hooks")
    for heading in ("interface", *facts_of_links):
        interfaces.add_column(heading, header_style="bold")
    for one in record.interfaces:
        interfaces.add_row(
            *(plain(one.place), str(one.index), one.kind, one.mac, str(one.mtu), _yes(one.up)),
            " ".join(one.default_routes or ()),
            *(plain(one.driver), plain(xdp_words(one)), plain(slot_words(node, one))),
        )
    chains = Table(box=None, pad_edge=False)
    for heading in ("hook point", "state", "deployments"):
        chains.add_column(heading, header_style="bold")
    for chain in node.chains:
        chains.add_row(
            target_text(f"{chain.place}/{chain.hook}", chain.target),
            chain.state,
            " → ".join(
                program_text(one.deployment, restricted=one.restricted) for one in chain.programs
            ),
        )
    unfit = [
        Text(f"{one.deployment} {_UNFIT[one.stays]} {plain(one.why)}", style="yellow")
        for one in node.unfit_for
    ]
    companions = [
        Text(plain(f"{chain.place}/{chain.hook} {companion_line(one)}"))
        for chain in node.chains
        for one in chain.companions
    ]
    return Group(facts, Text(""), interfaces, Text(""), chains, *companions, *unfit)


def _cordon_row(node: NodeStatus) -> dict[str, Text]:
    """Since when, by whom, why, and what is still there."""
    one = node.cordon
    if one is None:
        return {}
    words = [
        f"since {one.at[:19].replace('T', ' ')} by {one.actor_role} {one.actor_key[:8]}",
        *([one.reason] if one.reason else []),
        f"here: {', '.join(one.stays) or 'nothing'}",
    ]
    lines = ["; ".join(words), *map(wait_line, one.waits)]
    return {_cordon_word(one): Text(plain("\n".join(lines)), style="yellow")}


def _cordon_word(cordon: CordonStatus) -> str:
    if cordon.drained_at:
        return "drained"
    return "drains" if cordon.drains else "cordoned"


def render_labels(labelled: NodeLabelled) -> RenderableType:
    """The labels as they are now."""
    return Text(f"{labelled.node}: {_labels(labelled.labels) or 'no labels'}")


def render_forgotten(done: NodeForgotten) -> RenderableType:
    """Whether it is given up now."""
    return Text(f"{done.node} is {'forgotten' if done.forgotten else 'taken back'}")


async def _label(
    node: str, changes: tuple[str, ...], *, reason: str, command_id: str, credentials: Path | None
) -> NodeLabelled:
    to_set, to_remove = parse_changes(changes)
    fields: dict[str, Any] = {
        "node": node,
        "set": to_set,
        "remove": to_remove,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }
    request = convert_document(fields, LabelNode, what="node label")
    async with connected(credentials) as bus:
        return await bus.request(LABEL_NODE, request)


def _liveness(node: NodeStatus) -> Text:
    liveness = _heard(node)
    if node.cordon is not None:
        liveness.append(f" ({_cordon_word(node.cordon)})", style="yellow")
    return liveness.append(" (forgotten)", style="dim") if node.forgotten else liveness


def _heard(node: NodeStatus) -> Text:
    if node.alive and node.away:
        return Text("comes and goes", style="yellow")
    if node.alive:
        return Text("yes", style="green")
    if node.silent_seconds is None:
        return Text("not heard yet", style="yellow")
    return Text(f"silent for {node.silent_seconds:.0f} s", style="red")


def _labels(labels: dict[str, str]) -> str:
    return plain(" ".join(f"{key}={value}" for key, value in sorted(labels.items())))


def _generations(node: NodeStatus) -> str:
    if node.observed_generation == node.desired_generation:
        return str(node.desired_generation)
    return f"{node.observed_generation} of {node.desired_generation}"


def _yes(statement: bool) -> str:  # noqa: FBT001 because it renders one
    return "yes" if statement else "no"
