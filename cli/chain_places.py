# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which chains a command is about: those that run, or those that deployment files would make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from cyclopts import Parameter

from cli.deployment_document import read_deployment
from cli.node_pages import all_nodes
from shared.adapters.bus import Bus
from shared.contracts.scheduler import PLAN_DEPLOYMENT, PlanDeployment
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, parse_token, split_place

PLANNING_SECONDS: Final = 60.0
"""Nodes fetch, verify and link what a plan leads to."""

NodeOption = Annotated[str, Parameter(name="--node", help="Only this node.")]
InterfaceOption = Annotated[
    str,
    Parameter(
        name="--interface",
        help="Only this interface; in a named network namespace NETNS/INTERFACE.",
    ),
]
HookOption = Annotated[Hook | None, Parameter(name="--hook", help="Only this hook.")]
FilesOption = Annotated[
    list[Path] | None,
    Parameter(
        name="--file",
        negative=(),
        help="A deployment that is not applied: its chains as they would be. May be repeated.",
    ),
]


class Place(NamedTuple):
    """A hook point of a node."""

    node: str
    interface: str
    """With its network namespace, if that is a named one: `<netns>/<interface>`."""
    hook: Hook
    draft: str | None = None
    """Digest of a chain that the node staged; None: what runs there."""

    def __str__(self) -> str:
        return f"{self.node} {self.interface}/{self.hook}"


async def asked_nodes(bus: Bus, node: str) -> list[str]:
    """The node that was named, or all that are alive.

    Raises:
        RefusedError: No node is alive.
    """
    if node:
        return [parse_token(node, path="--node")]
    listed = await all_nodes(bus)
    alive = [one.node for one in listed.nodes if one.alive]
    if not alive:
        rule = "no node is alive; `l3af node list` shows when each was last heard"
        raise RefusedError(rule, [Reason(path="--node", rule=rule)], code="not_found")
    return alive


def asked_fields(interface: str, hook: Hook | None) -> dict[str, str | None]:
    """Fields of a request for the chains of an interface as it was written; empty: of all."""
    if not interface:
        return {"hook": hook}
    name, netns = split_place(interface)
    return {"interface": name, "netns": netns, "hook": hook}


async def drafted_places(
    bus: Bus, files: Sequence[Path], *, node: str, interface: str, hook: Hook | None
) -> list[Place]:
    """Every chain that the deployments in `files`, applied in this order, would make.

    Raises:
        RefusedError: A file is no deployment, the plan is refused, or leads to no such chain.
        FaultError: A node it would run on is away.
    """
    first, *also = (read_deployment(file) for file in files)
    plan = await bus.request(
        PLAN_DEPLOYMENT,
        PlanDeployment(spec=first, also=tuple(also)),
        timeout_seconds=PLANNING_SECONDS,
    )
    places = [
        Place(chain.node, chain.place, chain.hook, chain.draft)
        for chain in plan.chains
        if chain.draft
        and node in ("", chain.node)
        and interface in ("", chain.place)
        and hook in (None, chain.hook)
    ]
    if not places:
        rule = "leads to no chain that was asked for"
        why = "; ".join(f"not on {one.node}: {one.why}" for one in plan.excluded)
        reason = Reason(path="--file", rule=rule, got=[str(file) for file in files], allowed=why)
        raise RefusedError(f"the plan {rule}", [reason], code="not_found")
    return places


def the_only(places: Sequence[Place], *, what: str, among: Sequence[Place] = ()) -> Place:
    """The one place there is to choose, `among` those that nobody asked for.

    Raises:
        RefusedError: There is none, or several; they are named.
    """
    if len(places) == 1:
        return places[0]
    allowed = [str(place) for place in places]
    if not places:
        rule = f"there is no {what}" + (" in the place that was asked for" if among else "")
        others = [str(place) for place in among]
        reason = Reason(path="--interface", rule=rule, allowed=others or None)
        raise RefusedError(rule, [reason], code="not_found")
    rule = f"several places have a {what}; choose one with --node, --interface and --hook"
    raise RefusedError(rule, [Reason(path="--interface", rule=rule, allowed=allowed)])
