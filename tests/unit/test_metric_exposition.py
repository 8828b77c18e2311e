# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads of a node, by its own parser."""

from __future__ import annotations

import msgspec

from services.node_executor.exposition import families
from services.node_executor.kernel_types import RunTime
from services.node_executor.l3afd_names import L3afdCounts, l3afd_families
from shared.contracts.events import EventBody
from shared.contracts.inspection import ChainCounters, SlotCounters
from shared.contracts.metrics import HistogramBucket
from shared.contracts.node import ChainShown, MetricValue, ObservedChain, ObservedProgram
from tests.support.scrapes import scraped

PROGRAM = ObservedProgram(
    deployment="edge",
    revision=1,
    package="rate-limit",
    version="1.2.0",
    archive_sha256="0" * 64,
    program="limit",
    order=1,
)
METRICS = (
    MetricValue(deployment="edge", metric="dropped", map="drops", key="0", value=7),
    MetricValue(
        deployment="edge", metric="peak", map="drops", key="0", aggregation="max-rate", value=2.5
    ),
    MetricValue(
        deployment="edge", metric="mean", map="drops", key="0", aggregation="average", value=1.5
    ),
    MetricValue(
        deployment="edge", metric="by-port", map="ports", key="*", series={"80": 1, '4"43': 2}
    ),
    MetricValue(
        deployment="edge",
        metric="latency",
        map="slots",
        key="*",
        aggregation="histogram",
        buckets=(HistogramBucket(upper_bound=1, count=1), HistogramBucket(upper_bound=3, count=4)),
    ),
    MetricValue(deployment="edge", metric="lost", map="gone", key="0", problem="no map gone"),
)
SHOWN = ChainShown(
    chain=ObservedChain(
        interface="eth0",
        hook="xdp",
        state="attached",
        generation=3,
        program_id=11,
        programs=(PROGRAM,),
    ),
    metrics=METRICS,
    counters=ChainCounters(
        slots=(
            SlotCounters(
                deployment="edge", slot=0, packets_in=9, verdicts={"pass": 2, "drop": 7}, went_on=2
            ),
        )
    ),
)


def test_probes_that_may_not_be_named_have_no_series() -> None:
    """Two of a kind would have the same labels, which Prometheus takes as one."""
    hidden = ChainShown(chain=ObservedChain(interface="", hook="tracepoint", state="attached"))

    found = scraped(families("n1", [SHOWN, hidden, hidden], {}), keeps=("hook",))

    assert not [key for key in found if "tracepoint" in str(key)]


def test_prometheus_reads_every_metric() -> None:
    """Counters, series with their keys, histograms, and what cannot be read."""
    found = scraped(families("n1", [SHOWN], {11: RunTime(runs=4, nanoseconds=2_000_000_000)}))

    assert found["l3af_rate_limit_dropped", "deployment=edge,key="] == 7
    assert found["l3af_rate_limit_peak_max_rate", "deployment=edge,key="] == 2.5
    assert found["l3af_rate_limit_by_port", "deployment=edge,key=80"] == 1
    assert found["l3af_rate_limit_by_port", 'deployment=edge,key=4"43'] == 2
    assert found["l3af_rate_limit_latency_bucket", "deployment=edge,le=3.0"] == 4
    assert found["l3af_rate_limit_latency_bucket", "deployment=edge,le=+Inf"] == 4
    assert found["l3af_metric_unreadable", "deployment=edge,metric=lost"] == 1
    assert found["l3af_program_packets_total", "deployment=edge"] == 9
    assert found["l3af_program_verdicts_total", "deployment=edge,verdict=drop"] == 7
    assert found["l3af_chain_run_seconds_total", ""] == 2
    assert found["l3af_chain_attached", ""] == 1
    info = "deployment=edge,package=rate-limit,position=0,version=1.2.0"
    assert found["l3af_program_info", info] == 1


def test_no_name_is_there_twice() -> None:
    """What another metric is called like already counts as unreadable, and the first stays."""
    program = msgspec.structs.replace(PROGRAM, deployment="other", package="program")
    metrics = (
        MetricValue(deployment="edge", metric="lost-rate", map="a", key="0", value=1),
        MetricValue(
            deployment="edge", metric="lost", map="b", key="0", aggregation="rate", value=2
        ),
        MetricValue(
            deployment="edge", metric="lost-rate", map="c", key="*", aggregation="histogram"
        ),
        MetricValue(deployment="other", metric="info", map="d", key="0", value=3),
        MetricValue(deployment="other", metric="packets-total", map="d", key="0", value=4),
        MetricValue(deployment="other", metric="lost-rate", map="d", key="0", value=5),
    )
    chain = msgspec.structs.replace(SHOWN.chain, programs=(PROGRAM, program))
    shown = msgspec.structs.replace(SHOWN, chain=chain, metrics=metrics)

    found = list(families("n1", [shown], {}))
    values = scraped(found)

    names = [one.name for one in found]
    assert sorted(set(names)) == sorted(names)
    assert values["l3af_rate_limit_lost_rate", "deployment=edge,key="] == 1
    assert values["l3af_program_lost_rate", "deployment=other,key="] == 5
    assert [labels for name, labels in values if name == "l3af_metric_unreadable"] == [
        "deployment=edge,metric=lost",
        "deployment=edge,metric=lost-rate",
        "deployment=other,metric=info",
        "deployment=other,metric=packets-total",
    ]


