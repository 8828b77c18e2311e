# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Other owners on a managed TC hook, links that others hold, and what ran before a refusal."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from services.node_executor.adapters import hooks, pins
from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy
from shared.contracts.link_options import AttachChoice, LinkOptions
from shared.errors import RefusedError
from shared.identifiers import Hook
from tests.support.executors import Executor, Wire, a_chain, a_program, send_frames
from tests.support.other_owners import a_foreign_program, pin_foreign

INGRESS: Hook = "tc-ingress"


def a_tc_chain(
    wire: Wire, policy: DriftPolicy = "repair", attach: AttachChoice = "tcx"
) -> DesiredChain:
    """One program on the way in."""
    chain = a_chain(wire.name, a_program("one", hook=INGRESS), hook=INGRESS)
    return msgspec.structs.replace(chain, link=LinkOptions(drift=policy, attach=attach))


def drifts(executor: Executor) -> list[dict[str, Any]]:
    """Details of every event that says drift, oldest first."""
    events = [event.data for event in executor.events()]
    return [one.details for one in events if one.action == "chain.drift"]


def run(command: str) -> None:
    """What somebody types."""
    subprocess.run(command.split(), check=True, capture_output=True)


@contextmanager
def a_neighbour(wire: Wire, base: PurePosixPath, attach: AttachChoice) -> Iterator[int]:
    """Another owner's program beside the chain; its id."""
    with a_foreign_program(INGRESS) as theirs:
        if attach == "tcx":
            index = socket.if_nametoindex(wire.name)
            with hooks.attach(theirs.program, index, INGRESS, hook_point="p").link:
                yield theirs.info.id
            return
        pin_foreign(theirs, base / "theirs" / "program")
        run(f"tc filter add dev {wire.name} ingress bpf da pinned {base}/theirs/program")
        yield theirs.info.id
        run(f"tc filter del dev {wire.name} ingress prio 49152")
        pins.unpin(base / "theirs" / "program", base=base)


DONE: dict[DriftPolicy, str] = {"repair": "left-to-owner", "alarm": "left", "adopt": "adopted"}


@pytest.mark.parametrize("attach", ["tcx", "cls_bpf"])
@pytest.mark.parametrize("policy", DONE)
def test_a_neighbour_that_comes_is_said_once_and_left_alone(
    executor: Executor,
    wire: Wire,
    base: PurePosixPath,
    attach: AttachChoice,
    policy: DriftPolicy,
) -> None:
    """Both see every packet; it is shown until it goes, unless it was accepted."""
    point, chain = Point(wire.name, INGRESS), a_tc_chain(wire, policy, attach)
    executor.settle(chain, point, 1)
    with a_neighbour(wire, base, attach) as theirs:
        for _ in range(2):
            executor.settle(chain, point, 1)
        with_it = executor.points.describe(point, chain, desired_generation=1)
        send_frames(wire.peer, 5)
        ran = executor.scalar(point, "one")
    executor.settle(chain, point, 1)
    without = executor.points.describe(point, chain, desired_generation=1)

    (found,) = drifts(executor)
    assert (found["kind"], found["done"], found["policy"]) == (
        "neighbour-came",
        DONE[policy],
        policy,
    )
    assert found["found"]["program_id"] == theirs
    assert found["found"]["program_name"] == "theirs"
    assert (with_it.state, len(with_it.drift), without.drift) == (
        "attached",
        0 if policy == "adopt" else 1,
        (),
    )
    assert ran == 5


def test_neighbours_that_were_there_first_are_no_drift(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Nor are those that were there when an executor without memory came."""
    point, chain = Point(wire.name, INGRESS), a_tc_chain(wire)
    with a_neighbour(wire, base, "tcx"):
        for _ in range(2):
            executor.settle(chain, point, 1)

    assert drifts(executor) == []


@pytest.mark.parametrize(("policy", "state"), [("repair", "attached"), ("alarm", "failed")])
def test_a_filter_that_goes_with_its_qdisc(
    executor: Executor, wire: Wire, policy: DriftPolicy, state: str
) -> None:
    """`tc qdisc del` takes our filter too."""
    point, chain = Point(wire.name, INGRESS), a_tc_chain(wire, policy, "cls_bpf")
    executor.settle(chain, point, 1)
    run(f"tc qdisc del dev {wire.name} clsact")
    for _ in range(2):
        executor.settle(chain, point, 1)

    seen = executor.points.describe(point, chain, desired_generation=1)
    (found,) = drifts(executor)
    assert (found["kind"], seen.state) == ("link-gone", state)


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_an_unpinned_link_that_somebody_holds_is_pinned_again(
    executor: Executor, wire: Wire, base: PurePosixPath, hook: Hook
) -> None:
    """Its program never left the hook, so no packet is missed."""
    point = Point(wire.name, hook)
    chain = a_chain(wire.name, a_program("one", hook=hook), hook=hook)
    executor.settle(chain, point, 1)
    path = base / wire.name / hook / "link"
    before = executor.kernel.observe(point)
    held = pins.open_pinned(path)
    assert held is not None
    with held:
        Path(path).unlink()
        executor.settle(chain, point, 1)
    send_frames(wire.peer, 5)

    after = executor.kernel.observe(point)
    (found,) = drifts(executor)
    assert (found["kind"], found["done"]) == ("link-gone", "repair")
    assert (after.link_id, after.link_program_id) == (before.link_id, before.link_program_id)
    assert executor.scalar(point, "one") == 5


def test_what_ran_before_a_refusal_is_looked_after(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The refused chain is not tried again for it, and what ran comes back."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    refused = a_chain(wire.name, a_program("one", "3.0.0"))
    error = RefusedError("the verifier says no", code="verifier_rejected")
    executor.points.refuse(point, refused, desired_generation=2, error=error)
    Path(base / wire.name / "xdp" / "link").unlink()
    before = executor.points.memory(point).current
    assert before is not None

    for _ in range(2):
        executor.points.uphold(point)

    assert executor.kernel.observe(point).link_program_id == before.program_id
    assert executor.actions()[2:] == [
        *("chain.change", "chain.drift", "chain.request", "chain.attach")
    ]


def test_an_interface_that_was_made_anew_is_no_drift(executor: Executor, wire: Wire) -> None:
    """Nobody took the chain away; it follows."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    run(f"ip link del {wire.name}")
    run(f"ip link add {wire.name} type veth peer name {wire.peer}")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)

    assert executor.kernel.observe(point).link_is_live
    assert drifts(executor) == []
