# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of what runs, and the last samples of those that look back.

Touches nothing itself: a reader of maps is given.  A metric that cannot be read gets no sample,
says so when it is asked for, and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from services.node_executor.aggregation import Tally, Window
from services.node_executor.configuration import MapReader
from services.node_executor.generations import Generation, MapKey
from services.node_executor.stated_rules import map_entry
from shared.contracts.metrics import WINDOWED, Aggregation, MetricSource
from shared.contracts.package_manifest import MapEntry
from shared.errors import FaultError, RefusedError

_RATES: Final[frozenset[Aggregation]] = frozenset(("rate", "max-rate"))
MAX_KEPT_SAMPLES: Final = 1_000_000
"""Of all metrics of a node together, as 1000 keys for 1000 seconds: about 100 MB."""
_FORGET_SECONDS: Final = 5.0
"""A key without a sample for so long is gone, and with it its window."""
_TOO_MANY: Final = (
    f"its keys and seconds are more samples than the node has left ({MAX_KEPT_SAMPLES} for all)"
)


@dataclass(frozen=True, slots=True)
class HeldMetric:
    """One metric of a program that runs."""

    deployment: str
    name: str
    source: MetricSource
    map_id: int | None
    """None: the program has no such map."""
    entry: MapEntry
    """What the package says of the map."""

    @property
    def key(self) -> tuple[int | None, str, str, MetricSource]:
        """Another map, or another question, is another series."""
        return (self.map_id, self.deployment, self.name, self.source)


@dataclass(slots=True)
class _Series:
    window: Window
    sampled_at: float


class MetricWindows:
    """Windows of all series of a node."""

    def __init__(self) -> None:
        """Nothing was sampled yet."""
        self._series: dict[tuple[int | None, str, str, MetricSource], dict[str, _Series]] = {}
        self._tallies: dict[tuple[int | None, str, str, MetricSource], Tally] = {}
        self._problems: dict[tuple[int | None, str, str, MetricSource], str] = {}

    def sample(self, reader: MapReader, held: Iterable[HeldMetric], at_seconds: float) -> None:
        """One more number of each series; what is held no more is forgotten."""
        wanted = {one.key: one for one in held if one.source.aggregation in WINDOWED}
        self._series = {key: self._series.get(key, {}) for key in wanted}
        self._tallies = {key: self._tallies.get(key, Tally()) for key in wanted}
        self._problems = {}
        kept = 0
        for key, one in wanted.items():
            try:
                numbers = _read_keys(reader, one)
            except (RefusedError, FaultError) as error:
                self._problems[key] = error.message
                continue
            if not one.source.each_key:
                # The sum of all falls with each key that goes, and no counter began anew then.
                is_rate = one.source.aggregation in _RATES
                together = self._tallies[key].add(numbers) if is_rate else sum(numbers.values())
                numbers = {"": together}
            series = self._series[key]
            samples = len(series.keys() | numbers.keys()) * one.source.samples
            if kept + samples > MAX_KEPT_SAMPLES:
                series.clear()
                self._problems[key] = _TOO_MANY
                continue
            kept += samples
            self._add(series, one.source, numbers, at_seconds)

    def values(self, held: HeldMetric) -> dict[str, float | int]:
        """What each series is by its window; those with too few samples are left out.

        Raises:
            FaultError: The last look failed, with why.
        """
        if held.key in self._problems:
            raise FaultError(self._problems[held.key])
        found = self._series.get(held.key, {})
        values = (
            (key, one.window.aggregated(held.source.aggregation)) for key, one in found.items()
        )
        return {key: value for key, value in values if value is not None}

    def _add(
        self,
        series: dict[str, _Series],
        source: MetricSource,
        numbers: dict[str, int],
        at_seconds: float,
    ) -> None:
        for key, number in numbers.items():
            one = series.setdefault(key, _Series(Window(source.samples), at_seconds))
            one.window.add(at_seconds, number)
            one.sampled_at = at_seconds
        for key in [key for key, one in series.items() if _is_old(one, at_seconds)]:
            del series[key]


def held_metrics(generation: Generation) -> Iterator[HeldMetric]:
    """Every metric of a chain, program by program."""
    chain = generation.chain
    ids = {MapKey(held.deployment, held.name): held.map_id for held in generation.maps}
    for program in chain.programs:
        for name, source in sorted(program.metrics.items()):
            place = MapKey(program.deployment, source.map)
            yield HeldMetric(
                program.deployment, name, source, ids.get(place), map_entry(chain, place)
            )


def read_held(reader: MapReader, held: HeldMetric) -> dict[str, int]:
    """The metric's numbers now: of each key, or under the empty one their sum.

    Raises:
        RefusedError: The map does not hold them.
        FaultError: The kernel does not give them.
    """
    numbers = _read_keys(reader, held)
    is_apart = held.source.each_key or held.source.aggregation == "histogram"
    return numbers if is_apart else {"": sum(numbers.values())}


def _read_keys(reader: MapReader, held: HeldMetric) -> dict[str, int]:
    if held.map_id is None:
        raise RefusedError(f"the program has no map {held.source.map}")
    return reader.read_series(held.map_id, held.source, held.entry)


def _is_old(one: _Series, at_seconds: float) -> bool:
    return at_seconds - one.sampled_at > _FORGET_SECONDS
