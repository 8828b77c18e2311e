# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of probes: repeated, replaced, adopted, taken away by others, refused, removed."""

from __future__ import annotations

import os
import threading
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters.kernel_errors import (
    UnsupportedByKernelError,
    VerifierRejectedError,
)
from services.node_executor.adapters.probe_features import missing_probes
from services.node_executor.adapters.probe_places import TargetMissingError
from services.node_executor.generations import Point
from shared.contracts.probes import (
    CgroupTarget,
    FentryTarget,
    FexitTarget,
    IteratorTarget,
    KprobeTarget,
    KretprobeTarget,
    LsmTarget,
    ProbeTarget,
    RawTracepointTarget,
    UprobeTarget,
    kind_of,
)
from tests.support.executors import Executor, pins_below
from tests.support.probes import (
    GETPGID,
    a_cgroup,
    a_probe,
    call_probed,
    connect_in,
    counted,
    getpgid,
    links_of,
    own_objects,
    run_probe,
    subject,
    until,
)

pytestmark = pytest.mark.kernel
REFUSED_HERE: list[tuple[ProbeTarget, str]] = [
    (KprobeTarget(function="bpf_fentry_test1"), "on_kprobe"),
    (KretprobeTarget(function="bpf_fentry_test1"), "on_kretprobe"),
    (FentryTarget(function="bpf_fentry_test1"), "on_fentry"),
    (FexitTarget(function="bpf_fentry_test1"), "on_fexit"),
    (LsmTarget(function="file_open"), "on_lsm"),
]
NAMED = {
    "kprobe": "CONFIG_KPROBE_EVENTS",
    "kretprobe": "CONFIG_KPROBE_EVENTS",
    "fentry": "BPF trampolines",
    "fexit": "BPF trampolines",
    "lsm": "BPF LSM",
}


def test_the_same_probe_three_times_is_one_instance(node: Executor, base: PurePosixPath) -> None:
    """One program, one link, and each event is counted once."""
    chain = a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    point = run_probe(node, chain)
    first, pinned = node.kernel.observe(point), pins_below(base)

    for generation in (2, 3):
        run_probe(node, chain, generation)
    getpgid(4)

    assert node.kernel.observe(point) == first
    assert pins_below(base) == pinned
    assert links_of(first.link_program_id) == [first.link_id]
    assert counted(node, point) == 4
    assert node.actions().count("chain.attach") == 1


def test_several_targets_of_a_deployment_are_instances_of_their_own(
    node: Executor, tmp_path: Path
) -> None:
    """Each counts in maps of its own."""
    program = subject(tmp_path)
    called = UprobeTarget(path=str(program), symbol="l3af_probed")
    main = UprobeTarget(path=str(program), symbol="main")
    first = run_probe(node, a_probe(called, "on_uprobe", place="watch@00000001"))
    second = run_probe(node, a_probe(main, "on_uprobe", place="watch@00000002"))

    call_probed(program, 3)

    assert (counted(node, first), counted(node, second)) == (3, 1)


def test_nothing_is_left_of_a_probe_that_is_not_wanted_any_more(
    node: Executor, base: PurePosixPath
) -> None:
    """No pin, and soon neither link nor program."""
    point = run_probe(node, a_probe(GETPGID, "on_tracepoint"))
    program_id = node.kernel.observe(point).link_program_id

    node.settle(None, point, 2)

    assert pins_below(base) == []
    until(lambda: not node.kernel.is_loaded(program_id))
    assert links_of(program_id) == []


def test_a_program_that_does_not_load_leaves_nothing(node: Executor, base: PurePosixPath) -> None:
    """No pin, and the map that was made for it goes with it."""
    before = own_objects()
    chain = a_probe(GETPGID, "refused")

    with pytest.raises(VerifierRejectedError, match="refused"):
        run_probe(node, chain)

    until(lambda: own_objects() <= before)
    assert pins_below(base) == []
    assert node.kernel.observe(Point("watch", "tracepoint")).link_id == 0


def test_the_next_executor_adopts_what_runs(node: Executor) -> None:
    """Neither program nor link changes, and counts go on."""
    chain = a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    point = run_probe(node, chain)
    before = node.kernel.observe(point)
    getpgid(2)
    node.stop()
    getpgid(3)

    node.start()
    run_probe(node, chain, 2)

    assert node.kernel.observe(point) == before
    assert counted(node, point) == 5


def test_an_executor_that_lost_its_memory_learns_the_target_from_the_pins(
    node: Executor, tmp_path: Path
) -> None:
    """What is desired already runs, so nothing is attached anew."""
    chain = a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    point = run_probe(node, chain)
    before = node.kernel.observe(point)
    node.stop()
    (tmp_path / "state.sqlite").unlink(missing_ok=True)

    node.start()
    run_probe(node, chain, 2)
    shown = node.points.describe(point, chain, desired_generation=2)

    assert node.kernel.observe(point) == before
    assert shown.target == GETPGID


def _churning(stop: threading.Event, done: list[int]) -> None:
    while not stop.is_set():
        getpgid(50)
        done[0] += 50


@pytest.mark.parametrize("kind", ["tracepoint", "cgroup"])
def test_a_replaced_probe_misses_no_event(node: Executor, cgroup: Path, kind: str) -> None:
    """What happens while one takes the other's place is counted, by the one or by both."""
    if kind == "cgroup":
        target: ProbeTarget = CgroupTarget(path=str(cgroup), attach="connect4")
        chains = [a_probe(target, "on_connect4", version=one) for one in ("1.0.0", "3.0.0")]
        point = run_probe(node, chains[0])
        connect_in(cgroup, 2)
        link_id = node.kernel.observe(point).link_id
        run_probe(node, chains[1], 2)
        connect_in(cgroup, 3)
        assert node.kernel.observe(point).link_id == link_id
        assert counted(node, point) == 5
        return
    pid = os.getpid()
    chains = [a_probe(GETPGID, "on_tracepoint", version=one, pid=pid) for one in ("1.0.0", "3.0.0")]
    point = run_probe(node, chains[0])
    stop, done = threading.Event(), [0]
    thread = threading.Thread(target=_churning, args=(stop, done))
    thread.start()
    try:
        for generation in range(2, 8):
            run_probe(node, chains[generation % 2], generation)
    finally:
        stop.set()
        thread.join()

    assert counted(node, point) >= done[0] > 0
    program_id = node.kernel.observe(point).link_program_id
    assert links_of(program_id) == [node.kernel.observe(point).link_id]


def test_a_changed_target_is_a_replacement(node: Executor, tmp_path: Path) -> None:
    """The old place is counted no more, and the instance keeps what it counted."""
    program = subject(tmp_path)
    point = run_probe(node, a_probe(UprobeTarget(path=str(program), symbol="main"), "on_uprobe"))
    call_probed(program, 4)

    target = UprobeTarget(path=str(program), symbol="l3af_probed")
    run_probe(node, a_probe(target, "on_uprobe"), 2)
    call_probed(program, 4)

    assert counted(node, point) == 5
    shown = node.points.describe(point, None, desired_generation=2)
    assert shown.target == target


def test_going_back_is_no_new_program(node: Executor) -> None:
    """The one before is still loaded."""
    chains = [a_probe(GETPGID, "on_tracepoint", version=one) for one in ("1.0.0", "2.0.0")]
    point = run_probe(node, chains[0])
    first = node.kernel.observe(point).link_program_id
    run_probe(node, chains[1], 2)

    assert node.settle(chains[0], point, 3) is False

    assert node.kernel.observe(point).link_program_id == first


def _drifts(node: Executor) -> list[str]:
    return [
        event.data.details["kind"] for event in node.events() if event.data.action == "chain.drift"
    ]


def test_a_link_that_somebody_took_away_is_found_and_put_back(
    node: Executor, base: PurePosixPath
) -> None:
    """Said once; the program is the same, and its counts go on."""
    chain = a_probe(GETPGID, "on_tracepoint", pid=os.getpid())
    point = run_probe(node, chain)
    before = node.kernel.observe(point)
    getpgid(2)
    Path(base, "watch", "tracepoint", "link").unlink()

    run_probe(node, chain, 1)
    getpgid(3)

    after = node.kernel.observe(point)
    assert after.link_program_id == before.link_program_id
    assert after.link_id not in (0, before.link_id)
    assert counted(node, point) == 5
    assert node.actions().count("chain.drift") == 1


def test_a_cgroup_that_went_took_the_link_along(node: Executor) -> None:
    """It is said, and refused by the cgroup's name until it comes back."""
    with a_cgroup() as path:
        chain = a_probe(CgroupTarget(path=str(path), attach="connect4"), "on_connect4")
        point = run_probe(node, chain)
        assert node.kernel.observe(point).link_is_live
    until(lambda: node.kernel.observe(point).link_is_dead)

    with pytest.raises(TargetMissingError, match="no such cgroup"):
        run_probe(node, chain, 1)
    path.mkdir()
    try:
        run_probe(node, chain, 1)
        connect_in(path, 2)
        assert counted(node, point) == 2
    finally:
        node.settle(None, point, 2)
        path.rmdir()


@pytest.mark.parametrize(("target", "function"), REFUSED_HERE, ids=lambda one: str(one)[:12])
def test_what_the_kernel_lacks_is_refused_by_its_name(
    node: Executor, base: PurePosixPath, target: ProbeTarget, function: str
) -> None:
    """Where it has it, it is attached; here it is not, and nothing is left of the attempt."""
    before = own_objects()
    missing = {hook: why for hook, why in missing_probes() if why}
    hook = kind_of(target)
    chain = a_probe(target, function)
    if hook not in missing:
        run_probe(node, chain)
        return

    with pytest.raises(UnsupportedByKernelError, match=NAMED[hook]):
        node.points.admit(Point(chain.interface, hook), chain)
    with pytest.raises(UnsupportedByKernelError, match=NAMED[hook]):
        run_probe(node, chain)

    assert NAMED[hook] in missing[hook]
    until(lambda: own_objects() <= before)
    assert pins_below(base) == []


def test_probes_that_every_kernel_here_has_are_reported(node: Executor) -> None:
    """By what was tried; trying leaves nothing."""
    missing = {hook for hook, why in missing_probes() if why}

    assert not missing & {
        *("cgroup", "iterator", "raw-tracepoint", "sockops"),
        *("tracepoint", "uprobe", "uretprobe"),
    }
    assert node.kernel.points() == set()


@pytest.mark.parametrize(
    ("target", "function", "link", "name"),
    [
        (GETPGID, "on_tracepoint", "perf_event", "sys_enter_getpgid"),
        (RawTracepointTarget(name="sys_enter"), "on_raw_tracepoint", "raw_tracepoint", "sys_enter"),
        (IteratorTarget(over="task"), "on_task", "iter", "task"),
    ],
    ids=["tracepoint", "raw-tracepoint", "iterator"],
)
def test_what_is_shown_of_a_probe_is_the_kernel_s_word(
    node: Executor, target: ProbeTarget, function: str, link: str, name: str
) -> None:
    """Kind and name of its link, read back now."""
    chain = a_probe(target, function)
    point = run_probe(node, chain)

    shown = node.points.describe(point, chain, desired_generation=1)

    assert (shown.state, shown.attachment, shown.target) == ("attached", link, target)
    assert shown.probe is not None
    assert (shown.probe.link, shown.probe.name) == (link, name)
    assert [one.mode for one in shown.programs] == ["alone"]
    assert shown.program_id == node.kernel.observe(point).link_program_id


def test_runs_are_shown_while_the_kernel_counts_them(node: Executor) -> None:
    """Otherwise nothing is said of them."""
    chain = a_probe(GETPGID, "on_tracepoint")
    point = run_probe(node, chain)
    shown = node.points.describe(point, chain, desired_generation=1)
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    was = switch.read_text()
    assert shown.probe is not None
    assert (shown.probe.runs is None) == (was.strip() == "0")

    switch.write_text("1")
    try:
        getpgid(5)
        shown = node.points.describe(point, chain, desired_generation=1)
    finally:
        switch.write_text(was)

    assert shown.probe is not None
    assert shown.probe.runs is not None
    assert shown.probe.runs >= 5
    assert shown.probe.run_nanoseconds
