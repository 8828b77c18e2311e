# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node reconcile`: a node compares its kernel with what is desired, now."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.node_request import request_of_node
from cli.session import connected
from shared.contracts.reconciliation import RECONCILE_NODE, NodeReconciled, ReconcileNode
from shared.identifiers import parse_token

ROUND_SECONDS: Final = 30.0
"""A round links what is not linked yet, one chain after another."""


def reconcile(
    node: NodeArgument,
    /,
    *,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Make a node look at every hook point now, and mend what is not as desired.

    It does so by itself after every change, when interfaces come and go, and every 15 seconds.
    """

    async def reconciled() -> NodeReconciled:
        name = parse_token(node, path="node")
        async with connected(credentials) as bus:
            return await request_of_node(
                bus, RECONCILE_NODE, name, ReconcileNode(), timeout_seconds=ROUND_SECONDS
            )

    emit(run(reconciled(), json=json), render_reconciled, json=json)


def render_reconciled(answer: NodeReconciled) -> RenderableType:
    """How many hook points are in which state, then what does not run and why."""
    states = ", ".join(f"{count} {plain(state)}" for state, count in answer.states.items())
    headline = f"{answer.node}: {states or 'no hook is managed'} ({answer.duration_ms:.0f} ms)"
    problems = (
        Text(f"  {plain(place)}: {plain(why)}", style="red")
        for place, why in answer.problems.items()
    )
    return Group(Text(headline, style="bold"), *problems)
