# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package with a companion, from its folder to its end, as an operator sees it."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any, Final

import pytest

from demo.stage import ROOT, Stage

DEADLINE_SECONDS: Final = 30.0
PROGRAM: Final = ROOT / "tests" / "support" / "programs" / "companion.c"
MANIFEST: Final = """
[companions.watcher]
summary = "Says how many packets were counted"
executables = {{ linux-{machine} = "bin/watcher" }}
readiness = {{ kind = "notify", timeout_seconds = 20 }}
limits = {{ memory_mib = 32, processes = 4 }}
restart = "never"
arguments.label = {{ type = "string", default = "{label}" }}
arguments.exits = {{ type = "integer", minimum = 0, maximum = 255 }}
"""
DEPLOYMENT: Final = """\
name = "watched"
package = "watched-count"
version = "{version}"
program = "port-count"
hook = "xdp"
interfaces = ["data0"]
order = 10
nodes = {{ names = ["host-1"] }}
{more}
"""


@cache
def _compiled() -> bytes:
    """The companion, which needs no library of the host."""
    with TemporaryDirectory() as folder:
        made = Path(folder) / "watcher"
        subprocess.run(["clang", "-O1", "-static", str(PROGRAM), "-o", str(made)], check=True)
        return made.read_bytes()


def _package(folder: Path, version: str, label: str) -> Path:
    """`port-count` under another name, with a companion."""
    made = folder / f"watched-{version}"
    shutil.copytree(ROOT / "packages" / "port-count", made)
    (made / "bin").mkdir()
    # What is behind the end of an ELF file changes its digest and nothing else.
    (made / "bin" / "watcher").write_bytes(_compiled() + version.encode())
    manifest = made / "package.toml"
    text = manifest.read_text().replace('name = "port-count"', 'name = "watched-count"', 1)
    text = text.replace('version = "1.0.0"', f'version = "{version}"', 1)
    manifest.write_text(text + MANIFEST.format(machine=platform.machine(), label=label))
    return made


