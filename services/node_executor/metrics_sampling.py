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

from services.node_executor.changes import HookPoints
from services.node_executor.configuration import MapReader
from services.node_executor.events import bounded
from services.node_executor.generations import ChainMemory, Generation, MapKey, Point, point_of
from services.node_executor.linking.counters import COUNTERS_MAP_NAME
from services.node_executor.observation import describe_unreadable
from services.node_executor.slot_metrics import (
    SWITCHED_OFF,
    Counted,
    chain_counters,
    counter_metrics,
)
from services.node_executor.stated_rules import map_entry
from shared.contracts.desired import DesiredChain, DesiredNode, MetricSource
from shared.contracts.inspection import ChainCounters
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
    ) -> None:
        """Nothing is read yet.

        Args:
            points: All hook points.
            reader: Reads maps.
            counters: Reads counter maps.
            moment: Renders seconds since the kernel started as a time.
            on_unreadable: Told once of a hook point that cannot be read, until it can be again.
        """
        self._points = points
        self._reader = reader
        self._counters = counters
        self._moment = moment
        self._on_unreadable = on_unreadable
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
            metrics=read_metrics(self._reader, memory.current),
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


def read_metrics(reader: MapReader, generation: Generation | None) -> tuple[MetricValue, ...]:
    """Every metric of a chain, program by program."""
    if generation is None:
        return ()
    ids = {MapKey(held.deployment, held.name): held.map_id for held in generation.maps}
    return tuple(
        _read(
            reader,
            ids.get(MapKey(program.deployment, source.map)),
            program.deployment,
            name,
            source=source,
            chain=generation.chain,
        )
        for program in generation.chain.programs
        for name, source in sorted(program.metrics.items())
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


def metric_values(sampled: Iterable[ChainShown]) -> dict[str, int]:
    """`<hook point>/<deployment>/<metric>` to value, of those that could be read."""
    values: dict[str, int] = {}
    for shown in sampled:
        chain = shown.chain
        place = str(point_of(chain))
        values |= counter_metrics(chain.place, chain.hook, shown.counters)
        values |= {
            f"{place}/{metric.deployment}/{metric.metric}": metric.value
            for metric in shown.metrics
            if metric.value is not None
        }
    return values


def _read(
    reader: MapReader,
    map_id: int | None,
    deployment: str,
    name: str,
    *,
    source: MetricSource,
    chain: DesiredChain,
) -> MetricValue:
    value: int | None = None
    problem = ""
    if map_id is None:
        problem = f"the program has no map {source.map}"
    else:
        try:
            entry = map_entry(chain, MapKey(deployment, source.map))
            value = reader.read_scalar(map_id, source.key, entry)
        except (RefusedError, FaultError) as error:
            problem = error.message
    return MetricValue(
        deployment=deployment,
        metric=name,
        map=source.map,
        key=source.key,
        value=value,
        problem=problem,
    )
