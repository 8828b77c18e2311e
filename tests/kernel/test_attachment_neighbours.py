# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An executor's TC chains beside other owners: admitted, reported, moved, and in segments."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from services.node_executor.adapters import cls_bpf, hooks, pins
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.attachment import AnchorMissingError
from services.node_executor.generations import Point
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from shared.identifiers import Hook
from tests.support.executors import Executor, Wire, a_chain, a_program
from tests.support.other_owners import (
    a_foreign_program,
    a_judge,
    names,
    passes,
    seen_by,
    seen_in,
    wait_for,
)

EGRESS: Hook = "tc-egress"


def wanting(wire: Wire, **options: Any) -> DesiredChain:
    """A chain with these link options."""
    chain = a_chain(wire.name, a_program("one", hook=EGRESS), hook=EGRESS)
    return msgspec.structs.replace(chain, link=LinkOptions(**options))


@contextmanager
def neighbours(wire: Wire, *owners: str) -> Iterator[list[LinkedChain]]:
    """Programs of others on the hook, in this order."""
    index = socket.if_nametoindex(wire.name)
    with ExitStack() as stack:
        found = [stack.enter_context(a_foreign_program(EGRESS, name=name)) for name in owners]
        for theirs in found:
            made = hooks.attach(theirs.program, index, EGRESS, hook_point="p")
            stack.enter_context(made.link)
        yield found


def described(executor: Executor, wire: Wire, chain: DesiredChain) -> ObservedChain:
    """What the node says."""
    return executor.points.describe(Point(wire.name, EGRESS), chain, desired_generation=1)


def test_other_owners_stay_and_are_reported(executor: Executor, wire: Wire) -> None:
    """Who sees packets before the chain, and who after."""
    chain = wanting(wire, position="after:one")
    with neighbours(wire, "one", "two") as (one, two):
        executor.settle(chain, Point(wire.name, EGRESS), 1)
        seen = described(executor, wire, chain)
        passed = passes(wire.name, wire.peer)

        assert (seen.state, seen.attachment, seen.attachment_reason) == ("attached", "tcx", "")
        assert names(seen.runs_after) == ["one"]
        assert names(seen.runs_before) == ["two"]
        assert seen.runs_after[0].program_id == one.info.id
        assert (passed, seen_by(one), seen_by(two)) == (True, 1, 1)


def test_a_missing_neighbour_is_refused_before_anything_is_linked(
    executor: Executor, wire: Wire
) -> None:
    """It is asked again later, since it may come."""
    chain = wanting(wire, position="before:two")
    point = Point(wire.name, EGRESS)
    with neighbours(wire, "one"):
        with pytest.raises(AnchorMissingError) as caught:
            executor.points.admit(point, chain)
        executor.points.refuse(point, chain, desired_generation=1, error=caught.value)

    assert not executor.points.is_refused(point, chain)


def test_another_position_moves_the_chain(executor: Executor, wire: Wire) -> None:
    """The same program, elsewhere among the same others."""
    point = Point(wire.name, EGRESS)
    with neighbours(wire, "one", "two"):
        executor.settle(wanting(wire), point, 1)
        before = described(executor, wire, wanting(wire))
        moved = wanting(wire, position="first")
        was_linked = executor.settle(moved, point, 2)
        after = described(executor, wire, moved)

    assert names(before.runs_after) == ["one", "two"]
    assert names(after.runs_before) == ["one", "two"]
    assert (before.program_id, was_linked) == (after.program_id, False)


def test_owners_that_come_later_move_nothing(executor: Executor, wire: Wire) -> None:
    """They are seen, and no contest begins."""
    point, chain = Point(wire.name, EGRESS), wanting(wire, position="last")
    executor.settle(chain, point, 1)
    link_id = executor.kernel.observe(point).link_id
    with neighbours(wire, "late"):
        executor.settle(chain, point, 1)
        seen = described(executor, wire, chain)

    assert names(seen.runs_before) == ["late"]
    assert executor.kernel.observe(point).link_id == link_id


@pytest.mark.parametrize("attachment", ["tcx", "cls_bpf"])
@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
def test_segments_reach_each_other_wherever_they_are_attached(
    wire: Wire, base: PurePosixPath, attachment: Any, hook: Hook
) -> None:
    """Program arrays take programs of one attach type only, which is the hook's in both ways."""
    pins.prepare_pin_directory(base)
    index = socket.if_nametoindex(wire.name)
    policy = LinkPolicy(hook=hook, attachment=attachment, separate=frozenset({1, 2}))
    sources = [a_judge(-1, hook=hook, name=name) for name in ("first", "second", "third")]

    with ExitStack() as stack:
        chain = stack.enter_context(link_chain(sources, hook, name="cut", policy=policy))
        if attachment == "tcx":
            stack.enter_context(hooks.attach(chain.program, index, hook, hook_point="p").link)
        else:
            cls_bpf.attach(base, wire.name, index, hook, chain.program)
        ends = (wire.name, wire.peer) if hook == "tc-egress" else (wire.peer, wire.name)
        assert passes(*ends)

        assert len(chain.plan.segments) == 3
        wait_for(
            lambda: [seen_in(chain, source.name) for source in sources] == [1, 1, 1],
            what="every segment sees the frame once",
        )
