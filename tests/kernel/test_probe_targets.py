# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What probes are to be attached to and is not there: found when they are staged, by its name."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters.probe_places import TargetMissingError
from services.node_executor.generations import Point
from shared.contracts.probes import (
    CgroupTarget,
    ProbeTarget,
    RawTracepointTarget,
    TracepointTarget,
    UprobeTarget,
)
from tests.support.executors import Executor, pins_below
from tests.support.probes import (
    a_probe,
    call_probed,
    counted,
    own_objects,
    run_probe,
    subject,
    until,
)

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("way", ["file", "symbol", "event", "cgroup", "raw event", "pipe"])
def test_a_target_that_is_not_there_is_refused_and_leaves_nothing(
    node: Executor, base: PurePosixPath, tmp_path: Path, way: str
) -> None:
    """By name, before anything is loaded; and an attempt to attach leaves no more than that."""
    targets: dict[str, tuple[ProbeTarget, str]] = {
        "file": (UprobeTarget(path="/nowhere/at-all", symbol="main"), "on_uprobe"),
        "symbol": (UprobeTarget(path="/bin/sh", symbol="no_such_function"), "on_uprobe"),
        "event": (TracepointTarget(category="sched", name="no_such_event"), "on_tracepoint"),
        "cgroup": (CgroupTarget(path="/sys/nowhere", attach="connect4"), "on_connect4"),
        "raw event": (RawTracepointTarget(name="no_such_event"), "on_raw_tracepoint"),
        "pipe": (UprobeTarget(path=str(tmp_path / "pipe"), symbol="main"), "on_uprobe"),
    }
    os.mkfifo(tmp_path / "pipe")  # which nobody will ever write to
    before = own_objects()
    target, function = targets[way]
    chain = a_probe(target, function)
    point = Point(chain.interface, chain.hook)

    with pytest.raises(TargetMissingError):
        node.points.admit(point, chain)
    with pytest.raises(TargetMissingError):
        run_probe(node, chain)

    until(lambda: own_objects() <= before)
    assert pins_below(base) == []
    assert node.kernel.observe(point).link_id == 0


def test_what_a_probe_that_runs_shall_be_is_looked_for_when_it_is_staged(
    node: Executor, tmp_path: Path
) -> None:
    """Another target, and for another version the same one, which went meanwhile."""
    program = subject(tmp_path)
    target = UprobeTarget(path=str(program), symbol="l3af_probed")
    chain = a_probe(target, "on_uprobe")
    point = run_probe(node, chain)
    elsewhere = UprobeTarget(path=str(program), symbol="no_such_function")
    with pytest.raises(TargetMissingError, match="no_such_function"):
        node.points.admit(point, a_probe(elsewhere, "on_uprobe"))
    aside = program.rename(tmp_path / "aside")

    node.points.admit(point, chain)
    with pytest.raises(TargetMissingError, match="cannot be read"):
        node.points.admit(point, a_probe(target, "on_uprobe", version="3.0.0"))

    call_probed(aside, 2)
    assert counted(node, point) == 2
    aside.rename(program)
