# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of its chains when asked: counters, explanations, and why there are none."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.drafts import DRAFT_SECONDS, MAX_DRAFTS, Drafts, UnknownDraftError
from services.node_executor.generations import COUNTERS
from services.node_executor.held_maps import HeldMap
from services.node_executor.inspection import MAX_REPLY_BYTES, Inspection
from services.node_executor.metric_windows import MetricWindows
from services.node_executor.metrics_sampling import (
    Sampler,
    asked_for,
    metric_values,
    read_counters,
    refuse_too_large,
)
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.inspection import ChainExplanation, ExplainChain, draft_digest
from shared.contracts.metrics import MetricSource
from shared.contracts.node import ChainsShown, GetChains, StageChains
from shared.errors import FaultError, RefusedError
from tests.unit.test_executor_hook_points import POINT, World
from tests.unit.test_reconciliation import a_chain, a_program
from tests.unit.test_slot_metrics import a_value

PLAN = ChainExplanation(attachment="xdp", warnings=("look at this",))


class CounterMaps:
    """Counter maps by id."""

    def __init__(self, *values: bytes) -> None:
        self.values = values

    def read_counters(self, _map_id: int) -> tuple[bytes, ...]:
        """The kernel fails where there is none."""
        if not self.values:
            raise FaultError("the map is gone")
        return self.values


@pytest.fixture
def world() -> World:
    """A node with one interface."""
    return World()


def an_inspection(world: World, drafts: Drafts | None = None) -> Inspection:
    """Of that node."""
    return Inspection(
        node="n1",
        points=world.points,
        staging=world.staging,
        drafts=drafts or Drafts(),
        clock=lambda: world.now,
    )


def remember(world: World, explanation: ChainExplanation | None) -> None:
    """The running generation was linked with that plan, and counts in map 99."""
    memory = world.points.memory(POINT)
    assert memory.current is not None
    counters = HeldMap(deployment="", name=COUNTERS.name, map_id=99)
    current = msgspec.structs.replace(
        memory.current, explanation=explanation, maps=(*memory.current.maps, counters)
    )
    journal = world.points._journal
    journal.keep(POINT, msgspec.structs.replace(memory, current=current))


def a_sampler(world: World, counters: CounterMaps) -> Sampler:
    """Times are rendered as seconds since the kernel started."""
    return Sampler(
        points=world.points,
        reader=world.kernel,
        counters=counters,
        moment=str,
        on_unreadable=lambda point, refusal: world.unreadable.append(f"{point}: {refusal.message}"),
        windows=MetricWindows(),
    )


def desired(chain: DesiredChain) -> DesiredNode:
    """One chain."""
    return DesiredNode(node="n1", generation=1, chains=(chain,))


def test_counters_are_those_of_what_runs(world: World) -> None:
    """With how long the generation before is kept."""
    world.settle(a_chain(a_program()), 1)
    world.settle(a_chain(a_program(version="2.0.0")), 2)
    remember(world, PLAN)
    sampler = a_sampler(world, CounterMaps(bytes(a_value({(0, "pass"): 3, (0, "drop"): 1}))))

    (shown,) = sampler.sample(desired(a_chain(a_program(version="2.0.0"))), per_cpu=True)

    (slot,) = shown.counters.slots
    assert (slot.deployment, slot.packets_in, slot.went_on) == ("one", 4, 3)
    assert len(shown.counters.cpus) == 1
    assert (shown.previous_generation, shown.previous_kept_until) == (1, "3600.0")
    assert metric_values([shown])["data0/xdp/one/l3af.packets_in"] == 4


def test_why_there_are_no_counters_is_said(world: World) -> None:
    """Switched off, or not readable; nothing else is affected."""
    world.settle(a_chain(a_program()))
    without = world.points.memory(POINT).current
    remember(world, None)
    gone = world.points.memory(POINT).current

    assert "without counters" in read_counters(CounterMaps(), without).problem
    assert read_counters(CounterMaps(), gone).problem == "the map is gone"
    assert read_counters(CounterMaps(), None).problem == ""


def test_a_reply_holds_what_was_asked_for_and_fits(world: World) -> None:
    """One that does not fit says what to ask instead."""
    world.settle(a_chain(a_program()))
    shown = a_sampler(world, CounterMaps()).sample(None)

    assert len(asked_for(shown, GetChains(interface="data0", hook="xdp"))) == 1
    assert asked_for(shown, GetChains(interface="data1")) == ()
    assert asked_for(shown, GetChains(hook="tc-ingress")) == ()
    refuse_too_large(ChainsShown(node="n1", chains=tuple(shown)), limit_bytes=100_000)
    with pytest.raises(RefusedError, match="one interface") as caught:
        refuse_too_large(ChainsShown(node="n1", chains=tuple(shown)), limit_bytes=10)
    assert caught.value.refusal_code == "too_large"


def test_what_runs_is_explained_as_it_was_linked(world: World) -> None:
    """Also by an executor that started later; a release that kept none is said."""
    world.settle(a_chain(a_program()))
    before = an_inspection(world).explain(ExplainChain()).chains[0]
    remember(world, PLAN)
    world.start("boot-1")

    after = an_inspection(world).explain(ExplainChain(interface="data0")).chains[0]

    assert (before.explanation, after.explanation) == (None, PLAN)
    assert "kept no explanation" in before.problem
    assert (after.generation, after.source, after.problem) == (1, "running", "")


