# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which cached artifacts make room, and which never go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.artifact_eviction import (
    CachedArtifact,
    NoRoomError,
    Room,
    plan_eviction,
    remembered_archives,
)
from services.node_executor.generations import ChainMemory, Generation, Pending
from shared.contracts.desired import Cause
from tests.support.executors import a_chain, a_program, published

ARTIFACTS = [CachedArtifact(name, 10, used) for used, name in enumerate("abcd")]


def plan(
    size_bytes: int, *, held: str = "", limit_bytes: int = 50, free_bytes: int = 1000
) -> list[str]:
    """What goes for an artifact `new`."""
    return list(
        plan_eviction(
            ARTIFACTS,
            wanted="new",
            size_bytes=size_bytes,
            held=set(held),
            room=Room(limit_bytes=limit_bytes, free_bytes=free_bytes, reserved_bytes=5),
        )
    )


def test_what_was_not_used_for_longest_goes_and_no_more_than_needed() -> None:
    """Nothing at all while there is room."""
    assert plan(10) == []
    assert plan(11) == ["a"]
    assert plan(25) == ["a", "b"]


def test_what_is_held_stays_however_long_it_was_not_used() -> None:
    """The next in the order of use goes instead."""
    assert plan(20, held="a") == ["b"]


def test_a_full_disk_makes_room_below_the_limit_too() -> None:
    """What is reserved for the journal does not count as free."""
    assert plan(10, free_bytes=15) == []
    assert plan(10, free_bytes=14) == ["a"]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"held": "abc", "size_bytes": 30}, "CACHE_BYTES"),
        ({"size_bytes": 51}, "CACHE_BYTES"),
        ({"held": "abcd", "size_bytes": 10, "free_bytes": 14}, "on the disk"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(fields: dict[str, object], rule: str) -> None:
    """With what it takes and what there is, and before anything is removed."""
    with pytest.raises(NoRoomError, match="archive new") as caught:
        plan(**fields)  # type: ignore[arg-type]

    assert rule in caught.value.reasons[0].rule
    assert caught.value.reasons[0].got == fields["size_bytes"]


def test_a_part_that_is_there_takes_its_own_place() -> None:
    """A download that goes on needs no room for what it has."""
    artifacts = [*ARTIFACTS, CachedArtifact("new", 10, 9)]
    room = Room(limit_bytes=50, free_bytes=0)

    assert plan_eviction(artifacts, wanted="new", size_bytes=10, held=set(), room=room) == ()


SIZES = st.lists(st.integers(1, 20), max_size=8)


@given(
    SIZES, st.sets(st.integers(0, 7)), st.integers(1, 60), st.integers(1, 80), st.integers(0, 80)
)
def test_eviction_keeps_its_promises(
    sizes: list[int], held_places: set[int], wanted: int, limit: int, free: int
) -> None:
    """It fits afterwards, held ones stay, and a refusal means that it could not have fitted."""
    artifacts = [CachedArtifact(str(n), size, n) for n, size in enumerate(sizes)]
    held = {str(place) for place in held_places}
    kept = sum(one.size_bytes for one in artifacts if one.sha256 in held)
    loose = sum(sizes) - kept
    room = Room(limit_bytes=limit, free_bytes=free)

    try:
        evicted = plan_eviction(artifacts, wanted="new", size_bytes=wanted, held=held, room=room)
    except NoRoomError:
        assert kept + wanted > limit or wanted > free + loose
        return

    gone = sum(one.size_bytes for one in artifacts if one.sha256 in evicted)
    assert not held & set(evicted)
    assert sum(sizes) - gone + wanted <= limit
    assert wanted <= free + gone


def test_all_that_could_run_again_is_remembered() -> None:
    """The current generation, the previous one, and the one that a change leads to."""
    versions = ("1.0.0", "2.0.0", "3.0.0")
    current, previous, coming = (
        Generation(
            number=1,
            pin=1,
            plan_sha256="",
            chain=a_chain("eth0", a_program("one", version)),
            program_id=1,
        )
        for version in versions
    )
    pending = Pending(
        kind="attach", generation=coming, desired_generation=2, cause=Cause(command_id="")
    )
    memory = ChainMemory(
        interface="eth0", hook="xdp", current=current, previous=previous, pending=pending
    )
    bare = ChainMemory(interface="eth1", hook="xdp")

    found = remembered_archives([memory, bare])

    assert found == {published(version).signed.archive_sha256 for version in versions}
