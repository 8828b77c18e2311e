# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Probes through the command line: from an empty folder to what they counted, and gone again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.package_new import begin_package
from demo.stage import ROOT, Stage
from lab.hosts import Host
from services.node_executor.adapters.network_namespaces import inside
from tests.support.interfaces import DEADLINE_SECONDS, wait_until_gone

PORT = 8080

ONLY_ONE = '\nnodes = { names = ["host-1"] }\nlink = { keep_seconds = 0 }\n'
"""Both hosts are on one kernel; and what was undeployed is not kept to go back to."""


def _deployment(package: Path) -> Path:
    """The file that came with a new package."""
    file = package / "deployment.toml"
    file.write_text(file.read_text() + ONLY_ONE)
    return file


def _run_as(name: str, folder: Path, times: int) -> None:
    """So many programs of this name were started and have ended."""
    program = folder / name
    shutil.copy("/bin/true", program)
    for _ in range(times):
        subprocess.run([str(program)], check=True)


def test_a_new_tracepoint_counts_is_measured_and_leaves_nothing(
    system: Stage, tmp_path: Path
) -> None:
    """A target that the node does not have is refused; undeployed, nothing is in the kernel."""
    new = ("package", "new", "exec-watch", "--hook", "tracepoint", "--out-dir", str(tmp_path))
    system.must(*new)
    file = _deployment(tmp_path / "exec-watch")
    folder = str(tmp_path / "exec-watch")
    built = system.must("package", "build", folder, "--out-dir", str(tmp_path))
    system.must("package", "publish", built["archive"])

    nowhere = file.with_name("nowhere.toml")
    nowhere.write_text(file.read_text().replace("sched_process_exec", "sched_process_never"))
    answer = system.l3af("deploy", str(nowhere))
    assert answer.status == 2, answer
    assert "sched_process_never" in str(answer.output)

    done = system.must("deploy", str(file))
    _run_as("l3af-counted", tmp_path, 3)

    (place,) = done["status"]["places"]
    chain = place["chain"]
    target = {"kind": "tracepoint", "category": "sched", "name": "sched_process_exec"}
    assert (place["state"], place["interface"]) == ("running", "exec-watch")
    assert chain["target"] == place["target"] == target
    words = ("host-1", "exec-watch", "tracepoint", "exec-watch", "by_command")
    entries = {one["key"]: one["value"] for one in system.must("map", "dump", *words)["entries"]}
    assert entries["l3af-counted"] == 3
    where = ("--node", "host-1", "--interface", "exec-watch")
    (shown,) = system.must("chain", "show", *where)["chains"]
    metrics = {one["metric"]: one for one in shown["metrics"]}
    assert metrics["events"]["value"] >= 3
    assert metrics["events-by-command"]["series"]["l3af-counted"] == 3

    system.must("undeploy", "exec-watch")

    wait_until_gone(
        programs=(chain["program_id"],), links=(chain["link_id"],), maps=tuple(chain["map_ids"])
    )
    pins = Path(os.environ["NODE_EXECUTOR_BPFFS_DIR"])
    assert [one for one in pins.rglob("*") if "exec-watch" in str(one)] == []


def test_an_iterator_is_read_where_the_node_says(system: Stage, tmp_path: Path) -> None:
    """It needs no programs for functions, which this kernel may not have; each reading counts."""
    package = Path(begin_package("task-watch", "iterator", tmp_path).folder)
    system.must("package", "publish", str(package))
    done = system.must("deploy", str(_deployment(package)))

    (place,) = done["status"]["places"]
    text = Path(place["chain"]["probe"]["text_path"]).read_text()

    (shown,) = system.must("chain", "show", "--node", "host-1", "--interface", "task-watch")[
        "chains"
    ]
    metrics = {one["metric"]: one for one in shown["metrics"]}
    assert place["state"] == "running"
    assert text
    assert metrics["events"]["value"] > 0
    system.must("undeploy", "task-watch")


