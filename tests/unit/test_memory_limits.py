# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A limit of memory is called by its name, whoever set it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.memory_limits import (
    MemoryLimitError,
    as_memory_limit,
    read_limits,
)
from services.node_executor.adapters.settling import Settling
from shared.contracts.desired import DesiredNode
from shared.errors import FaultError
from tests.unit.test_executor_hook_points import POINT, World, at_once
from tests.unit.test_reconciliation import a_chain, a_program

CGROUP = "cgroup memory limit"


def written(path: Path, text: str) -> None:
    """As the kernel shows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_of_nested_control_groups_the_smallest_limit_counts(tmp_path: Path) -> None:
    """Version 2: a group without a limit says `max`."""
    written(tmp_path / "cgroup", "0::/system.slice/executor.service")
    groups = tmp_path / "groups"
    written(groups / "system.slice" / "memory.max", "400")
    written(groups / "system.slice" / "executor.service" / "memory.max", "max")

    assert read_limits(tmp_path / "cgroup", groups)[CGROUP] == 400


def test_control_groups_of_version_1_are_read_too(tmp_path: Path) -> None:
    """There a number near the largest one is no limit."""
    written(tmp_path / "cgroup", "4:cpu,memory:/one\n3:pids:/two")
    limit = tmp_path / "groups" / "memory" / "one" / "memory.limit_in_bytes"
    written(limit, "500")
    limited = read_limits(tmp_path / "cgroup", tmp_path / "groups")
    written(limit, "9223372036854771712")
    unlimited = read_limits(tmp_path / "cgroup", tmp_path / "groups")

    assert limited[CGROUP] == 500
    assert CGROUP not in unlimited


def test_what_cannot_be_read_is_no_limit(tmp_path: Path) -> None:
    """And without any limit it is the host that has no memory."""
    assert CGROUP not in read_limits(tmp_path / "cgroup", tmp_path)
    assert "the host has no memory left" in MemoryLimitError("loading", {}).message


def test_only_a_lack_of_memory_is_called_so() -> None:
    """Other faults stay as they are."""
    other = KernelFaultError("loading", errno.EMFILE)
    lacking = as_memory_limit(KernelFaultError("loading", errno.ENOMEM))

    assert as_memory_limit(other) is other
    assert isinstance(lacking, MemoryLimitError)
    assert lacking.reasons[0].got == f"loading: {KernelFaultError('', errno.ENOMEM).message[2:]}"


async def test_a_call_that_gets_no_memory_is_such_a_fault() -> None:
    """It names the call."""

    def link() -> None:
        raise MemoryError

    thread = KernelThread()
    with pytest.raises(MemoryLimitError, match=r"memory limit was hit .*: link"):
        await thread(link)
    thread.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (MemoryLimitError("linking", {"RLIMIT_AS": 5}), ["chain.change"]),
        (KernelFaultError("linking", errno.ENOMEM), ["chain.change"]),
        (FaultError("the catalog is away"), []),
    ],
)
async def test_a_lack_of_memory_is_an_event_once_and_no_refusal(
    fault: FaultError, said: list[str]
) -> None:
    """What is desired is tried again, and runs as soon as there is memory."""
    world = World()
    world.preparer.fault = fault
    settling = Settling(
        thread=at_once,
        points=world.points,
        staging=world.staging,
        journal=world.points._journal,
    )
    chain = a_chain(a_program())
    wanted = DesiredNode(node="n1", generation=1, chains=(chain,))

    async def settle() -> bool:
        return await settling.settle_all(wanted, takes_off=True, resting=(), is_newest=lambda: True)

    failed = [await settle(), await settle()]
    faults = set(settling.faults)
    said_then = world.store.actions()
    world.preparer.fault = None

    assert await settle()
    assert failed == [False, False]
    assert faults == {POINT}
    assert said_then == said
    assert not world.points.is_refused(POINT, chain)
    assert world.points.describe(POINT, chain, desired_generation=1).state == "attached"
