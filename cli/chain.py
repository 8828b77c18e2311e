# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af chain show`: what runs on a node's hooks right now, read from its kernel."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.session import connected
from shared.contracts.node import GET_CHAINS, ChainShown, ChainsShown, GetChains
from shared.identifiers import parse_token

app = cyclopts.App(name="chain", help="What runs on a hook, read from the kernel.")


@app.command
def show(
    node: str,
    /,
    *,
    interface: Annotated[
        str, Parameter(name="--interface", help="Only the hooks of this interface.")
    ] = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """The chain on every hook of a node, its programs and its counters, as the kernel has them.

    Parameters
    ----------
    node
        Its name.
    """

    async def got() -> ChainsShown:
        endpoint = GET_CHAINS.at(node=parse_token(node, path="node"))
        async with connected(credentials) as bus:
            return only_on(await bus.request(endpoint, GetChains()), interface)

    emit(run(got(), json=json), render_chains, json=json)


def only_on(shown: ChainsShown, interface: str) -> ChainsShown:
    """The chains of one interface; all if `interface` is empty."""
    chains = tuple(one for one in shown.chains if not interface or one.chain.interface == interface)
    return ChainsShown(node=shown.node, chains=chains)


def render_chains(shown: ChainsShown) -> RenderableType:
    """A block for each hook point."""
    if not shown.chains:
        return Text(f"{shown.node}: no hook is managed")
    return Group(*(_render_chain(shown.node, one) for one in shown.chains))


def _render_chain(node: str, shown: ChainShown) -> RenderableType:
    chain = shown.chain
    parts: list[RenderableType] = [
        Text(f"{node} {chain.interface}/{chain.hook}: {chain.state}", style="bold"),
        Text(
            f"  program {chain.program_id} tag {chain.program_tag or '-'} link {chain.link_id} "
            f"generation {chain.generation} "
            + (f"{chain.xdp_mode} " if chain.xdp_mode else "")
            + f"verified {chain.verified_instructions} jited {chain.jited_bytes} bytes, "
            + ("GPL-compatible" if chain.gpl_compatible else "not GPL-compatible")
        ),
    ]
    table = Table(box=None, pad_edge=False)
    for heading in ("order", "deployment", "revision", "package", "linked", "instructions"):
        table.add_column(heading, header_style="bold")
    for program in chain.programs:
        table.add_row(
            str(program.order),
            program.deployment,
            str(program.revision),
            f"{program.package} {program.version}",
            program.mode,
            str(program.instructions),
        )
    if chain.programs:
        parts.append(table)
    if chain.refusal is not None:
        parts.append(Text(f"  refused: {plain(chain.refusal.message)}", style="red"))
        parts += [
            Text(f"    {plain(reason.path)}: {plain(reason.rule)}", style="red")
            for reason in chain.refusal.reasons
        ]
    if shown.metrics:
        metrics = Table(box=None, pad_edge=False)
        for heading in ("deployment", "metric", "value", "map", "key"):
            metrics.add_column(heading, header_style="bold")
        for metric in shown.metrics:
            value = str(metric.value) if metric.value is not None else plain(metric.problem)
            metrics.add_row(metric.deployment, metric.metric, value, metric.map, metric.key)
        parts.append(metrics)
    parts.append(Text(""))
    return Group(*parts)
