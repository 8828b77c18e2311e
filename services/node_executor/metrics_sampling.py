# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What runs on every hook point now, with its counters and the scalars that deployments asked for.

Touches nothing itself: readers of hook points and maps are given.  What cannot be read says why and
affects nothing else: neither another metric nor another hook point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from services.node_executor.aggregation import log2_buckets
from services.node_executor.changes import HookPoints
from services.node_executor.configuration import MapReader
from services.node_executor.events import bounded
from services.node_executor.generations import ChainMemory, Generation, MapKey, Point, point_of
from services.node_executor.linking.counters import COUNTERS_MAP_NAME
from services.node_executor.metric_windows import (
    HeldMetric,
    MetricWindows,
    held_metrics,
    read_held,
)
from services.node_executor.observation import describe_unreadable
from services.node_executor.slot_metrics import (
    SWITCHED_OFF,
    Counted,
    chain_counters,
    counter_metrics,
)
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.inspection import ChainCounters
from shared.contracts.metrics import WINDOWED
from shared.contracts.node import ChainShown, ChainsShown, GetChains, MetricValue, ObservedChain
from shared.errors import FaultError, Reason, Refusal, RefusedError

SPARE_BYTES: Final = 64 * 1024
"""Of a message: its headers, and what is written differently than here."""

_COUNTERS: Final = MapKey("", COUNTERS_MAP_NAME)
_NOTHING: Final[Mapping[Point, ObservedChain]] = MappingProxyType({})


class CounterReader(Protocol):
    """Reads counter maps, by id."""

    def read_counters(self, map_id: int) -> tuple[bytes, ...]:
        """The counter map's value on each processor."""


class Sampler:
    """Looks at every hook point of a node."""

    def __init__(
        self,
        *,
        points: HookPoints,
        reader: MapReader,
        counters: CounterReader,
        moment: Callable[[float], str],
        on_unreadable: Callable[[Point, Refusal], None],
        windows: MetricWindows,
    ) -> None:
        """Nothing is read yet.

        Args:
            points: All hook points.
            reader: Reads maps.
            counters: Reads counter maps.
            moment: Renders seconds since the kernel started as a time.
            on_unreadable: Told once of a hook point that cannot be read, until it can be again.
            windows: What was sampled of metrics that look back.
        """
        self._points = points
        self._reader = reader
        self._counters = counters
        self._moment = moment
        self._on_unreadable = on_unreadable
        self._windows = windows
        self._unreadable: set[Point] = set()

    def describe(
        self, desired: DesiredNode | None, *, known: Mapping[Point, ObservedChain] = _NOTHING
    ) -> tuple[ObservedChain, ...]:
        """Every hook point that has a chain or shall have one, read from the kernel now.

        Args:
            desired: By the bus; None: it was not said.
            known: What was read a moment ago, for the same desired record.
        """
        generation = desired.generation if desired else 0
        chains = desired.chains if desired else ()
        wanted = {point_of(chain): chain for chain in chains}
        found = []
        for point in sorted({*wanted, *self._points.points()}):
            seen = known.get(point)
            if seen is None:
                seen = self._describe(point, wanted.get(point), generation)
            else:
                self._unreadable.discard(point)
            if seen.state != "absent" or point in wanted:
                found.append(seen)
        return tuple(found)

    def sample(self, desired: DesiredNode | None, *, per_cpu: bool = False) -> list[ChainShown]:
        """The same with counters and metrics."""
        return self.count(self.describe(desired), per_cpu=per_cpu)

    def count(self, seen: Iterable[ObservedChain], *, per_cpu: bool = False) -> list[ChainShown]:
        """Hook points as they were described, with what their programs have counted by now."""
        memory = self._points.memory
        return [self._shown(one, memory(point_of(one)), per_cpu=per_cpu) for one in seen]

    def look_back(self, at_seconds: float) -> None:
        """One more sample of every metric that looks back; of one that cannot be read, none.

        Args:
            at_seconds: When, by a clock that never goes back.
        """
        generations = (self._points.memory(point).current for point in self._points.points())
        held = [one for current in generations if current for one in held_metrics(current)]
        self._windows.sample(self._reader, held, at_seconds)

    def _describe(self, point: Point, chain: DesiredChain | None, generation: int) -> ObservedChain:
        """The hook point now; one that cannot be read says why."""
        try:
            seen = self._points.describe(point, chain, desired_generation=generation)
        except (RefusedError, FaultError) as error:
            refusal = bounded(error.refusal())
            if point not in self._unreadable:
                self._unreadable.add(point)
                self._on_unreadable(point, refusal)
            return describe_unreadable(
                self._points.memory(point), refusal, desired_generation=generation
            )
        self._unreadable.discard(point)
        return seen

    def _shown(self, seen: ObservedChain, memory: ChainMemory, *, per_cpu: bool) -> ChainShown:
        running = memory.generation_with(seen.program_id) if seen.program_id else None
        return ChainShown(
            chain=seen,
            metrics=read_metrics(self._reader, memory.current, self._windows),
            counters=read_counters(self._counters, running, per_cpu=per_cpu),
            previous_generation=memory.previous.number if memory.previous is not None else 0,
            previous_kept_until=self._kept_until(memory),
        )

    def _kept_until(self, memory: ChainMemory) -> str:
        current = memory.current
        if memory.previous is None or current is None:
            return ""
        return self._moment(current.put_at_seconds + current.chain.link.keep_seconds)


