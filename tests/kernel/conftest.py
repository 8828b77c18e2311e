# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What tests on the kernel stand on: interfaces, a place for pins, an executor without its bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.support.companion_supervisor import SupervisorProcess, a_supervisor
from tests.support.executors import Executor, Wire, a_wire, pin_directory, real_kernel
from tests.support.hand_linked import Kernel, a_kernel
from tests.support.interfaces import Veth, a_veth, own_objects
from tests.support.node_fleets import Fleet, a_fleet
from tests.support.probes import a_cgroup, opened

NOT_STARTED = "not_started"


def pytest_configure(config: pytest.Config) -> None:
    """Marks of this folder."""
    config.addinivalue_line("markers", f"{NOT_STARTED}: the fleet's executor is left to the test")


@pytest.fixture
async def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """A node with everything around it; its executor answers, unless the test starts it."""
    async with a_fleet(tmp_path, Fleet) as made:
        if request.node.get_closest_marker(NOT_STARTED) is None:
            await made.start_and_register()
        yield made


@pytest.fixture
def veth() -> Iterator[Veth]:
    """An interface of this test's own."""
    with a_veth() as made:
        yield made


@pytest.fixture
def nothing_leaks() -> Iterator[None]:
    """Every descriptor that a test takes is given back."""
    before = own_objects()
    yield
    assert own_objects() == before


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A silent pair of interfaces."""
    with a_wire() as made:
        yield made


@pytest.fixture
def base() -> Iterator[PurePosixPath]:
    """Where pins lie."""
    with pin_directory() as directory:
        yield directory


@pytest.fixture
def executor(base: PurePosixPath, tmp_path: Path) -> Iterator[Executor]:
    """A started executor."""
    made = Executor(real_kernel(base), tmp_path / "state" / "state.sqlite")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor whose packages are probes, where a file has no `node` of its own."""
    executor.opened = opened
    return executor


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """One of the test's own."""
    with a_cgroup() as path:
        yield path


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """A kernel that forgets."""
    with a_kernel() as made:
        yield made


@pytest.fixture(scope="module")
def supervisor_of_module() -> Iterator[SupervisorProcess]:
    """A companion supervisor that answers."""
    with a_supervisor() as made:
        made.start()
        yield made


@pytest.fixture
def supervisor(supervisor_of_module: SupervisorProcess) -> Iterator[SupervisorProcess]:
    """It has nothing to do; afterwards nothing is left of what it ran."""
    yield supervisor_of_module
    supervisor_of_module.clear()
