# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What two readings of a node say of the time between them.

Pure.

Rules:
 * A number that grows and is found smaller began anew: it grew by what it is now.
 * What runs on a place is judged only by readings of one revision, one boot and one program
   instance: a period that saw two of them tells of none.
 * Of a number that several places have, the average counts; shares and times are those of all
   packets together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.contracts.health import HealthSpec, MetricCondition
from shared.contracts.inspection import SlotCounters
from shared.contracts.node import MetricValue
from shared.contracts.node_health import EventCount, NodeHealth, PlaceHealth

DROPPED: Final = frozenset({"drop", "aborted", "shot"})
"""Verdicts after which the kernel frees the packet, as XDP and TC call them."""
PACKETS_IN: Final = "l3af.packets_in"
WENT_ON: Final = "l3af.went_on"
PACKETS_DROPPED: Final = "l3af.dropped"
DROP_SHARE: Final = "l3af.drop_share"
NANOSECONDS: Final = "l3af.nanoseconds"
CPU_SHARE: Final = "l3af.cpu_share"


@dataclass(frozen=True, slots=True)
class Period:
    """Two readings of one node, of one boot, the later one after the earlier."""

    earlier: NodeHealth
    later: NodeHealth

    @property
    def seconds(self) -> float:
        """What lies between them, by the node's clock."""
        return self.later.uptime_seconds - self.earlier.uptime_seconds


@dataclass(frozen=True, slots=True)
class PlaceNumbers:
    """One place within a period."""

    node: str
    place: str
    revision: int
    packets: int = 0
    dropped: int = 0
    nanoseconds: int = 0
    """That `samples` packets took together."""
    samples: int = 0
    has_counters: bool = False
    problem: str = ""
    """Why it has none."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """By name, as `number_name` makes it."""


def number_name(condition: MetricCondition) -> str:
    """The name of what a condition looks at."""
    key = f"{{{condition.key}}}" if condition.key else ""
    return f"{condition.metric}{key}{'/s' if condition.per_second else ''}"


def is_possible(earlier: NodeHealth, later: NodeHealth) -> bool:
    """Whether the two make a period."""
    return earlier.boot_id == later.boot_id and earlier.uptime_seconds < later.uptime_seconds


def cpu_share(period: Period) -> float | None:
    """Of the node's processors, how much was at work; None: the kernel counted no time."""
    passed = period.later.cpu_seconds - period.earlier.cpu_seconds
    busy = period.later.cpu_busy_seconds - period.earlier.cpu_busy_seconds
    return min(1.0, max(0.0, busy / passed)) if passed > 0 else None


def place_numbers(period: Period) -> Iterator[PlaceNumbers]:
    """Every place that both readings found with one revision, ascending."""
    before = {(one.place, one.hook): one for one in period.earlier.places}
    for one in sorted(period.later.places, key=lambda each: (each.place, each.hook)):
        earlier = before.get((one.place, one.hook))
        if earlier is not None and earlier.revision == one.revision:
            yield _numbers(period, earlier, one)


def grown_events(period: Period) -> Iterator[EventCount]:
    """What the node said between the readings, with how often."""
    is_same = period.earlier.start == period.later.start
    before = {
        (one.action, one.outcome, one.concerns): one.count
        for one in (period.earlier.events if is_same else ())
    }
    for one in period.later.events:
        more = one.count - before.get((one.action, one.outcome, one.concerns), 0)
        if more > 0:
            yield EventCount(
                action=one.action,
                outcome=one.outcome,
                concerns=one.concerns,
                count=more,
                newest=one.newest,
            )