def test_a_kind_runs_or_is_refused_by_its_name(system: Stage, tmp_path: Path) -> None:
    """As the node says of its kernel; what that lacks is said of a dry run too, and not tried."""
    record = system.must("node", "show", "host-1")["record"]
    package = Path(begin_package("no-kprobe", "kprobe", tmp_path).folder)
    system.must("package", "publish", str(package))
    file = str(_deployment(package))
    if record["features"]["kprobe"]:
        (place,) = system.must("deploy", file)["status"]["places"]
        assert place["state"] == "running"
        system.must("undeploy", "no-kprobe")
        return

    for words in ((file, "--dry-run"), (file,)):
        answer = system.l3af("deploy", *words)
        assert (answer.status, answer.output["code"]) == (2, "no_eligible_node"), answer
        (reason,) = [one for one in answer.output["reasons"] if one["path"] == "nodes.host-1"]
        lacking = record["feature_notes"]["kprobe"]
        assert reason["rule"] == f"it has no kprobe, which the hook needs: {lacking}"
    assert "no-kprobe" not in str(system.must("status"))


def test_a_limit_and_its_count_are_deployed_together_and_hold(system: Stage) -> None:
    """Programs of one package have maps in common; a connection too many is refused."""
    system.must("package", "publish", str(ROOT / "packages" / "connection-limit"))
    fields = (
        'version = "^1.0"\npackage = "connection-limit"\nlink = { keep_seconds = 0 }\n'
        'nodes = { names = ["host-1"] }\n'
    )
    count = system.document(
        "count-connections.toml",
        f'name = "count-connections"\nprogram = "connection-count"\nhook = "tracepoint"\n{fields}'
        'attach = [{ kind = "tracepoint", category = "sock", name = "inet_sock_set_state" }]\n',
    )
    too = system.document(
        "count-connections-too.toml",
        f'name = "count-connections-too"\nprogram = "connection-count-too"\n{fields}'
        'hook = "raw-tracepoint"\n'
        'attach = [{ kind = "raw-tracepoint", name = "inet_sock_set_state" }]\n',
    )
    limit = system.document(
        "limit-connections.toml",
        f'name = "limit-connections"\nprogram = "connection-limit"\nhook = "xdp"\n{fields}'
        'interfaces = ["data0"]\n[config.cl_limits]\n'
        f'{PORT} = {{ connections = 2, action = "DROP" }}\n',
    )
    system.must("deploy", str(limit), str(count), str(too), "--together")
    (host, *_) = system.lab.hosts

    with inside(host.namespace):
        listener = socket.create_server((host.data_address, PORT))
    with listener, ExitStack() as held:
        for _ in range(2):
            held.enter_context(_connected(host))
        with pytest.raises(TimeoutError):
            _connected(host, 0.3)
        words = ("limit-connections", "cl_ports")
        ports = system.must("map", "dump", "host-1", "data0", "xdp", *words)["entries"]

    netns = Path("/run/netns", host.namespace).stat().st_ino
    taken = [one["value"]["taken"] for one in ports if one["key"] == _key(netns)]
    assert taken == [2]
    chains = system.must("chain", "show", "host-1")["chains"]
    metrics = {
        one["metric"]: one
        for chain in chains
        for one in chain.get("metrics", [])
        if one["deployment"] == "limit-connections"
    }
    assert metrics["received"]["value"] - metrics["dropped"]["value"] == 2
    assert metrics["connections"]["series"][_key(netns)] >= 0
    for name in ("limit-connections", "count-connections", "count-connections-too"):
        system.must("undeploy", name)


def _key(netns: int) -> str:
    return f'{{"netns":{netns},"number":{PORT}}}'


def _connected(host: Host, seconds: float = DEADLINE_SECONDS) -> socket.socket:
    """A connection from the host's peer, or TimeoutError."""
    with inside(host.peer_namespace):
        return socket.create_connection((host.data_address, PORT), timeout=seconds)
