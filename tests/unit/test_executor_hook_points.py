# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hook points over a kernel in memory: what is remembered, refused and measured."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.node_executor.attachment import ForeignOwnerError
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints, InterfaceMissingError
from services.node_executor.configuration import ConfigurationError, check_metrics
from services.node_executor.execution import Steps
from services.node_executor.generations import MapKey, Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.metric_windows import MetricWindows
from services.node_executor.metrics_sampling import metric_values, read_metrics
from services.node_executor.preparation import Needs, Prepared, Ready
from services.node_executor.resting import Resting
from services.node_executor.staging import STAGED_SECONDS, Staging
from shared.contracts.desired import DesiredChain
from shared.contracts.inspection import ChainExplanation
from shared.contracts.metrics import MetricSource
from shared.contracts.node import ChainShown, ObservedProgram, StageChains
from shared.errors import FaultError, Reason, RefusedError
from tests.fake_store import FakeStore
from tests.fakes import FakeKernel
from tests.unit.test_reconciliation import a_chain, a_program

POINT = Point("data0", "xdp")


@dataclass
class FakeLinked:
    """A program that the fake kernel has."""

    program_id: int
    maps: tuple[HeldMap, ...]
    programs: tuple[ObservedProgram, ...] = ()
    segments: tuple[int, ...] = ()
    slots: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    verified_instructions: int = 7
    explanation: ChainExplanation | None = None
    taken: dict[MapKey, MapKey] = field(default_factory=dict)
    is_closed: bool = False

    def close(self) -> None:
        """Noted."""
        self.is_closed = True


class FakePreparer:
    """Links whatever it is asked for."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel
        self.linked: list[FakeLinked] = []
        self.checked: list[DesiredChain] = []
        self.fault: FaultError | None = None

    async def check(self, desired: DesiredChain) -> None:
        """Version 9 is not signed."""
        self.checked.append(desired)
        if self.fault is not None:
            raise self.fault
        if any(program.version == "9.0.0" for program in desired.programs):
            raise RefusedError("not signed", code="verification_failed")

    async def link(self, point: Point, desired: DesiredChain, needs: Needs) -> Ready:
        """A new program with one map for each instance."""
        assert (point, needs.link) == (POINT, True)
        made = link(self._kernel, desired)
        self.linked.append(made)
        return Ready(made, {"link": 1.0})


def link(kernel: FakeKernel, desired: DesiredChain) -> FakeLinked:
    """A program that is loaded and has a map for each instance."""
    maps = tuple(
        HeldMap(deployment=program.deployment, name="limits", map_id=kernel.add_map())
        for program in desired.programs
    )
    return FakeLinked(kernel.add_program(*(held.map_id for held in maps)), maps)


async def at_once(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The kernel thread, without a thread."""
    return call(*arguments, **options)


class World:
    """One node."""

    def __init__(self) -> None:
        self.kernel, self.store = FakeKernel(), FakeStore()
        self.kernel.add_interface("data0")
        self.now = 0.0
        self.preparer = FakePreparer(self.kernel)
        self.unreadable: list[str] = []
        """What a sampler said of hook points that cannot be read."""
        self._starts = itertools.count(1)
        self.start("boot-1")

    def start(self, boot_id: str) -> None:
        """An executor starts, with what the store has."""
        journal = ChainJournal(
            node="n1", start=f"start-{next(self._starts)}", boot_id=boot_id, store=self.store
        )
        self.points = HookPoints(
            kernel=self.kernel, steps=Steps(self.kernel), journal=journal, clock=lambda: self.now
        )
        self.points.adopt()
        self.resting = Resting(
            kernel=self.kernel,
            journal=journal,
            drift=self.points.drift,
            clock=lambda: self.now,
        )
        self.staging = Staging(
            points=self.points,
            reader=self.kernel,
            preparer=self.preparer,
            thread=at_once,
            clock=lambda: self.now,
        )

    def settle(self, chain: DesiredChain | None, generation: int = 1) -> None:
        """Prepared and settled."""
        needs = self.points.needs(POINT, chain)
        linked = link(self.kernel, chain) if needs and needs.link and chain else None
        self.points.settle(
            POINT, chain, desired_generation=generation, prepared=Prepared(linked=linked)
        )


@pytest.fixture
def world() -> World:
    """A node with one interface."""
    return World()


