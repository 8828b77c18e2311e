# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a change waits for in mode `strict`, and what is put back without waiting."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.chain_journal import ChainJournal, NotAcknowledgedError
from services.node_executor.changes import HookPoints
from services.node_executor.execution import Steps
from services.node_executor.preparation import Prepared
from services.node_executor.recovery import confirmed_node
from shared.contracts.desired import DesiredChain
from shared.contracts.node import OfflineMode
from tests.fake_store import FakeStore
from tests.fakes import FakeKernel
from tests.unit.test_executor_hook_points import POINT, link
from tests.unit.test_reconciliation import a_chain, a_program

FIRST = a_chain(a_program())
SECOND = a_chain(a_program(version="2.0.0"))


class World:
    """One node with one interface."""

    def __init__(self) -> None:
        self.kernel, self.store = FakeKernel(), FakeStore()
        self.kernel.add_interface("data0")

    def start(self, mode: OfflineMode, boot_id: str = "boot-1") -> None:
        """An executor starts in that mode."""
        journal = ChainJournal(
            node="n1", start="s", boot_id=boot_id, store=self.store, offline_mode=mode
        )
        self.points = HookPoints(
            kernel=self.kernel, steps=Steps(self.kernel), journal=journal, clock=lambda: 0.0
        )
        self.points.adopt()

    def settle(self, chain: DesiredChain | None, generation: int) -> None:
        """Prepared and settled."""
        needs = self.points.needs(POINT, chain)
        linked = link(self.kernel, chain) if needs and needs.link and chain else None
        self.points.settle(
            POINT, chain, desired_generation=generation, prepared=Prepared(linked=linked)
        )

    def acknowledge(self) -> None:
        """The audit stream has everything."""
        self.store.published |= set(self.store.events)

    def runs(self) -> int:
        """The program on the hook."""
        return self.kernel.observe(POINT).link_program_id


@pytest.fixture
def strict() -> World:
    """The first chain runs, acknowledged."""
    world = World()
    world.start("strict")
    with pytest.raises(NotAcknowledgedError):
        world.settle(FIRST, 1)
    world.acknowledge()
    world.settle(FIRST, 1)
    return world


@pytest.mark.parametrize("wanted", [SECOND, None], ids=["another chain", "nothing"])
def test_a_change_waits_until_its_request_is_acknowledged(
    strict: World, wanted: DesiredChain | None
) -> None:
    """Until then the kernel is as it was, however often it is tried; the request is said once."""
    before, pins = strict.runs(), strict.kernel.observe(POINT)
    for _ in range(3):
        with pytest.raises(NotAcknowledgedError, match="waits until the audit stream"):
            strict.settle(wanted, 2)
    assert strict.kernel.observe(POINT) == pins
    assert strict.store.actions().count("chain.request") == 2
    assert strict.points.memory(POINT).pending is None

    strict.acknowledge()
    strict.settle(wanted, 2)

    assert strict.runs() != before


def test_the_acknowledgement_of_one_change_is_not_that_of_another(strict: World) -> None:
    """A second wish for the same hook point waits for its own."""
    with pytest.raises(NotAcknowledgedError):
        strict.settle(SECOND, 2)
    strict.acknowledge()
    with pytest.raises(NotAcknowledgedError):
        strict.settle(a_chain(a_program(version="3.0.0")), 3)


def test_what_was_confirmed_last_is_put_back_without_waiting(strict: World) -> None:
    """After a reboot, journaled first; nobody has to say what is desired."""
    strict.kernel = FakeKernel()
    strict.kernel.add_interface("data0")
    strict.start("strict", "boot-2")
    (memory,) = strict.points.memories()
    wanted = confirmed_node("n1", [memory])

    strict.settle(wanted.chains[0], wanted.generation)

    assert strict.runs() != 0
    assert wanted.generation == 1
    assert strict.store.actions()[-2:] == ["chain.request", "chain.attach"]


def test_mode_available_waits_for_nothing() -> None:
    """The journal is enough."""
    world = World()
    world.start("available")

    world.settle(FIRST, 1)

    assert world.runs() != 0


def test_a_chain_that_only_pins_tell_of_is_not_taken_for_desired() -> None:
    """It runs on; whether it is an orphan is known once the bus was asked."""
    world = World()
    world.start("available")
    world.settle(FIRST, 1)
    (memory,) = world.points.memories()

    assert confirmed_node("n1", [memory]).chains == (FIRST,)
    assert confirmed_node("n1", [msgspec.structs.replace(memory, is_found=True)]).chains == ()