@pytest.fixture(scope="module")
def watched(system: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two versions of a package whose companion reads its counter are published."""
    folder = tmp_path_factory.mktemp("packages")
    for version, label in (("1.0.0", "first"), ("1.1.0", "second")):
        system.must("package", "publish", str(_package(folder, version, label)))
    yield system
    system.l3af("undeploy", "watched")


def _until(found: Callable[[], Any], what: str) -> Any:
    """What was found, within a deadline."""
    deadline = monotonic() + DEADLINE_SECONDS
    while monotonic() < deadline:
        if value := found():
            return value
        sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


def _deploy(system: Stage, version: str, more: str = "") -> Any:
    document = system.document("watched.toml", DEPLOYMENT.format(version=version, more=more))
    return system.l3af("deploy", str(document))


def _companion(system: Stage) -> dict[str, Any]:
    """The one on host-1."""
    (one,) = system.must("companion", "list", "host-1", show=False)["companions"]
    return dict(one)


def _lines(system: Stage) -> list[str]:
    log = system.must("companion", "logs", "host-1", "watched", "watcher", show=False)
    return [line["text"] for line in log.get("lines", ())]


def _actions(system: Stage) -> list[str]:
    log = system.must("audit", "log", "--deployment", "watched", "--limit", "200", show=False)
    actions = [record["event"]["data"]["action"] for record in log["records"]]
    return [one for one in actions if one.startswith("companion.")]


def _executor(system: Stage) -> int:
    """The executor of host-1."""
    wanted = f"NODE_EXECUTOR_CREDENTIALS_DIR={system.installation}/"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_text()
            environment = (entry / "environ").read_text()
        except OSError:
            continue
        place = environment.partition(wanted)[2].partition("\0")[0]
        if "services.node_executor" in command and "host-1" in place:
            return int(entry.name)
    return 0


def _group(pid: int) -> Path:
    """Its control group, version 2."""
    text = Path(f"/proc/{pid}/cgroup").read_text()
    (path,) = (line[3:] for line in text.splitlines() if line.startswith("0::"))
    return Path("/sys/fs/cgroup") / path.lstrip("/")


def test_a_companion_lives_and_ends_with_its_deployment(watched: Stage) -> None:
    """Ready, kept through an executor's death, upgraded under traffic, gone without a trace."""
    host = watched.lab.hosts[0]
    answer = _deploy(watched, "1.0.0")
    assert answer.status == 0, answer.message
    first = _companion(watched)
    assert first["companion"]["state"] == "ready"
    pid, group = first["companion"]["pid"], _group(first["companion"]["pid"])
    assert first["usage"]["processes"] == 1

    # It reads what the program counts, as an account of its own.
    watched.measure(host, ports=(80,), rate=200, count=20)
    _until(lambda: any("first packets 2" in line for line in _lines(watched)), "its packets")
    status = Path(f"/proc/{pid}/status").read_text()
    assert "\nUid:\t0\t" not in status
    assert "NoNewPrivs:\t1" in status

    # The executor dies; the same process goes on, and the next executor knows it.
    before = _executor(watched)
    os.kill(before, signal.SIGKILL)
    _until(lambda: _executor(watched) not in (0, before), "another executor")
    again = _until(lambda: _ready(watched), "the companion seen again")
    assert (again["companion"]["pid"], again["companion"].get("restarts", 0)) == (pid, 0)

    # Another version under traffic: another process, and no packet lost.
    with watched.steady_traffic(host, ports=(80,), rate=300, count=600) as measured:
        answer = _deploy(watched, "1.1.0")
        assert answer.status == 0, answer.message
    assert measured[0].passed_count == measured[0].sent_count
    second = _companion(watched)
    assert (second["version"], second["companion"]["state"]) == ("1.1.0", "ready")
    _until(lambda: any("second packets" in line for line in _lines(watched)), "its successor")
    assert "first ends" in _lines(watched)

    # Asked for by hand: another run of the same.
    watched.must("companion", "restart", "host-1", "watched", "watcher", "--reason", "for the test")
    again = _until(lambda: _other(watched, second["companion"]["pid"]), "another run")
    assert again["version"] == "1.1.0"
    second = again

    # Gone.
    pid, group = second["companion"]["pid"], _group(second["companion"]["pid"])
    watched.must("undeploy", "watched")
    _until(lambda: not Path(f"/proc/{pid}").exists(), "its process ended")
    _until(lambda: not group.exists(), "its control group is removed")
    pins = Path(os.environ["NODE_EXECUTOR_BPFFS_DIR"]) / "host-1"
    _until(lambda: not [one for one in pins.rglob("*") if one.is_file()], "nothing is pinned")
    listed = watched.must("companion", "list", "host-1")
    assert listed["companions"] == []
    actions = _until(lambda: _said(watched, "companion.stop"), "that it was stopped is recorded")
    assert [actions.count(f"companion.{one}") for one in ("start", "ready")] == [3, 3]
    assert actions.count("companion.restart") == 1


def _ready(system: Stage) -> dict[str, Any] | None:
    answer = system.l3af("companion", "list", "host-1", show=False)
    if answer.status != 0:
        return None
    found = [one for one in answer.output["companions"] if one["companion"]["state"] == "ready"]
    return dict(found[0]) if found else None


def _other(system: Stage, pid: int) -> dict[str, Any] | None:
    """The companion that is ready, if it is another process; of all nodes that are alive."""
    answer = system.must("companion", "list", "--deployment", "watched", show=False)
    for node in answer["nodes"]:
        for one in node["companions"]:
            if one["companion"]["state"] == "ready" and one["companion"]["pid"] != pid:
                return dict(one)
    return None


def _said(system: Stage, action: str) -> list[str]:
    actions = _actions(system)
    return actions if action in actions else []


def test_a_companion_that_cannot_work_fails_its_deployment_with_its_reason(
    watched: Stage,
) -> None:
    """And arguments that the package does not take are refused before anything happens."""
    refused = _deploy(
        watched, "1.0.0", '[companions.watcher.arguments]\nexits = 256\ncolour = "red"'
    )
    failed = _deploy(watched, "1.0.0", "[companions.watcher.arguments]\nexits = 7")
    status = watched.must("status", "watched")

    assert refused.status == 2
    assert {reason["path"] for reason in refused.output["reasons"]} == {
        "companions.watcher.arguments.exits",
        "companions.watcher.arguments.colour",
    }
    assert failed.status != 0
    (place,) = status["places"]
    assert place["state"] == "failed"
    assert "exited with status 7" in str(place["why"])
    assert "exited with status 7" in str(failed.output)
    _until(lambda: _said(watched, "companion.exit"), "its end is recorded")
