# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af chain`: what runs on the hooks of nodes, why it is linked so, what it does to packets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.text import Text

from cli.chain_places import HookOption, InterfaceOption, Place, asked_fields, asked_nodes
from cli.chain_view import Rates, packet_rates, render_chains
from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.node_request import request_of_node
from cli.session import connected
from cli.watching import EveryOption, LooksOption, check_watching, looked, show_looks
from shared.adapters.bus import Bus
from shared.contracts.node import GET_CHAINS, ChainsShown, GetChains
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import Hook
from shared.validation import convert_document

app = cyclopts.App(name="chain", help="What runs on a hook, why it is linked so, what it does.")
app.command(
    "cli.chain_explain:explain", help="Why a chain is linked as it is: every rule, and what it did."
)
app.command(
    "cli.chain_try:try_packets",
    name="test",
    help="What a chain does to packets, tried beside its hook.",
)

WatchFlag = Annotated[
    bool, Parameter(name="--watch", negative=(), help="Look again and again, with packets/s.")
]
PerCpuFlag = Annotated[
    bool, Parameter(name="--per-cpu", negative=(), help="The counters of each processor too.")
]


class NodesShown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all nodes that are alive run; what `--json` prints if no node was named."""

    nodes: tuple[ChainsShown, ...]
    silent: dict[str, str] = {}
    """Nodes that did not answer, and why."""


@app.command
def show(
    node: Annotated[str, Parameter(name="--node", help="Its name; all that are alive without.")] = (
        ""
    ),
    *,
    interface: InterfaceOption = "",
    hook: HookOption = None,
    per_cpu: PerCpuFlag = False,
    watch: WatchFlag = False,
    every: EveryOption = 2.0,
    looks: LooksOption = 0,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What is linked on every hook, and what its programs counted, as the kernel has it now.

    The columns of counters: packets that reached the program, the share that went on to the next,
    and packets by verdict.  `ns` is there if the chain samples times.
    """

    async def shown() -> None:
        async with connected(credentials) as bus:
            if not watch:
                seen = await _seen(bus, node, interface, hook, per_cpu=per_cpu)
                if interface and not seen.silent and not any(one.chains for one in seen.nodes):
                    raise not_there(await _seen(bus, node, "", None, per_cpu=False))
                _print(seen, is_named=bool(node), json=json)
                return
            check_watching(every, looks)
            await show_looks(
                _watched(bus, node, interface, hook, per_cpu=per_cpu, every=every),
                lambda one: render_seen(*one),
                show=lambda one: _print(one[0], is_named=bool(node), json=json, rates=one[1]),
                looks=looks,
                json=json,
            )

    run(shown(), json=json)


def not_there(everywhere: NodesShown) -> RefusedError:
    """Why nothing can be shown of the place that was asked for, and where there is something."""
    rule = "there is no chain in the place that was asked for"
    places = [
        str(Place(one.node, shown.chain.place, shown.chain.hook))
        for one in everywhere.nodes
        for shown in one.chains
    ]
    reason = Reason(path="--interface", rule=rule, allowed=places or "no hook is managed")
    return RefusedError(rule, [reason], code="not_found")


def only_on(shown: ChainsShown, interface: str, hook: Hook | None = None) -> ChainsShown:
    """The chains of one interface and hook; all if `interface` is empty and there is no hook."""
    chains = tuple(
        one
        for one in shown.chains
        if interface in ("", one.chain.place) and hook in (None, one.chain.hook)
    )
    return ChainsShown(node=shown.node, chains=chains)


def render_seen(seen: NodesShown, rates: dict[str, Rates] | None = None) -> RenderableType:
    """Every node's chains, then who did not answer; `rates` by node."""
    return Group(
        *(
            render_chains(one, None if rates is None else rates.get(one.node, {}))
            for one in seen.nodes
        ),
        *(Text(f"{node}: {plain(why)}", style="red") for node, why in seen.silent.items()),
    )


async def _seen(
    bus: Bus, node: str, interface: str, hook: Hook | None, *, per_cpu: bool
) -> NodesShown:
    """What the nodes say now; the fault of a node that was named is raised."""
    names = await asked_nodes(bus, node)
    fields = {**asked_fields(interface, hook), "per_cpu": per_cpu}
    request = convert_document(fields, GetChains, what="chain show")

    async def ask(name: str) -> ChainsShown | FaultError:
        try:
            reply = await request_of_node(bus, GET_CHAINS, name, request)
        except FaultError as error:
            if node:
                raise
            return error
        return only_on(reply, interface, hook)

    answers = dict(zip(names, await asyncio.gather(*(ask(name) for name in names)), strict=True))
    return NodesShown(
        nodes=tuple(one for one in answers.values() if isinstance(one, ChainsShown)),
        silent={name: one.message for name, one in answers.items() if isinstance(one, FaultError)},
    )


def _print(
    seen: NodesShown, *, is_named: bool, json: bool, rates: dict[str, Rates] | None = None
) -> None:
    if json and is_named:
        emit(seen.nodes[0], render_chains, json=True)
    else:
        emit(seen, lambda all_seen: render_seen(all_seen, rates), json=json)


def _watched(
    bus: Bus, node: str, interface: str, hook: Hook | None, *, per_cpu: bool, every: float
) -> AsyncIterator[tuple[NodesShown, dict[str, Rates]]]:
    """What is seen, again and again, with the packets a second since the look before."""
    clock = asyncio.get_running_loop().time
    before: dict[str, ChainsShown] = {}
    looked_at = clock()

    async def look() -> tuple[NodesShown, dict[str, Rates]]:
        nonlocal before, looked_at
        began_at = clock()
        seen = await _seen(bus, node, interface, hook, per_cpu=per_cpu)
        rates = {
            one.node: packet_rates(before[one.node], one, seconds=began_at - looked_at)
            for one in seen.nodes
            if one.node in before
        }
        before, looked_at = {one.node: one for one in seen.nodes}, began_at
        return seen, rates

    return looked(look, every=every)