def test_a_hook_without_a_chain_has_no_explanation(world: World) -> None:
    """Refused if it was named, nothing if all were asked for."""
    inspection = an_inspection(world)

    assert inspection.explain(ExplainChain()).chains == ()
    with pytest.raises(RefusedError, match="data0/xdp runs no chain"):
        inspection.explain(ExplainChain(interface="data0", hook="xdp"))


def test_a_reply_with_too_many_rules_names_the_hook_to_ask_for(world: World) -> None:
    """What fits is there."""
    world.settle(a_chain(a_program()))
    remember(world, ChainExplanation(warnings=("w" * MAX_REPLY_BYTES,)))

    (said,) = an_inspection(world).explain(ExplainChain()).chains

    assert said.explanation is None
    assert "ask for this hook point alone" in said.problem


async def test_what_was_staged_is_explained_for_some_minutes(world: World) -> None:
    """By its digest, with what was linked for it; a chain that runs already has its own."""
    drafts, chain = Drafts(), a_chain(a_program())
    inspection = an_inspection(world, drafts)
    await world.staging.stage(StageChains(chains=(chain,)))
    world.preparer.linked[0].explanation = PLAN

    inspection.remember([chain, a_chain()])
    (said,) = inspection.explain(ExplainChain(draft=draft_digest(chain))).chains
    world.now += DRAFT_SECONDS

    assert (said.source, said.explanation, said.problem) == ("draft", PLAN, "")
    with pytest.raises(UnknownDraftError, match="plan the deployment again"):
        inspection.explain(ExplainChain(draft=draft_digest(chain)))
    with pytest.raises(UnknownDraftError):
        drafts.get(draft_digest(a_chain()), now=0.0)


def test_only_so_many_drafts_are_remembered() -> None:
    """The oldest goes first; one that is staged again is the newest."""
    drafts = Drafts()
    chains = [a_chain(a_program(revision=number)) for number in range(MAX_DRAFTS + 1)]
    for chain in chains[:-1]:
        drafts.keep(chain, None, now=0.0)
    drafts.keep(chains[0], PLAN, now=1.0)
    drafts.keep(chains[-1], None, now=2.0)

    assert drafts.get(draft_digest(chains[0]), now=3.0).explanation == PLAN
    with pytest.raises(UnknownDraftError):
        drafts.get(draft_digest(chains[1]), now=3.0)


def test_a_hook_that_cannot_be_read_is_named_once_and_holds_up_no_other(world: World) -> None:
    """It is a chain that says why; once it can be read again, the next time is news again."""
    world.settle(a_chain(a_program()))
    other = msgspec.structs.replace(a_chain(a_program("two")), interface="data1")
    node = DesiredNode(node="n1", generation=1, chains=(a_chain(a_program()), other))
    sampler = a_sampler(world, CounterMaps())

    world.kernel.unreadable.add(POINT)
    broken, waiting = sampler.sample(node)
    sampler.sample(node)
    said_once = list(world.unreadable)
    world.kernel.unreadable.clear()
    whole, _ = sampler.sample(node)
    world.kernel.unreadable.add(POINT)
    sampler.describe(node)

    assert (broken.chain.state, broken.chain.program_id) == ("failed", 0)
    assert broken.chain.refusal is not None
    assert broken.chain.refusal.code == "unavailable", "the scheduler waits for it"
    assert waiting.chain.state == "waiting-for-interface"
    assert whole.chain.state == "attached"
    assert said_once == ["data0/xdp: the pins cannot be read"]
    assert len(world.unreadable) == 2


def test_a_key_that_goes_takes_nothing_of_a_rate_with_it(world: World) -> None:
    """The sum of all keys falls then, and no counter began anew: what the others gained counts."""
    together = MetricSource(map="limits", key="*", aggregation="rate")
    peak = MetricSource(map="limits", key="*", aggregation="max-rate")
    chain = a_chain(
        a_program(
            metrics={"peak": peak, "rate": together}, config={"limits": {"1": 1000, "2": 500}}
        )
    )
    world.settle(chain)
    sampler = a_sampler(world, CounterMaps())
    memory = world.points.memory(POINT)
    assert memory.current is not None
    entries = world.kernel.maps[memory.current.maps[0].map_id]

    sampler.look_back(1.0)
    first, second = sorted(entries)
    del entries[first]
    entries[second] = (506).to_bytes(len(entries[second]), "little")
    sampler.look_back(2.0)
    (shown,) = sampler.sample(desired(chain))

    assert [(one.metric, one.value) for one in shown.metrics] == [("peak", 6), ("rate", 6)]


def test_samples_of_a_node_are_bounded(world: World) -> None:
    """What is too much says so, and costs no other metric anything."""
    large = MetricSource(map="limits", key="*", each_key=True, aggregation="rate", samples=3600)
    small = MetricSource(map="limits", key="*", aggregation="average")
    config = {"limits": {str(key): 1 for key in range(300)}}
    chain = a_chain(a_program(metrics={"large": large, "small": small}, config=config))
    world.settle(chain)
    sampler = a_sampler(world, CounterMaps())

    sampler.look_back(1.0)
    sampler.look_back(2.0)
    (shown,) = sampler.sample(desired(chain))

    assert [(one.metric, one.value, one.series) for one in shown.metrics] == [
        ("large", None, {}),
        ("small", 300, {}),
    ]
    assert "more samples than the node has left" in shown.metrics[0].problem
