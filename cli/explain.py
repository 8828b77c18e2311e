# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af explain`: why a node runs what it runs, and why it does not run the rest."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.probe_view import target_text
from cli.session import connected
from cli.status import STATE_STYLES
from shared.contracts.node_reasons import (
    EXPLAIN_NODE,
    DeploymentOnNode,
    ExplainedPlace,
    ExplainNode,
    NodeExplained,
)
from shared.validation import convert_document


def explain(
    node: NodeArgument, /, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """Why a node runs what it runs, and why it does not run the rest."""

    async def asked() -> NodeExplained:
        request = convert_document({"node": node}, ExplainNode, what="explain")
        async with connected(credentials) as bus:
            return await bus.request(EXPLAIN_NODE, request)

    emit(run(asked(), json=json), render_explained, json=json)


def render_explained(found: NodeExplained) -> RenderableType:
    """What is so of the node, a block for each deployment that it runs, a line for each other."""
    parts = [Text(found.node, style="bold")]
    parts += [Text(f"  {plain(line)}") for line in found.standing]
    for one in found.deployments:
        if one.places:
            parts += _running(one)
    if found.unseen:
        parts.append(Text("and something that you do not see", style="dim"))
    if not any(one.places for one in found.deployments) and not found.unseen:
        parts.append(Text("it runs nothing"))
    parts += [
        Text(f"not here: {one.deployment} ({one.package}): {plain(one.why_not)}", style="dim")
        for one in found.deployments
        if not one.places
    ]
    return Group(*parts)


def _running(one: DeploymentOnNode) -> Iterator[Text]:
    yield Text(f"{one.deployment}: {one.package} {one.version}")
    yield Text(f"  because    {plain('; '.join(one.because) or 'every node is meant')}")
    if one.rollout:
        yield Text(f"  rollout    {plain(one.rollout)}")
    for place in one.places:
        yield _place(place)
        for reason in place.why:
            at = f"{plain(reason.path)}: " if reason.path else ""
            yield Text(f"             {at}{plain(reason.rule)}", style="dim")


def _place(one: ExplainedPlace) -> Text:
    where = target_text(f"{one.place}/{one.hook}", one.target)
    return Text.assemble(
        f"  revision {one.revision} ", where, " ", (one.state, STATE_STYLES[one.state])
    )