def test_every_failing_step_leaves_what_ran_and_can_be_tried_again(world: World) -> None:
    """Fail at each call of an upgrade in turn; then it succeeds, said once."""
    world.settle(a_chain(a_program()), 1)
    before = world.kernel.observe(POINT)
    upgrade = a_chain(a_program(version="2.0.0", config={"limits": {"80": 1}}))
    failures = 0
    while world.kernel.observe(POINT).link_program_id == before.link_program_id:
        world.kernel.calls, world.kernel.fails_at = 0, failures
        try:
            world.settle(upgrade, 2)
        except FaultError:
            assert world.kernel.observe(POINT) == before
            failures += 1

    assert failures >= 3
    assert world.store.actions() == 2 * ["chain.request", "chain.attach"]


def test_a_refusal_is_remembered_and_said_once(world: World) -> None:
    """And forgotten as soon as something else is settled."""
    chain = a_chain(a_program(version="2.0.0"))
    error = RefusedError("the verifier says no", code="verifier_rejected")

    for _ in range(2):
        world.points.refuse(POINT, chain, desired_generation=4, error=error)
    was_refused = world.points.is_refused(POINT, chain)
    seen = world.points.describe(POINT, chain, desired_generation=4)
    world.settle(a_chain(a_program()), 5)

    assert was_refused
    assert (seen.state, seen.refusal and seen.refusal.code) == ("failed", "verifier_rejected")
    assert world.store.actions() == ["chain.change", "chain.request", "chain.attach"]
    assert world.points.memory(POINT).refusal is None


def test_a_refusal_is_said_whole_and_recorded_short(world: World) -> None:
    """The event has what it has room for; the observed record has room for 64 hook points."""
    reason = Reason(path="p", rule="r" * 300)
    error = RefusedError("no", (reason,) * 100)

    world.points.refuse(POINT, a_chain(a_program()), desired_generation=1, error=error)

    recorded = world.points.memory(POINT).refusal
    (said,) = world.store.events.values()
    assert recorded is not None
    assert 5 < len(recorded.reasons) < 20
    assert len(said.reasons) == 100


@pytest.mark.parametrize(
    ("boot_id", "said"),
    [("boot-1", ["chain.drift", "chain.attach"]), ("boot-2", ["chain.adopt", "chain.attach"])],
)
def test_a_reboot_is_no_drift(world: World, boot_id: str, said: list[str]) -> None:
    """Nothing runs after a reboot, and nobody took it away; in one boot somebody did."""
    chain = a_chain(a_program())
    world.settle(chain)
    world.kernel = FakeKernel()
    world.kernel.add_interface("data0")
    for _ in range(10):
        world.kernel.add_map()  # because ids are not used again in one boot
    world.start(boot_id)

    world.settle(chain)

    assert [action for action in world.store.actions() if action != "chain.request"] == [
        "chain.attach",
        *said,
    ]


def test_a_stranger_is_asked_about_again(world: World) -> None:
    """A hook that is held may become free."""
    world.kernel.foreign[POINT] = 99
    chain = a_chain(a_program())

    with pytest.raises(ForeignOwnerError) as caught:
        world.settle(chain)
    world.points.refuse(POINT, chain, desired_generation=1, error=caught.value)

    assert "99" in caught.value.message
    assert not world.points.is_refused(POINT, chain)


async def test_a_staged_chain_is_used_once_and_only_if_it_still_fits(world: World) -> None:
    """The same plan within a minute; otherwise it is linked again and the old one given up."""
    chain = a_chain(a_program())
    request = StageChains(chains=(chain,))

    async def prepare() -> Prepared:
        needs = world.points.needs(POINT, chain)
        assert needs is not None
        return await world.staging.prepare(POINT, chain, needs)

    await world.staging.stage(request)
    used = await prepare()
    again = await prepare()
    await world.staging.stage(request)
    world.now += STAGED_SECONDS
    late = await prepare()

    made = world.preparer.linked
    assert [used.linked, again.linked, late.linked] == [made[0], made[1], made[3]]
    assert [one.is_closed for one in made] == [False, False, True, False]


async def test_what_was_staged_is_given_up_after_a_minute(world: World) -> None:
    """Nothing stays loaded that nobody wanted."""
    await world.staging.stage(StageChains(chains=(a_chain(a_program()),)))

    await world.staging.let_go()
    early = world.preparer.linked[0].is_closed
    world.now += STAGED_SECONDS
    await world.staging.let_go()

    assert (early, world.preparer.linked[0].is_closed) == (False, True)