def read_counters(
    reader: CounterReader, generation: Generation | None, *, per_cpu: bool = False
) -> ChainCounters:
    """The counters of every program of a generation, or why there are none."""
    if generation is None:
        return ChainCounters()
    ids = {MapKey(held.deployment, held.name): held.map_id for held in generation.maps}
    if _COUNTERS not in ids:
        return ChainCounters(problem=SWITCHED_OFF)
    slots = {program.deployment: program.slot for program in generation.programs}
    programs = [
        Counted(program.deployment, slots.get(program.deployment, 0), program.proceed_on)
        for program in generation.chain.programs
    ]
    try:
        values = reader.read_counters(ids[_COUNTERS])
    except (RefusedError, FaultError) as error:
        return ChainCounters(problem=error.message)
    return chain_counters(values, generation.chain.hook, programs, per_cpu=per_cpu)


def read_metrics(
    reader: MapReader, generation: Generation | None, windows: MetricWindows
) -> tuple[MetricValue, ...]:
    """Every metric of a chain, program by program."""
    return tuple(
        metric_value(reader, held, windows)
        for held in (held_metrics(generation) if generation else ())
    )


def asked_for(sampled: Iterable[ChainShown], request: GetChains) -> tuple[ChainShown, ...]:
    """The hook points that the request names; all if it names none."""
    return tuple(
        one
        for one in sampled
        if request.interface in (None, one.chain.interface)
        and request.hook in (None, one.chain.hook)
        and request.netns in (None, one.chain.netns)
    )


def refuse_too_large(reply: ChainsShown, *, limit_bytes: int) -> None:
    """Nothing, if the reply fits a message.

    Raises:
        RefusedError: It does not, as with many processors, and what to ask instead.
    """
    size_bytes = len(msgspec.json.encode(reply))
    if size_bytes > limit_bytes:
        rule = "makes the reply too large; ask for one interface and hook, or for the sums alone"
        reason = Reason(path="per_cpu", rule=rule, got=size_bytes, allowed=limit_bytes)
        raise RefusedError(f"per_cpu {rule}", [reason], code="too_large")


def metric_values(sampled: Iterable[ChainShown]) -> dict[str, float | int]:
    """As `NodeMetrics.values` has them: those that could be read."""
    values: dict[str, float | int] = {}
    for shown in sampled:
        chain = shown.chain
        values |= counter_metrics(chain.place, chain.hook, shown.counters)
        for metric in shown.metrics:
            name = f"{point_of(chain)}/{metric.deployment}/{metric.metric}"
            if metric.value is not None:
                values[name] = metric.value
            values |= {f"{name}{{{key}}}": value for key, value in metric.series.items()}
            values |= {f"{name}{{le={one.upper_bound}}}": one.count for one in metric.buckets}
    return values


def metric_value(reader: MapReader, held: HeldMetric, windows: MetricWindows) -> MetricValue:
    """One metric now, or why there is none."""
    source = held.source
    shown = MetricValue(
        deployment=held.deployment,
        metric=held.name,
        map=source.map,
        key=source.key,
        aggregation=source.aggregation,
    )
    values: dict[str, float | int]
    try:
        if source.aggregation in WINDOWED:
            values = windows.values(held)
        elif source.aggregation == "histogram":
            counts = read_held(reader, held)
            buckets = log2_buckets({int(key): count for key, count in counts.items()})
            return msgspec.structs.replace(shown, buckets=buckets)
        else:
            values = dict(read_held(reader, held))
    except (RefusedError, FaultError) as error:
        return msgspec.structs.replace(shown, problem=error.message)
    if source.each_key:
        return msgspec.structs.replace(shown, series=values)
    return msgspec.structs.replace(shown, value=values.get(""))
