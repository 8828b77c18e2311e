# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""XDP hooks that somebody else holds: refused by name, or taken over and given back."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath

import msgspec
import pytest

from services.node_executor.adapters import hooks, kernel_info, pins, xdp_netlink
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.attachment import TAKEN_OVER, ForeignOwnerError
from services.node_executor.generations import Point
from services.node_executor.pin_paths import displaced_path, link_path
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from tests.support.executors import Executor, Wire, a_chain, a_program, pins_below, send_frames
from tests.support.interfaces import wait_until_gone
from tests.support.other_owners import a_foreign_program, seen_by

KINDS = ("netlink", "link")
TAKING = LinkOptions(take_over=True)


@dataclass
class Owner:
    """Somebody whose program is on an XDP hook."""

    point: Point
    index: int
    program_id: int
    link: Descriptor | None
    frames: Callable[[], int]

    @property
    def runs(self) -> int:
        """What the hook runs now."""
        return xdp_netlink.program_on(self.index)


@pytest.fixture(params=KINDS)
def owner(request: pytest.FixtureRequest, wire: Wire, base: PurePosixPath) -> Iterator[Owner]:
    """An owner that attached as `ip link` does, and one with a bpf_link."""
    index = socket.if_nametoindex(wire.name)
    with ExitStack() as stack:
        theirs = stack.enter_context(a_foreign_program("xdp"))
        link: Descriptor | None = None
        pins.prepare_pin_directory(base / "theirs")
        pins.pin(theirs.program, base / "theirs" / "program")
        if request.param == "netlink":
            run(f"ip link set {wire.name} xdp pinned {base}/theirs/program")
        else:
            made = hooks.attach(theirs.program, index, "xdp", hook_point="p").link
            assert isinstance(made, Descriptor)
            link = stack.enter_context(made)
        yield Owner(Point(wire.name, "xdp"), index, theirs.info.id, link, lambda: seen_by(theirs))
        run(f"ip link set {wire.name} xdp off", check=False)
        pins.unpin(base / "theirs" / "program", base=base)


def run(command: str, *, check: bool = True) -> None:
    """Run the command."""
    subprocess.run(command.split(), check=check, capture_output=True)


def taking(point: Point, version: str = "1.0.0", link: LinkOptions = TAKING) -> DesiredChain:
    """A chain that takes the hook over."""
    chain = a_chain(point.interface, a_program("one", version))
    return msgspec.structs.replace(chain, link=link)


def test_the_owner_is_named_with_everything_that_is_known(
    executor: Executor, owner: Owner, base: PurePosixPath
) -> None:
    """Program, id, tag, link, pins and processes, and how to take the hook over."""
    info = executor.kernel.program(owner.program_id)

    with pytest.raises(ForeignOwnerError) as caught:
        executor.points.admit(owner.point, taking(owner.point, link=LinkOptions()))

    (reason,) = caught.value.reasons
    assert isinstance(reason.got, dict)
    assert (reason.got["program"], reason.got["program_id"]) == ("theirs", owner.program_id)
    assert reason.got["tag"] == info.tag
    assert reason.got["pinned"] == [f"{base}/theirs/program"]
    assert any(str(os.getpid()) in holder for holder in reason.got["processes"])
    link_id = kernel_info.link_info(owner.link.fd).id if owner.link else 0
    assert reason.got["link"] == (f"xdp link {link_id}" if link_id else "none (netlink)")
    for part in ("theirs", str(owner.program_id), info.tag, f"{base}/theirs/program", "take_over"):
        assert part in caught.value.message


def test_nothing_is_taken_over_unasked(executor: Executor, owner: Owner) -> None:
    """The refusal changes nothing."""
    with pytest.raises(ForeignOwnerError):
        executor.settle(taking(owner.point, link=LinkOptions()), owner.point, 1)

    assert owner.runs == owner.program_id


def test_a_hook_is_taken_over_swapped_and_given_back(
    executor: Executor, owner: Owner, base: PurePosixPath
) -> None:
    """At the end the other's program runs as before, and nothing of ours is left."""
    first, second = taking(owner.point), taking(owner.point, "2.0.0")

    executor.settle(first, owner.point, 1)
    seen = executor.points.describe(owner.point, first, desired_generation=1)
    executor.settle(second, owner.point, 2)
    swapped = owner.runs
    executor.settle(None, owner.point, 3)

    attached = next(one.data for one in executor.events() if one.data.action == "chain.attach")
    assert seen.displaced is not None
    assert attached.details["displaced"]["program_id"] == owner.program_id
    assert "TakeOver" in executor.events()[0].data.details["steps"]
    assert (seen.displaced.program_id, seen.displaced.program_name) == (owner.program_id, "theirs")
    assert seen.attachment_reason == TAKEN_OVER
    assert seen.attachment == "xdp-native"
    assert swapped not in (owner.program_id, seen.program_id)
    assert owner.runs == owner.program_id
    assert pins_below(base) == ["theirs/program"]
    wait_until_gone(programs=(seen.program_id, swapped))


