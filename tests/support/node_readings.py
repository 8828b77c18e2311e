# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Readings of nodes for the tests of rollouts: only what a test is about need be named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.scheduler.rollout.health import World
from services.scheduler.rollout.health_numbers import Period
from services.scheduler.status import PlaceView
from shared.contracts.inspection import SlotCounters
from shared.contracts.node import MetricValue, ObservedChain, ObservedProgram
from shared.contracts.node_health import EventCount, NodeHealth, PlaceHealth

KEY = "edge"
NEWEST = 2


def a_reading(
    node: str,
    seconds: float,
    *,
    revision: int = NEWEST,
    packets: int = 0,
    dropped: int = 0,
    time: tuple[int, int] = (0, 0),
    metrics: Mapping[str, float | Mapping[str, float]] | None = None,
    cpu: tuple[float, float] = (0.0, 0.0),
    events: Sequence[EventCount] = (),
    **fields: Any,
) -> NodeHealth:
    """One reading of a node with the deployment on eth0/xdp.

    `time` is nanoseconds and samples, `cpu` is seconds and those at work.
    """
    counters = SlotCounters(
        deployment=KEY,
        slot=0,
        packets_in=packets,
        verdicts={"drop": dropped, "pass": packets - dropped},
        went_on=packets - dropped,
        sampled_ns=time[0],
        samples=time[1],
    )
    place = PlaceHealth(
        interface="eth0",
        hook="xdp",
        revision=revision,
        counters=counters,
        metrics=tuple(a_metric(name, value) for name, value in sorted((metrics or {}).items())),
    )
    defaults: dict[str, Any] = {"boot_id": "boot-1", "start": "start-1", "places": (place,)}
    return NodeHealth(
        node=node,
        uptime_seconds=seconds,
        cpu_seconds=cpu[0],
        cpu_busy_seconds=cpu[1],
        events=tuple(events),
        **{**defaults, **fields},
    )


def a_metric(name: str, value: float | Mapping[str, float]) -> MetricValue:
    """A metric with one number, or one for each key."""
    if isinstance(value, Mapping):
        return MetricValue(deployment=KEY, metric=name, map="m", key="*", series=dict(value))
    return MetricValue(deployment=KEY, metric=name, map="m", key="0", value=value)


def a_period(node: str, *, revision: int = NEWEST, **later: Any) -> Period:
    """Ten seconds of a node that began with nothing."""
    names = later.get("metrics", {})
    nothing = {
        name: dict.fromkeys(value, 0.0) if isinstance(value, Mapping) else 0.0
        for name, value in names.items()
    }
    earlier = a_reading(node, 100.0, revision=revision, metrics=nothing)
    return Period(earlier, a_reading(node, 110.0, revision=revision, **later))


def a_view(node: str, state: Any = "running", *, revision: int = NEWEST, **chain: Any) -> PlaceView:
    """The place of a node, as `status.view_places` says it."""
    program = ObservedProgram(
        deployment=KEY,
        revision=revision,
        package="rate-limit",
        version="1.0.0",
        archive_sha256="0" * 64,
        program="p",
        order=500,
    )
    seen = ObservedChain(
        interface="eth0", hook="xdp", state="attached", programs=(program,), **chain
    )
    return PlaceView(node=node, interface="eth0", state=state, chain=seen)


def a_world(*periods: Period, views: Sequence[PlaceView] | None = None, **fields: Any) -> World:
    """Nodes that run what they were told, and their last period."""
    running = [a_view(one.later.node) for one in periods if one.later.places[0].revision == NEWEST]
    return World(
        deployment=KEY,
        revision=NEWEST,
        places=running if views is None else views,
        periods={one.later.node: one for one in periods},
        **fields,
    )
