# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains in cls_bpf filters, as on kernels without TCX: the same promises, but for those named."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import PurePosixPath

import msgspec
import pytest

from services.node_executor.adapters import cls_bpf, hooks
from services.node_executor.adapters.kernel_errors import HookOwnedError, LinkChangedError
from services.node_executor.attachment import CLS_BPF_IS_WEAKER, ForeignOwnerError
from services.node_executor.generations import Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from shared.identifiers import Hook
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.interfaces import wait_until_gone
from tests.support.other_owners import a_foreign_program, pin_foreign

INGRESS: Hook = "tc-ingress"
FORCED = LinkOptions(attach="cls_bpf")


def a_forced_chain(
    wire: Wire, version: str = "1.0.0", *, hook: Hook = INGRESS, link: LinkOptions = FORCED
) -> DesiredChain:
    """A chain of one program that is to be attached in a filter."""
    chain = a_chain(wire.name, a_program("one", version, hook), hook=hook)
    return msgspec.structs.replace(chain, link=link)


def described(executor: Executor, point: Point, chain: DesiredChain | None) -> ObservedChain:
    """What the node says of the point."""
    return executor.points.describe(point, chain, desired_generation=1)


def run(command: str) -> str:
    """What the command prints; it succeeds."""
    done = subprocess.run(command.split(), check=True, capture_output=True, text=True)
    return done.stdout


def qdiscs(wire: Wire) -> str:
    """The interface's qdiscs."""
    return run(f"tc qdisc show dev {wire.name}")


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
def test_a_chain_is_attached_swapped_and_taken_off(
    executor: Executor, wire: Wire, base: PurePosixPath, hook: Hook
) -> None:
    """The qdisc that was made for it goes with it, and nothing stays pinned."""
    point = Point(wire.name, hook)
    first = a_forced_chain(wire, hook=hook)

    executor.settle(first, point, 1)
    seen = described(executor, point, first)
    executor.settle(a_forced_chain(wire, "2.0.0", hook=hook), point, 2)
    swapped = described(executor, point, first)
    executor.settle(None, point, 3)

    assert (seen.state, seen.attachment, seen.link_id) == ("attached", "cls_bpf", 0)
    assert CLS_BPF_IS_WEAKER in seen.attachment_reason
    assert swapped.program_id not in (0, seen.program_id)
    assert "clsact" not in qdiscs(wire)
    assert pins_below(base) == []
    wait_until_gone(programs=(seen.program_id, swapped.program_id))