async def test_what_is_staged_again_is_checked_again_and_not_loaded_again(world: World) -> None:
    """A plan and then the command: its minute begins anew, and it says the newer revision."""
    await world.staging.stage(StageChains(chains=(a_chain(a_program()),)))
    world.now += STAGED_SECONDS - 1
    newer = a_chain(a_program(revision=2, config={"limits": {"80": 1}}))

    again = await world.staging.stage(StageChains(chains=(newer,)))
    world.now += STAGED_SECONDS - 1
    await world.staging.let_go()
    needs = world.points.needs(POINT, newer)
    assert needs is not None
    prepared = await world.staging.prepare(POINT, newer, needs)

    assert len(world.preparer.linked) == 1
    assert prepared.linked is world.preparer.linked[0]
    assert not world.preparer.linked[0].is_closed
    assert [program.revision for program in again.chains[0].programs] == [2]


async def test_what_is_staged_again_is_refused_as_it_would_be_at_first(world: World) -> None:
    """Metrics are not part of a plan, so they are read again; another plan is loaded."""
    await world.staging.stage(StageChains(chains=(a_chain(a_program()),)))
    metrics = {"all": MetricSource(map="nowhere")}

    with pytest.raises(ConfigurationError, match="no such map"):
        await world.staging.stage(StageChains(chains=(a_chain(a_program(metrics=metrics)),)))
    await world.staging.stage(StageChains(chains=(a_chain(a_program(version="2.0.0")),)))

    assert [one.is_closed for one in world.preparer.linked] == [True, False]


async def test_a_check_that_fails_leaves_no_other_check_begun(world: World) -> None:
    """A fault of the first check is raised as it is; nothing is left that nobody waits for."""
    world.preparer.fault = FaultError("the disk is gone")

    with pytest.raises(FaultError, match="the disk is gone"):
        await world.staging.stage(StageChains(chains=(a_chain(a_program()),)))

    world.preparer.fault = None  # its traceback holds what was left
    gc.collect()  # a coroutine that was never awaited says so now, and that is an error here


async def test_staging_what_runs_already_links_nothing(world: World) -> None:
    """New entries and revisions are checked against the maps that are there."""
    world.settle(a_chain(a_program()))
    config = {"limits": {"80": 1}}

    staged = await world.staging.stage(
        StageChains(chains=(a_chain(a_program(revision=2, config=config)), a_chain()))
    )

    assert world.preparer.linked == []
    assert [len(one.programs) for one in staged.chains] == [1, 0]


async def test_staging_says_everything_at_once(world: World) -> None:
    """A missing interface does not hide a missing signature, nor one chain another."""
    elsewhere = DesiredChain(
        interface="data9",
        hook="xdp",
        programs=(a_program(version="9.0.0"),),
        cause=a_chain().cause,
    )
    metrics = {"all": MetricSource(map="nowhere")}
    chains = (elsewhere, a_chain(a_program(metrics=metrics)))

    with pytest.raises(RefusedError) as caught:
        await world.staging.stage(StageChains(chains=chains))

    rules = [reason.rule for reason in caught.value.reasons]
    assert caught.value.refusal_code == "verification_failed"
    assert rules == [
        "not signed",
        "there is no such interface on this node",
        "the program has no such map",
    ]
    assert world.preparer.linked[0].is_closed


def test_an_interface_that_is_missing_is_named(world: World) -> None:
    """Before anything is loaded."""
    with pytest.raises(InterfaceMissingError, match="data9"):
        world.points.admit(Point("data9", "xdp"), a_chain(a_program()))


def test_metrics_are_read_one_by_one(world: World) -> None:
    """One that cannot be read says why, and the others have their values."""
    metrics = {
        "all": MetricSource(map="limits", key="*"),
        "lost": MetricSource(map="nowhere"),
        "web": MetricSource(map="limits", key="80"),
    }
    config = {"limits": {"80": 5, "443": 6}}
    chain = a_chain(a_program(metrics=metrics, config=config))
    world.settle(chain)

    read = read_metrics(world.kernel, world.points.memory(POINT).current, MetricWindows())
    seen = world.points.describe(POINT, chain, desired_generation=1)

    assert [(one.metric, one.value) for one in read] == [("all", 11), ("lost", None), ("web", 5)]
    assert "nowhere" in read[1].problem
    assert metric_values([ChainShown(chain=seen, metrics=read)]) == {
        "data0/xdp/one/all": 11,
        "data0/xdp/one/web": 5,
    }
    assert read_metrics(world.kernel, None, MetricWindows()) == ()


def test_a_metric_without_its_map_is_refused_when_staged(world: World) -> None:
    """All such metrics are named."""
    metrics = {"lost": MetricSource(map="nowhere")}

    with pytest.raises(ConfigurationError) as caught:
        check_metrics(world.kernel, a_chain(a_program(metrics=metrics)), ())

    assert [reason.path for reason in caught.value.reasons] == ["one.metrics.lost"]
