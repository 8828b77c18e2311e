# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Probes on the real kernel: each kind counts what it should, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shared.contracts.probes import (
    CgroupTarget,
    IteratorTarget,
    ProbeTarget,
    RawTracepointTarget,
    SockopsTarget,
    UprobeTarget,
    UretprobeTarget,
)
from tests.support.executors import Executor
from tests.support.probes import (
    GETPGID,
    PATIENCE_SECONDS,
    a_cgroup,
    a_probe,
    call_probed,
    connect_in,
    counted,
    getpgid,
    run_probe,
    subject,
)

pytestmark = pytest.mark.kernel


def test_a_tracepoint_counts_each_event(node: Executor) -> None:
    """Of this process, which alone is asked for."""
    point = run_probe(node, a_probe(GETPGID, "on_tracepoint", pid=os.getpid()))

    getpgid(7)

    assert counted(node, point) == 7


def test_a_raw_tracepoint_counts_each_event(node: Executor) -> None:
    """Every system call of this process, of which there are more than are counted here."""
    target = RawTracepointTarget(name="sys_enter")
    point = run_probe(node, a_probe(target, "on_raw_tracepoint", pid=os.getpid()))
    before = counted(node, point)

    getpgid(1000)

    assert counted(node, point) - before >= 1000


@pytest.mark.parametrize("kind", [UprobeTarget, UretprobeTarget])
def test_a_uprobe_counts_each_call(
    node: Executor, tmp_path: Path, kind: type[UprobeTarget | UretprobeTarget]
) -> None:
    """Of a function by its name, in whatever process; others are not counted."""
    program = subject(tmp_path)
    target = kind(path=str(program), symbol="l3af_probed")
    function = "on_uprobe" if kind is UprobeTarget else "on_uretprobe"
    point = run_probe(node, a_probe(target, function))

    call_probed(program, 5)
    call_probed(program, 6)

    assert counted(node, point) == 11


def test_a_uprobe_of_one_process_counts_that_one(node: Executor, tmp_path: Path) -> None:
    """Calls of others in the same file are not counted."""
    program = subject(tmp_path)
    target = UprobeTarget(path=str(program), symbol="l3af_probed", pid=os.getpid())
    point = run_probe(node, a_probe(target, "on_uprobe"))

    call_probed(program, 5)

    assert counted(node, point) == 0


def test_a_uprobe_counts_the_calls_of_its_process(node: Executor, tmp_path: Path) -> None:
    """Whose code the file only becomes once it is probed."""
    program = subject(tmp_path)
    words = ("sh", "-c", 'read -r _; exec "$0" 4', str(program))
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        target = UprobeTarget(path=str(program), symbol="l3af_probed", pid=process.pid)
        point = run_probe(node, a_probe(target, "on_uprobe"))
        call_probed(program, 5)
        process.communicate(b"\n", timeout=PATIENCE_SECONDS)

    assert (process.returncode, counted(node, point)) == (0, 4)


def test_a_uprobe_is_found_by_where_it_lies(node: Executor, tmp_path: Path) -> None:
    """Bytes behind a symbol, or behind the beginning of the file, as the kernel names it."""
    program = str(subject(tmp_path))
    point = run_probe(node, a_probe(UprobeTarget(path=program, symbol="l3af_probed"), "on_uprobe"))
    shown = node.points.describe(point, None, desired_generation=1)
    main = run_probe(
        node, a_probe(UprobeTarget(path=program, symbol="main"), "on_uprobe", place="main")
    )
    named = node.points.describe(main, None, desired_generation=1)
    assert shown.probe is not None
    assert named.probe is not None
    lies_at, main_at = shown.probe.offset, named.probe.offset

    by_file = UprobeTarget(path=program, offset=lies_at)
    first, last = ("main", main_at), ("l3af_probed", lies_at)
    (symbol, start), (_, end) = sorted((first, last), key=lambda one: one[1])
    behind = UprobeTarget(path=program, symbol=symbol, offset=end - start)
    points = [
        run_probe(node, a_probe(target, "on_uprobe", place=place))
        for place, target in (("file", by_file), ("behind", behind))
    ]
    call_probed(Path(program), 3)

    expected = 3 if symbol == "main" else 1
    assert [counted(node, one) for one in points] == [3, expected]


def test_a_cgroup_counts_what_its_processes_do(node: Executor, cgroup: Path) -> None:
    """Connections of a process in it; those of this process, which is elsewhere, are not."""
    target = CgroupTarget(path=str(cgroup), attach="connect4")
    point = run_probe(node, a_probe(target, "on_connect4"))

    connect_in(cgroup, 3)
    with a_cgroup() as other:
        connect_in(other, 2)

    assert counted(node, point) == 3


@pytest.mark.parametrize(("function", "kind"), [("on_egress", "cgroup"), ("on_sockops", "sockops")])
def test_packets_and_connections_of_a_cgroup_are_counted(
    node: Executor, cgroup: Path, function: str, kind: str
) -> None:
    """Several of each for one connection."""
    path = str(cgroup)
    target: ProbeTarget = SockopsTarget(path=path)
    if kind == "cgroup":
        target = CgroupTarget(path=path, attach="egress")
    point = run_probe(node, a_probe(target, function))

    connect_in(cgroup, 3)

    assert counted(node, point) >= 3


def test_an_iterator_counts_and_writes_what_is_there(node: Executor) -> None:
    """Each time that its file is read; it is the one that the node names."""
    point = run_probe(node, a_probe(IteratorTarget(over="task"), "on_task", pid=0))
    shown = node.points.describe(point, None, desired_generation=1)
    assert shown.probe is not None

    text = Path(shown.probe.text_path).read_text()

    lines = text.splitlines()
    assert set(lines) == {"seen"}
    assert len(lines) > 1
    assert counted(node, point) == len(lines)
