# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Steps that attach a chain in a chosen way, in another's place, or anew; and their undoing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.node_executor.actions import (
    AttachLink,
    DetachLink,
    DropDeadLink,
    ReplaceLinkProgram,
    TakeOver,
    undo,
)
from services.node_executor.execution import Steps
from services.node_executor.generations import Point
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.reconciliation import (
    Configure,
    LeaveToOwner,
    LinkAnew,
    PutBack,
    Remove,
    decide,
    plan_attachment,
    plan_removal,
)
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from tests.fakes import FakeFaultError, FakeKernel
from tests.unit.test_reconciliation import NEW, OLD, a_generation, a_hook, a_memory, pinned

STRANGER = 99
POINT = Point("data0", "xdp")


def with_link(chain: DesiredChain, **options: Any) -> DesiredChain:
    """The chain with these link options."""
    return msgspec.structs.replace(chain, link=LinkOptions(**options))


TAKING = with_link(NEW, take_over=True)


@pytest.mark.parametrize(
    "action",
    [
        AttachLink(3, 11, "native", "first"),
        DetachLink(3, 11, "cls_bpf"),
        DetachLink(3, 11, "tcx", position="before:one"),
        TakeOver(3, STRANGER, 11),
    ],
)
def test_undoing_twice_is_doing_it(action: AttachLink | DetachLink | TakeOver) -> None:
    """The way, the place and the other owner are not forgotten."""
    back = undo(action)

    assert back is not None
    assert undo(back) == action


def test_a_stranger_keeps_the_hook_unless_it_is_to_be_taken_over() -> None:
    """Only the deployment decides."""
    hook = ObservedHook(interface_index=3, foreign_program_id=STRANGER)

    assert decide(hook, a_memory(), NEW) == LeaveToOwner(STRANGER)
    assert decide(hook, a_memory(), TAKING) == LinkAnew()


def test_a_stranger_s_place_is_taken_in_one_step() -> None:
    """Everything the program needs is there before."""
    hook = ObservedHook(interface_index=3, foreign_program_id=STRANGER)

    actions = plan_attachment(hook, a_generation(TAKING, 12))

    assert actions[-1] == TakeOver(3, STRANGER, 12)
    assert not [one for one in actions if isinstance(one, AttachLink)]


def test_what_is_left_of_an_interrupted_take_over_goes_first() -> None:
    """Pins without a program of ours on the hook."""
    hook = ObservedHook(
        interface_index=3, foreign_program_id=STRANGER, displaced_program_id=STRANGER
    )

    actions = plan_attachment(hook, a_generation(TAKING, 12))

    assert actions[-2:] == [DropDeadLink(), TakeOver(3, STRANGER, 12)]
    assert decide(hook, a_memory(), None) == Remove()
    assert plan_removal(hook) == [DropDeadLink()]


def test_a_program_of_ours_is_nobody_to_take_over_from() -> None:
    """Its link ended a moment ago."""
    hook = ObservedHook(
        interface_index=3, foreign_program_id=11, generations={1: pinned(11), 2: pinned(12)}
    )

    actions = plan_attachment(hook, a_generation(TAKING, 12, 2))

    assert isinstance(actions[-1], AttachLink)


def test_what_was_taken_over_is_swapped_like_any_other() -> None:
    """The other owner's program stays kept."""
    hook = a_hook(attachment="xdp-native", displaced_program_id=STRANGER)

    actions = plan_attachment(hook, a_generation(TAKING, 12, 3))

    assert actions[-1] == ReplaceLinkProgram(11, 12)


def test_removing_a_chain_gives_the_hook_back() -> None:
    """To whom it was taken from."""
    hook = a_hook(attachment="xdp-generic", displaced_program_id=STRANGER)

    assert plan_removal(hook) == [DetachLink(3, 11, "generic", STRANGER)]


def test_another_way_takes_the_program_off_and_puts_it_on() -> None:
    """A link cannot change its way."""
    hook = a_hook(attachment="xdp-native")
    wanted = with_link(OLD, attach="generic")
    current = a_memory(OLD).current
    assert current is not None

    decision = decide(hook, a_memory(OLD), wanted)
    actions = plan_attachment(
        hook, msgspec.structs.replace(current, chain=wanted), attached_with=OLD.link
    )

    assert decision == PutBack(current)
    assert actions[-2:] == [DetachLink(3, 11, "native"), AttachLink(3, 11, "generic")]


def test_how_long_a_generation_is_kept_changes_no_program() -> None:
    """It is remembered, and that is all."""
    hook = a_hook(attachment="xdp-native")

    assert decide(hook, a_memory(OLD), with_link(OLD, keep_seconds=60)) == Configure()


@pytest.mark.parametrize("option", [{"counters": False}, {"frags": "on"}])
def test_what_shapes_the_program_links_it_anew(option: dict[str, Any]) -> None:
    """Options that instructions come of."""
    hook = a_hook(attachment="xdp-native")

    assert decide(hook, a_memory(OLD), with_link(OLD, **option)) == LinkAnew()


def test_whatever_fails_while_taking_over_the_stranger_runs_on() -> None:
    """At every step: what was done is undone."""
    steps = 0
    while True:
        kernel = FakeKernel()
        kernel.add_interface("data0")
        kernel.foreign[POINT] = kernel.add_program()
        ours = kernel.add_program()
        before = kernel.observe(POINT)
        generation = msgspec.structs.replace(a_generation(TAKING, ours), maps=())
        actions = plan_attachment(before, generation)
        kernel.fails_at = steps
        try:
            Steps(kernel).run(actions, POINT)
        except FakeFaultError:
            assert kernel.observe(POINT) == before
            steps += 1
        else:
            break

    assert kernel.observe(POINT).displaced_program_id == before.foreign_program_id
    assert steps == len(actions)
