# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a wave is well, by what was read of its nodes, and whether it has failed.

Pure.

Rules:
 * A place is judged once it runs what its node was told; one that failed is not well.
 * What is not known is never bad and never well: until both ends of a period are known, a wave is
   undecided.
 * What is bad on one place is bad, whatever is not known of others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from services.scheduler.rollout.health_guards import Wave, bad_numbers, bad_programs
from services.scheduler.rollout.health_numbers import (
    Period,
    PlaceNumbers,
    number_name,
    place_numbers,
)
from services.scheduler.status import PlaceView
from shared.contracts.health import HealthSpec
from shared.errors import Reason

State = Literal["healthy", "undecided", "failing"]
REASONS_SHOWN: Final = 40
_WAITING: Final = "runs, and no whole period has passed since"


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What an external gate said of a wave."""

    is_well: bool | None
    """None: it did not answer."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """What is known of a deployment's nodes."""

    deployment: str
    """Its key."""
    revision: int
    """The newest."""
    places: Sequence[PlaceView]
    """Of the newest revision (`status.view_places`)."""
    periods: Mapping[str, Period] = field(default_factory=dict)
    """By node, the last one; of nodes of the wave, and of others to compare them with."""
    gate: GateAnswer | None = None
    """To the question about this wave; None: it was not asked yet."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is so of a wave, and why."""

    state: State
    reasons: tuple[Reason, ...] = ()
    """Of a failing one what is bad, of an undecided one what is not known; the first of them."""


def judge(
    spec: HealthSpec, nodes: Collection[str], world: World, baseline: Mapping[str, float]
) -> Verdict:
    """Whether the wave of these nodes is well.

    Args:
        spec: What must hold.
        nodes: Of the wave.
        world: What is known.
        baseline: What `health_numbers.baseline_of` made before the wave.
    """
    wave_nodes = frozenset(nodes)
    views = sorted(
        (one for one in world.places if one.node in wave_nodes),
        key=lambda one: (one.node, one.interface),
    )
    bad = [reason for view in views if view.state == "failed" for reason in _located(view)]
    unknown = [reason for view in views if view.state == "pending" for reason in _located(view)]
    running = [view for view in views if view.state == "running"]
    bad += bad_programs(spec, running)
    if spec.asks_nodes:
        wave, waiting = _wave(wave_nodes, running, world)
        bad += bad_numbers(spec, wave, baseline)
        unknown += [*waiting, *_unread(spec, wave)]
    if spec.gate is not None:
        said, is_bad = _gate(spec, world.gate)
        (bad if is_bad else unknown).extend(said)
    if bad:
        return Verdict("failing", tuple(bad[:REASONS_SHOWN]))
    return Verdict("undecided" if unknown else "healthy", tuple(unknown[:REASONS_SHOWN]))


def weigh(verdict: Verdict, bad_periods: int, spec: HealthSpec) -> tuple[int, bool]:
    """How many bad periods there were one after the other now, and whether that is a failure.

    A period of which nothing is known neither adds one nor takes any away.

    Args:
        verdict: On the period that is over.
        bad_periods: Before it.
        spec: How many are a failure.
    """
    if verdict.state == "healthy":
        return 0, False
    count = bad_periods + (verdict.state == "failing")
    return count, verdict.state == "failing" and count >= spec.bad_periods


def _wave(
    nodes: frozenset[str], running: Sequence[PlaceView], world: World
) -> tuple[Wave, list[Reason]]:
    """The numbers of the wave's places, and the places that have none yet."""
    told = {(view.node, view.interface): _told(world, view) for view in running}
    found = [one for period in world.periods.values() for one in place_numbers(period)]
    found.sort(key=lambda one: (one.node, one.place))
    wave = Wave(
        periods={node: world.periods[node] for node in sorted(nodes & world.periods.keys())},
        places=[one for one in found if told.get((one.node, one.place)) == one.revision],
        rest=[
            one
            for one in found
            if (one.node, one.place) not in told and one.revision != world.revision
        ],
    )
    known = {(one.node, one.place) for one in wave.places}
    waiting = [
        Reason(path=f"nodes.{node}.{place}", rule=_WAITING)
        for node, place in sorted(told.keys() - known)
    ]
    return wave, waiting


def _told(world: World, view: PlaceView) -> int:
    """The revision that the node was told, of which it is known that it runs.

    An older number, where nothing changed for the node's platform.
    """
    programs = view.chain.programs if view.chain is not None else ()
    return next(
        (one.revision for one in programs if one.deployment == world.deployment), world.revision
    )


def _unread(spec: HealthSpec, wave: Wave) -> list[Reason]:
    """Counters and metrics that are needed and not there; of a key, nothing may have come."""
    uncounted = [
        Reason(path=f"nodes.{one.node}.{one.place}", rule=_uncounted(one))
        for one in wave.places
        if spec.needs_counters and not one.has_counters
    ]
    names = {
        number_name(one): f"health.metrics[{index}]"
        for index, one in enumerate(spec.metrics)
        if not one.key and not one.metric.startswith("l3af.")
    }
    return uncounted + [
        Reason(path=path, rule=f"{name} cannot be read on {one.node}/{one.place}")
        for name, path in names.items()
        for one in wave.places
        if name not in one.numbers
    ]


def _uncounted(one: PlaceNumbers) -> str:
    rule = "does not count its packets"
    return f"{rule}: {one.problem}" if one.problem else rule


def _gate(spec: HealthSpec, answer: GateAnswer | None) -> tuple[list[Reason], bool]:
    """What is to be said of the gate, and whether it counts against the wave."""
    if spec.gate is None or (answer is not None and answer.is_well):
        return [], False
    name, path = spec.gate.name, "health.gate"
    if answer is None:
        return [Reason(path=path, rule=f"{name} was not asked yet")], False
    said = f": {answer.reason}" if answer.reason else ""
    if answer.is_well is None:
        reason = Reason(path=path, rule=f"{name} does not answer{said}")
        return [reason], spec.gate.silence == "fail"
    return [Reason(path=path, rule=f"{name} says no{said}")], True


def _located(view: PlaceView) -> list[Reason]:
    path = f"nodes.{view.node}.{view.interface}"
    return [
        Reason(path=path, rule=one.rule, got=one.got, allowed=one.allowed) for one in view.why
    ] or [Reason(path=path, rule=f"is {view.state}")]
