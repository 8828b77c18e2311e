# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the scheduler keeps so that thousands of nodes do not cost it thousands of looks."""

from __future__ import annotations

import asyncio

import msgspec

from services.scheduler.adapters.pace import MAX_REST_SECONDS, REST, Pace
from services.scheduler.adapters.read_records import Gathered
from services.scheduler.adapters.shared_facts import SharedFacts
from services.scheduler.desired_state import Fleet
from shared.contracts.capabilities import Capabilities
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ObservedNode
from tests.fleets import a_fleet, a_node, a_node_record, a_spec, all_observing, applied


def test_what_was_taken_stays_and_is_made_once_for_each_change() -> None:
    """A moment that somebody holds does not change; without a change there is no new one."""
    gathered: Gathered[int] = Gathered()
    gathered.put("a", 1)
    before = gathered.taken(dict)

    assert gathered.taken(dict) is before
    gathered.put("b", 2)
    assert (before, gathered.taken(dict)) == ({"a": 1}, {"a": 1, "b": 2})
    gathered.put_all({"c": 3})
    assert gathered.taken(dict) == gathered.values == {"c": 3}


def read_again(fleet: Fleet, node: str) -> DesiredNode:
    """The node's record as it comes from the bus."""
    return msgspec.json.decode(msgspec.json.encode(fleet.desired[node]), type=DesiredNode)


def test_what_many_nodes_have_alike_is_one_object_and_nothing_else_changes() -> None:
    """Records are what was read; kernels and packages of several are the same object."""
    facts = SharedFacts()
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec())
    desired = [facts.desired(read_again(fleet, name)) for name in ("n1", "n2")]
    kernels = [Capabilities(kernel_build="6.12.0 #1", has_types=True) for _ in range(2)]
    records = [
        facts.node(msgspec.structs.replace(a_node_record(name), capabilities=kernel))
        for name, kernel in zip(("n1", "n2"), kernels, strict=True)
    ]

    assert desired == [fleet.desired["n1"], fleet.desired["n2"]]
    assert len({id(one.chains[0].programs[0]) for one in desired}) == 1
    seen = [
        facts.observed(msgspec.json.decode(msgspec.json.encode(one), type=ObservedNode))
        for one in all_observing(fleet).values()
    ]
    assert seen == list(all_observing(fleet).values())
    assert len({id(one.chains[0].programs[0]) for one in seen}) == 1
    assert [one.capabilities for one in records] == kernels
    assert records[0].capabilities is records[1].capabilities
    assert facts.node(a_node_record("n3")) == a_node_record("n3")


async def test_who_thought_rests_longer_than_it_thought() -> None:
    """Work that is asked for all the time leaves most of the processor to others."""
    pace, loop = Pace(), asyncio.get_running_loop()
    with pace.thinking():
        began = loop.time()
        while loop.time() - began < 0.01:
            pass

    began = loop.time()
    await pace.rest()
    first = loop.time() - began
    await pace.rest()  # and has nothing to rest from any more

    assert first >= 0.9 * REST * 0.01
    assert MAX_REST_SECONDS < 1
