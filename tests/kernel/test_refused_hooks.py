# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains that an interface does not take: another one of that name, another way, another place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec
import pytest
from pyroute2 import IPRoute

from services.node_executor.attachment import AnchorMissingError, AttachmentRefusedError
from services.node_executor.generations import Point
from services.node_executor.packages import OpenedPackage
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.identifiers import Hook
from tests.support.bpf_objects import bpf_object
from tests.support.executors import (
    Executor,
    Published,
    Wire,
    a_chain,
    a_program,
    a_wire,
    packed,
    real_kernel,
    send_frames,
)
from tests.support.namespaces import a_pair, ip
from tests.support.node_fleets import NODE, Fleet, a_fleet

JUMBO = 9000


def bound_package() -> Published:
    """A package whose program asks the driver, so that it is loaded for one interface."""
    manifest = PackageManifest(
        name="asking",
        version="1.0.0",
        summary="Asks the driver",
        licence="GPL-2.0-only OR BSD-2-Clause",
        programs=(
            ProgramEntry(
                name="asks", object="metadata.bpf.o", function="asks_driver", hooks=("xdp",)
            ),
        ),
    )
    return packed(manifest, {"metadata.bpf.o": bpf_object("metadata")})


def a_bound_program(revision: int = 1) -> DesiredProgram:
    """The program of that package."""
    return DesiredProgram(
        deployment="one",
        revision=revision,
        package="asking",
        version="1.0.0",
        program="asks",
        function="asks_driver",
        object="metadata.bpf.o",
        order=10,
        proceed_on=("pass",),
        signed=bound_package().signed,
    )


def opened(program: DesiredProgram, hook: Hook) -> OpenedPackage:
    """Verified as before every load."""
    assert (program.package, hook) == ("asking", "xdp")
    return bound_package().opened()


def wanting(interface: str, hook: Hook = "xdp", **options: object) -> DesiredChain:
    """A chain with these link options."""
    chain = a_chain(interface, a_program("one", hook=hook), hook=hook)
    return msgspec.structs.replace(chain, link=msgspec.convert(options, LinkOptions))


@contextmanager
def a_jumbo_pair(stem: str) -> Iterator[Wire]:
    """A veth pair that never had another MTU than 9,000 bytes."""
    one, other = f"{stem}a", f"{stem}b"
    mtu = ("mtu", str(JUMBO))
    ip("link", "add", one, *mtu, "type", "veth", "peer", "name", other, *mtu)
    try:
        for name in (one, other):
            ip("link", "set", name, "up")
        yield Wire(one, other)
    finally:
        ip("link", "del", one)


