# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scalars that deployments asked for, read from the maps of the programs that run.

Touches nothing itself: a reader of maps is given.  A metric that cannot be read says why and
affects no other.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.node_executor.configuration import MapReader
from services.node_executor.generations import Generation, MapKey
from shared.contracts.node import MetricSource, MetricValue, ObservedChain
from shared.errors import FaultError, RefusedError


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
            source,
        )
        for program in generation.chain.programs
        for name, source in sorted(program.metrics.items())
    )


def metric_values(
    sampled: Iterable[tuple[ObservedChain, tuple[MetricValue, ...]]],
) -> dict[str, int]:
    """`<interface>/<hook>/<deployment>/<metric>` to value, of those that could be read."""
    return {
        f"{chain.interface}/{chain.hook}/{metric.deployment}/{metric.metric}": metric.value
        for chain, metrics in sampled
        for metric in metrics
        if metric.value is not None
    }


def _read(
    reader: MapReader, map_id: int | None, deployment: str, name: str, source: MetricSource
) -> MetricValue:
    value: int | None = None
    problem = ""
    if map_id is None:
        problem = f"the program has no map {source.map}"
    else:
        try:
            value = reader.read_scalar(map_id, source.key)
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