def averages(places: Iterable[PlaceNumbers]) -> dict[str, float]:
    """What the places are like together, by name; what none of them has is not there."""
    found: dict[str, list[float]] = {}
    packets = dropped = nanoseconds = samples = 0
    for one in sorted(places, key=lambda each: (each.node, each.place)):
        packets, dropped = packets + one.packets, dropped + one.dropped
        nanoseconds, samples = nanoseconds + one.nanoseconds, samples + one.samples
        for name, number in one.numbers.items():
            found.setdefault(name, []).append(number)
    made = {name: sum(numbers) / len(numbers) for name, numbers in found.items()}
    if packets:
        made[DROP_SHARE] = dropped / packets
    if samples:
        made[NANOSECONDS] = nanoseconds / samples
    return made


def baseline_of(spec: HealthSpec, periods: Mapping[str, Period]) -> dict[str, float]:
    """What of the numbers before a wave has to be kept, of the wave's nodes.

    A deployment that was nowhere before has none but those of the nodes themselves.
    """
    wanted = baseline_names(spec)
    if not wanted:
        return {}
    made = averages(one for period in periods.values() for one in place_numbers(period))
    shares = [share for one in periods.values() if (share := cpu_share(one)) is not None]
    if shares:
        made[CPU_SHARE] = sum(sorted(shares)) / len(shares)
    return {name: made[name] for name in sorted(wanted & made.keys())}


def baseline_names(spec: HealthSpec) -> frozenset[str]:
    """The numbers that a wave is compared with as they were before it."""
    names = {number_name(one) for one in spec.metrics if one.against == "before"}
    if spec.drops is not None and spec.drops.max_increase is not None:
        names.add(DROP_SHARE)
    if spec.cpu is not None and spec.cpu.max_factor is not None:
        names.add(NANOSECONDS)
    if spec.cpu is not None and spec.cpu.max_increase is not None:
        names.add(CPU_SHARE)
    return frozenset(names)


def _grown(before: int, now: int) -> int:
    return now - before if now >= before else now


def _numbers(period: Period, before: PlaceHealth, now: PlaceHealth) -> PlaceNumbers:
    numbers = dict(_metrics(period, before, now))
    share = cpu_share(period)
    if share is not None:
        numbers[CPU_SHARE] = share
    if before.counters is None or now.counters is None:
        return PlaceNumbers(
            node=period.later.node,
            place=now.place,
            revision=now.revision,
            problem=now.problem or before.problem,
            numbers=numbers,
        )
    packets, dropped, went_on, nanoseconds, samples = map(
        _grown, _counted(before.counters), _counted(now.counters)
    )
    numbers[PACKETS_IN] = packets / period.seconds
    numbers[WENT_ON] = went_on / period.seconds
    numbers[PACKETS_DROPPED] = dropped / period.seconds
    if packets:
        numbers[DROP_SHARE] = dropped / packets
    if samples:
        numbers[NANOSECONDS] = nanoseconds / samples
    return PlaceNumbers(
        node=period.later.node,
        place=now.place,
        revision=now.revision,
        packets=packets,
        dropped=dropped,
        nanoseconds=nanoseconds,
        samples=samples,
        has_counters=True,
        numbers=numbers,
    )


def _counted(slot: SlotCounters) -> tuple[int, int, int, int, int]:
    dropped = sum(count for verdict, count in slot.verdicts.items() if verdict in DROPPED)
    return slot.packets_in, dropped, slot.went_on, slot.sampled_ns, slot.samples


def _metrics(period: Period, before: PlaceHealth, now: PlaceHealth) -> Iterator[tuple[str, float]]:
    earlier = {one.metric: dict(_values(one)) for one in before.metrics}
    for metric in now.metrics:
        old = earlier.get(metric.metric, {})
        for name, value in _values(metric):
            yield name, float(value)
            if name in old:
                grown = value - old[name] if value >= old[name] else value
                yield f"{name}/s", grown / period.seconds


def _values(metric: MetricValue) -> Iterator[tuple[str, float]]:
    if metric.value is not None:
        yield metric.metric, metric.value
    elif metric.series:
        yield metric.metric, sum(metric.series.values())
    for key, value in metric.series.items():
        yield f"{metric.metric}{{{key}}}", value
