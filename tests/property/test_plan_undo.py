# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever fails at whatever step of a change: the hook point is as it was."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.actions import Action, undo
from services.node_executor.execution import Steps
from services.node_executor.generations import MapKey, Point
from services.node_executor.reconciliation import (
    ObservedHook,
    plan_attachment,
    plan_entries,
    plan_removal,
)
from tests.fakes import FakeFaultError, FakeKernel

POINT = Point("data0", "xdp")
KEYS = [MapKey("one", "limits"), MapKey("one", "counts"), MapKey("two", "limits")]
ENTRIES = st.dictionaries(
    st.sampled_from([b"\1\0", b"\2\0", b"\3\0"]), st.binary(min_size=4, max_size=4), max_size=3
)


@dataclass(frozen=True)
class Shape:
    """A hook point before a change, and what the change shall make of it."""

    is_attached: bool
    is_dead: bool
    pins: dict[MapKey, bool]
    """Map keys pinned before; True: to the map that the target wants too."""
    wanted: list[MapKey]
    before: dict[MapKey, dict[bytes, bytes]]
    after: dict[MapKey, dict[bytes, bytes]]
    is_pin_taken: bool


SHAPES = st.builds(
    Shape,
    is_attached=st.booleans(),
    is_dead=st.booleans(),
    pins=st.dictionaries(st.sampled_from(KEYS), st.booleans()),
    wanted=st.lists(st.sampled_from(KEYS), unique=True),
    before=st.fixed_dictionaries(dict.fromkeys(KEYS, ENTRIES)),
    after=st.dictionaries(st.sampled_from(KEYS), ENTRIES),
    is_pin_taken=st.booleans(),
)


def a_situation(shape: Shape) -> tuple[FakeKernel, list[Action]]:
    """The hook point before the change, and the plan of the change."""
    kernel = FakeKernel()
    kernel.add_interface("data0")
    targets = {key: kernel.add_map(shape.before[key], is_array=key == KEYS[1]) for key in KEYS}
    old, new = kernel.add_program(), kernel.add_program(*targets.values())
    for key, is_same in shape.pins.items():
        kernel.pin_map(POINT, key, targets[key] if is_same else kernel.add_map())
    if shape.is_pin_taken:
        kernel.pin_program(POINT, 2, old)
    if shape.is_attached:
        index = kernel.interfaces["data0"]
        kernel.pin_program(POINT, 1, old)
        kernel.attach(POINT, interface_index=index, program_id=old)
        if shape.is_dead:
            kernel.remove_interface("data0")
            kernel.add_interface("data0")
    plan = plan_attachment(
        kernel.observe(POINT),
        pin=2,
        program_id=new,
        maps={key: targets[key] for key in shape.wanted},
        writes=[
            plan_entries(
                targets[key],
                present=kernel.read_entries(targets[key]),
                wanted=entries,
                blank=kernel.blank_value(targets[key]),
            )
            for key, entries in shape.after.items()
        ],
    )
    kernel.calls = 0
    return kernel, plan


def everything(kernel: FakeKernel) -> tuple[ObservedHook, dict[int, dict[bytes, bytes]]]:
    """What packets, programs and a next start could notice."""
    return kernel.observe(POINT), copy.deepcopy(kernel.maps)


@given(SHAPES)
@settings(max_examples=150)
def test_failing_at_any_step_restores_what_was(shape: Shape) -> None:
    """For every plan and every step that fails, hook, pins and entries are as before.

    The pin of a link whose interface is gone is the one thing that does not come back: it held
    nothing.
    """
    _, plan = a_situation(shape)

    for step in range(len(plan)):
        kernel, plan = a_situation(shape)
        before, maps = everything(kernel)
        kernel.fails_at = step
        with pytest.raises(FakeFaultError):
            Steps(kernel).run(plan, POINT)
        after, maps_after = everything(kernel)
        if before.link_is_dead:
            assert not after.link_is_live
            assert (after.program_pins, after.map_pins) == (before.program_pins, before.map_pins)
        else:
            assert after == before
        assert maps_after == maps


@given(SHAPES)
def test_a_plan_that_succeeds_does_what_it_is_for(shape: Shape) -> None:
    """The new program runs; its maps are pinned and hold exactly the wanted entries."""
    kernel, plan = a_situation(shape)

    Steps(kernel).run(plan, POINT)

    hook = kernel.observe(POINT)
    assert hook.link_program_id == hook.program_pins[2]
    assert set(shape.wanted) <= set(hook.map_pins)
    again = plan_attachment(
        hook,
        pin=2,
        program_id=hook.program_pins[2],
        maps={key: hook.map_pins[key] for key in shape.wanted},
        writes=[],
    )
    assert again == []


@given(SHAPES)
def test_undoing_an_undo_is_the_action(shape: Shape) -> None:
    """An action that has an inverse is the inverse of its inverse, up to the order of entries."""
    kernel, plan = a_situation(shape)
    plan += plan_removal(kernel.observe(POINT))

    for action in plan:
        inverse = undo(action)
        if inverse is not None:
            assert undo(inverse) == action
