# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Links on real hooks: attached, swapped against the expected program, pinned, refused."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from pyroute2 import IPRoute

from services.node_executor.adapters import hooks, kernel_info, map_access, pins, xdp_netlink
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.kernel_errors import (
    HookOwnedError,
    InterfaceGoneError,
    KernelFaultError,
    LinkChangedError,
)
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.pin_paths import link_path, map_path, program_path
from shared.errors import FaultError, RefusedError
from shared.identifiers import Hook
from tests.support.chain_reference import a_classifier, a_source
from tests.support.interfaces import Veth, a_veth, program_exists, wait_until_gone

ALL_HOOKS: tuple[Hook, ...] = ("xdp", "tc-ingress", "tc-egress")
BASE = PurePosixPath("/sys/fs/bpf/l3af-test")


pytestmark = pytest.mark.usefixtures("nothing_leaks")


@pytest.fixture
def base(veth: Veth) -> Iterator[PurePosixPath]:
    """A directory of bpffs that no other test uses."""
    directory = BASE / veth.name
    pins.prepare_pin_directory(directory)
    yield directory
    for path in sorted(Path(directory).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(directory).rmdir()
    with suppress(OSError):  # because another test may be using it
        Path(BASE).rmdir()


def a_chain(hook: Hook) -> LinkedChain:
    """A chain that lets packets pass."""
    sources = [a_source("passes")] if hook == "xdp" else [a_classifier("marks")]
    return link_chain(sources, hook, name="chain")


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_an_attached_chain_is_what_the_kernel_says_is_on_the_hook(veth: Veth, hook: Hook) -> None:
    """Program, interface and hook are read back; after closing the link nothing is there."""
    with a_chain(hook) as chain:
        attached = hooks.attach(chain.program, veth.index, hook, hook_point="p")
        with attached.link:
            info = kernel_info.link_info(attached.link.fd)
            there = hooks.occupants(veth.index, hook)

        assert info.program_id == chain.info.id
        assert info.interface_index == veth.index
        assert [(o.program_id, o.link_id) for o in there] == [(chain.info.id, info.id)]
        wait_until_gone(links=(info.id,))
        assert hooks.occupants(veth.index, hook) == ()


def test_xdp_runs_in_the_driver_where_that_is_possible_and_says_so(veth: Veth) -> None:
    """The mode that is reported is the mode that the kernel has."""
    with (
        a_chain("xdp") as chain,
        hooks.attach(chain.program, veth.index, "xdp", hook_point="p").link,
    ):
        assert xdp_netlink.kind_on(veth.index) == "xdp-native"
    assert xdp_netlink.kind_on(veth.index) == ""


def test_xdp_falls_back_to_generic_where_the_driver_cannot() -> None:
    """Loopback has no XDP driver."""
    with IPRoute() as route:
        loopback = route.link_lookup(ifname="lo")[0]
    with a_chain("xdp") as chain:
        attached = hooks.attach(chain.program, loopback, "xdp", hook_point="lo/xdp")
        with attached.link:
            assert attached.kind == xdp_netlink.kind_on(loopback) == "xdp-generic"
            assert "lo refused xdp-native" in attached.reason


@pytest.mark.parametrize(("function", "mode"), [("reads_frags", "native"), ("passes", "generic")])
def test_a_linked_chain_reads_large_packets_if_its_programs_do(
    veth: Veth, function: str, mode: str
) -> None:
    """The driver takes only such programs at a large MTU, so the flag survives linking."""
    with IPRoute() as route:
        route.link("set", index=veth.index, mtu=9000)
        route.link("set", index=route.link_lookup(ifname=veth.peer)[0], mtu=9000)
    sources = [a_source(function, name=f"p{n}") for n in range(2)]

    with link_chain(sources, "xdp", name="chain") as chain:
        attached = hooks.attach(chain.program, veth.index, "xdp", hook_point="p")
        with attached.link:
            assert attached.kind == f"xdp-{mode}"


def test_maps_that_ask_to_be_pinned_are_pinned_by_the_executor_alone() -> None:
    """What libbpf pins would be shared by all instances, and outlive them."""
    with link_chain([a_source("looks", object_name="layouts")], "xdp", name="chain") as chain:
        assert "plain" in chain.maps["looks"]
        assert not Path("/sys/fs/bpf/plain").exists()


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_a_swap_replaces_exactly_the_expected_program(veth: Veth, hook: Hook) -> None:
    """The hook goes from one generation to the next in one update."""
    with (
        a_chain(hook) as one,
        a_chain(hook) as two,
        hooks.attach(one.program, veth.index, hook, hook_point="p").link as link,
    ):
        hooks.replace_program(link, two.program, expected_id=one.info.id)

        assert kernel_info.link_info(link.fd).program_id == two.info.id


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_the_loser_of_a_race_is_told_which_program_is_there(veth: Veth, hook: Hook) -> None:
    """Two writers expect the same program; one of them wins, the other changes nothing."""
    with (
        a_chain(hook) as one,
        a_chain(hook) as two,
        a_chain(hook) as three,
        hooks.attach(one.program, veth.index, hook, hook_point="p").link as link,
    ):
        hooks.replace_program(link, two.program, expected_id=one.info.id)

        with pytest.raises(LinkChangedError) as refused:
            hooks.replace_program(link, three.program, expected_id=one.info.id)

        assert refused.value.refusal_code == "conflict"
        assert f"runs program {two.info.id}" in refused.value.message
        assert refused.value.actual.program_id == two.info.id
        assert kernel_info.link_info(link.fd).program_id == two.info.id


def test_of_two_threads_that_swap_at_once_exactly_one_wins(veth: Veth) -> None:
    """The kernel compares and swaps in one step."""
    with (
        a_chain("xdp") as one,
        a_chain("xdp") as a,
        a_chain("xdp") as b,
        hooks.attach(one.program, veth.index, "xdp", hook_point="p").link as link,
    ):
        lost: list[Exception] = []
        start = threading.Barrier(2)

        def swap(chain: LinkedChain) -> None:
            start.wait()
            try:
                hooks.replace_program(link, chain.program, expected_id=one.info.id)
            except LinkChangedError as error:
                lost.append(error)

        threads = [threading.Thread(target=swap, args=(chain,)) for chain in (a, b)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(lost) == 1


def test_xdp_with_somebody_else_s_program_is_refused_by_its_name(veth: Veth) -> None:
    """The refusal names program, id and tag, and the other program stays."""
    with (
        a_chain("xdp") as other,
        a_chain("xdp") as ours,
        hooks.attach(other.program, veth.index, "xdp", hook_point="p").link,
    ):
        with pytest.raises(HookOwnedError) as refused:
            hooks.attach(ours.program, veth.index, "xdp", hook_point=f"{veth.name}/xdp")

        assert refused.value.refusal_code == "hook_owned"
        for part in (f"{veth.name}/xdp", other.info.name, str(other.info.id), other.info.tag):
            assert part in refused.value.message
        assert hooks.occupants(veth.index, "xdp")[0].program_id == other.info.id


def test_an_xdp_program_without_a_link_is_found_too(veth: Veth, base: PurePosixPath) -> None:
    """`ip link set xdp` makes no link, but holds the hook all the same."""
    with a_chain("xdp") as other, a_chain("xdp") as ours:
        path = base / "other"
        pins.pin(other.program, path)
        subprocess.run(("ip", "link", "set", veth.name, "xdp", "pinned", str(path)), check=True)

        with pytest.raises(HookOwnedError, match=f"program {other.info.id}"):
            hooks.attach(ours.program, veth.index, "xdp", hook_point="p")

        subprocess.run(("ip", "link", "set", veth.name, "xdp", "off"), check=True)


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_an_interface_that_does_not_exist_is_a_fault_and_no_refusal(hook: Hook) -> None:
    """It may come back."""
    with a_chain(hook) as chain, pytest.raises(InterfaceGoneError):
        hooks.attach(chain.program, 2_000_000_000, hook, hook_point="absent/xdp")


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_a_swap_on_an_interface_that_went_away_says_so(hook: Hook) -> None:
    """The link stays, but holds nothing."""
    with a_chain(hook) as one, a_chain(hook) as two:
        with a_veth() as veth:
            link = hooks.attach(one.program, veth.index, hook, hook_point="p").link
        with link:
            assert kernel_info.link_info(link.fd).interface_index == 0
            with pytest.raises(InterfaceGoneError):
                hooks.replace_program(link, two.program, expected_id=one.info.id)


@pytest.mark.parametrize("hook", ALL_HOOKS)
def test_what_is_pinned_runs_on_without_its_maker(
    veth: Veth, hook: Hook, base: PurePosixPath
) -> None:
    """Link, program and maps are found again by their paths, entries and all."""
    sources = [a_source("counts")] if hook == "xdp" else [a_classifier("leaves_open")]
    with link_chain(sources, hook, name="chain") as chain:
        program_id = chain.info.id
        name, maps = next(iter(chain.maps.items()))
        seen = maps["seen"]
        map_access.update(seen.handle, bytes(4), (5).to_bytes(8, "little"))
        pins.pin(chain.program, program_path(base, veth.name, hook, 1))
        pins.pin(seen.handle, map_path(base, veth.name, hook, name, "seen"))
        with hooks.attach(chain.program, veth.index, hook, hook_point="p").link as link:
            pins.pin(link, link_path(base, veth.name, hook))
    assert program_exists(program_id)

    with _opened(link_path(base, veth.name, hook)) as link:
        assert kernel_info.link_info(link.fd).program_id == program_id
        link_id = kernel_info.link_info(link.fd).id
    with _opened(program_path(base, veth.name, hook, 1)) as program:
        assert kernel_info.program_info(program.fd).id == program_id
    with _opened(map_path(base, veth.name, hook, name, "seen")) as found:
        # The interface has packets of its own, which were counted too.
        assert (map_access.read_number(found, bytes(4)) or 0) >= 5

    pins.unpin(link_path(base, veth.name, hook), base=base)
    pins.unpin(program_path(base, veth.name, hook, 1), base=base)
    pins.unpin(map_path(base, veth.name, hook, name, "seen"), base=base)
    wait_until_gone(programs=(program_id,), maps=(seen.info.id,), links=(link_id,))


def test_a_pin_moves_to_another_object_in_one_step(base: PurePosixPath) -> None:
    """The name is never free in between."""
    path = base / "program"
    with a_chain("xdp") as one, a_chain("xdp") as two:
        pins.pin(one.program, path)
        pins.pin(two.program, path)

        with _opened(path) as found:
            assert kernel_info.program_info(found.fd).id == two.info.id
    assert pins.list_pins(base) == ("program",)


def test_names_with_dots_can_be_pinned(base: PurePosixPath) -> None:
    """A VLAN interface and a data section have dots, which bpffs refuses."""
    with a_chain("xdp") as chain:
        path = map_path(base, "eth0.100", "xdp", "limits", ".bss")
        pins.pin(chain.program, path)

        assert pins.list_pins(path.parent) == ("%2ebss",)


def test_a_link_that_is_closed_without_a_pin_leaves_nothing(veth: Veth) -> None:
    """Programs, maps and links go with the last hold on them."""
    with link_chain([a_source("counts"), a_source("calls_back")], "xdp", name="c") as chain:
        made = tuple(info.id for info in (chain.info, *chain.body_infos))
        maps = tuple(found.info.id for found in chain.maps["counts"].values())
        with hooks.attach(chain.program, veth.index, "xdp", hook_point="p").link as link:
            link_id = kernel_info.link_info(link.fd).id

    wait_until_gone(programs=made, maps=maps, links=(link_id,))


@pytest.mark.parametrize(
    "sources",
    [
        [a_source("counts"), a_source("reads_too_far", object_name="rejected")],
        [a_source("counts"), a_source("absent")],
    ],
)
def test_a_refused_chain_leaves_nothing_behind(sources: list[ProgramSource]) -> None:
    """What was loaded before the refusal is given up."""
    with pytest.raises((RefusedError, FaultError)):
        link_chain(sources, "xdp", name="chain")


def test_asking_for_a_program_that_is_gone_is_a_fault_with_its_errno() -> None:
    """Callers tell "gone" from "forbidden" by the number."""
    with pytest.raises(KernelFaultError, match="ENOENT"):
        kernel_info.program_by_id(2_000_000_000)


def _opened(path: PurePosixPath) -> Descriptor:
    found = pins.open_pinned(path)
    assert found is not None
    return found
