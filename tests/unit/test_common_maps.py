# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which maps an instance finds that it has in common with others of its package."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.common_maps import begun_twice, common_maps
from services.node_executor.generations import ChainMemory, MapKey, Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from shared.contracts.desired import DesiredChain
from tests.unit.test_reconciliation import a_chain, a_memory, a_program

HERE, THERE = Point("data0", "xdp"), Point("data1", "xdp", "blue")


def running(point: Point, map_id: int, *deployments: str, is_common: bool = True) -> ChainMemory:
    """What is remembered of a hook point, whose instances all use one map `flows`."""
    chain = a_chain(*(a_program(deployment) for deployment in deployments))
    memory = a_memory(chain, **point._asdict())
    assert memory.current is not None
    maps = tuple(
        HeldMap(deployment=one, name="flows", map_id=map_id, is_common=is_common)
        for one in deployments
    )
    current = msgspec.structs.replace(memory.current, maps=maps)
    return msgspec.structs.replace(memory, current=current)


def found(desired: DesiredChain, *memories: ChainMemory, gone: int = 0) -> dict[str, list[int]]:
    """By instance, the maps in the order in which they are tried; the map `gone` is not there."""

    def observe(point: Point) -> ObservedHook:
        current = next(one.current for one in memories if one.point == point)
        assert current is not None
        pins = {key: found for key, found in current.pinned_maps.items() if found != gone}
        generations = {1: PinnedGeneration({0: 11}, pins)}
        return ObservedHook(interface_index=3, link_program_id=11, generations=generations)

    return {
        key.deployment: [one.map_id for one in maps]
        for key, maps in common_maps(desired, memories, observe).items()
        if key.name == "flows"
    }


def test_an_instance_finds_what_another_hook_point_has() -> None:
    """Whatever network namespace and deployment it is of."""
    desired = a_chain(a_program("new"))

    assert found(desired, running(THERE, 7, "one")) == {"new": [7]}


def test_its_own_hook_point_comes_first_and_its_own_map_is_none_of_others() -> None:
    """What it has itself is carried over, not found."""
    desired = a_chain(a_program("one"), a_program("new"))

    assert found(desired, running(THERE, 7, "one"), running(HERE, 8, "one")) == {
        "one": [7],
        "new": [8, 7],
    }


@pytest.mark.parametrize(
    ("memory", "gone"),
    [
        (running(THERE, 7, "one", is_common=False), 0),
        (running(THERE, 7, "one"), 7),
        (ChainMemory(**THERE._asdict()), 0),
    ],
    ids=["not common", "of an earlier boot", "nothing runs"],
)
def test_what_is_not_there_for_everybody_is_not_found(memory: ChainMemory, gone: int) -> None:
    """A map of one instance alone, or one that is remembered and not pinned."""
    assert found(a_chain(a_program("new")), memory, gone=gone) == {}


def test_another_package_has_other_maps() -> None:
    """Though they have the same name."""
    desired = a_chain(a_program("new", package="another"))

    assert found(desired, running(THERE, 7, "one")) == {}


def test_only_one_instance_of_a_package_makes_a_map() -> None:
    """Of two that begin together the second is named; those of other packages are not."""
    desired = a_chain(a_program("one"), a_program("two"), a_program("three", package="another"))
    made = [MapKey(one.deployment, "flows") for one in desired.programs]

    problems = begun_twice(desired, made)

    assert [problem.path for problem in problems] == ["two.maps.flows"]
    assert "one has it, too" in problems[0].rule
