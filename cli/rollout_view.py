# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How far a rollout came: its waves, how their nodes stand, and what it waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain
from shared.contracts.rollouts import Phase, PlannedRollout, RolloutState, RolloutWave
from shared.contracts.scheduler import DeploymentPlaceStatus, DeploymentStatus
from shared.errors import Reason

PHASE_STYLES: Final[dict[Phase, str]] = {
    "waiting": "yellow",
    "rolling-out": "cyan",
    "baking": "cyan",
    "paused": "magenta",
    "complete": "green",
    "rolled-back": "red",
    "aborted": "red",
}
OVER: Final = frozenset({"complete", "rolled-back", "aborted"})
STATES: Final = ("running", "pending", "failed", "node-silent")
"""Of a node the last of them that one of its places is in."""
NODES_SHOWN: Final = 12
"""Of a wave that is planned; how many more there are is said."""
PLACES_SHOWN: Final = 12
"""That are not as wanted; how many more there are is said."""


@dataclass(frozen=True, slots=True)
class WaveLine:
    """One wave, and how those of its nodes stand that have the new revision."""

    number: int
    about: str
    """Of which failure domain its nodes are, or which interface of them it concerns."""
    nodes: int
    told: int
    states: dict[str, int]
    """How many of those that were told are in each of STATES."""


def wave_lines(
    state: RolloutState, places: Iterable[DeploymentPlaceStatus], *, rest: str = ""
) -> list[WaveLine]:
    """Every wave, with what is known of its nodes by the deployment's places.

    `rest` is the state of those that were told and have no place there.
    """
    worst: dict[str, str] = {}
    for place in places:
        worst[place.node] = max(worst.get(place.node, STATES[0]), place.state, key=STATES.index)
    return [_line(state, number, wave, worst, rest) for number, wave in enumerate(state.waves)]


def render_rollout(status: DeploymentStatus) -> RenderableType:
    """The rollout of a deployment that has one: where it is, wave by wave, and why."""
    state = status.rollout
    if state is None:
        return Text("it is on no node" if status.removed else "it went everywhere at once")
    table = Table(box=None, pad_edge=False)
    for heading in ("wave", "nodes", "told", *STATES, ""):
        table.add_column(heading, header_style="bold")
    for line in wave_lines(state, status.places, rest="running" if status.more_places else ""):
        table.add_row(
            f"{line.number + 1}",
            f"{line.nodes}",
            f"{line.told}",
            *(f"{line.states[one]}" if line.told else "" for one in STATES),
            Text(" ".join(filter(None, (line.about, _at(state, line.number)))), style="dim"),
        )
    return Group(Text(rollout_line(state), style=PHASE_STYLES[state.phase]), table, *_why(state))


def render_progress(status: DeploymentStatus) -> RenderableType:
    """The rollout, and the places that are not as wanted with their first reason each."""
    open_places = [one for one in status.places if one.state != "running"]
    lines = [
        Text(f"{one.node} {one.place}: {one.state}{_first(one.why)}", style="dim")
        for one in open_places[:PLACES_SHOWN]
    ]
    more = status.place_count - status.count_of("running") - PLACES_SHOWN
    if more > 0:
        lines.append(Text(f"and {more} more places", style="dim"))
    head = Text(status.key, style="bold")
    return Group(head, render_rollout(status), *lines)


def rollout_lines(planned: PlannedRollout) -> Iterator[Text]:
    """How a revision would reach its nodes: who is in which wave."""
    base = planned.base_revision
    back = f"goes back to revision {base}" if base else "is removed"
    yield Text(f"{planned.deployment} comes in {len(planned.waves)} waves; if one fails, it {back}")
    for number, wave in enumerate(planned.waves, start=1):
        about = plain(wave.domain or wave.interface_label)
        count = len(wave.nodes) + wave.more_nodes
        more = f" and {count - NODES_SHOWN} more" if count > NODES_SHOWN else ""
        named = f"{', '.join(wave.nodes[:NODES_SHOWN])}{more}"
        yield Text(
            f"  wave {number}{f' ({about})' if about else ''}, "
            f"{count} {'node' if count == 1 else 'nodes'}: {named}"
        )


def rollout_line(state: RolloutState) -> str:
    """Where it is, in one line."""
    where = f", wave {state.wave + 1} of {len(state.waves)}"
    parts = (
        f"revision {state.revision}: {state.phase}",
        "" if state.phase in OVER or not state.waves else where,
        f": {plain(state.why)}" if state.why else "",
    )
    return "".join(parts)


def _line(
    state: RolloutState, number: int, wave: RolloutWave, worst: dict[str, str], rest: str
) -> WaveLine:
    names = wave.names
    told = names[: _told(state, number, len(names))]
    found = Counter(worst.get(name, rest) for name in told)
    return WaveLine(
        number=number,
        about=plain(wave.domain or wave.interface_label),
        nodes=len(names),
        told=len(told),
        states={one: found[one] for one in STATES},
    )


def _told(state: RolloutState, number: int, nodes: int) -> int:
    if number < state.wave or state.phase == "complete":
        return nodes
    return state.released if number == state.wave and state.phase not in OVER else 0


def _at(state: RolloutState, number: int) -> str:
    if number != state.wave or state.phase in OVER:
        return ""
    since = state.healthy_since if state.phase == "baking" else state.wave_started_at
    return f"{state.phase} since {since[11:19]}" if since else state.phase


def _why(state: RolloutState) -> Iterator[Text]:
    if state.override is not None:
        said = f"let through by {state.override.actor_role} {state.override.actor_key[:8]}"
        yield Text(f"{said}: {plain(state.override.reason)}", style="dim")
    for one in state.approvals:
        said = f"wave {one.wave + 1} approved by {one.actor_role} {one.actor_key[:8]}"
        yield Text(f"{said}{f': {plain(one.reason)}' if one.reason else ''}", style="dim")
    for reason in state.evidence:
        path = f"{plain(reason.path)}: " if reason.path else ""
        yield Text(f"{path}{plain(reason.rule)}", style="red")


def _first(reasons: tuple[Reason, ...]) -> str:
    return f", {plain(reasons[0].rule)}" if reasons else ""
