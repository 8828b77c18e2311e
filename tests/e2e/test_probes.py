# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Probes through the command line: from an empty folder to what they counted, and gone again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from cli.package_new import begin_package
from demo.stage import Stage
from tests.support.interfaces import wait_until_gone

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
