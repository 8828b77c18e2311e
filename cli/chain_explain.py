# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af chain explain`: the plan of a chain, and every rule that shaped it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_places import (
    FilesOption,
    HookOption,
    InterfaceOption,
    NodeOption,
    asked_fields,
    asked_nodes,
    drafted_places,
)
from cli.chain_view import order_text, program_text
from cli.console import CredentialsOption, JsonFlag, emit, plain, run
from cli.node_request import request_of_node
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.inspection import (
    EXPLAIN_CHAIN,
    ChainExplained,
    ChainExplanation,
    ChainsExplained,
    ExplainChain,
    PlaceExplained,
)
from shared.identifiers import Hook
from shared.validation import convert_document


class NodesExplained(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    nodes: tuple[ChainsExplained, ...]


def explain(
    *,
    node: NodeOption = "",
    interface: InterfaceOption = "",
    hook: HookOption = None,
    file: FilesOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Why a chain is linked as it is: segments, modes, every rule and what it did.

    Without --file: what runs, in the words that were kept when it was linked.  With --file: the
    chains that those deployments would make; their nodes link them and attach nothing.
    """

    async def explained() -> NodesExplained:
        async with connected(credentials) as bus:
            if file:
                return await _of_files(bus, file, node=node, interface=interface, hook=hook)
            return await _running(bus, node, interface, hook)

    emit(run(explained(), json=json), render_explained, json=json)


def render_explained(explained: NodesExplained) -> RenderableType:
    """A block for each hook point."""
    blocks = [_render_chain(one.node, chain) for one in explained.nodes for chain in one.chains]
    return Group(*blocks) if blocks else Text("no hook is managed")


async def _of_files(
    bus: Bus, files: Sequence[Path], *, node: str, interface: str, hook: Hook | None
) -> NodesExplained:
    places = await drafted_places(bus, files, node=node, interface=interface, hook=hook)
    replies = [
        await bus.request(EXPLAIN_CHAIN.at(node=place.node), ExplainChain(draft=place.draft))
        for place in places
    ]
    return NodesExplained(nodes=tuple(replies))


async def _running(bus: Bus, node: str, interface: str, hook: Hook | None) -> NodesExplained:
    """Of all nodes only those that have such a chain; of a named one its refusal."""
    fields = asked_fields(interface, hook) if node else {}
    request = convert_document(fields, ExplainChain, what="chain explain")
    names = await asked_nodes(bus, node)
    replies = await asyncio.gather(
        *(request_of_node(bus, EXPLAIN_CHAIN, name, request) for name in names)
    )
    return NodesExplained(
        nodes=tuple(
            msgspec.structs.replace(
                reply,
                chains=tuple(
                    one
                    for one in reply.chains
                    if interface in ("", one.place) and hook in (None, one.hook)
                ),
            )
            for reply in replies
        )
    )


def _render_chain(node: str, one: ChainExplained) -> RenderableType:
    what = "as planned" if one.source == "draft" else f"generation {one.generation}"
    parts: list[RenderableType] = [Text(f"{node} {one.place}/{one.hook}, {what}", style="bold")]
    if one.explanation is None:
        parts.append(Text(f"  {plain(one.problem)}", style="yellow"))
        parts += [
            Text(f"  {place.order} {program_text(place.deployment, restricted=place.restricted)}")
            for place in one.places
            if any(other.restricted for other in one.places)
        ]
    else:
        parts += _render_plan(one.explanation, one.places)
    parts.append(Text(""))
    return Group(*parts)


def _render_plan(plan: ChainExplanation, places: Sequence[PlaceExplained]) -> list[RenderableType]:
    facts = [
        f"attached by {plan.attachment}",
        "frags" if plan.has_frags else "no frags",
        "counted" if plan.has_counters else "not counted",
        f"{len(plan.segments)} kernel program{'s' if len(plan.segments) != 1 else ''}",
    ]
    parts: list[RenderableType] = [Text(f"  {', '.join(facts)}")]
    for number, segment in enumerate(plan.segments):
        details = f"{segment.layout}, licence '{plain(segment.licence)}'"
        if segment.is_device_bound:
            details += ", bound to the interface"
        parts.append(Text(f"  segment {number} ({details})", style="bold"))
        parts.append(Text(f"    begins because {plain(_lower(segment.why_begun))}"))
    parts.append(_bodies(plan, {place.deployment: place for place in places}))
    for body in plan.programs:
        if body.needed_for_inline:
            parts.append(Text(f"  {body.deployment} would be inline with:"))
            parts += [Text(f"    {plain(need)}") for need in body.needed_for_inline]
    parts.append(_constraints(plan))
    if plan.constraints_left_out:
        parts.append(Text(f"  and {plan.constraints_left_out} rules more", style="dim"))
    parts += [Text(f"  note: {plain(warning)}", style="yellow") for warning in plan.warnings]
    return parts


def _bodies(plan: ChainExplanation, places: Mapping[str, PlaceExplained]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in (
        *("order", "deployment", "segment", "linked", "instructions", "stack", "zeroed", "slot"),
        *("goes on after", "because"),
    ):
        table.add_column(heading, header_style="bold")
    for body in plan.programs:
        place = places.get(body.deployment)
        table.add_row(
            order_text(place.order, has_packages=place.has_packages_order) if place else "",
            body.deployment,
            str(body.segment),
            body.mode,
            str(body.instructions),
            str(body.stack_bytes),
            str(body.zeroed_stack_bytes or ""),
            str(body.slot),
            ", ".join(body.proceed_on),
            plain(body.reason),
        )
    return table


def _constraints(plan: ChainExplanation) -> RenderableType:
    if not plan.constraints:
        return Text("  no rule speaks against one inline program")
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "where", "effect", "what it says"):
        table.add_column(heading, header_style="bold")
    for one in plan.constraints:
        style = "yellow" if one.effect == "warning" else ""
        table.add_row(one.rule, plain(one.path), plain(one.effect), plain(one.text), style=style)
    return table


def _lower(sentence: str) -> str:
    """To stand within another sentence."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence
