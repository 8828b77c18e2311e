# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where companions' control groups lie, by mount tables as machines have them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from services.companions.adapters.control_groups import ControlGroupError, ControlGroups
from services.companions.group_layout import (
    Hierarchy,
    Layout,
    bpf_mounts,
    counted,
    group_layout,
    limit_writes,
)
from shared.contracts.package_manifest import CompanionLimits

UNIFIED = "35 30 0:31 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
37 31 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
HYBRID_OWN = """\
8:pids:/system.slice/l3af.service
4:memory:/system.slice/l3af.service
2:cpu,cpuacct:/system.slice/l3af.service
1:name=systemd:/system.slice/l3af.service
0::/system.slice/l3af.service
"""
CONTAINER = "35 30 0:31 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw"


def test_a_machine_with_the_unified_hierarchy_has_all_there() -> None:
    """As systemd mounts it today."""
    layout = group_layout(
        UNIFIED, "0::/system.slice/x.service\n", {"/sys/fs/cgroup": "cpuset cpu io memory pids"}
    )

    assert layout.mode == "unified"
    assert layout.controllers == ("cpu", "memory", "pids")
    (only,) = layout.hierarchies
    assert only.own == PurePosixPath("/sys/fs/cgroup/system.slice/x.service")


def test_a_hybrid_machine_keeps_account_in_the_unified_hierarchy() -> None:
    """The controllers are where the kernel has them, what kills a group is elsewhere."""
    layout = group_layout(HYBRID, HYBRID_OWN, {"/sys/fs/cgroup/unified": "hugetlb"})

    assert layout.mode == "hybrid"
    assert layout.hierarchies[0].version == 2
    assert {
        name: str(found.mount)
        for name in ("cpu", "cpuacct", "memory", "pids")
        if (found := layout.of(name))
    } == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "pids": "/sys/fs/cgroup/pids",
    }
    assert {one.own.name for one in layout.hierarchies} == {"l3af.service"}


def test_a_legacy_machine_keeps_account_beside_the_number_of_processes() -> None:
    """Without the unified hierarchy one of version 1 tells who belongs to a run."""
    legacy = "".join(line for line in HYBRID.splitlines(keepends=True) if "cgroup2" not in line)

    layout = group_layout(legacy, HYBRID_OWN, {})

    assert layout.mode == "legacy"
    assert layout.hierarchies[0].controllers == {"pids"}


def test_controllers_that_are_not_there_are_not_there() -> None:
    """A kernel without the memory controller, and a machine without any."""
    some = group_layout(UNIFIED, "0::/\n", {"/sys/fs/cgroup": "cpu pids"})

    assert some.controllers == ("cpu", "pids")
    assert group_layout("", "", {}) == Layout("none")
    with pytest.raises(ControlGroupError):
        ControlGroups(Layout("none"), "l3af")


def test_a_container_sees_its_part_of_the_hierarchy() -> None:
    """The own group is told from the kernel's root, the mount begins further down."""
    layout = group_layout(CONTAINER, "0::/docker/abc/x\n", {"/sys/fs/cgroup": "cpu"})

    assert layout.hierarchies[0].own == PurePosixPath("/sys/fs/cgroup/x")


def test_a_bpf_file_system_is_found_wherever_it_is_mounted() -> None:
    """Also twice, also in a folder with a space."""
    table = """\
44 43 0:39 / /sys/fs/bpf rw - bpf bpf rw,mode=700
45 43 0:40 / /mnt/my\\040maps rw shared:1 - bpf none rw
46 43 0:39 / /sys/fs/bpf rw - bpf bpf rw,mode=700
"""
    assert bpf_mounts(table) == ("/sys/fs/bpf", "/mnt/my maps")


@pytest.mark.parametrize(
    ("controller", "version", "written"),
    [
        ("cpu", 2, {"cpu.max": "25000 100000"}),
        ("cpu", 1, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "25000"}),
        (
            "memory",
            2,
            {"memory.max": "67108864", "memory.swap.max": "0"},
        ),
        (
            "memory",
            1,
            {"memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "67108864"},
        ),
        ("pids", 2, {"pids.max": "4"}),
        ("pids", 1, {"pids.max": "4"}),
    ],
)
def test_limits_are_what_the_kernel_calls_them(
    controller: str, version: int, written: dict[str, str]
) -> None:
    """By controller and version; memory counts with what is swapped out."""
    limits = CompanionLimits(memory_mib=64, cpu_percent=25, processes=4)

    writes = limit_writes(limits, controller, version)  # type: ignore[arg-type]

    assert {write.file: write.value for write in writes} == written


def test_counters_are_read_by_name() -> None:
    """As in memory.events and memory.oom_control; what is not there was never counted."""
    assert counted("oom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill") == 2
    assert counted("oom_kill_disable 0\nunder_oom 0\n", "oom_kill") == 0


def a_played_hierarchy(root: Path, controllers: str) -> Layout:
    """Plain files where the kernel's would be."""
    (root / "cgroup.subtree_control").touch()
    (root / "cgroup.procs").touch()
    return Layout(
        "unified",
        (Hierarchy(PurePosixPath(root), 2, frozenset(controllers.split()), PurePosixPath(root)),),
    )


def test_a_controller_that_cannot_be_handed_down_is_missed_by_name(tmp_path: Path) -> None:
    """What the kernel has and the folders do not get is not claimed to limit anything."""
    layout = a_played_hierarchy(tmp_path, "cpu memory pids")
    base = tmp_path / "l3af"
    base.mkdir()
    # Where a kernel keeps the list, the last of these writes is all that a plain file has.
    (base / "cgroup.subtree_control").touch()
    (tmp_path / "cgroup.subtree_control").chmod(0o600)

    groups = ControlGroups(layout, "l3af")

    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
    assert layout.controllers == ("cpu", "memory", "pids")
    assert groups.controllers == ()
