# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Probes through the command line: from an empty folder to what they counted, and gone again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.package_new import begin_package
from demo.stage import ROOT, Stage
from shared.identifiers import ProbeHook
from tests.support.interfaces import wait_until_gone

ONLY_ONE = '\nnodes = { names = ["host-1"] }\nlink = { keep_seconds = 0 }\n'
"""Both hosts are on one kernel; and what was undeployed is not kept to go back to."""


def _begun(system: Stage, hook: ProbeHook, name: str, folder: Path) -> str:
    """The deployment's file of a new package that was built and published."""
    package = Path(begin_package(name, hook, folder).folder)
    system.must("package", "build", str(package), "--out-dir", str(folder))
    system.must("package", "publish", str(package))
    file = package / "deployment.toml"
    file.write_text(file.read_text() + ONLY_ONE)
    return str(file)


def _run_as(name: str, folder: Path, times: int) -> None:
    """So many programs of this name were started and have ended."""
    program = folder / name
    shutil.copy("/bin/true", program)
    for _ in range(times):
        subprocess.run([str(program)], check=True)


def _counted(system: Stage, name: str, map_name: str = "by_command") -> dict[str, Any]:
    shown = system.must("map", "dump", "host-1", name, "tracepoint", name, map_name)
    return {one["key"]: one["value"] for one in shown["entries"]}


def test_a_new_tracepoint_counts_is_measured_and_leaves_nothing(
    system: Stage, tmp_path: Path
) -> None:
    """The kernel says what it is attached to; undeployed, its program is no more."""
    file = _begun(system, "tracepoint", "exec-watch", tmp_path)

    plan = system.must("deploy", file, "--dry-run")
    (planned,) = plan["chains"]
    assert planned["target"] == {
        "kind": "tracepoint",
        "category": "sched",
        "name": "sched_process_exec",
    }
    system.must("deploy", file)
    _run_as("l3af-counted", tmp_path, 3)

    assert _counted(system, "exec-watch")["l3af-counted"] == 3
    (place,) = system.must("status", "exec-watch")["places"]
    assert (place["state"], place["interface"]) == ("running", "exec-watch")
    chain = place["chain"]
    assert chain["target"] == place["target"] == planned["target"]
    (shown,) = system.must("chain", "show", "--node", "host-1", "--interface", "exec-watch")[
        "chains"
    ]
    metrics = {one["metric"]: one for one in shown["metrics"]}
    assert metrics["events"]["value"] >= 3
    assert metrics["events-by-command"]["series"]["l3af-counted"] == 3

    system.must("undeploy", "exec-watch")

    wait_until_gone(
        programs=(chain["program_id"],), links=(chain["link_id"],), maps=tuple(chain["map_ids"])
    )
    pins = Path(os.environ["NODE_EXECUTOR_BPFFS_DIR"])
    assert [one for one in pins.rglob("*") if "exec-watch" in str(one)] == []


def test_the_same_probe_is_one_instance_and_a_variable_changes_while_it_counts(
    system: Stage, tmp_path: Path
) -> None:
    """The package that comes along; other variables are no other program."""
    system.must("package", "publish", str(ROOT / "packages" / "exec-count"))
    text = (ROOT / "packages" / "exec-count" / "examples" / "count-execs.toml").read_text()
    file = str(system.document("count-execs.toml", text + ONLY_ONE))
    only_nobody = text + ONLY_ONE + "variables = { only_user = 65534 }\n"
    other = str(system.document("count-nobody.toml", only_nobody))

    programs = set()
    for _ in range(3):
        system.must("deploy", file)
        programs.add(system.must("status", "count-execs")["places"][0]["chain"]["program_id"])
    _run_as("l3af-everybody", tmp_path, 2)
    (planned,) = system.must("deploy", other, "--dry-run")["chains"]
    system.must("deploy", other)
    programs.add(system.must("status", "count-execs")["places"][0]["chain"]["program_id"])
    _run_as("l3af-everybody", tmp_path, 2)

    assert planned["configuration_only"]
    assert len(programs) == 1
    assert _counted(system, "count-execs", "ec_commands")["l3af-everybody"] == 2
    system.must("undeploy", "count-execs")


@pytest.mark.parametrize("hook", ["kprobe", "fentry", "lsm"])
def test_a_kind_that_the_kernel_does_not_have_is_refused_by_its_name(
    system: Stage, tmp_path: Path, hook: ProbeHook
) -> None:
    """For a dry run as for the deployment; what the kernel lacks is said, and nothing is tried."""
    record = system.must("node", "show", "host-1")["record"]
    if record["features"][hook]:
        pytest.skip(f"this kernel has {hook}")
    file = _begun(system, hook, f"no-{hook}", tmp_path)

    for words in ((file, "--dry-run"), (file,)):
        answer = system.l3af("deploy", *words)
        assert (answer.status, answer.output["code"]) == (2, "no_eligible_node"), answer
        (reason,) = [one for one in answer.output["reasons"] if one["path"] == "nodes.host-1"]
        lacking = record["feature_notes"][hook]
        assert reason["rule"] == f"it has no {hook}, which the hook needs: {lacking}"
    assert f"no-{hook}" not in str(system.must("status"))


def test_a_target_that_the_node_does_not_have_is_refused_before_anything_is_accepted(
    system: Stage, tmp_path: Path
) -> None:
    """Only the node knows; it says so when the deployment is staged."""
    file = Path(_begun(system, "tracepoint", "nowhere", tmp_path))
    file.write_text(file.read_text().replace("sched_process_exec", "sched_process_never"))

    answer = system.l3af("deploy", str(file))

    assert answer.status == 2, answer
    assert "sched_process_never" in str(answer.output)
    assert "nowhere" not in str(system.must("status"))


def test_a_deployment_has_interfaces_or_targets_and_every_problem_is_told(system: Stage) -> None:
    """Exactly one of both, with nothing that means nothing for a probe."""
    text = """name = "both"
package = "port-count"
hook = "tracepoint"
interfaces = ["data0"]
order = 5
attach = [{ kind = "uprobe", path = "/bin/true" }]
"""
    answer = system.l3af("deploy", str(system.document("both.toml", text)))

    assert (answer.status, answer.output["code"]) == (2, "invalid_request"), answer
    assert {one["path"] for one in answer.output["reasons"]} == {
        *("interfaces", "order", "attach[0].kind", "attach[0].symbol"),
    }