def test_run_times_are_left_out_where_the_kernel_does_not_count() -> None:
    """A zero would say that nothing ran."""
    found = scraped(families("n1", [SHOWN], {}))

    assert not [name for name, _ in found if name.startswith("l3af_chain_run")]


def _said(action: str, *deployments: str) -> EventBody:
    programs = [{"deployment": name, "package": f"p-{name}"} for name in deployments]
    return EventBody(
        action=action,
        outcome="succeeded",
        interface="eth0",
        hook="xdp",
        details={"programs": programs},
    )


def test_l3afd_names_say_what_they_name() -> None:
    """All eight; a failed update counts, and the average is one."""
    counts = L3afdCounts()
    for number, body in enumerate(
        (
            _said("chain.attach", "a"),
            _said("chain.attach", "a", "edge"),
            _said("chain.configure", "edge"),
            _said("chain.change", "edge"),
            _said("chain.change", "edge", "new"),
            _said("chain.attach", "edge"),
            EventBody(action="node.register", outcome="succeeded"),
        )
    ):
        counts.note(body, at_seconds=1000.0 + number)
    counts.started_at["rate-limit", "xdp", "eth0"] = 1001.0

    found = scraped(l3afd_families("n1", [SHOWN], counts, {"eth0": "192.0.2.1"}))

    def counted(name: str, program: str) -> float:
        either = f"bpf_program={program}," if name == "BPFUpdateFailedCount" else ""
        return found[f"l3afd_{name}", f"{either}direction=xdpingress,ebpf_program={program}"]

    assert counted("BPFStartCount", "p-a") == counted("BPFStartCount", "p-edge") == 1
    assert counted("BPFStopCount", "p-a") == 1
    assert counted("BPFUpdateCount", "p-edge") == 1
    assert counted("BPFUpdateFailedCount", "p-edge") == 1
    assert counted("BPFDeployFailedCount", "p-new") == 1
    assert counted("BPFStartTime", "rate-limit") == 1001
    running = "direction=xdpingress,ebpf_program=rate-limit,version=1.2.0"
    assert found["l3afd_BPFRunning", running] == 1
    for name, value in (("drops_0_scalar", 7), ("drops_0_max-rate", 2.5), ("drops_0_avg", 1.5)):
        assert found["l3afd_BPFMonitorMap", f"ebpf_program=rate-limit,map_name={name}"] == value


def test_what_l3afds_labels_do_not_tell_apart_is_there_once() -> None:
    """Two deployments of a package, and an interface of that name in a network namespace."""
    again = msgspec.structs.replace(PROGRAM, deployment="again")
    metrics = (
        *METRICS,
        *(msgspec.structs.replace(one, deployment="again") for one in METRICS),
    )
    chain = msgspec.structs.replace(SHOWN.chain, programs=(PROGRAM, again))
    shown = msgspec.structs.replace(SHOWN, chain=chain, metrics=metrics)
    elsewhere = msgspec.structs.replace(
        shown, chain=msgspec.structs.replace(chain, netns="blue", state="absent")
    )
    counts = L3afdCounts()
    counts.started_at["rate-limit", "xdp", "eth0"] = 1001.0

    found = l3afd_families("n1", [shown, elsewhere], counts, {"eth0": "192.0.2.1"})
    samples = [sample for family in found for sample in family.samples]

    labels = [(one.name, *sorted(one.labels.items())) for one in samples]
    assert sorted(set(labels)) == sorted(labels)
    assert [one.value for one in samples if one.name == "l3afd_BPFRunning"] == [1]


def test_programs_that_were_adopted_did_not_start() -> None:
    """The executor began anew, and they did not; what ends later was running."""
    counts = L3afdCounts()
    counts.note(_said("chain.adopt", "a"), at_seconds=0.0)
    counts.note(_said("chain.detach", "a"), at_seconds=1.0)

    assert counts.counts["BPFStartCount"] == {}
    assert counts.counts["BPFStopCount"] == {("p-a", "xdp", "eth0"): 1}
