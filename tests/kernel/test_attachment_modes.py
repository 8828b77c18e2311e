# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""XDP chains whose way of being attached changes: drivers that take them later, and other tools."""

from __future__ import annotations

import subprocess

import msgspec
import pytest

from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import AttachChoice, LinkOptions
from shared.contracts.node import ObservedChain
from tests.support.executors import Executor, Wire, a_chain, a_program, send_frames
from tests.support.namespaces import ip


def a_way(wire: Wire, attach: AttachChoice = "auto") -> DesiredChain:
    """A chain that counts, attached that way."""
    chain = a_chain(wire.name, a_program("one"))
    return msgspec.structs.replace(chain, link=LinkOptions(attach=attach))


def settled(executor: Executor, chain: DesiredChain, point: Point) -> ObservedChain:
    """What is said after a round with the same desired record."""
    executor.settle(chain, point, 1)
    return executor.points.describe(point, chain, desired_generation=1)


@pytest.mark.parametrize("near", [False, True])
def test_a_chain_goes_back_to_its_driver_once_packets_are_small_enough(
    executor: Executor, wire: Wire, near: bool
) -> None:
    """In the next round, by one detach and one attach of the same program; then it rests."""
    ends = (wire.name, wire.peer) if near else (wire.peer,)
    for end in ends:
        ip("link", "set", end, "mtu", "9000")
    chain, point = a_way(wire), Point(wire.name, "xdp")
    before = settled(executor, chain, point)
    send_frames(wire.peer, 3)
    assert executor.rests(chain, point, 1)

    for end in ends:
        ip("link", "set", end, "mtu", "1500")
    after = settled(executor, chain, point)
    send_frames(wire.peer, 4)

    assert (before.attachment, after.attachment) == ("xdp-generic", "xdp-native")
    assert "refused xdp-native" in before.attachment_reason
    assert after.attachment_reason == ""
    assert after.program_id == before.program_id
    assert executor.scalar(point, "one") == 7
    assert executor.actions() == 2 * ["chain.request", "chain.attach"]
    assert executor.rests(chain, point, 1)


@pytest.mark.parametrize(("attach", "mtu"), [("auto", "9600"), ("auto", "8000"),
                                             ("generic", "1500")])  # fmt: skip
def test_a_chain_stays_where_it_is_if_its_driver_would_not_take_it(
    executor: Executor, wire: Wire, attach: AttachChoice, mtu: str
) -> None:
    """Larger packets are no reason to try; after one attempt in vain it rests; a wish is a wish."""
    ip("link", "set", wire.peer, "mtu", "9000")
    chain, point = a_way(wire, attach), Point(wire.name, "xdp")
    before = settled(executor, chain, point)

    ip("link", "set", wire.peer, "mtu", mtu)
    after = settled(executor, chain, point)

    assert (after.attachment, after.program_id) == ("xdp-generic", before.program_id)
    assert executor.rests(chain, point, 1)
    assert executor.actions().count("chain.attach") == (2 if mtu == "8000" else 1)


def test_a_program_of_ours_that_a_tool_attached_otherwise_is_put_back(
    executor: Executor, wire: Wire
) -> None:
    """The link was detached, and the same program put on the interface without one, generic."""
    chain, point = a_way(wire), Point(wire.name, "xdp")
    before = settled(executor, chain, point)
    for command in (
        f"bpftool link detach id {before.link_id}",
        f"bpftool net attach xdpgeneric id {before.program_id} dev {wire.name}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)

    after = settled(executor, chain, point)
    send_frames(wire.peer, 2)

    assert (after.state, after.attachment) == ("attached", "xdp-native")
    assert after.refusal is None
    assert after.link_id not in (0, before.link_id)
    assert "chain.drift" in executor.actions()
    assert executor.scalar(point, "one") == 2
