# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A probe on a whole node: desired over the bus, seen, read, outliving its executor, taken away."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest

from shared.adapters.bus_errors import NobodyAnswersError
from shared.contracts.desired import DesiredChain
from shared.contracts.map_reading import READ_MAP, ReadMap
from shared.contracts.metrics import MetricSource
from shared.contracts.node import (
    GET_CHAINS,
    NODE_FEATURES,
    NODES,
    STAGE_CHAINS,
    ChainShown,
    GetChains,
    StageChains,
)
from shared.contracts.probes import PROBE_FEATURES, KprobeTarget
from shared.errors import RefusedError
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet
from tests.support.probes import GETPGID, a_probe, getpgid, links_of, published_probes

pytestmark = pytest.mark.kernel


def _publish(fleet: Fleet) -> None:
    package = published_probes()
    fleet.archives[package.signed.archive_sha256] = package.archive


async def _staged(fleet: Fleet, chain: DesiredChain) -> None:
    """The node has tried the chain; one that has just registered begins to answer soon."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await fleet.scheduler.request(
                    STAGE_CHAINS.at(node=NODE),
                    StageChains(chains=(chain,)),
                    timeout_seconds=DEADLINE_SECONDS,
                )
            except NobodyAnswersError:
                await asyncio.sleep(0.01)
            else:
                return


async def _shown(fleet: Fleet) -> ChainShown:
    bus = await fleet.as_operator()
    request = GetChains(interface="watch", hook="tracepoint")
    reply = await bus.request(GET_CHAINS.at(node=NODE), request, timeout_seconds=DEADLINE_SECONDS)
    (found,) = reply.chains
    return found


async def test_a_probe_runs_on_a_node_as_a_chain_does(fleet: Fleet) -> None:
    """Asked for three times it is one; maps and metrics are read; its executor may die."""
    _publish(fleet)
    chain = a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    metrics = {"runs": MetricSource(map="runs", key="0")}
    program = msgspec.structs.replace(chain.programs[0], metrics=metrics)
    chain = msgspec.structs.replace(chain, programs=(program,))

    for _ in range(3):
        await fleet.observed(await fleet.desire(chain))
    getpgid(3)
    first = await _shown(fleet)
    fleet.stop(signal.SIGKILL)
    getpgid(2)
    await fleet.start_and_register()
    await fleet.observed(await fleet.desire(chain))
    second = await _shown(fleet)
    operator = await fleet.as_operator()
    request = ReadMap(interface="watch", hook="tracepoint", program="watch", map="runs", key="0")
    read = await operator.request(READ_MAP.at(node=NODE), request, timeout_seconds=DEADLINE_SECONDS)

    assert (first.chain.state, first.chain.target) == ("attached", GETPGID)
    assert first.chain.probe is not None
    assert [one.value for one in first.metrics] == [3]
    assert second.chain.link_id == first.chain.link_id
    assert [one.value for one in second.metrics] == [5]
    assert [one.value for one in read.entries] == [5]
    assert links_of(first.chain.program_id) == [first.chain.link_id]
    observed = await fleet.observed(await fleet.desire())
    assert observed.chains == ()
    assert await fleet.said(5)
    assert (await fleet.said(5)).count("chain.attach") == 1


async def test_a_node_says_which_probes_it_takes_and_refuses_others_by_name(fleet: Fleet) -> None:
    """In its record, by feature; and when a chain is staged, before anything is loaded."""
    entry = await fleet.scheduler.bucket(NODES).get(NODE)
    assert entry is not None
    record = entry.value
    asked = {hook: record.features[hook] for hook in PROBE_FEATURES}
    missing = {hook for hook, is_there in asked.items() if not is_there}

    assert set(PROBE_FEATURES) <= set(NODE_FEATURES)
    assert {hook for hook in PROBE_FEATURES if hook in record.feature_notes} == missing
    _publish(fleet)
    if "kprobe" in missing:
        chain = a_probe(KprobeTarget(function="bpf_fentry_test1"), "on_kprobe")
        with pytest.raises(RefusedError, match="CONFIG_KPROBE_EVENTS"):
            await _staged(fleet, chain)


async def test_link_options_and_targets_that_mean_nothing_are_refused_together(
    fleet: Fleet,
) -> None:
    """Each with its path."""
    _publish(fleet)
    chain = a_probe(GETPGID, "on_tracepoint")
    link = msgspec.structs.replace(chain.link, take_over=True, attach="native")
    wrong = msgspec.structs.replace(chain, link=link, programs=(*chain.programs, *chain.programs))

    with pytest.raises(RefusedError) as refused:
        await _staged(fleet, wrong)

    paths = {reason.path for reason in refused.value.reasons}
    assert {"chain.programs", "chain.link.attach", "chain.link.take_over"} <= paths