def test_the_filter_is_named_after_its_pins(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Whoever looks at the interface finds whose it is."""
    executor.settle(a_forced_chain(wire), Point(wire.name, INGRESS), 1)

    shown = run(f"tc filter show dev {wire.name} ingress")

    assert f"l3af {base}/{wire.name}/{INGRESS}" in shown
    assert f"pref {cls_bpf.PRIORITY}" in shown


def test_a_new_process_adopts_what_it_finds(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The filter is read back; nothing is attached anew, and it can be swapped and taken off."""
    point = Point(wire.name, INGRESS)
    chain = a_forced_chain(wire)
    executor.settle(chain, point, 1)
    before = described(executor, point, chain)
    executor.stop()

    executor.kernel = real_kernel(base)
    executor.start()

    assert not executor.settle(chain, point, 1)
    assert described(executor, point, chain) == before
    executor.settle(None, point, 2)
    assert "clsact" not in qdiscs(wire)


def test_a_qdisc_that_was_there_stays(executor: Executor, wire: Wire) -> None:
    """It is somebody else's, even when it is empty."""
    run(f"tc qdisc add dev {wire.name} clsact")
    point = Point(wire.name, INGRESS)

    executor.settle(a_forced_chain(wire), point, 1)
    executor.settle(None, point, 2)

    assert "clsact" in qdiscs(wire)
    assert run(f"tc filter show dev {wire.name} ingress") == ""


def test_a_qdisc_with_filters_of_others_stays(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Ours was made here, but somebody else relies on it by now."""
    point = Point(wire.name, INGRESS)
    with a_foreign_program(INGRESS) as theirs:
        pin_foreign(theirs, base / "theirs" / "program")
        chain = a_forced_chain(wire)
        executor.settle(chain, point, 1)
        add = "ingress prio 10 bpf da pinned"
        run(f"tc filter add dev {wire.name} {add} {base}/theirs/program")

        seen = described(executor, point, chain)
        executor.settle(None, point, 2)

        assert [one.program_name for one in seen.runs_after] == ["theirs"]
        assert "theirs" in run(f"tc filter show dev {wire.name} ingress")


def test_both_directions_share_a_qdisc(executor: Executor, wire: Wire) -> None:
    """It goes with the last of them."""
    for hook in ("tc-ingress", "tc-egress"):
        executor.settle(a_forced_chain(wire, hook=hook), Point(wire.name, hook), 1)

    executor.settle(None, Point(wire.name, "tc-ingress"), 2)
    between = qdiscs(wire)
    executor.settle(None, Point(wire.name, "tc-egress"), 3)

    assert "clsact" in between
    assert "clsact" not in qdiscs(wire)


def test_a_filter_that_somebody_removed_is_seen_and_put_back(
    executor: Executor, wire: Wire
) -> None:
    """No pin keeps it: the log says that the hook drifted."""
    point = Point(wire.name, INGRESS)
    chain = a_forced_chain(wire)
    executor.settle(chain, point, 1)
    run(f"tc qdisc del dev {wire.name} clsact")

    gone = described(executor, point, chain)
    executor.settle(chain, point, 1)

    assert gone.state == "absent"
    assert "chain.drift" in executor.actions()
    assert described(executor, point, chain).state == "attached"


def test_somebody_else_s_filter_in_our_place_is_refused_by_name(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """It is left alone, and the qdisc as it was."""
    with a_foreign_program(INGRESS) as theirs:
        pin_foreign(theirs, base / "theirs" / "program")
        run(f"tc qdisc add dev {wire.name} clsact")
        where = f"ingress prio {cls_bpf.PRIORITY} handle {cls_bpf.HANDLE}"
        run(f"tc filter add dev {wire.name} {where} bpf da pinned {base}/theirs/program")

        point, chain = Point(wire.name, INGRESS), a_forced_chain(wire)
        with pytest.raises(ForeignOwnerError, match="theirs") as before_acceptance:
            executor.points.admit(point, chain)
        with pytest.raises(HookOwnedError, match="theirs"):
            executor.settle(chain, point, 1)

        assert before_acceptance.value.reasons[0].allowed == "attach = tcx"
        assert "theirs" in run(f"tc filter show dev {wire.name} ingress")
        executor.settle(a_forced_chain(wire, hook="tc-egress"), Point(wire.name, "tc-egress"), 1)


@pytest.mark.parametrize(
    ("filter_words", "is_refused"),
    [
        ("prio {ours} protocol ip u32 match u32 0 0 classid 1:1", True),
        ("prio {ours} protocol ip bpf da pinned {path}", True),
        ("prio {ours} handle 2 bpf da pinned {path}", False),
        ("prio {ours} chain 7 bpf da pinned {path}", False),
        ("prio 5 bpf da pinned {path}", False),
    ],
)
def test_any_filter_that_leaves_no_room_is_refused_before_acceptance(
    executor: Executor, wire: Wire, base: PurePosixPath, filter_words: str, is_refused: bool
) -> None:
    """The kernel gives a preference one kind and one protocol; others stand beside ours."""
    path = base / "theirs" / "program"
    with a_foreign_program(INGRESS) as theirs:
        pin_foreign(theirs, path)
        run(f"tc qdisc add dev {wire.name} clsact")
        words = filter_words.format(ours=cls_bpf.PRIORITY, path=path)
        run(f"tc filter add dev {wire.name} ingress {words}")
        point, chain = Point(wire.name, INGRESS), a_forced_chain(wire)

        if is_refused:
            with pytest.raises(ForeignOwnerError):
                executor.points.admit(point, chain)
            with pytest.raises(HookOwnedError):
                executor.settle(chain, point, 1)
        else:
            executor.points.admit(point, chain)
            executor.settle(chain, point, 1)

        assert (described(executor, point, chain).state == "attached") != is_refused


def test_a_swap_looks_before_it_replaces(executor: Executor, wire: Wire) -> None:
    """The kernel would not compare, so the program that is there is compared just before."""
    point = Point(wire.name, INGRESS)
    executor.settle(a_forced_chain(wire), point, 1)
    program_id = executor.kernel.observe(point).link_program_id

    with pytest.raises(LinkChangedError):
        executor.kernel.replace(point, expected_program_id=1, program_id=program_id)


@pytest.mark.parametrize("is_qdisc_there", [True, False])
def test_what_a_killed_process_left_of_a_qdisc_is_swept(
    wire: Wire, base: PurePosixPath, is_qdisc_there: bool
) -> None:
    """The mark says that it was made here; without filters it is of no use."""
    real_kernel(base)
    index = socket.if_nametoindex(wire.name)
    with a_foreign_program(INGRESS) as chain:
        cls_bpf.attach(base, wire.name, index, INGRESS, chain.program)
    run(f"tc filter del dev {wire.name} ingress")
    if not is_qdisc_there:
        run(f"tc qdisc del dev {wire.name} clsact")
    assert pins_below(base) == [f"{wire.name}/clsact"]

    real_kernel(base)

    assert "clsact" not in qdiscs(wire)
    assert pins_below(base) == []


def test_a_mark_of_an_interface_that_is_gone_says_nothing(wire: Wire, base: PurePosixPath) -> None:
    """Another interface came under its name, with a qdisc of somebody else."""
    real_kernel(base)
    with a_foreign_program(INGRESS) as chain:
        index = socket.if_nametoindex(wire.name)
        cls_bpf.attach(base, wire.name, index, INGRESS, chain.program)
    run(f"ip link del {wire.name}")
    run(f"ip link add {wire.name} type veth peer name {wire.peer}")
    run(f"tc qdisc add dev {wire.name} clsact")

    real_kernel(base)

    assert "clsact" in qdiscs(wire)
    assert pins_below(base) == []


def test_a_chain_moves_from_a_filter_to_a_link_when_it_may(executor: Executor, wire: Wire) -> None:
    """The option went away, and this kernel has TCX."""
    point = Point(wire.name, INGRESS)
    executor.settle(a_forced_chain(wire), point, 1)

    chain = a_forced_chain(wire, link=LinkOptions())
    executor.settle(chain, point, 2)

    assert described(executor, point, chain).attachment == "tcx"
    assert len(hooks.occupants(socket.if_nametoindex(wire.name), INGRESS)) == 1
    assert "clsact" not in qdiscs(wire)


def test_no_frame_is_missed_while_filters_are_replaced(executor: Executor, wire: Wire) -> None:
    """Every frame is counted by the old program or the new one."""
    point = Point(wire.name, INGRESS)
    frames = 2000
    executor.settle(a_forced_chain(wire), point, 1)
    sender = threading.Thread(target=send_frames, args=(wire.peer, frames))

    sender.start()
    swaps = 0
    while sender.is_alive() or swaps < 4:
        swaps += 1
        version = ("1.1.0", "1.0.0")[swaps % 2]
        executor.settle(a_forced_chain(wire, version), point, swaps + 1)
    sender.join()

    assert executor.scalar(point, "one") == frames
