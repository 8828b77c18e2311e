# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af dev`: from a changed line of C to a node's hook, and what never gets there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from cli.package_new import begin_package
from demo.stage import COMMAND, Stage

ROUND_SECONDS = 60.0
DEPLOYMENT = """\
name = "try"
package = "tryout"
hook = "xdp"
interfaces = ["data0"]
nodes = { names = ["host-2"] }
[config.blocked]
23 = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new package."""
    return Path(begin_package("tryout", "xdp", tmp_path).folder)


@pytest.fixture
def rounds(system: Stage, folder: Path) -> Iterator[Queue[Any]]:
    """What a watching `l3af dev` says of each round."""
    deployment = system.document("try.toml", DEPLOYMENT)
    process = subprocess.Popen(
        # A shell that runs the tests in the background has them ignore the signal.
        ["env", "--default-signal=INT", COMMAND, "dev", str(folder), str(deployment), "--json"],
        env={**os.environ, "L3AF_INSTALLATION": str(system.installation)},
        stdout=subprocess.PIPE,
    )
    said: Queue[Any] = Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(ROUND_SECONDS)
        reader.join()
        assert status == 130
        assert process.stdout is not None
        process.stdout.close()


def _running(system: Stage) -> str:
    """The version that host-2 runs."""
    status = system.must("status", show=False)
    return json.dumps(status)


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_a_changed_source_runs_within_seconds(
    system: Stage, folder: Path, rounds: Queue[Any]
) -> None:
    """Built, tested, published and swapped in; what fails its test leaves what runs alone."""
    first = rounds.get(timeout=ROUND_SECONDS)
    assert (first["places"], first.get("refusal")) == (1, None)
    assert first["version"].startswith("1.0.0-dev.")

    _replace(folder / "tryout.bpf.c", "return XDP_DROP", "return XDP_PASS")
    failed = rounds.get(timeout=ROUND_SECONDS)
    assert "version" not in failed
    assert failed["tested"]["results"][0]["differences"][0]["place"] == "packets[0].verdict"

    _replace(folder / "tryout.bpf.c", "__u16 port;", "__u16 port")
    broken = rounds.get(timeout=ROUND_SECONDS)
    assert "does not compile" in broken["refusal"]["message"]
    assert first["version"] in _running(system)

    source = folder / "tryout.bpf.c"
    text = source.read_text().replace("__u16 port", "__u16 port;")
    source.write_text(
        text.replace("(*count)++;\n\treturn XDP_PASS", "(*count)++;\n\treturn XDP_DROP")
    )
    second = rounds.get(timeout=ROUND_SECONDS)
    assert (second["places"], second.get("refusal")) == (1, None)
    assert sum(second["seconds"].values()) < 10
    assert second["version"] in _running(system)
    assert first["version"] not in _running(system)


def test_without_a_deployment_nothing_is_published(system: Stage, folder: Path) -> None:
    """Build and test alone need no bus; a round that fails says so in its exit status."""
    once = system.l3af("dev", str(folder), "--once")
    assert once.status == 0
    assert "version" not in once.output

    _replace(folder / "package.toml", 'dport=23 syn", verdict = "drop"', 'verdict = "drop"')
    assert system.l3af("dev", str(folder), "--once").status == 2


def test_a_deployment_of_another_package_is_refused(system: Stage, folder: Path) -> None:
    """Nothing is published under a name that the deployment does not run."""
    other = system.document("other.toml", DEPLOYMENT.replace('"tryout"', '"rate-limit"'))

    once = system.l3af("dev", str(folder), str(other), "--once")

    assert once.status == 2
    assert "is of rate-limit" in once.output["refusal"]["message"]
