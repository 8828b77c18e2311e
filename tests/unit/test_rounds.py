# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a round is made, and who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from services.node_executor.adapters.rounds import Rounds, reconciled
from shared.contracts.node import ObservedChain, ObservedNode
from shared.errors import FaultError, Refusal


async def test_the_first_round_looks_at_everything_and_later_ones_at_what_changed() -> None:
    """Until messages are lost."""
    rounds = Rounds(period_seconds=15)
    assert rounds.begin().places is None
    assert rounds.begin().places == frozenset()

    rounds.links_changed({"eth0"})
    rounds.links_changed({"blue/eth1"})
    assert rounds.begin().places == frozenset({"eth0", "blue/eth1"})
    rounds.links_changed({"eth0"})
    rounds.links_changed(None)
    assert rounds.begin().places is None


async def test_who_asks_waits_for_a_round_that_began_afterwards() -> None:
    """One that is under way may have looked already."""
    rounds = Rounds(period_seconds=15)
    under_way = rounds.begin()
    asked = asyncio.create_task(rounds.ask())
    await rounds.wait(10)
    under_way.end()
    await asyncio.sleep(0)
    assert not asked.done()

    rounds.begin().end()
    await asked


async def test_a_fault_of_the_round_is_the_answer() -> None:
    """And who gave up is not answered."""
    rounds = Rounds(period_seconds=15)
    asked, given_up = asyncio.create_task(rounds.ask()), asyncio.create_task(rounds.ask())
    await rounds.wait(10)
    given_up.cancel()
    await asyncio.sleep(0)
    rounds.begin().end(FaultError("no kernel"))

    with pytest.raises(FaultError, match="no kernel"):
        await asked


async def test_nothing_happens_for_a_while() -> None:
    """Then a round is made all the same."""
    async with asyncio.timeout(60):
        await Rounds(period_seconds=15).wait(0.01)


def test_nobody_waits_longer_than_a_period_after_a_fault() -> None:
    """However often it fails; a new wish begins with the shortest wait."""
    rounds = Rounds(period_seconds=3)

    waits = [rounds.next_retry_seconds() for _ in range(5)]
    rounds.begin_retries_anew()

    assert waits == [0.5, 1.0, 2.0, 3, 3]
    assert rounds.next_retry_seconds() == 0.5


def test_the_answer_counts_states_and_names_what_does_not_run() -> None:
    """By hook point."""
    chains = (
        ObservedChain(interface="eth0", hook="xdp", state="attached"),
        ObservedChain(interface="eth1", hook="xdp", state="attached"),
        ObservedChain(
            interface="eth2",
            hook="xdp",
            netns="blue",
            state="failed",
            refusal=Refusal(code="hook_owned", message="is held"),
        ),
    )
    observed = ObservedNode(node="n1", desired_generation=4, chains=chains, at="")

    answer = reconciled("n1", observed, seconds=0.25)

    assert answer.states == {"attached": 2, "failed": 1}
    assert answer.problems == {"blue/eth2/xdp": "is held"}
    assert (answer.desired_generation, answer.duration_ms) == (4, 250.0)
    assert reconciled("n1", None, seconds=0).states == {}
