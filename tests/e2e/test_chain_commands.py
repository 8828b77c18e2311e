# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a chain holds, why, and what it would do to a packet, as an operator asks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from demo.stage import COMMAND, Stage
from tests.support.packets import ipv4, tagged, tcp
from tests.unit.test_packet_files import a_pcap

DeploymentText = Callable[..., str]
WEB = ipv4(tcp(80))
LIMITED = """\
name = "limit"
package = "rate-limit"
hook = "xdp"
interfaces = ["data0"]
order = 20
nodes = { names = ["host-1"] }
[config.rl_limits]
80 = 1
"""


@pytest.fixture(scope="module", autouse=True)
def _chain_runs(system: Stage) -> None:
    """Port 80 may get one new connection a second."""
    count = (
        'name = "count"\npackage = "port-count"\nprogram = "port-count"\nhook = "xdp"\n'
        'interfaces = ["data0"]\norder = 10\nnodes = { names = ["host-1"] }\n'
    )
    system.must("deploy", str(system.document("count.toml", count)))
    system.must("deploy", str(system.document("limit.toml", LIMITED)))


def said(system: Stage, *words: str, given: bytes = b"") -> str:
    """What the command prints for people."""
    done = subprocess.run(
        [COMMAND, *words],
        env={**os.environ, "L3AF_INSTALLATION": str(system.installation), "COLUMNS": "200"},
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_what_is_linked_is_shown_as_one_table(system: Stage) -> None:
    """Of every node that is alive, or of one; in words and as JSON."""
    everywhere = system.must("chain", "show")
    one = system.must("chain", "show", "--node", "host-1", "--hook", "xdp", "--per-cpu")
    text = said(system, "chain", "show", "host-1", "--watch", "--every", "0.1", "--looks", "2")

    assert [node["node"] for node in everywhere["nodes"]] == ["host-1", "host-2"]
    (chain,) = one["chains"]
    assert [slot["deployment"] for slot in chain["counters"]["slots"]] == ["count", "limit"]
    assert len(chain["chain"]["segments"]) == 1
    assert chain["previous_generation"] == 1
    assert chain["previous_kept_until"].endswith("Z")
    for word in ("maps of 64", "packets in", "went on", "packets/s", "port-count 1.0.0", "inline"):
        assert word in text, text
    assert text.count("host-1 data0/xdp: attached") == 2


def test_deployments_are_watched(system: Stage) -> None:
    """All of them or one, as often as one wants; with `--json` one document a line."""
    words = ("--watch", "--every", "0.1", "--looks", "2")
    everything = said(system, "status", *words)
    lines = said(system, "status", "limit", *words, "--json").splitlines()

    assert everything.count("leads") == 2
    assert [json.loads(line)["name"] for line in lines] == ["limit", "limit"]


def test_who_does_not_wait_knows_what_was_accepted(system: Stage) -> None:
    """And no more; what follows comes all the same."""
    file = str(system.document("limit.toml", LIMITED))
    answer = system.must("deploy", file, "--no-wait")

    assert set(answer) == {"accepted"}
    system.must("deploy", file)
    assert system.must("status", "limit")["revision"] == answer["accepted"]["revision"] + 1


def test_a_chain_is_explained_as_it_runs_and_as_it_would_be(system: Stage, tmp_path: Path) -> None:
    """With files: what they would lead to together; the hook is not touched."""
    before = system.must("chain", "show", "host-1")["chains"][0]["chain"]["program_id"]
    first = tmp_path / "first.toml"
    first.write_text(LIMITED.replace('"limit"', '"early"').replace("order = 20", "order = 1"))
    second = tmp_path / "second.toml"
    second.write_text(LIMITED.replace('"limit"', '"late"').replace("order = 20", "order = 30"))

    running = system.must("chain", "explain", "--node", "host-1")
    planned = system.must("chain", "explain", "--file", str(first), "--file", str(second))
    text = said(system, "chain", "explain", "--interface", "data0")

    (chain,) = running["nodes"][0]["chains"]
    assert [body["deployment"] for body in chain["explanation"]["programs"]] == ["count", "limit"]
    (draft,) = planned["nodes"][0]["chains"]
    assert draft["source"] == "draft"
    names = [body["deployment"] for body in draft["explanation"]["programs"]]
    assert names == ["early", "count", "limit", "late"]
    assert "segment 0 (shared-frame, licence 'Dual BSD/GPL')" in text
    after = system.must("chain", "show", "host-1")["chains"][0]["chain"]["program_id"]
    assert after == before


def test_packets_are_tried_from_every_kind_of_source(system: Stage, tmp_path: Path) -> None:
    """The second connection of a second is one too many, and nothing live counts it."""
    capture = tmp_path / "syns.pcap"
    capture.write_bytes(a_pcap(WEB, tagged(WEB)))

    tried = system.must("chain", "test", "--packet", str(capture), "--packet", WEB.hex())
    text = said(system, "chain", "test", "--packet", "-", "--node", "host-1", given=WEB)
    shown = system.must("chain", "show", "host-1")["chains"][0]

    verdicts = [(one["verdict"], one["decided_by"]) for one in tried["packets"]]
    assert verdicts == [("pass", "limit"), ("drop", "limit"), ("drop", "limit")]
    changed = {(one["deployment"], one["map"]) for one in tried["packets"][0]["map_changes"]}
    assert {("count", "pc_packets"), ("limit", "rl_windows")} <= changed
    assert "packet 1, 54 bytes: pass by limit" in text
    assert all(slot.get("packets_in", 0) == 0 for slot in shown["counters"]["slots"])


def test_a_plan_is_tried_before_it_is_applied(system: Stage, tmp_path: Path) -> None:
    """With the configuration of its file."""
    stricter = tmp_path / "stricter.toml"
    stricter.write_text(LIMITED.replace("80 = 1", "80 = 0"))

    tried = system.must("chain", "test", "--packet", WEB.hex(), "--file", str(stricter))
    now = system.must("chain", "test", "--packet", WEB.hex())

    assert (tried["source"], tried["packets"][0]["verdict"]) == ("draft", "drop")
    assert now["packets"][0]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("test", "--packet", "/nowhere.pcap"), "invalid_request"),
        (("test", "--packet", WEB.hex(), "--node", "host-2"), "not_found"),
        (("test", "--packet", WEB.hex(), "--file", "/nowhere.toml"), "invalid_request"),
        (("explain", "--node", "host-1", "--interface", "data9"), "not_found"),
        (("show", "--watch", "--every", "0"), "invalid_request"),
    ],
)
def test_what_cannot_be_asked_is_refused(system: Stage, words: tuple[str, ...], code: str) -> None:
    """With its reason, and exit status 2."""
    answer = system.l3af("chain", *words)

    assert answer.status == 2
    assert answer.output["code"] == code
    assert answer.output["message"]


