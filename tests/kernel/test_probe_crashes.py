# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at every step of replacing a probe: the next start finishes it, and nothing is left over.

Each run is a process of its own that gets SIGKILL before one step, or after the last.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.probes import CgroupTarget, ProbeTarget, TracepointTarget
from tests.support.executors import Executor, pin_directory, pins_below, real_kernel
from tests.support.mortal_kernel import JOURNAL_STEPS, KERNEL_STEPS, Fate, Mortal
from tests.support.probes import a_cgroup, a_probe, links_of, opened, until

pytestmark = pytest.mark.kernel
NEVER = -2
FORGETS = LinkOptions(keep_seconds=0)


@pytest.fixture
def cgroups() -> Iterator[tuple[Path, Path]]:
    """Two of its own."""
    with a_cgroup() as one, a_cgroup() as other:
        yield one, other


def _executor(base: PurePosixPath, folder: Path, fate: Fate) -> Executor:
    made = Executor(
        Mortal(real_kernel(base), fate, KERNEL_STEPS),
        folder / "state.sqlite",
        wrap_store=lambda store: Mortal(store, fate, JOURNAL_STEPS),
    )
    made.opened = opened
    made.start()
    return made


def _is_killed(base: PurePosixPath, folder: Path, chain: DesiredChain, *, at: int) -> bool:
    """A process of its own runs the chain, unless it is killed before or after that step."""
    child = os.fork()
    if child == 0:
        try:
            fate = Fate(at)
            executor = _executor(base, folder, fate)
            fate.begin()
            executor.settle(chain, Point(chain.interface, chain.hook), 2 if at != NEVER else 1)
            fate.end()
        except BaseException:  # noqa: BLE001 because nothing of the parent may run in the child
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0


def _runs_by(program_id: int, link_ids: list[int]) -> None:
    """The program runs by these links and, soon, by no other."""
    until(lambda: links_of(program_id) == link_ids)


def _is_unloaded(executor: Executor, program_id: int) -> None:
    """Soon."""
    until(lambda: not executor.kernel.is_loaded(program_id))


@pytest.mark.parametrize("kind", ["tracepoint", "cgroup"])
def test_a_replacement_that_was_cut_off_is_finished_once(
    tmp_path: Path, cgroups: tuple[Path, Path], kind: str
) -> None:
    """Another version on another target: one link, said once, and gone with all it held."""
    targets: tuple[ProbeTarget, ...] = tuple(
        TracepointTarget(category="syscalls", name=name)
        for name in ("sys_enter_getpgid", "sys_exit_getpgid")
    )
    if kind == "cgroup":
        targets = tuple(CgroupTarget(path=str(one), attach="connect4") for one in cgroups)
    function = "on_connect4" if kind == "cgroup" else "on_tracepoint"
    first, second = (
        a_probe(target, function, version=version, link=FORGETS)
        for target, version in zip(targets, ("1.0.0", "3.0.0"), strict=True)
    )
    point = Point(first.interface, first.hook)
    is_killed, step = True, -1

    while is_killed:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        with ExitStack() as cleanup:
            base = cleanup.enter_context(pin_directory())
            assert not _is_killed(base, folder, first, at=NEVER)
            replaced = real_kernel(base).observe(point)
            is_killed = _is_killed(base, folder, second, at=step)
            executor = _executor(base, folder, Fate(NEVER))
            cleanup.callback(executor.stop)
            executor.settle(second, point, 2)
            held = executor.kernel.observe(point)
            shown = executor.points.describe(point, second, desired_generation=2)

            assert (shown.state, shown.target) == ("attached", second.target), step
            assert replaced.link_program_id != held.link_program_id
            _runs_by(replaced.link_program_id, [])
            _runs_by(held.link_program_id, [held.link_id])
            assert executor.actions().count("chain.attach") == 2, step
            assert not [pin for pin in pins_below(base) if pin.endswith("-new")], step
            executor.settle(None, point, 3)
            assert pins_below(base) == [], step
            for program_id in (replaced.link_program_id, held.link_program_id):
                _is_unloaded(executor, program_id)

    assert step > len(("pin", "record", "attach"))
