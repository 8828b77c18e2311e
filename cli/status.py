# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af status`: what is wanted, and what the kernels hold."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_view import drift_line
from cli.companion import companion_line
from cli.console import CredentialsOption, JsonFlag, plain, run
from cli.leader_view import ask_leader, leader_line
from cli.node_overlay_view import overlay_lines
from cli.probe_view import target_text
from cli.rollout import named
from cli.rollout_view import OVER, PHASE_STYLES, render_rollout, rollout_line
from cli.session import connected
from cli.watching import ONCE, Watching, show
from shared.adapters.bus import Bus
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.leadership import Leader
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    LIST_DEPLOYMENTS,
    DeploymentList,
    DeploymentPlaceStatus,
    DeploymentStatus,
    GetDeployment,
    ListDeployments,
)
from shared.identifiers import is_probe
from shared.validation import convert_document

STATE_STYLES: Final = {
    "running": "green",
    "pending": "yellow",
    "failed": "red",
    "node-silent": "magenta",
}


class Overview(DeploymentList, frozen=True, kw_only=True):
    """All deployments, and who answers for them."""

    scheduler: Leader | None = None
    """None: of a release that does not say."""


def status(
    name: str = "",
    /,
    *,
    removed: Annotated[
        bool,
        Parameter(name="--removed", negative=(), help="Also those that were removed and are gone."),
    ] = False,
    space: Annotated[
        str,
        Parameter(name="--space", help="Those of this space alone, as `l3af space list` has it."),
    ] = "",
    node: Annotated[str, Parameter(name="--node", help="The places of this node alone.")] = "",
    watching: Watching = ONCE,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What is wanted, and what every node's kernel was read back to hold.

    With --watch, it is drawn anew in one place of a terminal; with --json as well, each look is one
    line.  What is away meanwhile is said, and waited for.

    Parameters
    ----------
    name
        One deployment, with its history; of another space than public SPACE.NAME.  Without it, all
        that you see.
    """

    async def shown() -> None:
        async with connected(credentials) as bus:
            if name:
                fields = {**named(name), "node": node}
                one = convert_document(fields, GetDeployment, what="status")
                look = partial(bus.request, GET_DEPLOYMENT, one)
                await show(look, render_deployment, watching, json=json)
            else:
                wanted = {"removed": True, "space": space or None}
                every = convert_document(wanted, ListDeployments, what="status")
                overview = partial(_overview, bus, every, removed=removed)
                await show(overview, render_overview, watching, json=json)

    run(shown(), json=json)


async def _overview(bus: Bus, request: ListDeployments, *, removed: bool) -> Overview:
    found = await bus.request(LIST_DEPLOYMENTS, request)
    shown = found if removed else without_gone(found)
    return Overview(deployments=shown.deployments, scheduler=await ask_leader(bus))


def without_gone(listed: DeploymentList) -> DeploymentList:
    """All but those that were removed and are on no node: what still runs is shown."""
    return DeploymentList(
        deployments=tuple(one for one in listed.deployments if one.place_count or not one.removed)
    )


def render_overview(overview: Overview) -> RenderableType:
    """The deployments, what of them is on its way, and who leads."""
    parts: list[RenderableType] = [render_list(overview)]
    parts += [
        Text(f"{one.key} {rollout_line(one.rollout)}", style=PHASE_STYLES[one.rollout.phase])
        for one in overview.deployments
        if one.rollout is not None and one.rollout.phase not in OVER
    ]
    if overview.scheduler is not None:
        parts.append(Text(leader_line(overview.scheduler), style="dim"))
    return Group(*parts)


def render_list(listed: DeploymentList) -> RenderableType:
    """A line for each place of each deployment."""
    if not listed.deployments:
        return Text("nothing is deployed")
    table = Table(box=None, pad_edge=False)
    headings = ("deployment", "revision", "package", "hook", "order", "node", "interface", "state")
    for heading in headings:
        table.add_column(heading, header_style="bold")
    for deployment in listed.deployments:
        head = (
            deployment.key,
            str(deployment.revision),
            f"{deployment.package} {deployment.version}",
            deployment.hook,
            "" if is_probe(deployment.hook) else place_text(deployment.spec, deployment.order),
        )
        if not deployment.place_count:
            table.add_row(*head, "", "", "removed" if deployment.removed else "on no node")
        for index, place in enumerate(deployment.places):
            table.add_row(
                *(head if index == 0 else ("",) * len(head)),
                place.node,
                target_text(place.place, place.target),
                Text(
                    _state(place, deployment)
                    + (", to be removed" if deployment.removed else "")
                    + _violation(deployment, place.node),
                    style=STATE_STYLES[place.state],
                ),
            )
        if deployment.more_places:
            table.add_row(*(("",) * len(head)), "", "", Text(more_line(deployment), style="dim"))
    return table


def more_line(deployment: DeploymentStatus) -> str:
    """What is not listed, by the state that it is in."""
    listed = Counter[str](place.state for place in deployment.places)
    left = {state: count - listed[state] for state, count in deployment.states.items()}
    by_state = ", ".join(f"{count} {state}" for state, count in left.items() if count)
    return f"and {deployment.more_places} more: {by_state}"


def render_deployment(deployment: DeploymentStatus) -> RenderableType:
    """The places with their reasons, and the kept revisions, newest first."""
    parts: list[RenderableType] = [render_list(DeploymentList(deployments=(deployment,)))]
    parts.append(Text(_facts(deployment), style="dim"))
    if deployment.rollout is not None:
        parts += [render_rollout(deployment), Text("")]
    parts += [Text(plain(line), style="cyan") for line in overlay_lines(deployment.overlaid)]
    if deployment.alarm is not None:
        found = deployment.alarm
        why = f"{deployment.package} {found.version} was revoked: {found.why}"
        parts.append(Text(plain(why), style="red"))
    for place in deployment.places:
        parts += [
            Text(
                f"{place.node} {place.place}: "
                + (f"{plain(reason.path)}: " if reason.path else "")
                + plain(reason.rule),
                style="red" if place.state == "failed" else "dim",
            )
            for reason in place.why
        ]
        companions = place.chain.companions if place.chain is not None else ()
        parts += [
            Text(plain(f"{place.node} {place.place}: {companion_line(one)}"), style="dim")
            for one in companions
            if one.deployment == deployment.key and not one.reason
        ]
        drifts = place.chain.drift if place.chain is not None else ()
        parts += [
            Text(f"{place.node} {place.place}: {drift_line(one)}", style="red") for one in drifts
        ]
    history = Table(box=None, pad_edge=False, title="revisions", title_justify="left")
    for heading in ("revision", "at", "version", "order", "by", "command", "why"):
        history.add_column(heading, header_style="bold")
    for revision in reversed(deployment.revisions):
        note = f"rollback of {revision.rollback_of}" if revision.rollback_of else ""
        history.add_row(
            str(revision.revision),
            revision.at[:19].replace("T", " "),
            revision.version,
            place_text(revision.spec, revision.spec.order),
            f"{revision.actor_role} {revision.actor_key[:8]}",
            revision.command_id,
            plain("; ".join(part for part in (note, revision.reason) if part)),
        )
    return Group(*parts, Text(""), history)


def place_text(spec: DeploymentSpec, order: int | None) -> str:
    """A place in chains: the number, if it has one, and whom it stands beside."""
    beside = [
        f"{word} {one}"
        for word, said in (("before", spec.before), ("after", spec.after))
        for one in said
    ]
    has_number = order is not None and not (beside and spec.order is None)
    return ", ".join([*([str(order)] if has_number else []), *beside])


def _facts(deployment: DeploymentStatus) -> str:
    """What is not about places: the generation, who answers for it, why, and until when."""
    spec = deployment.spec
    facts = {
        "generation": str(deployment.generation),
        "owner": spec.owner,
        "reason": spec.reason,
        "expiry": f"{spec.expiry} ({spec.on_expiry})" if spec.expiry else "",
    }
    return "; ".join(f"{name} {plain(value)}" for name, value in facts.items() if value)


def _violation(deployment: DeploymentStatus, node: str) -> str:
    rules = sorted({one.rule for one in deployment.violations if one.node == node})
    return f", breaks licence rule {', '.join(rules)}" if rules else ""


def _state(place: DeploymentPlaceStatus, deployment: DeploymentStatus) -> str:
    drifts = place.chain.drift if place.chain is not None else ()
    kinds = ", ".join(sorted({one.kind for one in drifts}))
    drift = f", drift: {kinds}" if kinds else ""
    if place.revision not in (0, deployment.revision):
        drift = f", revision {place.revision}{drift}"
    if place.state == "running" or not place.observed_version:
        return f"{place.state}{drift}"
    return f"{place.state} ({place.observed_version} runs){drift}"
