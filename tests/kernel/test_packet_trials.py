# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains tried on packets: what would happen now is said, and nothing that runs is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.node_executor.generations import Point
from services.node_executor.trials import MAX_TRIAL_SECONDS
from shared.contracts.inspection import TryPackets
from shared.errors import RefusedError
from shared.identifiers import NetworkHook
from tests.support.executors import (
    send_frames,
)
from tests.support.packets import tagged
from tests.support.trial_bench import PACKET, Bench, a_bench, until_gone


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A wire and an executor."""
    with a_bench(tmp_path) as made:
        yield made


async def test_who_decided_and_who_ran_is_said(bench: Bench) -> None:
    """The second drops, so the third never sees the packet."""
    bench.run("1.0.0", "4.0.0", "1.0.0")

    tried = await bench.try_packets(PACKET)

    (packet,) = tried.packets
    assert (packet.verdict, packet.value, packet.decided_by) == ("drop", 1, "p1")
    assert [(one.deployment, one.verdict, one.went_on) for one in packet.programs] == [
        ("p0", "pass", True),
        ("p1", "drop", False),
    ]
    assert (tried.source, tried.generation, tried.programs) == ("running", 1, ("p0", "p1", "p2"))
    assert (packet.length_before, packet.length_after) == (len(PACKET), len(PACKET))
    assert (packet.changes, packet.changed_places, packet.problem) == ((), 0, "")


async def test_a_trial_begins_with_what_is_live_and_leaves_it_alone(bench: Bench) -> None:
    """Counts go on from those of the hook in the trial, and stay what they are on the hook."""
    point = bench.run("1.0.0", "2.0.0")
    send_frames(bench.wire.peer, 20)

    tried = await bench.try_packets(PACKET, PACKET)

    live = [bench.executor.scalar(point, name) for name in ("p0", "p1")]
    assert live == [20, 40]
    changes = [
        [
            (one.deployment, one.map, _total(one.before), _total(one.after))
            for one in packet.map_changes
            if one.map == "packets"
        ]
        for packet in tried.packets
    ]
    assert [[step[3] - step[2] for step in packet] for packet in changes] == [[1, 2], [1, 2]]
    assert changes[1][0][2] == changes[0][0][3]
    (linked,) = bench.preparer.linked
    await until_gone(linked)


def _total(value: object) -> int:
    assert isinstance(value, int)
    return value


async def test_global_data_is_tried_too(bench: Bench) -> None:
    """`stamp` counts in .bss, in each program's own."""
    bench.run("1.0.0")
    send_frames(bench.wire.peer, 5)

    tried = await bench.try_packets(PACKET)

    (change,) = [one for one in tried.packets[0].map_changes if one.map == ".bss"]
    assert (change.key, change.before, change.after) == ("0", {"stamp": 5}, {"stamp": 6})


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
async def test_tc_chains_are_tried_too(bench: Bench, hook: NetworkHook) -> None:
    """With their own verdicts."""
    bench.run("1.0.0", "4.0.0", hook=hook)

    tried = await bench.try_packets(PACKET, tagged(PACKET), hook=hook)

    assert [(one.verdict, one.decided_by) for one in tried.packets] == [("shot", "p1")] * 2
    assert any("VLAN" in note for note in tried.notes)


async def test_a_draft_is_tried_with_its_configuration(bench: Bench) -> None:
    """Staying instances find their counts, new ones their entries; the hook runs on."""
    point = bench.run("1.0.0")
    send_frames(bench.wire.peer, 7)
    config = {"settings": {"0": 9}, "limits": {"80": 5}}
    draft = bench.chain("1.0.0", "4.0.0", config=config)

    tried = await bench.try_packets(PACKET, draft=draft)

    assert (tried.source, tried.generation, tried.programs) == ("draft", 0, ("p0", "p1"))
    assert tried.packets[0].decided_by == "p1"
    assert bench.executor.scalar(point, "p0") == 7
    assert bench.executor.scalar(point, "p0", "settings") == 0
    memory = bench.executor.points.memory(point)
    assert memory.current is not None
    assert [one.deployment for one in memory.current.chain.programs] == ["p0"]


async def test_maps_of_another_layout_are_as_the_change_would_have_them(bench: Bench) -> None:
    """Refused, unless the deployment says that version 3, whose map is larger, begins anew."""
    bench.run("1.0.0")
    fresh = bench.chain("3.0.0", map_policies={"limits": "fresh"})

    with pytest.raises(RefusedError, match="would lose their content"):
        await bench.try_packets(PACKET, draft=bench.chain("3.0.0"))
    tried = await bench.try_packets(PACKET, draft=fresh)

    assert "p0.limits starts empty: its layout is another than before" in tried.notes


async def test_a_chain_without_counters_is_tried_all_the_same(bench: Bench) -> None:
    """The trial counts for itself."""
    chain = bench.chain("1.0.0")
    link_options = type(chain.link)(counters=False)
    uncounted = type(chain)(
        interface=chain.interface,
        hook=chain.hook,
        programs=chain.programs,
        cause=chain.cause,
        link=link_options,
    )
    bench.executor.settle(uncounted, Point(bench.wire.name, "xdp"), 1)

    tried = await bench.try_packets(PACKET)

    assert tried.packets[0].decided_by == "p0"


async def test_a_packet_that_the_kernel_does_not_run_is_said(bench: Bench) -> None:
    """The others are tried."""
    bench.run("1.0.0", hook="tc-ingress")

    tried = await bench.try_packets(PACKET + bytes(9000), PACKET, hook="tc-ingress")

    assert "running a program over a packet" in tried.packets[0].problem
    (packet,) = tried.packets[1:]
    assert (packet.programs[0].verdict, packet.verdict) == ("ok", "unspec")  # let others decide


async def test_a_trial_ends_in_time(bench: Bench) -> None:
    """Packets that were not reached say so."""
    bench.run("1.0.0")
    bench.seconds_each_look = MAX_TRIAL_SECONDS * 0.6

    tried = await bench.try_packets(PACKET, PACKET)

    assert [one.verdict for one in tried.packets] == ["pass", ""]
    assert "longer than 30 seconds" in tried.packets[1].problem


async def test_what_is_not_there_cannot_be_tried(bench: Bench) -> None:
    """A hook without a chain, and a draft that is not remembered."""
    with pytest.raises(RefusedError, match="runs no chain"):
        await bench.try_packets(PACKET)
    with pytest.raises(RefusedError, match="plan the deployment again"):
        await bench.trials.try_packets(
            TryPackets(interface=bench.wire.name, hook="xdp", packets=(PACKET,), draft="0" * 64)
        )
    with pytest.raises(RefusedError, match="limited to"):
        await bench.try_packets(*[bytes(9000)] * 100)
