# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which maps of an instance its next version goes on with, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from services.node_executor.map_carry_over import CarryOver, MapShape, agrees, plan_carry_over
from services.node_executor.map_types import MapTypes

TYPES = MapTypes("structure", "shape")
RENAMED = MapTypes("another structure", "shape")
OTHER = MapTypes("another structure", "another shape")
TIMERS = MapTypes("structure", "shape", has_timers=True)


def a_shape(**changes: Any) -> MapShape:
    """A hash map."""
    fields: dict[str, Any] = {
        "type_number": 1,
        "key_size_bytes": 4,
        "value_size_bytes": 8,
        "max_entries": 64,
        "flags": 0,
        "types": TYPES,
    }
    return MapShape(**{**fields, **changes})


def planned(
    declared: dict[str, MapShape],
    running: dict[str, MapShape],
    policies: dict[str, str] | None = None,
    *,
    is_same_code: bool = False,
) -> CarryOver:
    """What becomes of the maps of instance `one`."""
    return plan_carry_over(
        "one",
        declared=declared,
        running=running,
        policies=policies or {},
        is_same_code=is_same_code,
    )


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"type_number": 9}, False),
        ({"flags": 1}, False),
        ({"key_size_bytes": 8}, False),
        ({"value_size_bytes": 4}, False),
        ({"max_entries": 128}, False),
        ({"types": RENAMED}, False),
        ({"types": OTHER}, False),
        ({"types": None}, True),
        ({"max_entries": 0, "value_size_bytes": 0}, True),
    ],
)
def test_a_map_fits_when_its_content_means_the_same(change: dict[str, Any], fits: bool) -> None:
    """Without BTF sizes and flags decide; what a declaration leaves open fits."""
    assert agrees(a_shape(**change), a_shape()) is fits


def test_a_ring_buffer_may_be_larger_than_declared() -> None:
    """Libbpf rounds it up when it makes it."""
    ring = {"type_number": 27, "key_size_bytes": 0, "value_size_bytes": 0, "types": None}

    assert agrees(a_shape(**ring, max_entries=100), a_shape(**ring, max_entries=4096))
    assert not agrees(a_shape(**ring, max_entries=8192), a_shape(**ring, max_entries=4096))


def test_what_fits_is_taken_whatever_the_policy() -> None:
    """A policy is for layouts that differ; what the running version lacks begins empty."""
    maps = {"limits": a_shape()}

    for policy in ("refuse", "fresh", "migrate:gone"):
        plan = planned({**maps, "new": a_shape()}, maps, {"limits": policy, "new": policy})
        assert plan.taken["limits"] == "limits"
        assert (plan.problems, plan.warnings, plan.fresh) == ((), (), frozenset())


def test_another_layout_is_refused_unless_somebody_said_otherwise() -> None:
    """The reason shows both layouts and what can be said."""
    plan = planned({"limits": a_shape(max_entries=128)}, {"limits": a_shape()})

    (reason,) = plan.problems
    assert reason.path == "one.maps.limits"
    assert "on_layout_change" in reason.rule
    assert (reason.got["max_entries"], reason.allowed["max_entries"]) == (128, 64)
    assert reason.got["type"] == "hash"


def test_a_map_begins_empty_where_that_was_said() -> None:
    """And it is said to whoever looks."""
    plan = planned({"limits": a_shape(types=OTHER)}, {"limits": a_shape()}, {"limits": "fresh"})

    assert (dict(plan.taken), plan.fresh) == ({}, frozenset({"limits"}))
    assert plan.problems == ()
    assert "one.maps.limits begins empty" in plan.warnings[0]


def test_a_renamed_map_goes_on_with_its_content() -> None:
    """The package vouches for names of members, not for sizes; once renamed it goes its own way."""
    policies = {"quotas": "migrate:limits"}
    old = {"limits": a_shape()}

    renamed = planned({"quotas": a_shape(types=RENAMED)}, old, policies)
    misfit = planned({"quotas": a_shape(types=OTHER)}, old, policies)
    later = planned({"quotas": a_shape()}, {"quotas": a_shape()}, policies)
    first = planned({"quotas": a_shape()}, {}, policies)

    assert renamed.taken == {"quotas": "limits"}
    assert [reason.path for reason in misfit.problems] == ["one.maps.quotas"]
    assert later.taken == {"quotas": "quotas"}
    assert (first.taken, first.problems) == ({}, ())


def test_members_are_renamed_by_migrating_from_the_map_itself() -> None:
    """The package says that the content means the same under the new names."""
    plan = planned(
        {"limits": a_shape(types=RENAMED)}, {"limits": a_shape()}, {"limits": "migrate:limits"}
    )

    assert plan.taken == {"limits": "limits"}


def test_no_content_is_taken_twice() -> None:
    """A map that stays cannot be the source of another one."""
    plan = planned(
        {"limits": a_shape(), "quotas": a_shape()},
        {"limits": a_shape()},
        {"quotas": "migrate:limits"},
    )

    assert [reason.path for reason in plan.problems] == ["one.maps.quotas"]


@pytest.mark.parametrize("is_same_code", [True, False])
def test_timers_stay_with_their_code(is_same_code: bool) -> None:
    """Other code begins with an empty map, since the old timers would run the old code."""
    maps = {"flows": a_shape(types=TIMERS)}

    plan = planned(maps, maps, is_same_code=is_same_code)

    assert plan.taken == ({"flows": "flows"} if is_same_code else {})
    assert plan.fresh == (frozenset() if is_same_code else {"flows"})
    assert "holds timers" in plan.warnings[0]
    assert plan.problems == ()


@pytest.mark.parametrize(("kind", "fits"), [(14, True), (25, True), (1, False)])
def test_device_maps_are_read_only_for_programs_whatever_was_declared(
    kind: int, *, fits: bool
) -> None:
    """The kernel adds BPF_F_RDONLY_PROG to them, and only to them."""
    declared = a_shape(type_number=kind)
    running = a_shape(type_number=kind, flags=1 << 7)

    assert agrees(declared, running) == fits
