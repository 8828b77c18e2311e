# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of metrics: each row is shown with the kernel's maps and Prometheus' own parser."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from services.node_executor.adapters import pins
from services.node_executor.adapters.bpf_syscall import LINK_DETACH, bpf
from services.node_executor.adapters.map_access import processors
from services.node_executor.exposition import families
from services.node_executor.generations import Point
from services.node_executor.l3afd_names import L3afdCounts, l3afd_families
from services.node_executor.metric_windows import MetricWindows, held_metrics
from services.node_executor.metrics_sampling import read_metrics
from services.node_executor.pin_paths import link_path
from shared.configuration.entries import PROCESSORS
from shared.contracts.desired import DesiredProgram
from shared.contracts.metrics import MetricSource
from shared.contracts.node import ChainShown, MetricValue
from shared.errors import RefusedError
from shared.identifiers import Hook
from shared.validation import convert_document
from tests.support.configured_package import a_configured_program, configured
from tests.support.executors import Executor, Wire, a_chain, a_program, send_frames
from tests.support.known_faults import Fault, table
from tests.support.scrapes import scraped

FRAMES = 5


class Bench:
    """An executor, one interface, and looks at its metrics a second apart."""

    def __init__(self, executor: Executor, wire: Wire, base: PurePosixPath) -> None:
        self.executor, self.wire, self.base = executor, wire, base
        self.windows = MetricWindows()
        self._generation = 0
        self._second = 0.0

    def run(self, program: DesiredProgram, *, hook: Hook = "xdp") -> None:
        """The program is desired and settled."""
        self._generation += 1
        chain = a_chain(self.wire.name, program, hook=hook)
        self.executor.settle(chain, Point(self.wire.name, hook), self._generation)

    def look(self, number: int, *metrics: MetricSource) -> None:
        """The map's number under 80 becomes that, and is sampled."""
        sources = {f"m{at}": one for at, one in enumerate(metrics)}
        self.run(a_program(config={"limits": {"80": number}}, metrics=sources))
        self.sample()

    def sample(self) -> None:
        """A second later."""
        self._second += 1
        current = self.executor.points.memory(Point(self.wire.name, "xdp")).current
        assert current is not None
        self.windows.sample(self.executor.kernel, held_metrics(current), self._second)

    def values(self, hook: Hook = "xdp") -> dict[str, MetricValue]:
        """Each metric now."""
        current = self.executor.points.memory(Point(self.wire.name, hook)).current
        found = read_metrics(self.executor.kernel, current, self.windows)
        return {one.metric: one for one in found}

    def shown(self, hook: Hook = "xdp") -> ChainShown:
        """The hook point with its metrics, read now."""
        point = Point(self.wire.name, hook)
        seen = self.executor.points.describe(point, None, desired_generation=0)
        return ChainShown(chain=seen, metrics=tuple(self.values(hook).values()))

    def l3afd(self, *shown: ChainShown) -> dict[tuple[str, str], float]:
        """By l3afd's names, as Prometheus reads them."""
        counts = L3afdCounts()
        for event in self.executor.events():
            counts.note(event.data, at_seconds=0.0)
        return scraped(l3afd_families("n1", shown, counts, {}))


@pytest.fixture
def bench(executor: Executor, wire: Wire, base: PurePosixPath) -> Bench:
    """Nothing runs."""
    return Bench(executor, wire, base)


def _of_limits(aggregation: str, **fields: Any) -> MetricSource:
    return convert_document(
        {"map": "limits", "key": "80", "aggregation": aggregation, **fields},
        MetricSource,
        what="metric",
    )


def _average(bench: Bench) -> None:
    mean, now = _of_limits("average", samples=3), _of_limits("scalar")
    for number in (1000, 10, 20, 60):
        bench.look(number, mean, now)

    found = bench.values()

    assert (found["m0"].value, found["m1"].value) == (30, 60)
    assert bench.shown().chain.state == "attached"
    name = "ebpf_program=counter,map_name=limits_80_avg"
    assert bench.l3afd(bench.shown())["l3afd_BPFMonitorMap", name] == 30


def _largest_rate(bench: Bench) -> None:
    peak = _of_limits("max-rate", samples=3)
    bench.look(1_000_000, peak)
    first = bench.values()["m0"].value
    for number in (1_000_020, 1_000_025, 5):
        bench.look(number, peak)
    found = bench.values()["m0"].value
    bench.windows = MetricWindows()  # as after a restart
    bench.sample()
    again = bench.values()["m0"].value
    bench.sample()

    assert (first, found, again) == (None, 20, None)
    assert bench.values()["m0"].value == 0


def _unknown_aggregator(_bench: Bench) -> None:
    with pytest.raises(RefusedError) as caught:
        _of_limits("median")

    assert [one.path for one in caught.value.reasons] == ["aggregation"]


def _values_of_other_forms(bench: Bench) -> None:
    flow = {"address": "192.0.2.1", "port": 443, "protocol": 0}
    each: list[dict[str, Any]] = [flow | {"protocol": number + 1} for number in range(processors())]
    bench.executor.opened = lambda _program, _hook: configured().opened()
    metrics = {"n": MetricSource(map="counts", key="443", member="protocol")}

    bench.run(a_configured_program(config={"counts": {"443": {PROCESSORS: each}}}, metrics=metrics))

    assert bench.values()["n"].value == sum(one["protocol"] for one in each)


