# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Three hosts: a canary goes first, and a version that drops everything goes no further."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest

from demo.small_package import write_package
from demo.stage import Stage
from lab.measurement import sending
from tests.systems import a_system

SOURCE = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
unsigned int release = RELEASE;
char _license[] SEC("license") = "Dual BSD/GPL";
SEC("xdp") int sluice(struct xdp_md *ctx)
{
	return VERDICT;
}
"""
VERSIONS = {"1.0.0": "XDP_PASS", "2.0.0": "XDP_DROP"}
DEPLOYMENT = """\
name = "sluice"
package = "sluice"
version = "{version}"
hook = "xdp"
interfaces = ["data0"]
[rollout]
strategy = "canary"
[health]
period_seconds = 1
[health.drops]
max_share = 0.05
min_packets = 10
"""
DEADLINE_SECONDS = 60.0
HOSTS = ("host-1", "host-2", "host-3")
ATTACHED = len(HOSTS) + 2
"""The first version on each host, then the bad one on the first, and back."""


@pytest.fixture(scope="module")
def three_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """1.0.0 lets everything pass, 2.0.0 drops everything; nothing is deployed."""
    with a_system(tmp_path_factory.mktemp("three-hosts"), hosts=3) as stage:
        for version, verdict in VERSIONS.items():
            source = SOURCE.replace("VERDICT", verdict)
            folder = write_package(
                stage.folder / version,
                name="sluice",
                source=source.replace("RELEASE", version.replace(".", "")),
                version=version,
            )
            stage.must("package", "publish", str(folder))
        yield stage


def deployed(stage: Stage, version: str) -> Any:
    """What became of it."""
    document = stage.document("sluice.toml", DEPLOYMENT.format(version=version))
    return stage.l3af("deploy", str(document), "--timeout", "120")


def running(stage: Stage) -> dict[str, tuple[str, int, int]]:
    """By host: version, generation of the chain, and the kernel's program."""
    shown = stage.must("chain", "show", show=False)
    return {
        node["node"]: (
            chain["chain"]["programs"][0]["version"],
            chain["chain"]["generation"],
            chain["chain"]["program_id"],
        )
        for node in shown["nodes"]
        for chain in node["chains"]
    }


def until(is_so: Callable[[], bool]) -> None:
    """It comes to be so."""
    deadline = monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert monotonic() < deadline
        sleep(0.05)


def packets(stage: Stage) -> int:
    """That came to host-1: what drops them is seen to."""
    (chain,) = stage.must("chain", "show", "--node", "host-1", show=False)["chains"]
    return sum(slot["packets_in"] for slot in chain["counters"]["slots"])


def said(stage: Stage, *words: str) -> list[dict[str, Any]]:
    """Events of the deployment, oldest first."""
    log = stage.must("audit", "log", "--limit", "500", *words, show=False)
    return [record["event"]["data"] for record in reversed(log["records"])]


def test_a_version_that_drops_everything_goes_no_further_than_the_canary(
    three_hosts: Stage,
) -> None:
    """One host loses packets for about a period; the others never have another program."""
    stage = three_hosts
    first, *others = stage.lab.hosts

    with sending(first, rate=500):
        good = deployed(stage, "1.0.0")
        before = running(stage)
        until(lambda: packets(stage) > 0)
        bad = deployed(stage, "2.0.0")
        # That it goes back is decided when the command ends; the host may still have to follow.
        until(lambda: running(stage)["host-1"][1] >= before["host-1"][1] + 2)
    after = running(stage)

    assert good.status == 0, good.message
    assert bad.status != 0
    for seen in (before, after):
        assert {host: version for host, (version, *_) in seen.items()} == dict.fromkeys(
            HOSTS, "1.0.0"
        )
    assert {host: after[host] for host in HOSTS[1:]} == {host: before[host] for host in HOSTS[1:]}
    assert after["host-1"][1] == before["host-1"][1] + 2

    until(lambda: len(said(stage, "--action", "chain.attach")) >= ATTACHED)
    attached = [one["node"] for one in said(stage, "--action", "chain.attach")]
    assert attached[0] == "host-1"
    assert sorted(attached[1:3]) == ["host-2", "host-3"]
    assert attached[3:] == ["host-1", "host-1"]
    (rollback,) = said(stage, "--action", "rollout.rollback")
    (reason,) = rollback["reasons"]
    assert reason["path"] == "nodes.host-1.data0.drops.max_share"
    assert (reason["got"], reason["allowed"]) == (1.0, 0.05)
    assert (rollback["version"], rollback["details"]["nodes"]) == ("2.0.0", ["host-1"])
    for host in (first, *others):
        assert stage.measure(host, ports=(80,), rate=2000, count=100).passed_count == 100
