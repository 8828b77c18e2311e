# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A whole system as a fixture: lab, installation, nats-server and the services as processes."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from demo.narration import Narrator
from demo.stage import ROOT, Stage, running_services
from lab.hosts import create_lab


@contextmanager
def a_system(folder: Path, *, hosts: int) -> Iterator[Stage]:
    """So many hosts with executors; nothing is published."""
    prefix = f"e{uuid.uuid4().hex[:7]}"
    pins = Path(f"/sys/fs/bpf/{prefix}")
    before = os.environ.get("NODE_EXECUTOR_BPFFS_DIR")
    os.environ["NODE_EXECUTOR_BPFFS_DIR"] = str(pins)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, pins, ignore_errors=True)
        lab = cleanup.enter_context(create_lab(prefix, hosts))
        narrator = Narrator(Console(quiet=True), steps=1)
        stage = Stage(folder=folder, lab=lab, narrator=narrator)
        stage.must("init", str(stage.installation), "--listen", f"{lab.management_address}:4222")
        cleanup.enter_context(running_services(stage))
        yield stage
    if before is None:
        del os.environ["NODE_EXECUTOR_BPFFS_DIR"]
    else:
        os.environ["NODE_EXECUTOR_BPFFS_DIR"] = before


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two hosts with executors, labelled; `port-count` and `rate-limit` 1.0.0 are published."""
    with a_system(tmp_path_factory.mktemp("system"), hosts=2) as stage:
        stage.must("node", "label", "host-1", "role=edge")
        for name in ("port-count", "rate-limit"):
            stage.must("package", "publish", str(ROOT / "packages" / name))
        yield stage


DeploymentText = Callable[..., str]


@pytest.fixture
def deployment_text() -> DeploymentText:
    """A deployment of `port-count` on host-1, with any line replaced by name."""

    def text(**changes: str) -> str:
        fields = {
            "name": '"count"',
            "package": '"port-count"',
            "version": '"^1.0"',
            "program": '"port-count"',
            "hook": '"xdp"',
            "interfaces": '["data0"]',
            "order": "10",
            "nodes": '{ names = ["host-1"] }',
        } | changes
        return "".join(f"{key} = {value}\n" for key, value in fields.items() if value)

    return text
