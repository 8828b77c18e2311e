# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Control groups of companions on this kernel, also as kernels without `cgroup.kill` have them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from services.companions.adapters.control_groups import ControlGroups, Group, read_layout
from services.companions.group_layout import Layout
from shared.contracts.package_manifest import CompanionLimits
from tests.support.other_owners import wait_for

pytestmark = pytest.mark.kernel

MOUNTS = Path("/proc/self/mountinfo")
CGROUP_TYPES = {"cgroup", "cgroup2"}
FORKS = "for i in 1 2 3 4 5; do sleep 1000 & done; wait"


def legacy(layout: Layout) -> Layout:
    """Its hierarchies of version 1 alone."""
    return Layout("legacy", tuple(one for one in layout.hierarchies if one.version == 1))


LAYOUTS = {
    f"{layout.mode}-{way}": layout
    for way, layout in (("all", read_layout()), ("version-1", legacy(read_layout())))
    if layout.hierarchies
}
"""What this kernel has: where every controller is in the unified hierarchy, that alone."""


@pytest.fixture(params=LAYOUTS)
def groups(request: pytest.FixtureRequest) -> Iterator[ControlGroups]:
    """Folders of this test's own."""
    made = ControlGroups(LAYOUTS[request.param], f"l3af-test/{uuid4().hex[:12]}")
    yield made
    assert made.leftovers() == ()
    made.close()


def entered(group: Group) -> subprocess.Popen[bytes]:
    """A shell in the group, with children."""
    doors = " ".join(map(str, group.doors))
    script = f"for d in {doors}; do echo $$ >$d; done; {FORKS}"
    child = subprocess.Popen(["sh", "-c", script])
    wait_for(lambda: len(group.members()) == 6, what="a shell with five children")
    return child


def test_no_hierarchy_of_the_kernel_is_left_out() -> None:
    """Those of version 1 are tried by themselves wherever the kernel says that it has some."""
    mounted = {line.split(" - ")[1].split(" ")[0] for line in MOUNTS.read_text().splitlines()}
    versions = {one.version for layout in LAYOUTS.values() for one in layout.hierarchies}

    assert versions == {{"cgroup": 1, "cgroup2": 2}[kind] for kind in mounted & CGROUP_TYPES}
    assert len(LAYOUTS) == 1 + (1 in versions)


def test_every_process_of_a_group_is_killed(groups: ControlGroups) -> None:
    """And the group can be removed, not before."""
    group = groups.group("one")
    group.make(CompanionLimits())
    child = entered(group)
    assert not group.remove()
    assert group.usage().processes == 6

    group.kill()
    child.wait(30)

    wait_for(group.remove, what="a group that is empty")


def test_limits_are_in_force(groups: ControlGroups) -> None:
    """As the kernel reads them back."""
    group = groups.group("one")
    group.make(CompanionLimits(memory_mib=64, cpu_percent=25, processes=7))

    found = {
        name: file.read_text().strip()
        for name in (
            "pids.max",
            "memory.limit_in_bytes",
            "memory.max",
            "cpu.cfs_quota_us",
            "cpu.max",
        )
        for door in group.doors
        if (file := Path(door.parent, name)).exists()
    }

    assert found["pids.max"] == "7"
    assert "67108864" in found.values() or "memory" not in groups.controllers
    assert {"25000", "25000 100000"} & set(found.values())
    assert group.remove()


def test_what_was_left_is_found_by_name_in_every_hierarchy(groups: ControlGroups) -> None:
    """Also where just one of them still has it; removing it twice is no mistake."""
    group = groups.group("left")
    group.make(CompanionLimits())
    group.doors[-1].parent.rmdir()

    assert groups.leftovers() == ("left",)
    assert group.remove()
    assert group.remove()
