# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af sim fleet`: the whole system with nodes whose kernels are simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.node_executor.actions import EntryChange
from services.node_executor.generations import Point
from services.node_executor.simulation.adapters.archives import MemoryCache, Shelf
from services.node_executor.simulation.adapters.machine import NoMachine
from services.node_executor.simulation.kernel import SimulatedKernel
from services.node_executor.simulation.maps import NotSimulatedError, SimulatedFaultError
from services.node_executor.simulation.troubles import Troubles
from shared.canonical import sha256_hex
from shared.contracts.ebpf import ListEbpf
from shared.contracts.inspection import TryPackets
from shared.contracts.link_options import LinkOptions
from shared.contracts.map_reading import ReadMap
from shared.contracts.probes import KprobeTarget
from shared.errors import VerificationError
from tests.support.command_line import run_l3af

NODES = 10
SEED = 7


async def test_a_fleet_with_troubles_runs_what_is_deployed(tmp_path: Path) -> None:
    """Every node runs the deployment although its kernel fails now and then and is slow."""
    answer = await run_l3af(
        *("sim", "fleet", "--nodes", str(NODES), "--seed", "7", "--failure-rate", "0.05"),
        *("--latency-ms", "1", "--folder", str(tmp_path / "fleet"), "--json"),
    )

    assert answer.status == 0, answer.message
    done = answer.document
    assert done["deployed"]["outcome"] == "succeeded"
    assert done["deployed"]["places"] == NODES
    assert {"nats-server", "scheduler", "nodes-1"} <= done["used"].keys()
    assert (tmp_path / "fleet" / "installation" / "logs" / "nodes-1.log").exists()


async def test_nodes_that_were_away_follow_when_they_are_back(tmp_path: Path) -> None:
    """Some are cut off and some start anew; all are back and run the deployment at its end."""
    troubles = Troubles(seed=SEED, vanish_rate=0.4, away_seconds=2)
    absences = [troubles.absence(f"sim-{number:05d}") for number in range(1, NODES + 1)]
    restarts = [one.restarts for one in absences if one is not None]
    assert set(restarts) == {True, False}

    answer = await run_l3af(
        *("sim", "fleet", "--nodes", str(NODES), "--seed", str(SEED), "--vanish-rate", "0.4"),
        *("--away-seconds", "2", "--folder", str(tmp_path / "fleet"), "--json"),
    )

    assert answer.status == 0, answer.message
    done = answer.document
    assert done["deployed"]["outcome"] == "succeeded"
    assert done["deployed"]["places"] == NODES
    gone = len(restarts)
    assert done["absences"] == {"away": gone, "restarted": sum(restarts), "returned": gone}


async def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    """Nothing is started over what somebody keeps."""
    (tmp_path / "installation").mkdir()
    (tmp_path / "installation" / "mine").write_text("keep me")

    answer = await run_l3af("sim", "fleet", "--nodes", "1", "--folder", str(tmp_path))

    assert answer.status == 2
    assert (tmp_path / "installation" / "mine").read_text() == "keep me"


def failures(troubles: Troubles, node: str) -> list[int]:
    """Which of two hundred changing calls fail on a node."""
    kernel = SimulatedKernel(failure_rate=troubles.failure_rate, rng=troubles.rng(node, "failures"))
    map_id = kernel.add_map()
    failed = []
    for number in range(200):
        try:
            kernel.write_entries(map_id, (EntryChange(b"k", None, b"v"),))
        except SimulatedFaultError:
            failed.append(number)
    return failed


def test_the_same_seed_gives_each_node_the_same_troubles() -> None:
    """What fails follows from seed and name alone; another seed or name has other troubles."""
    troubles = Troubles(seed=7, failure_rate=0.1)
    found = failures(troubles, "sim-00001")

    assert found
    assert failures(troubles, "sim-00001") == found
    assert failures(troubles, "sim-00002") != found
    assert failures(Troubles(seed=8, failure_rate=0.1), "sim-00001") != found
    assert failures(Troubles(seed=7), "sim-00001") == []


@pytest.mark.parametrize("latency_ms", [0.0, 5.0])
def test_latencies_are_what_was_asked_for_on_average(latency_ms: float) -> None:
    """The mean of many is near what was asked for; without a wish nothing waits."""
    troubles = Troubles(seed=1, latency_ms=latency_ms)
    rng = troubles.rng("sim-00001", "latency")

    mean_ms = sum(troubles.latency_seconds(rng) for _ in range(5000)) / 5

    assert mean_ms == pytest.approx(latency_ms, rel=0.1)


def test_who_goes_away_follows_from_the_seed() -> None:
    """As many as asked for, for about as long; the same seed, the same ones; otherwise nobody."""
    troubles = Troubles(seed=1, vanish_rate=0.2, away_seconds=10)
    names = [f"sim-{number:05d}" for number in range(2000)]
    found = {name: one for name in names if (one := troubles.absence(name)) is not None}

    assert len(found) == pytest.approx(400, rel=0.15)
    assert all(5 <= one.seconds <= 15 for one in found.values())
    assert sum(one.restarts for one in found.values()) == pytest.approx(200, rel=0.25)
    assert all(troubles.absence(name) == one for name, one in found.items())
    assert not any(Troubles(seed=1).absence(name) for name in names)


async def test_what_is_not_simulated_is_refused_by_name() -> None:
    """No packet, no map with types, no host, no verifier: each is said, and none is invented."""
    machine = NoMachine("sim-00001")

    with pytest.raises(NotSimulatedError, match="sim-00001 is simulated and tries no packets"):
        machine.chain(TryPackets(interface="eth0", hook="xdp", packets=()))
    with pytest.raises(NotSimulatedError, match="shows no maps"):
        machine.read(ReadMap(interface="eth0", hook="xdp", program="one", map="limits"))
    with pytest.raises(NotSimulatedError, match="has no host"):
        await machine.list(ListEbpf())


def test_a_kernel_takes_no_probe() -> None:
    """A deployment of one is refused where it would be attached."""
    with pytest.raises(NotSimulatedError, match="no probes"):
        SimulatedKernel().check(
            Point("one", "kprobe"), LinkOptions(), KprobeTarget(function="do_unlinkat")
        )


async def test_an_archive_is_fetched_by_each_node_and_kept_once() -> None:
    """A node has what it fetched itself, with the digest that it asked for."""
    shelf, data = Shelf(), b"an archive"
    digest = sha256_hex(data)
    first, second = MemoryCache(shelf), MemoryCache(shelf)
    part = first.begin(digest, len(data))
    part.append(data)
    part.finish()

    assert (first.read(digest), second.read(digest)) == (data, None)
    assert second.missing([digest])[0] == {digest}
    wrong = second.begin("0" * 64, len(data))
    wrong.append(data)
    with pytest.raises(VerificationError):
        wrong.finish()