def test_every_frame_meets_one_of_the_two_programs(
    executor: Executor, owner: Owner, wire: Wire
) -> None:
    """There is no moment without a program: taking over and giving back are one step each."""
    frames = 300
    send_frames(wire.peer, frames)
    executor.settle(taking(owner.point), owner.point, 1)
    send_frames(wire.peer, frames)
    ours = executor.scalar(owner.point, "one")
    executor.settle(None, owner.point, 2)
    send_frames(wire.peer, frames)

    assert ours == frames
    assert owner.frames() == 2 * frames


def test_a_new_process_knows_what_was_taken_over(executor: Executor, owner: Owner) -> None:
    """The pin says whose place it is, so it is given back even without the memory of it."""
    chain = taking(owner.point)
    executor.settle(chain, owner.point, 1)
    before = executor.points.describe(owner.point, chain, desired_generation=1)
    executor.stop()
    executor.start()

    assert executor.points.describe(owner.point, chain, desired_generation=1) == before
    assert not executor.settle(chain, owner.point, 1)
    executor.settle(None, owner.point, 2)

    assert owner.runs == owner.program_id


def test_an_owner_who_comes_back_meanwhile_is_displaced_again(
    executor: Executor, owner: Owner, base: PurePosixPath
) -> None:
    """What is given back is what the owner ran last."""
    executor.settle(taking(owner.point), owner.point, 1)
    with a_foreign_program("xdp", name="newer") as newer:
        ours = owner.runs
        if owner.link is not None:
            hooks.replace_program(owner.link, newer.program, expected_id=ours)
        else:
            kind = xdp_netlink.kind_on(owner.index)
            xdp_netlink.replace_program(owner.index, newer.program, expected_id=ours, kind=kind)

        executor.settle(taking(owner.point), owner.point, 1)
        taken_again = owner.runs
        executor.settle(None, owner.point, 2)

        assert taken_again != newer.info.id
        assert owner.runs == newer.info.id
    assert pins_below(base) == ["theirs/program"]


def test_an_owner_who_came_back_is_left_alone_at_the_end(executor: Executor, owner: Owner) -> None:
    """Only a program of ours is replaced by the one that was displaced."""
    executor.settle(taking(owner.point), owner.point, 1)
    with a_foreign_program("xdp", name="newer") as newer:
        if owner.link is not None:
            hooks.replace_program(owner.link, newer.program, expected_id=owner.runs)
        else:
            kind = xdp_netlink.kind_on(owner.index)
            program = newer.program
            xdp_netlink.replace_program(owner.index, program, expected_id=owner.runs, kind=kind)

        executor.settle(None, owner.point, 2)

        assert owner.runs == newer.info.id


def leave_pinned(owner: Owner, base: PurePosixPath) -> None:
    """Killed after the other's program was pinned."""
    with kernel_info.program_by_id(owner.program_id) as program:
        pins.pin(program, displaced_path(base, *owner.point))


def leave_link_pinned(owner: Owner, base: PurePosixPath) -> None:
    """Killed after the other's link was pinned too, before its program was replaced."""
    leave_pinned(owner, base)
    if owner.link is not None:
        pins.pin(owner.link, link_path(base, *owner.point))


@pytest.mark.parametrize("moment", [leave_pinned, leave_link_pinned])
@pytest.mark.parametrize("is_wanted", [True, False])
def test_whoever_dies_while_taking_over_harms_nobody(
    executor: Executor,
    owner: Owner,
    base: PurePosixPath,
    moment: Callable[[Owner, PurePosixPath], None],
    is_wanted: bool,
) -> None:
    """The next process goes on with it, or takes the pins away; the other's program runs on."""
    executor.stop()
    moment(owner, base)
    executor.start()
    chain = taking(owner.point)

    assert owner.runs == owner.program_id
    if is_wanted:
        executor.settle(chain, owner.point, 1)
        assert executor.points.describe(owner.point, chain, desired_generation=1).displaced
    executor.settle(None, owner.point, 2)

    assert owner.runs == owner.program_id
    assert pins_below(base) == ["theirs/program"]


def test_whoever_dies_after_giving_back_harms_nobody(
    executor: Executor, owner: Owner, base: PurePosixPath
) -> None:
    """The other's program runs already; what is left of ours are pins."""
    chain = taking(owner.point)
    executor.settle(chain, owner.point, 1)
    ours = owner.runs
    with kernel_info.program_by_id(owner.program_id) as program:
        if owner.link is not None:
            hooks.replace_program(owner.link, program, expected_id=ours)
        else:
            kind = xdp_netlink.kind_on(owner.index)
            xdp_netlink.replace_program(owner.index, program, expected_id=ours, kind=kind)
    executor.stop()
    executor.start()

    executor.settle(None, owner.point, 2)

    assert owner.runs == owner.program_id
    assert pins_below(base) == ["theirs/program"]
    wait_until_gone(programs=(ours,))


def test_an_interface_that_goes_takes_the_obligation_with_it(
    executor: Executor, owner: Owner, wire: Wire, base: PurePosixPath
) -> None:
    """There is nothing to give back to."""
    executor.settle(taking(owner.point), owner.point, 1)
    run(f"ip link del {wire.name}")

    executor.settle(None, owner.point, 2)

    assert pins_below(base) == ["theirs/program"]
