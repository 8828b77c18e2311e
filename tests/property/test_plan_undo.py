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
from services.node_executor.generation_record import record_number
from services.node_executor.generations import (
    COUNTERS,
    ChainMemory,
    Generation,
    MapKey,
    MapPin,
    Point,
    ProgramPin,
    plan_digest,
)
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.reconciliation import (
    plan_attachment,
    plan_configuration,
    plan_entries,
    plan_removal,
    plan_tidying,
)
from shared.contracts.desired import Cause, DesiredChain
from tests.fakes import FakeFaultError, FakeKernel

POINT = Point("data0", "xdp")
KEYS = [MapKey("one", "limits"), MapKey("one", "counts"), MapKey("two", "limits"), COUNTERS]
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
    segments: int
    """How many kernel programs there are behind the head."""
    new_slots: list[int]
    """Of instances that were not there."""
    has_counters: bool
    """Whether what runs is counted."""
    is_configuration: bool
    """Whether only entries and the record change."""


SHAPES = st.builds(
    Shape,
    is_attached=st.booleans(),
    is_dead=st.booleans(),
    pins=st.dictionaries(st.sampled_from(KEYS), st.booleans()),
    wanted=st.lists(st.sampled_from(KEYS), unique=True),
    before=st.fixed_dictionaries(dict.fromkeys(KEYS, ENTRIES)),
    after=st.dictionaries(st.sampled_from(KEYS), ENTRIES),
    is_pin_taken=st.booleans(),
    segments=st.integers(min_value=0, max_value=3),
    new_slots=st.lists(st.integers(min_value=0, max_value=5), unique=True),
    has_counters=st.booleans(),
    is_configuration=st.booleans(),
)


def a_situation(shape: Shape) -> tuple[FakeKernel, list[Action]]:
    """The hook point before the change, and the plan of the change."""
    kernel = FakeKernel()
    kernel.add_interface("data0")
    targets = {key: kernel.add_map(shape.before[key], is_array=key == KEYS[1]) for key in KEYS}
    old, new = kernel.add_program(), kernel.add_program(*targets.values())
    segments = [kernel.add_program() for _ in range(shape.segments)]
    for key, is_same in shape.pins.items():
        pin = MapPin(2, key)
        kernel.pin_map(POINT, pin, targets[key] if is_same else kernel.add_map())
    if shape.is_pin_taken:
        kernel.pin_program(POINT, ProgramPin(2), old)
        kernel.write_record(POINT, 2, b"older")
    if shape.is_attached:
        index = kernel.interfaces["data0"]
        kernel.pin_program(POINT, ProgramPin(1), old)
        if shape.has_counters:
            kernel.pin_map(POINT, MapPin(1, COUNTERS), kernel.add_map())
        kernel.attach(POINT, interface_index=index, program_id=old)
        if shape.is_dead:
            kernel.remove_interface("data0")
            kernel.add_interface("data0")
    writes = [
        plan_entries(
            targets[key],
            present=kernel.read_entries(targets[key]),
            wanted=entries,
            blank=kernel.blank_value(targets[key]),
        )
        for key, entries in shape.after.items()
    ]
    generation = a_generation(new, tuple(segments), {key: targets[key] for key in shape.wanted})
    observed = kernel.observe(POINT)
    if shape.is_configuration:
        plan = plan_configuration(observed, generation, writes)
    else:
        plan = plan_attachment(observed, generation, writes=writes, new_slots=shape.new_slots)
    kernel.calls = 0
    return kernel, plan


def a_generation(program_id: int, segments: tuple[int, ...], maps: dict[MapKey, int]) -> Generation:
    """What the change shall put on the hook, under pin 2."""
    chain = DesiredChain(
        interface="data0", hook="xdp", programs=(), cause=Cause(command_id="command-1")
    )
    return Generation(
        number=3,
        pin=2,
        plan_sha256=plan_digest(chain),
        chain=chain,
        program_id=program_id,
        segments=segments,
        maps=tuple(
            HeldMap(deployment=key.deployment, name=key.name, map_id=map_id)
            for key, map_id in maps.items()
        ),
    )


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
            assert after.generations == before.generations
        else:
            assert after == before
        assert maps_after == maps


@given(SHAPES)
def test_a_plan_that_succeeds_does_what_it_is_for(shape: Shape) -> None:
    """The new program runs; its maps are pinned and hold exactly the wanted entries."""
    kernel, plan = a_situation(shape)

    Steps(kernel).run(plan, POINT)

    hook = kernel.observe(POINT)
    pinned = hook.generations.get(2, PinnedGeneration())
    assert record_number(pinned.record) == 3
    if shape.is_configuration:
        return
    assert hook.link_program_id == hook.program_pins[2]
    assert set(pinned.programs) >= set(range(shape.segments + 1))
    assert set(shape.wanted) <= set(pinned.maps)
    maps = {key: pinned.maps[key] for key in shape.wanted}
    again = a_generation(
        pinned.programs[0], tuple(pinned.programs[n + 1] for n in range(shape.segments)), maps
    )
    assert plan_attachment(hook, again) == []


@given(SHAPES)
def test_tidying_leaves_exactly_what_is_kept_and_then_rests(shape: Shape) -> None:
    """Pins that are missing come back, others go; a second time there is nothing to do."""
    kernel, plan = a_situation(shape)
    Steps(kernel).run(plan, POINT)
    hook = kernel.observe(POINT)
    if shape.is_configuration or not hook.generations:
        return
    pinned = hook.generations[2]
    segments = tuple(pinned.programs[n + 1] for n in range(shape.segments))
    wanted = {key: pinned.maps[key] for key in shape.wanted}
    current = a_generation(hook.link_program_id, segments, wanted)
    memory = ChainMemory(interface="data0", hook="xdp", last_number=3, current=current)
    if wanted:
        kernel.unpin_map(POINT, MapPin(2, shape.wanted[0]))
    kernel.unpin_program(POINT, ProgramPin(2))

    Steps(kernel).run(plan_tidying(kernel.observe(POINT), memory), POINT)

    left = kernel.observe(POINT)
    assert dict(left.generations) == {
        2: PinnedGeneration(current.pinned_programs, current.pinned_maps, pinned.record)
    }
    assert left.named == 2
    assert plan_tidying(left, memory) == []


@given(SHAPES)
def test_undoing_an_undo_is_the_action(shape: Shape) -> None:
    """An action that has an inverse is the inverse of its inverse, up to the order of entries."""
    kernel, plan = a_situation(shape)
    plan += plan_removal(kernel.observe(POINT))

    for action in plan:
        inverse = undo(action)
        if inverse is not None:
            assert undo(inverse) == action
