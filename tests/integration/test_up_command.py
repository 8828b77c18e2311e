# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af up` from nothing to ready, through a kill, to a clean end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).parent / "l3af")
READY_SECONDS = 30.0
STOP_SECONDS = 60.0
SERVICES = {"catalog", "scheduler", "auditor"}


def environment(installation: Path) -> dict[str, str]:
    """Of a person whose installation this is."""
    return os.environ | {"L3AF_INSTALLATION": str(installation)}


@contextmanager
def up(installation: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`l3af up` with what it said when it was ready."""
    with subprocess.Popen(
        [COMMAND, "up", "--json", "--ready-seconds", str(READY_SECONDS), *words],
        env=environment(installation),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def l3af(installation: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    return subprocess.run(
        [COMMAND, *words],
        env=environment(installation),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )


def until(condition: Callable[[], bool]) -> None:
    """The condition comes to hold."""
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def test_a_first_run_needs_nothing_and_leaves_nothing_running(tmp_path: Path) -> None:
    """It makes an installation, answers on the bus, survives a kill, and ends clean."""
    installation = tmp_path / "installation"
    with up(installation, "--no-node", "--listen", "127.0.0.1:0") as (process, ready):
        pids = ready["processes"]
        binary = Path(ready["nats_server"])

        assert {name for name, pid in pids.items() if pid} == SERVICES | {"nats-server"}
        assert ready["nats_server_sha256"] == hashlib.sha256(binary.read_bytes()).hexdigest()
        assert "nats-io/nats-server" in ready["nats_server_origin"]
        assert l3af(installation, "node", "list").returncode == 0

        pid_file = installation / "run" / "scheduler.pid"
        os.kill(pids["scheduler"], signal.SIGKILL)
        until(lambda: pid_file.exists() and int(pid_file.read_text()) != pids["scheduler"])
        until(lambda: l3af(installation, "node", "list").returncode == 0)

        second = l3af(installation, "up", "--no-node", "--json")
        assert second.returncode == 2
        assert json.loads(second.stderr.splitlines()[-1])["code"] == "conflict"

        process.terminate()
        assert process.wait(STOP_SECONDS) == 0

    statuses = json.loads((installation / "run" / "status.json").read_bytes())
    assert {status["state"] for status in statuses.values()} == {"stopped", "done"}
    assert not list((installation / "run").glob("*.pid"))
    assert not any(is_alive(pid) for pid in pids.values() if pid)


def test_services_can_be_run_apart(tmp_path: Path) -> None:
    """The server in one `up`, a service in another, each ready and stopped by itself."""
    installation = tmp_path / "installation"
    server = ("--only", "nats-server", "--only", "provisioner", "--listen", "127.0.0.1:0")
    with up(installation, *server) as (_, first):
        assert set(first["processes"]) == {"nats-server", "provisioner"}

        with up(installation, "--only", "catalog") as (_, second):
            assert set(second["processes"]) == {"catalog"}
            assert l3af(installation, "package", "list").returncode == 0

        assert l3af(installation, "package", "list").returncode == 3


def test_a_second_scheduler_stands_by(tmp_path: Path) -> None:
    """`status` says which of them leads and which would take over; each is started again."""
    installation = tmp_path / "installation"
    words = [f"--only={name}" for name in ("nats-server", "provisioner", "scheduler")]
    with up(installation, *words, "--schedulers", "2", "--listen", "127.0.0.1:0") as (_, ready):
        pids = ready["processes"]

        def standing() -> set[int]:
            answer = l3af(installation, "status", "--json").stdout
            shown = json.loads(answer).get("scheduler") if answer else None
            return (
                {shown["pid"], *(one["pid"] for one in shown.get("standbys", ()))}
                if shown
                else set()
            )

        until(lambda: standing() == {pids["scheduler"], pids["scheduler-2"]})
        text = l3af(installation, "status").stdout
        assert "leads since" in text
        assert "standing by:" in text


def test_what_does_not_come_up_is_named_with_its_log(tmp_path: Path) -> None:
    """After the time it took, all is stopped, and the message says what was missing and why."""
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho no licence to serve\nexit 1\n")
    broken.chmod(0o700)

    failed = l3af(
        tmp_path / "installation",
        *("up", "--no-node", "--json", "--listen", "127.0.0.1:0"),
        *("--ready-seconds", "1", "--nats-server", str(broken)),
    )

    refusal = json.loads(failed.stderr.splitlines()[-1])
    assert failed.returncode == 3
    assert "catalog" in refusal["message"]
    tails = {reason["path"]: reason["got"] for reason in refusal["reasons"]}
    assert "no licence to serve" in tails["nats-server"]


@pytest.mark.parametrize("words", [("--nats-server", "/dev/null"), ("--node", "Bad.Name")])
def test_bad_arguments_are_refused_before_anything_is_made(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """No installation is left behind by a command that was refused."""
    installation = tmp_path / "installation"

    assert l3af(installation, "up", *words).returncode == 2
    assert not installation.exists()


def test_a_revoked_node_does_not_get_its_key_back_by_itself(tmp_path: Path) -> None:
    """`up` makes credentials for a new node, and none for one that was revoked."""
    installation = tmp_path / "installation"
    l3af(installation, "init", "--listen", "127.0.0.1:0", "--node", "edge")
    assert l3af(installation, "node", "revoke", "edge").returncode == 0

    refused = l3af(installation, "up", "--node", "edge", "--json")

    assert refused.returncode == 2
    assert "revoked" in refused.stderr
