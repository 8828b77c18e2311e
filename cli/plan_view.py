# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a plan would change, for somebody who decides whether to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_view import order_text, program_text
from cli.console import plain
from cli.moments import shown_moment
from cli.node_overlay_view import overlay_lines
from cli.rollout_view import rollout_lines
from shared.contracts.planned_chains import PlannedChain, ProgramPlace
from shared.contracts.rollout_policy import PolicyEffect
from shared.contracts.scheduler import DeploymentPlan
from shared.identifiers import is_probe
from shared.probe_targets import describe_target

CHANGE_STYLES: Final = {"kept": "dim", "added": "green", "changed": "yellow", "removed": "red"}


def render_plan(plan: DeploymentPlan) -> RenderableType:
    """Every chain that changes, first program first; then who is left out and what to look at."""
    table = Table(box=None, pad_edge=False)
    headings = ("node", "hook point", "order", "deployment", "package", "archive", "instructions")
    for heading in (*headings, "goes on after", ""):
        table.add_column(heading, header_style="bold")
    for chain in plan.chains:
        _add_chain(table, chain)
        table.add_section()
    parts: list[RenderableType] = [
        Text(
            f"{plan.deployment}: version {plan.version}, archive {plan.archive_sha256[:16]}"
            f", generation now {plan.generation}"
        )
    ]
    parts.append(table if plan.chains else Text("no chain changes"))
    parts += [line for chain in plan.chains for line in _target_line(chain)]
    parts += [line for chain in plan.chains for line in _link_line(chain)]
    parts += [
        Text(
            f"{chain.node} {chain.place}/{chain.hook}: the verifier walked "
            f"{chain.verified_instructions} instructions",
            style="dim",
        )
        for chain in plan.chains
        if chain.verified_instructions
    ]
    parts += [line for one in plan.rollouts for line in rollout_lines(one)]
    if plan.more_chains:
        more = f"{plan.more_chains} more chains change: `l3af plan --node` lists those of one node"
        parts.append(Text(more, style="yellow"))
    parts += [Text(plain(line), style="cyan") for line in overlay_lines(plan.overlaid)]
    parts += [Text(f"not on {one.node}: {plain(one.why)}", style="dim") for one in plan.excluded]
    if plan.more_excluded:
        parts.append(Text(f"not on {plan.more_excluded} more nodes", style="dim"))
    parts += [_policy_line(one) for one in plan.policy]
    parts += [Text(f"note: {plain(warning)}", style="yellow") for warning in plan.warnings]
    return Group(*parts)


def _policy_line(one: PolicyEffect) -> Text:
    """What the deployment's rollout would wait for, and until when."""
    rules = f" (rules of the rollout policy: {plain(', '.join(one.rules))})" if one.rules else ""
    if not one.why:
        return Text(f"rollout of {one.deployment}: nothing holds it now{rules}", style="dim")
    until = f", until {shown_moment(one.until)} UTC at the earliest" if one.until else ""
    return Text(
        f"rollout of {one.deployment} would wait{until}: {plain(one.why)}{rules}", style="yellow"
    )


def _link_line(chain: PlannedChain) -> Iterator[Text]:
    """The options of the chain that are not the default."""
    options = msgspec.to_builtins(chain.link)
    if options:
        said = ", ".join(
            f"{name} = {msgspec.json.encode(options[name]).decode()}" for name in options
        )
        yield Text(f"link of {chain.node} {chain.place}/{chain.hook}: {said}", style="dim")


def _target_line(chain: PlannedChain) -> Iterator[Text]:
    """What a probe is attached to."""
    if chain.target is not None:
        said = plain(describe_target(chain.target))
        yield Text(f"{chain.node} {chain.place}/{chain.hook} is attached to {said}", style="dim")


def _order(chain: PlannedChain, place: ProgramPlace) -> str:
    """A probe is in no chain."""
    if is_probe(chain.hook):
        return ""
    return order_text(place.order, has_packages=place.has_packages_order)


def _instructions(place: ProgramPlace) -> str:
    """Those that are counted in the object alone are marked."""
    about = "~" if place.is_estimate else ""
    return f"{about}{place.instructions}" if place.instructions else ""


def _add_chain(table: Table, chain: PlannedChain) -> None:
    note = " (only map entries, variables and arguments)" if chain.configuration_only else ""
    for index, place in enumerate(chain.programs):
        table.add_row(
            chain.node if index == 0 else "",
            f"{chain.place}/{chain.hook}" if index == 0 else "",
            _order(chain, place),
            program_text(place.deployment, restricted=place.restricted),
            f"{place.package} {place.version}".strip(),
            place.archive_sha256[:12],
            _instructions(place),
            ", ".join(place.proceed_on),
            place.change + (note if place.change == "changed" else ""),
            style=CHANGE_STYLES[place.change],
        )
