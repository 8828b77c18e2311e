# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which places for chains hold programs of others, as the inventory says it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import PurePosixPath

import msgspec
import pytest

from services.node_executor.adapters import cls_bpf, hooks
from services.node_executor.adapters.netlink import Netlink
from services.node_executor.generations import Point
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import NODES, TakenSlot
from shared.identifiers import Hook
from tests.support.executors import Executor, Wire, a_chain, a_program
from tests.support.node_fleets import NODE, Fleet
from tests.support.other_owners import a_foreign_program, pin_foreign


def taken(base: PurePosixPath, wire: Wire, *own: int) -> list[TakenSlot]:
    """What is said of the wire's near end."""
    netlink = Netlink(base, named=lambda: ())
    try:
        return [one for one in netlink.survey(own).taken if one.interface == wire.name]
    finally:
        netlink.close()


def run(command: str) -> None:
    """The command succeeds."""
    subprocess.run(command.split(), check=True, capture_output=True)


@pytest.mark.parametrize(
    ("hook", "attach", "attachment"),
    [
        ("xdp", "ip link set dev {name} xdpdrv pinned {path}", "xdp-native"),
        ("xdp", "ip link set dev {name} xdpgeneric pinned {path}", "xdp-generic"),
        ("tc-egress", "tc filter add dev {name} egress prio {ours} bpf da pinned {path}",
         "cls_bpf"),
    ],
)  # fmt: skip
def test_a_program_of_another_owner_takes_a_place(
    wire: Wire, base: PurePosixPath, hook: Hook, attach: str, attachment: str
) -> None:
    """It is named with its way of being attached; with nobody there nothing is said."""
    path = base / "theirs" / "program"
    with a_foreign_program(hook) as theirs:
        pin_foreign(theirs, path)
        run(f"tc qdisc add dev {wire.name} clsact")
        before = taken(base, wire)
        run(attach.format(name=wire.name, path=path, ours=cls_bpf.PRIORITY))

        (found,) = taken(base, wire)

        assert before == []
        assert (found.hook, found.attachment, found.programs) == (hook, attachment, 1)
        assert (found.program_id, found.program_name) == (theirs.info.id, "theirs")


def test_programs_beside_ours_on_tcx_are_counted(wire: Wire, base: PurePosixPath) -> None:
    """The first is named; our own are not among them."""
    index = socket.if_nametoindex(wire.name)
    with a_foreign_program("tc-egress", name="one") as one, a_foreign_program("tc-egress") as two:
        held = [
            hooks.attach(chain.program, index, "tc-egress", hook_point="here").link
            for chain in (one, two)
        ]

        (both,) = taken(base, wire)
        (second,) = taken(base, wire, one.info.id)

        assert (both.hook, both.attachment) == ("tc-egress", "tcx")
        assert (both.programs, both.program_name) == (2, "one")
        assert (second.programs, second.program_name) == (1, "theirs")
        assert taken(base, wire, one.info.id, two.info.id) == []
        for link in held:
            link.close()


@pytest.mark.parametrize(("hook", "way"), [("xdp", "auto"), ("tc-ingress", "tcx"),
                                           ("tc-ingress", "cls_bpf")])  # fmt: skip
def test_chains_of_ours_take_no_place_of_others(
    executor: Executor, base: PurePosixPath, wire: Wire, hook: Hook, way: str
) -> None:
    """They are in the observed record; in the inventory every change would be a registration."""
    chain = msgspec.structs.replace(
        a_chain(wire.name, a_program("one", hook=hook), hook=hook),
        link=LinkOptions(attach=way),  # type: ignore[arg-type]
    )
    point = Point(wire.name, hook)
    executor.settle(chain, point, 1)

    assert taken(base, wire, executor.kernel.observe(point).link_program_id) == []


async def test_the_inventory_follows_who_comes_and_goes(
    fleet: Fleet, wire: Wire, base: PurePosixPath
) -> None:
    """The kernel tells of XDP at once; what the node itself attaches changes nothing in it."""

    async def holders() -> list[str]:
        entry = await fleet.scheduler.bucket(NODES).get(NODE)
        slots = entry.value.taken if entry else ()
        return [one.program_name for one in slots if one.interface == wire.name]

    async def are(names: list[str]) -> bool:
        return await holders() == names

    with a_foreign_program("xdp") as theirs:
        pin_foreign(theirs, base / "theirs" / "program")
        run(f"ip link set dev {wire.name} xdp pinned {base}/theirs/program")
        await fleet.until(lambda: are(["theirs"]))
        run(f"ip link set dev {wire.name} xdp off")
    await fleet.until(lambda: are([]))
    generation = await fleet.desire(a_chain(wire.name, a_program("one")))
    observed = await fleet.observed(generation)

    assert observed.chains[0].state == "attached"
    assert await holders() == []
