# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Each service is killed while a deploy is under way; the deploy completes, exactly once."""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
import threading
from collections import Counter
from time import monotonic, sleep
from typing import Any, Final

import pytest

from demo.stage import Stage

PROCESSES = ("catalog", "scheduler", "auditor", "node_executor-host-1")
DELAYS_SECONDS = (0.0, 0.25, 0.3, 0.4)
"""Before, in and after the command's own start-up, so that the kill meets different steps."""
SOAK_SECONDS: Final = float(os.environ.get("L3AF_SOAK_SECONDS", "20"))
LATEST_KILL_SECONDS: Final = 0.6


def _deployment(name: str, order: int) -> str:
    return (
        f'name = "{name}"\npackage = "rate-limit"\nhook = "xdp"\ninterfaces = ["data0"]\n'
        f'order = {order}\n[nodes]\nnames = ["host-1"]\n[config.rl_limits]\n80 = 100\n'
    )


def _kill(system: Stage, process: str) -> None:
    pid = int((system.installation / "run" / f"{process}.pid").read_text())
    os.kill(pid, signal.SIGKILL)


def _records(system: Stage, command_id: str) -> list[dict[str, Any]]:
    answer = system.l3af("audit", "log", "--correlation", command_id, "--limit", "100")
    if answer.status:
        return []
    return [record["event"]["data"] for record in answer.output["records"]]


def _until_complete(system: Stage, command_id: str) -> list[dict[str, Any]]:
    deadline = monotonic() + 30
    while monotonic() < deadline:
        records = _records(system, command_id)
        if any(record["action"] == "deployment.complete" for record in records):
            return records
        sleep(0.1)
    pytest.fail(f"{command_id} is not complete in the log: {_records(system, command_id)}")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_deploy_completes_once_although_a_service_is_killed(system: Stage, process: str) -> None:
    """After kill -9 of the service the deploy runs, and each step has exactly one record."""
    for number, delay_seconds in enumerate(DELAYS_SECONDS):
        order = 100 + 10 * PROCESSES.index(process) + number
        name = f"k{order}"
        command_id = f"kill-{name}-00000000"
        path = system.document(f"{name}.toml", _deployment(name, order))
        killer = threading.Timer(delay_seconds, _kill, (system, process))
        killer.start()

        answer = system.l3af("deploy", str(path), "--command-id", command_id, "--timeout", "60")
        killer.join()

        assert answer.status == 0, (process, delay_seconds, answer)
        _assert_each_step_once(system, command_id, f"{process} killed after {delay_seconds} s")
        system.must("undeploy", name)


@pytest.mark.soak
def test_deploys_complete_once_whoever_is_killed_whenever(
    system: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random processes die at random moments of deploys, until the time is up."""
    seed = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
    with capsys.disabled():
        sys.stderr.write(f"\nL3AF_SEED={seed} L3AF_SOAK_SECONDS={SOAK_SECONDS:g}\n")
    choice = random.Random(seed)
    deadline = monotonic() + SOAK_SECONDS
    number = 0
    while monotonic() < deadline:
        number += 1
        process = choice.choice(PROCESSES)
        delay_seconds = choice.uniform(0, LATEST_KILL_SECONDS)
        command_id = f"soak-{seed}-{number:06d}"
        path = system.document("soak.toml", _deployment("soak", 900))
        killer = threading.Timer(delay_seconds, _kill, (system, process))
        killer.start()

        answer = system.l3af("deploy", str(path), "--command-id", command_id, "--timeout", "60")
        killer.join()

        told = f"seed {seed}, round {number}: {process} killed after {delay_seconds:.3f} s"
        assert answer.status == 0, (told, answer)
        _assert_each_step_once(system, command_id, told)
        system.must("undeploy", "soak")


def _assert_each_step_once(system: Stage, command_id: str, told: str) -> None:
    steps = Counter(
        (record["action"], record["outcome"], record.get("node", ""))
        for record in _until_complete(system, command_id)
    )
    assert steps == {
        ("deployment.apply", "accepted", ""): 1,
        ("chain.request", "accepted", "host-1"): 1,
        ("chain.attach", "succeeded", "host-1"): 1,
        ("deployment.complete", "succeeded", ""): 1,
    }, (told, steps)
