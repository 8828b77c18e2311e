# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whom a node tells what happens on its hook points, and how much of it."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from services.node_executor.artifact_eviction import archive_audience
from services.node_executor.event_audiences import audience_of, tellings
from services.node_executor.generations import ChainMemory, Generation
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.events import PUBLIC, EventBody
from shared.deployment_keys import space_of
from shared.errors import RefusedError
from tests.unit.test_executor_hook_points import POINT, World
from tests.unit.test_reconciliation import a_chain, a_program

ACME, BOLT = "p_acme", "p_bolt"


def chain_of(*programs: DesiredProgram, command: str = "command-0001") -> DesiredChain:
    """A chain as the scheduler tells it."""
    chain = a_chain(*programs)
    audience = next((space_of(one.deployment) for one in programs if "." in one.deployment), PUBLIC)
    cause = msgspec.structs.replace(chain.cause, command_id=command, audience=audience)
    return msgspec.structs.replace(chain, audience=audience, cause=cause)


EDGE = a_program("edge", order=20)
FIX = a_program(f"{ACME}.quiet-fix", order=10)
BOLTS = a_program(f"{BOLT}.bolts", order=10)


@pytest.fixture
def world() -> World:
    """A node on a kernel in memory."""
    return World()


def said_to(world: World, audience: str) -> list[EventBody]:
    """What an audience was told."""
    return [
        body for one, body in world.store.events.items() if world.store.audiences[one] == audience
    ]


def words(bodies: list[EventBody]) -> str:
    """All of it."""
    return msgspec.json.encode(bodies).decode()


def test_what_happens_on_a_restricted_hook_point_is_told_to_its_space(world: World) -> None:
    """From the request to the end, and nothing to others."""
    world.settle(chain_of(FIX))
    world.settle(chain_of(), 2)

    assert world.store.actions(ACME) == [
        *("chain.request", "chain.attach"),
        *("chain.request", "chain.detach"),
    ]
    assert world.store.actions(PUBLIC) == []


def test_everybody_is_told_of_a_chain_that_is_theirs_again(world: World) -> None:
    """What runs now, without what ran before or whose command it was."""
    world.settle(chain_of(EDGE))
    world.settle(chain_of(FIX, EDGE), 2)
    left = msgspec.structs.replace(
        chain_of(EDGE), cause=chain_of(FIX, command="command-0009").cause
    )
    world.settle(left, 3)

    public = said_to(world, PUBLIC)
    assert [body.action for body in public] == ["chain.request", "chain.attach"] * 2
    assert "quiet-fix" not in words(public)
    assert "command-0009" not in words(public)
    assert (public[-1].before, public[-1].actor) == ("", None)
    assert [one["deployment"] for one in public[-1].details["running"]] == ["edge"]
    members = said_to(world, ACME)
    assert [body.action for body in members] == ["chain.request", "chain.attach"] * 2
    assert members[-1].before
    assert members[-1].correlation == "command-0009"


def test_one_space_after_another_learns_nothing_of_the_other(world: World) -> None:
    """The first is told that its chain is gone, the second what came."""
    world.settle(chain_of(FIX))
    world.settle(chain_of(BOLTS, command="command-0002"), 2)

    first, second = said_to(world, ACME), said_to(world, BOLT)
    assert [body.action for body in first] == [
        *("chain.request", "chain.attach"),
        *("chain.request", "chain.detach"),
    ]
    assert [body.action for body in second] == ["chain.request", "chain.attach"]
    assert "bolts" not in words(first)
    assert "command-0002" not in words(first)
    assert "quiet-fix" not in words(second)
    assert second[-1].before == ""
    assert world.store.actions(PUBLIC) == []


def test_why_a_restricted_chain_does_not_run_is_told_to_its_space(world: World) -> None:
    """Refusals and faults speak of what is in it."""
    world.points.refuse(
        POINT, chain_of(FIX), desired_generation=1, error=RefusedError("quiet-fix is wrong")
    )

    assert world.store.actions(ACME) == ["chain.change"]
    assert world.points.memory(POINT).refused_audience == ACME
    assert world.store.actions(PUBLIC) == []


def test_a_chain_whose_space_opened_is_everybodys_from_then_on(world: World) -> None:
    """Nothing is said and nothing is touched when it opens; what happens later is public."""
    world.settle(chain_of(FIX))
    said = len(world.store.events)
    runs = world.points.memory(POINT).current
    rested = list(world.resting.look({POINT: chain_of(FIX)}, desired_generation=1))
    opened = msgspec.structs.replace(chain_of(FIX), audience=PUBLIC)
    opened = msgspec.structs.replace(
        opened, cause=msgspec.structs.replace(opened.cause, audience=PUBLIC)
    )

    wakes = list(world.resting.look({POINT: opened}, desired_generation=1))
    world.settle(opened)
    rests = list(world.resting.look({POINT: opened}, desired_generation=1))
    after = world.points.memory(POINT).current
    world.settle(chain_of(), 2)

    assert (rested, wakes, rests) == ([POINT], [], [POINT])
    assert runs is not None
    assert after is not None
    assert (after.program_id, after.number) == (runs.program_id, runs.number)
    assert after.chain.audience == PUBLIC
    assert list(world.store.audiences.values())[said:] == [PUBLIC, PUBLIC]


def test_a_start_finds_a_restricted_chain_and_tells_its_space(world: World) -> None:
    """Adoption is an event like others."""
    world.settle(chain_of(FIX))
    world.start("boot-1")

    assert world.store.actions(ACME)[-1] == "chain.adopt"
    assert world.store.actions(PUBLIC) == []


@pytest.mark.parametrize(
    ("before", "after"),
    list(product([None, chain_of(), chain_of(EDGE), chain_of(FIX), chain_of(BOLTS)], repeat=2)),
)
def test_nobody_is_told_of_a_chain_that_is_not_theirs(
    before: DesiredChain | None, after: DesiredChain | None
) -> None:
    """Whatever follows on whatever, and each audience is told once."""
    told = tellings(before, after)

    for one in told:
        assert not one.sees_before or audience_of(before) in (PUBLIC, one.audience)
        assert not one.sees_after or audience_of(after) in (PUBLIC, one.audience)
    audiences = [one.audience for one in told]
    assert len(audiences) == len(set(audiences)) > 0
    assert {audience_of(before), audience_of(after)} - {PUBLIC} <= set(audiences)
    assert len({one.named("chain.attach") for one in told}) == len(told)


def test_a_damaged_archive_is_told_to_those_whose_programs_are_made_of_it() -> None:
    """Its digest says something about what is in it."""

    def memory(chain: DesiredChain) -> ChainMemory:
        current = Generation(number=1, pin=1, plan_sha256="", chain=chain, program_id=1)
        return ChainMemory(interface="data0", hook="xdp", current=current)

    sha256 = FIX.signed.archive_sha256

    assert archive_audience(sha256, [memory(chain_of(FIX))]) == ACME
    both = [memory(chain_of(FIX)), memory(chain_of(EDGE))]
    assert archive_audience(sha256, both) == PUBLIC
    assert archive_audience("0" * 64, both) == PUBLIC