def test_a_chain_follows_an_interface_that_is_renamed(system: Stage) -> None:
    """A deployment with a glob: the scheduler learns the name, and what runs goes on."""
    host = system.lab.hosts[1]

    def ip(*words: str) -> None:
        subprocess.run(host.command("ip", "link", *words), check=True)

    def link_of(interface: str) -> int:
        deadline = monotonic() + 10
        while True:
            everywhere = system.must("chain", "show", "host-2")["chains"]
            shown = [one for one in everywhere if one["chain"]["interface"] == interface]
            if shown and shown[0]["chain"]["state"] == "attached":
                return int(shown[0]["chain"]["link_id"])
            assert monotonic() < deadline, system.must("node", "reconcile", "host-2")

    ip("add", "wan0", "type", "veth", "peer", "name", "wanpeer0")
    while "wan0" not in str(system.must("node", "show", "host-2")["record"]["interfaces"]):
        pass
    text = (
        'name = "follow"\npackage = "port-count"\nprogram = "port-count"\nhook = "xdp"\n'
        'interfaces = ["wan[0-9]"]\norder = 10\nnodes = { names = ["host-2"] }\n'
    )
    system.must("deploy", str(system.document("follow.toml", text)))
    before = link_of("wan0")
    ip("set", "wan0", "down")
    ip("set", "wan0", "name", "wan1")

    assert link_of("wan1") == before
    states = system.must("node", "reconcile", "host-2")["states"]
    assert states["waiting-for-interface"] == 1
    assert "waiting-for-interface" in said(system, "node", "reconcile", "host-2")
    system.must("undeploy", "follow")
    ip("del", "wan1")