def _map_that_is_gone(bench: Bench) -> None:
    bench.run(a_program(metrics={"good": _of_limits("average"), "bad": _of_limits("average")}))
    current = bench.executor.points.memory(Point(bench.wire.name, "xdp")).current
    assert current is not None
    missing = (1 << 31) - 1
    gone = tuple(
        msgspec.structs.replace(one, map_id=missing) if one.name == "limits" else one
        for one in current.maps
    )
    stale = held_metrics(msgspec.structs.replace(current, maps=gone))
    good, bad = next(held_metrics(current)), next(stale)

    bench.windows.sample(bench.executor.kernel, [bad, good], 1.0)

    assert bench.windows.values(good) == {"": 0}
    with pytest.raises(Exception, match=f"finding map {missing}"):
        bench.windows.values(bad)


def _counts_after_a_load(bench: Bench) -> None:
    packets = {"packets": MetricSource(map="packets")}
    bench.run(a_program())
    send_frames(bench.wire.peer, FRAMES)
    before = bench.executor.scalar(Point(bench.wire.name, "xdp"), "one")

    bench.run(a_program(version="1.1.0", metrics=packets))

    assert before >= FRAMES
    assert (bench.values()["packets"].value or 0) >= before


def _failed_update(bench: Bench) -> None:
    point, wrong = Point(bench.wire.name, "xdp"), a_program(config={"limits": {"80": -1}})
    bench.run(a_program())
    chain = a_chain(bench.wire.name, wrong)
    with pytest.raises(RefusedError) as caught:
        bench.run(wrong)
    bench.executor.points.refuse(point, chain, desired_generation=2, error=caught.value)

    found = bench.l3afd(bench.shown())

    place = "bpf_program=counter,direction=xdpingress,ebpf_program=counter"
    assert found["l3afd_BPFUpdateFailedCount", place] == 1
    version = "direction=xdpingress,ebpf_program=counter,version=1.0.0"
    assert found["l3afd_BPFRunning", version] == 1


def _detached(bench: Bench) -> None:
    bench.run(a_program())
    version = "direction=xdpingress,ebpf_program=counter,version=1.0.0"
    before = bench.l3afd(bench.shown())["l3afd_BPFRunning", version]
    link = pins.open_pinned(link_path(bench.base, bench.wire.name, "xdp"))
    assert link is not None
    with link:
        bpf(LINK_DETACH, struct.pack("<I", link.fd), action="as another process does it")

    after = bench.l3afd(bench.shown()).get(("l3afd_BPFRunning", version), 0)

    bench.run(a_program())
    assert (before, after) == (1, 0)
    assert bench.l3afd(bench.shown())["l3afd_BPFRunning", version] == 1


def _two_hooks(bench: Bench) -> None:
    packets = {"packets": MetricSource(map="packets")}
    bench.run(a_program(metrics=packets))
    bench.run(a_program(metrics=packets, hook="tc-ingress"), hook="tc-ingress")
    both = bench.shown(), bench.shown("tc-ingress")

    own = scraped(families("n1", both, {}), keeps=("hook",))

    assert len([name for name, _ in bench.l3afd(*both) if name == "l3afd_BPFMonitorMap"]) == 1
    assert {labels for name, labels in own if name == "l3af_counter_packets"} == {
        "deployment=one,hook=tc-ingress,key=",
        "deployment=one,hook=xdp,key=",
    }


FAULTS: dict[str, Fault[Callable[[Bench], None]]] = {
    "average": Fault(
        "a monitored map with the aggregator avg",
        "panics within a second (int64 asserted to be float64); the programs stay unmanaged",
        "the mean of the last samples, and the executor goes on",
        _average,
    ),
    "first-sample": Fault(
        "max-rate of a counter that stands at a million when the daemon starts",
        "exports a million: the first difference is taken from 0",
        "a rate needs two samples; a counter that begins anew counts from zero",
        _largest_rate,
    ),
    "unknown-aggregator": Fault(
        "an aggregator that there is not",
        "exports 0, and a warning each second",
        "refused by its field, before anything runs",
        _unknown_aggregator,
    ),
    "other-forms": Fault(
        "a member of a struct in a per-CPU map, under a key that is no plain integer",
        "reads 8 bytes of one processor at most, under integers alone",
        "the member, summed over processors, under the key as it is configured",
        _values_of_other_forms,
    ),
    "map-gone": Fault(
        "a monitored map that is not there any more",
        "dereferences nil",
        "that metric says why; the others are read",
        _map_that_is_gone,
    ),
    "zeroed-at-load": Fault(
        "a program loaded again with a monitored map",
        "sets key 0 of the map to zero",
        "the count goes on",
        _counts_after_a_load,
    ),
    "update-failed": Fault(
        "a change of a running program that fails",
        "BPFUpdateFailedCount stays: the code names another label than the metric has",
        "counted, under either label",
        _failed_update,
    ),
    "running": Fault(
        "somebody detaches the program",
        "BPFRunning stays 1: the program's id is still there",
        "0 until it is attached again",
        _detached,
    ),
    "two-hooks": Fault(
        "one program with a monitored map on two hooks of an interface",
        "both are one series of BPFMonitorMap, which has no direction",
        "by that name the first; by our own one for each hook",
        _two_hooks,
    ),
}


@table(FAULTS)
def test_a_metric_says_what_it_should(bench: Bench, fault: Fault[Callable[[Bench], None]]) -> None:
    """See the table."""
    fault.shows(bench)
