# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is not as a health specification says, by the numbers of one period.

Pure.

Rules:
 * Bounds hold on every place, comparisons between averages: of the wave now, of the wave before
   it, of places that have the earlier revision.
 * A number that is not there because nothing happened (no packet came, none was timed) is not
   judged.
 * Before its first revision a program dropped nothing; of other numbers that were not there before
   the wave nothing is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.scheduler.rollout.health_numbers import (
    CPU_SHARE,
    DROP_SHARE,
    NANOSECONDS,
    Period,
    PlaceNumbers,
    averages,
    cpu_share,
    grown_events,
    number_name,
)
from services.scheduler.status import PlaceView
from shared.contracts.health import AbsentEvent, CpuGuard, DropGuard, HealthSpec, MetricCondition
from shared.errors import Reason

LARGEST_FACTOR: Final = 1e18
"""Of something over nothing."""


@dataclass(frozen=True, slots=True)
class Wave:
    """The nodes of a wave within a period."""

    periods: Mapping[str, Period]
    """By node."""
    places: Sequence[PlaceNumbers]
    """That run what they were told."""
    rest: Sequence[PlaceNumbers]
    """Places that still have an earlier revision."""


def bad_programs(spec: HealthSpec, running: Sequence[PlaceView]) -> list[Reason]:
    """What the kernel says of the chains that is out of bounds."""
    bounds = spec.verifier
    if bounds is None:
        return []
    found = []
    for view in running:
        if view.chain is None:
            continue
        path = f"nodes.{view.node}.{view.interface}"
        walked, most = view.chain.verified_instructions, bounds.max_instructions
        if most is not None and walked > most:
            rule = f"the verifier walked {walked} instructions of the chain"
            found.append(_exceeds(path, "verifier.max_instructions", rule, walked, most))
        size, largest = view.chain.jited_bytes, bounds.max_jited_bytes
        if largest is not None and size > largest:
            rule = f"the chain has {size} bytes of machine code"
            found.append(_exceeds(path, "verifier.max_jited_bytes", rule, size, largest))
    return found


def bad_numbers(spec: HealthSpec, wave: Wave, baseline: Mapping[str, float]) -> list[Reason]:
    """What happened that must not, or did not that must."""
    found: list[Reason] = []
    if spec.drops is not None:
        found += _drops(spec.drops, wave, baseline)
    if spec.cpu is not None:
        found += _program_time(spec.cpu, wave, baseline)
        found += _processors(spec.cpu, wave, baseline)
    for index, condition in enumerate(spec.metrics):
        found += _metric(f"health.metrics[{index}]", condition, wave, baseline)
    for index, event in enumerate(spec.absent):
        found += _absent(f"health.absent[{index}]", event, wave)
    return found


def _drops(guard: DropGuard, wave: Wave, baseline: Mapping[str, float]) -> Iterator[Reason]:
    judged = [one for one in wave.places if one.packets >= guard.min_packets]
    if guard.max_share is not None:
        for one in judged:
            share = one.dropped / one.packets
            if share > guard.max_share:
                rule = f"drops {one.dropped} of {one.packets} packets"
                yield _exceeds(_at(one), "drops.max_share", rule, share, guard.max_share)
    if guard.max_increase is not None and judged:
        share, before = averages(judged)[DROP_SHARE], baseline.get(DROP_SHARE, 0.0)
        if share - before > guard.max_increase:
            rule = f"the wave drops {_percent(share)} of packets, before it {_percent(before)}"
            path = "drops.max_increase"
            yield _exceeds("health", path, rule, share - before, guard.max_increase)


def _program_time(guard: CpuGuard, wave: Wave, baseline: Mapping[str, float]) -> Iterator[Reason]:
    timed = [one for one in wave.places if one.samples]
    if guard.max_nanoseconds is not None:
        for one in timed:
            taken = one.nanoseconds / one.samples
            if taken > guard.max_nanoseconds:
                rule = f"a packet takes {taken:.0f} ns"
                path = "cpu.max_nanoseconds"
                yield _exceeds(_at(one), path, rule, taken, guard.max_nanoseconds)
    before = baseline.get(NANOSECONDS)
    if guard.max_factor is not None and timed and before:
        factor = averages(timed)[NANOSECONDS] / before
        if factor > guard.max_factor:
            rule = f"a packet takes {factor:.2f} times what it took before the wave"
            yield _exceeds("health", "cpu.max_factor", rule, factor, guard.max_factor)


def _processors(guard: CpuGuard, wave: Wave, baseline: Mapping[str, float]) -> Iterator[Reason]:
    shares = {
        node: share
        for node, period in sorted(wave.periods.items())
        if (share := cpu_share(period)) is not None
    }
    if guard.max_share is not None:
        for node, share in shares.items():
            if share > guard.max_share:
                rule = f"{_percent(share)} of its processors are at work"
                yield _exceeds(f"nodes.{node}", "cpu.max_share", rule, share, guard.max_share)
    before = baseline.get(CPU_SHARE)
    if guard.max_increase is not None and shares and before is not None:
        share = sum(shares.values()) / len(shares)
        if share - before > guard.max_increase:
            rule = f"{_percent(share)} of the processors are at work, before {_percent(before)}"
            path = "cpu.max_increase"
            yield _exceeds("health", path, rule, share - before, guard.max_increase)


def _metric(
    path: str, condition: MetricCondition, wave: Wave, baseline: Mapping[str, float]
) -> Iterator[Reason]:
    name = number_name(condition)
    if condition.against == "nothing":
        for one in wave.places:
            if name in one.numbers:
                what = f"{name} on {one.node}/{one.place}"
                yield from _bounded(path, condition, one.numbers[name], what)
        return
    is_before = condition.against == "before"
    now = averages(wave.places).get(name)
    other = (baseline if is_before else averages(wave.rest)).get(name)
    if now is None or other is None:
        return
    what = f"{name}, {now:g}, against {other:g} {'before the wave' if is_before else 'elsewhere'}"
    if condition.compare == "difference":
        yield from _bounded(path, condition, now - other, what)
    elif other or now:
        factor = now / other if other else LARGEST_FACTOR
        yield from _bounded(path, condition, factor, what)


def _absent(path: str, event: AbsentEvent, wave: Wave) -> Iterator[Reason]:
    for node, period in sorted(wave.periods.items()):
        for one in grown_events(period):
            is_meant = one.action == event.action and event.outcome in ("", one.outcome)
            if is_meant and (one.concerns or event.scope == "node"):
                rule = f"{node} said {one.action} ({one.outcome}), last in event {one.newest}"
                yield Reason(path=path, rule=rule, got=one.count, allowed=0)


def _bounded(path: str, condition: MetricCondition, number: float, what: str) -> Iterator[Reason]:
    said = f"{what} is {number:g}"
    if condition.against != "nothing":
        said = f"{what}: the {condition.compare} is {number:g}"
    if condition.maximum is not None and number > condition.maximum:
        rule = f"{said}, more than {condition.maximum:g}"
        yield Reason(path=path, rule=rule, got=number, allowed=condition.maximum)
    if condition.minimum is not None and number < condition.minimum:
        rule = f"{said}, less than {condition.minimum:g}"
        yield Reason(path=path, rule=rule, got=number, allowed=condition.minimum)


def _at(one: PlaceNumbers) -> str:
    return f"nodes.{one.node}.{one.place}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _exceeds(where: str, bound: str, rule: str, got: float, allowed: float) -> Reason:
    return Reason(path=f"{where}.{bound}", rule=rule, got=got, allowed=allowed)
