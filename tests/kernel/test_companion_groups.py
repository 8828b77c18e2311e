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

FORKS = "for i in 1 2 3 4 5; do sleep 1000 & done; wait"


def legacy(layout: Layout) -> Layout:
    """Its hierarchies of version 1 alone."""
    return Layout("legacy", tuple(one for one in layout.hierarchies if one.version == 1))


@pytest.fixture(params=["all", "legacy"])
def groups(request: pytest.FixtureRequest) -> Iterator[ControlGroups]:
    """Folders of this test's own."""
    layout = read_layout()
    if request.param == "legacy":
        layout = legacy(layout)
        if not layout.hierarchies:
            pytest.skip("this kernel has all controllers in the unified hierarchy")
    made = ControlGroups(layout, f"l3af-test/{uuid4().hex[:12]}")
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
