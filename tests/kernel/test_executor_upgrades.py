# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The next release starts while this one runs: it waits, takes over, and no packet notices."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.node_executor.generations import Point
from shared.contracts.node import NODES
from shared.identifiers import Hook
from shared.version import VERSION
from tests.support.counters import total_in
from tests.support.executors import Wire, a_chain, a_program, published, real_kernel
from tests.support.frame_sender import FrameReceiver, FrameSender, arrived
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet, a_fleet
from tests.support.offline_nodes import (
    everything_is_said,
    has_logged,
    running,
    said_in_order,
    times_said,
)

NEXT_VERSION = "99.0.0"
ROOT = Path(__file__).resolve().parents[2]


class Upgrading(Fleet):
    """One node of which two releases may run at the same time."""

    def start_beside(self) -> subprocess.Popen[bytes]:
        """Another executor is starting; the one that runs, which is the caller's from now on."""
        former, self._process = self._process, None
        assert former is not None
        self.start()
        return former

    def end_newest(self) -> int:
        """The executor that was started last is asked to end; its exit status."""
        return self.stop(signal.SIGTERM)

    def keep(self, process: subprocess.Popen[bytes]) -> None:
        """This is the executor again."""
        self._process = process


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Upgrading]:
    """The executor is not started."""
    async with a_fleet(tmp_path, Upgrading) as made:
        package = published("4.0.0", "tc-ingress")
        made.archives[package.signed.archive_sha256] = package.archive
        yield made


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The product as another release: the same code under another version."""
    folder = tmp_path / "next"
    folder.mkdir()
    (folder / "services").symlink_to(ROOT / "services")
    shutil.copytree(ROOT / "shared", folder / "shared")
    version = folder / "shared" / "version.py"
    version.write_text(version.read_text().replace(VERSION, NEXT_VERSION))
    return folder


@pytest.mark.parametrize(
    ("hook", "number"),
    [("xdp", signal.SIGTERM), ("xdp", signal.SIGKILL), ("tc-ingress", signal.SIGKILL)],
)
async def test_two_releases_at_once_let_nothing_pass(
    fleet: Upgrading, wire: Wire, next_release: Path, hook: Hook, number: signal.Signals
) -> None:
    """The first answers until its end; the next adopts the same program, counters, sequences."""
    dropping = a_chain(wire.name, a_program("one", "4.0.0", hook), hook=hook)
    (before,) = await running(fleet, dropping)
    receiver, sender = FrameReceiver(wire.name), FrameSender(wire.peer)
    before_arrived = arrived(wire.name)
    try:
        sender.go_on()
        fleet.settings |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(next_release)}
        former = fleet.start_beside()
        await fleet.until(lambda: has_logged(fleet, '"waiting_for_state"'))
        await _first_goes_on(fleet, await fleet.desire(dropping))
        adopted = times_said(fleet, "chain.adopt")
        former.send_signal(number)
        assert former.wait(DEADLINE_SECONDS) == (0 if number == signal.SIGTERM else -number)
        await said_in_order(fleet, "chain.adopt", adopted + 1)
        await fleet.until(lambda: _runs_release(fleet, NEXT_VERSION))
        sender.pause()
    finally:
        sender.stop()
    counted = _counted(fleet, wire, hook)
    got_through = receiver.drain()
    receiver.close()
    after = real_kernel(fleet.base / NODE).observe(Point(wire.name, hook))

    assert got_through == 0
    assert counted == arrived(wire.name) - before_arrived > 100
    assert (after.link_program_id, after.link_id) == (before.program_id, before.link_id)
    assert times_said(fleet, "chain.attach") == 1
    removed = await fleet.observed(await fleet.desire())
    assert not any(one.program_id for one in removed.chains), "the next one does manage it"


async def _first_goes_on(fleet: Upgrading, generation: int) -> None:
    """While both run the first is the one that acts, and it is the one that the bus knows."""
    observed = await fleet.observed(generation)
    assert [one.state for one in observed.chains] == ["attached"]
    assert await _runs_release(fleet, VERSION)


async def test_one_that_waits_ends_when_it_is_asked_to(fleet: Upgrading, wire: Wire) -> None:
    """With status 0, and the one that runs goes on."""
    await running(fleet, a_chain(wire.name, a_program("one")))
    former = fleet.start_beside()
    await fleet.until(lambda: has_logged(fleet, '"waiting_for_state"'))

    assert fleet.end_newest() == 0

    fleet.keep(former)
    assert former.poll() is None
    observed = await fleet.observed(await fleet.desire())
    assert not any(one.program_id for one in observed.chains)
    await everything_is_said(fleet)
    assert times_said(fleet, "chain.adopt") == 0


async def _runs_release(fleet: Upgrading, version: str) -> bool:
    entry = await fleet.scheduler.bucket(NODES).get(NODE)
    return entry is not None and entry.value.executor_version == version


def _counted(fleet: Upgrading, wire: Wire, hook: Hook) -> int:
    kernel = real_kernel(fleet.base / NODE)
    pins = kernel.observe(Point(wire.name, hook)).map_pins
    return total_in(kernel, pins["one", "packets"])  # type: ignore[index]