def make_jumbo(wire: Wire) -> None:
    """The MTU of both ends is 9,000 bytes."""
    with IPRoute() as route:
        for name in (wire.name, wire.peer):
            route.link("set", index=route.link_lookup(ifname=name)[0], mtu=JUMBO)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Everything runs, and the executor registered."""
    async with a_fleet(tmp_path, Fleet) as made:
        bound = bound_package()
        made.archives[bound.signed.archive_sha256] = bound.archive
        await made.start_and_register()
        yield made


async def _seen(fleet: Fleet, generation: int, interface: str) -> ObservedChain:
    observed = await fleet.observed(generation)
    return next(one for one in observed.chains if one.interface == interface)


def test_a_bound_program_is_linked_anew_for_the_next_interface_of_that_name(
    base: PurePosixPath, tmp_path: Path
) -> None:
    """It cannot run on another device than it was loaded for; its counts go on all the same."""
    executor = Executor(real_kernel(base), tmp_path / "state.sqlite")
    executor.opened = opened
    executor.start()
    with a_wire() as wire:
        point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_bound_program())
        executor.settle(chain, point, 1)
        send_frames(wire.peer, 3)
        counted_before = executor.scalar(point, "one", "results")

    with a_wire(wire.name[:-1]) as wire:
        was_linked = executor.settle(chain, point, 1)
        again = executor.settle(chain, point, 1)
        send_frames(wire.peer, 3)
        seen = executor.points.describe(point, chain, desired_generation=1)
        counted = executor.scalar(point, "one", "results")
    executor.stop()

    assert was_linked
    assert not again
    assert (seen.state, seen.attachment) == ("attached", "xdp-native")
    assert counted_before > 0
    assert counted == 2 * counted_before


def test_what_was_staged_for_the_interface_before_is_not_used(
    base: PurePosixPath, tmp_path: Path
) -> None:
    """What a bound chain needs is something else once the interface is another one."""
    executor = Executor(real_kernel(base), tmp_path / "state.sqlite")
    executor.start()
    with a_wire() as wire:
        point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_bound_program())
        before = executor.points.needs(point, chain)
        assert before is not None
    with a_wire(wire.name[:-1]):
        after = executor.points.needs(point, chain)
    executor.stop()

    assert before != after


def test_what_is_known_to_be_refused_takes_nothing_off_the_hook(
    executor: Executor, wire: Wire
) -> None:
    """Neither when it is staged nor when it is desired all the same: the link stays."""
    point = Point(wire.name, "xdp")
    executor.settle(wanting(wire.name, attach="native"), point, 1)
    before = executor.kernel.observe(point)

    with pytest.raises(AttachmentRefusedError, match="cannot run XDP in hardware"):
        executor.points.admit(point, wanting(wire.name, attach="offload"))
    with pytest.raises(AttachmentRefusedError, match="cannot run XDP in hardware"):
        executor.settle(wanting(wire.name, attach="offload"), point, 2)

    assert executor.kernel.observe(point) == before


@pytest.mark.parametrize("position", ["before:nothere", "after:self"])
def test_a_place_beside_nobody_takes_nothing_off_the_hook(
    executor: Executor, wire: Wire, position: str
) -> None:
    """A chain does not stand beside itself either."""
    point = Point(wire.name, "tc-ingress")
    executor.settle(wanting(wire.name, point.hook), point, 1)
    before = executor.kernel.observe(point)
    wanted = position.replace("self", str(before.link_program_id))
    chain = wanting(wire.name, point.hook, position=wanted)

    with pytest.raises(AnchorMissingError):
        executor.points.admit(point, chain)
    with pytest.raises(AnchorMissingError):
        executor.settle(chain, point, 2)

    assert executor.kernel.observe(point) == before


def test_what_only_the_driver_refuses_leaves_chain_and_reason_as_they_were(
    executor: Executor, wire: Wire
) -> None:
    """Generic because the driver does not take the MTU, and so it stays; the words do too."""
    make_jumbo(wire)
    point, chain = Point(wire.name, "xdp"), wanting(wire.name)
    executor.settle(chain, point, 1)
    before = executor.points.describe(point, chain, desired_generation=1)

    with pytest.raises(AttachmentRefusedError, match="Peer MTU is too large"):
        executor.settle(wanting(wire.name, attach="native"), point, 2)

    after = executor.points.describe(point, chain, desired_generation=1)
    assert "Peer MTU is too large" in before.attachment_reason
    assert after.attachment_reason == before.attachment_reason
    assert (after.attachment, after.program_id) == (before.attachment, before.program_id)


async def test_a_bound_chain_follows_its_name_in_a_running_executor(
    fleet: Fleet,
) -> None:
    """The process goes on, and a later generation of the chain is linked and put back as ever."""
    with a_pair() as wire:
        chain = a_chain(wire.name, a_bound_program())
        before = await _seen(fleet, await fleet.desire(chain), wire.name)
    with a_pair(wire.name[:-1]):
        kernel, point = real_kernel(fleet.base / NODE), Point(wire.name, "xdp")

        async def runs() -> bool:
            return kernel.observe(point).link_program_id not in (0, before.program_id)

        await fleet.until(runs)
        empty = await fleet.observed(await fleet.desire())
        assert empty.chains == ()
        exit_status = fleet.stop()

    assert before.state == "attached"
    assert exit_status == 0
    assert "process_failed" not in fleet.log()


async def test_a_chain_that_cannot_be_put_back_ends_neither_the_process_nor_other_changes(
    fleet: Fleet, wire: Wire
) -> None:
    """Native, on an interface that came back with an MTU the driver does not take it at."""
    other = a_chain(wire.name, a_program("two"))
    with a_pair() as lost:
        chain = wanting(lost.name, attach="native")
        first = await _seen(fleet, await fleet.desire(chain), lost.name)
    with a_jumbo_pair(lost.name[:-1]):
        refused = await _refused(fleet, lost.name)
        again = await fleet.desire(chain, other)
        goes_on = await _seen(fleet, again, wire.name)
        still = await _seen(fleet, again, lost.name)
        exit_status = fleet.stop()

    assert first.state == "attached"
    assert "Peer MTU is too large" in refused
    assert goes_on.state == "attached"
    assert (still.state, still.refusal is not None) == ("failed", True)
    assert exit_status == 0
    assert "process_failed" not in fleet.log()


async def _refused(fleet: Fleet, interface: str) -> str:
    said = [""]

    async def is_said() -> bool:
        observed = await fleet.observed(1)
        found = [one.refusal for one in observed.chains if one.interface == interface]
        said[0] = found[0].message if found and found[0] else ""
        return bool(said[0])

    await fleet.until(is_said)
    return said[0]


async def test_a_confirmed_chain_comes_back_to_its_interface_while_a_newer_one_is_refused(
    fleet: Fleet,
) -> None:
    """It is bound to its device, so it is linked anew; the refusal stays, and is said once."""
    with a_pair() as wire:
        first = await fleet.desire(a_chain(wire.name, a_bound_program()))
        before = await _seen(fleet, first, wire.name)
        newer = msgspec.structs.replace(a_bound_program(2), function="is_not_there")
        second = await fleet.desire(a_chain(wire.name, newer, command="command-2"))
        refused = await _seen(fleet, second, wire.name)
    assert (refused.state, refused.program_id) == ("attached", before.program_id)

    with a_pair(wire.name.removesuffix("a")):

        async def is_back() -> bool:
            seen = await _seen(fleet, second, wire.name)
            return seen.state == "attached" and seen.program_id != before.program_id

        await fleet.until(is_back)
        again = await _seen(fleet, second, wire.name)
        said = await fleet.said(4)

    assert again.refusal is not None
    assert again.refusal == refused.refusal
    assert [one.revision for one in again.programs] == [1], "of what runs"
    assert again.attachment == "xdp-native"
    assert said.count("chain.change") == 1
    assert said[-1] == "chain.attach"
