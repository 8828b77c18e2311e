# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every eBPF program of the host: whose it is, who holds it, where it is attached."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from cffi import FFI

from services.node_executor.adapters import hooks, kernel_info, pins
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.host_programs import HostPrograms
from services.node_executor.adapters.libbpf_cdef import LIBRARY
from services.node_executor.adapters.program_holders import (
    PinnedPrograms,
    Search,
    program_owners,
)
from services.node_executor.generations import ChainMemory, Point
from shared.contracts.desired import DesiredChain
from shared.contracts.ebpf import EbpfProgram, ListEbpf
from tests.support.bpf_objects import compile_source
from tests.support.chain_reference import a_source
from tests.support.executors import Executor, Wire, a_chain, a_program, pin_directory

ROOT = Path(__file__).parents[2]
FOREIGN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int foreign(struct xdp_md *ctx) { return XDP_PASS; }
char LICENSE[] SEC("license") = "Proprietary";
"""


class NothingStaged:
    """No program waits."""

    def program_ids(self) -> Mapping[Point, Iterable[int]]:
        """None."""
        return {}

    def chains(self) -> Mapping[Point, DesiredChain]:
        """None."""
        return {}


class Staged(NothingStaged):
    """One program waits for a hook."""

    def __init__(self, point: Point, program_id: int) -> None:
        self._ids = {point: (program_id,)}

    def program_ids(self) -> Mapping[Point, Iterable[int]]:
        """The one."""
        return self._ids


class Nothing:
    """An executor that never had a chain."""

    def points(self) -> set[Point]:
        """None."""
        return set()

    def memory(self, point: Point) -> ChainMemory:
        """Empty."""
        return ChainMemory(interface=point.interface, hook=point.hook)


def load_foreign(folder: PurePosixPath) -> PurePosixPath:
    """The program is loaded and pinned in `folder` by libbpf; its path."""
    ffi = FFI()
    ffi.cdef("""
        void *bpf_object__open_mem(const void *, size_t, const void *);
        int bpf_object__load(void *);
        int bpf_object__pin_programs(void *, const char *);
        void bpf_object__close(void *);
    """)
    library: Any = ffi.dlopen(LIBRARY)
    pins.prepare_pin_directory(folder)
    data = compile_source(FOREIGN)
    opened = library.bpf_object__open_mem(ffi.from_buffer(data), len(data), ffi.NULL)
    assert library.bpf_object__load(opened) == 0
    assert library.bpf_object__pin_programs(opened, str(folder).encode()) == 0
    library.bpf_object__close(opened)
    return folder / "foreign"


@pytest.fixture
def foreign(wire: Wire) -> Iterator[PurePosixPath]:
    """Somebody else's program on the peer's XDP hook, put there as `ip` does."""
    with pin_directory() as folder:
        path = load_foreign(folder)
        command = ("ip", "link", "set", wire.peer, "xdpgeneric", "pinned", str(path))
        subprocess.run(command, check=True)
        yield path
        subprocess.run(["ip", "link", "set", wire.peer, "xdpgeneric", "off"], check=True)


async def listed(
    base: PurePosixPath, executor: Executor | None = None, **fields: object
) -> dict[int, EbpfProgram]:
    """Every program, page by page."""
    host = HostPrograms(
        node="n1",
        base=base,
        boot_id="boot-1",
        points=executor.points if executor else Nothing(),
        staged=NothingStaged(),
    )
    found: dict[int, EbpfProgram] = {}
    while True:
        request = ListEbpf(after_id=max(found, default=0), limit=2, **fields)  # type: ignore[arg-type]
        page = await host.list(request)
        assert len(page.programs) <= 2
        assert not set(found) & {one.id for one in page.programs}
        found |= {one.id: one for one in page.programs}
        if not page.has_more:
            return found


async def test_our_programs_are_known_with_their_generation_and_hook(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The current one is attached by its link, the previous one kept by its pin."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    executor.settle(a_chain(wire.name, a_program("one", "2.0.0")), point, 2)
    memory = executor.points.memory(point)
    assert memory.current is not None
    assert memory.previous is not None

    found = await listed(base, executor)

    current, previous = found[memory.current.program_id], found[memory.previous.program_id]
    assert (current.role, previous.role) == (
        f"{wire.name}/xdp current",
        f"{wire.name}/xdp previous",
    )
    assert current.managed
    assert [(one.kind, one.target) for one in current.attachments] == [("xdp", f"{wire.name}/xdp")]
    assert current.attachments[0].link_id > 0
    assert previous.attachments == ()
    assert {str(base / wire.name / "xdp" / "link")} <= set(current.pins)
    assert all(PurePosixPath(pin).is_relative_to(base) for pin in previous.pins)
    assert current.type == "xdp"
    assert current.gpl_compatible
    assert current.jited_bytes > 0


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
async def test_a_classifier_names_its_interface_and_direction(
    executor: Executor, wire: Wire, base: PurePosixPath, hook: str
) -> None:
    """TCX links say both."""
    point = Point(wire.name, hook)  # type: ignore[arg-type]
    executor.settle(
        a_chain(wire.name, a_program("one", hook=point.hook), hook=point.hook), point, 1
    )
    memory = executor.points.memory(point)
    assert memory.current is not None

    found = (await listed(base, executor))[memory.current.program_id]

    assert [(one.kind, one.target) for one in found.attachments] == [("tcx", f"{wire.name}/{hook}")]
    assert found.type == "sched_cls"


async def test_a_foreign_program_is_found_with_everything_about_it(
    executor: Executor, wire: Wire, base: PurePosixPath, foreign: PurePosixPath
) -> None:
    """Name, tag, licence bit, pin, a hook without a link, and who holds a descriptor."""
    executor.settle(a_chain(wire.name, a_program("one")), Point(wire.name, "xdp"), 1)
    held = pins.open_pinned(foreign)
    assert held is not None

    with held:
        said = kernel_info.program_info(held.fd)
        found = (await listed(base, executor, only_unmanaged=True))[said.id]
    later = (await listed(base, executor))[said.id]

    assert (found.type, found.name, found.tag) == ("xdp", "foreign", said.tag)
    assert (found.gpl_compatible, found.managed, found.role) == (False, False, "")
    assert found.pins == (str(foreign),)
    assert [(one.target, one.link_id) for one in found.attachments] == [(f"{wire.peer}/xdp", 0)]
    assert [(one.pid, one.command) for one in found.owners] == [
        (os.getpid(), Path("/proc/self/comm").read_text().strip())
    ]
    assert later.owners == ()
    loaded_at = datetime.fromisoformat(found.loaded_at)
    assert abs(datetime.now(UTC) - loaded_at) <= timedelta(minutes=1)


async def test_only_what_is_not_ours_is_unmanaged(
    executor: Executor, wire: Wire, base: PurePosixPath, foreign: PurePosixPath
) -> None:
    """Totals count everything all the same."""
    executor.settle(a_chain(wire.name, a_program("one")), Point(wire.name, "xdp"), 1)

    everything = await listed(base, executor)
    unmanaged = await listed(base, executor, only_unmanaged=True)

    ours = {program_id for program_id, one in everything.items() if one.managed}
    assert ours
    assert not ours & set(unmanaged)
    assert str(foreign) in {pin for one in unmanaged.values() for pin in one.pins}


async def test_what_is_pinned_is_ours_without_any_memory(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """A lost state directory does not make strangers of our programs."""
    executor.settle(a_chain(wire.name, a_program("one")), Point(wire.name, "xdp"), 1)
    program_id = executor.kernel.observe(Point(wire.name, "xdp")).link_program_id

    found = await listed(base)

    assert (found[program_id].managed, found[program_id].role) == (True, "pinned")


async def test_what_is_staged_is_ours_before_it_has_any_name(
    wire: Wire, base: PurePosixPath, foreign: PurePosixPath
) -> None:
    """Its loader knows it."""
    opened = await listed(base)
    program_id = next(one.id for one in opened.values() if str(foreign) in one.pins)
    point = Point(wire.name, "xdp")
    host = HostPrograms(
        node="n1",
        base=base,
        boot_id="boot-1",
        points=Nothing(),
        staged=Staged(point, program_id),
    )

    page = await host.list(ListEbpf(after_id=program_id - 1, limit=1))

    assert page.programs[0].role == f"{wire.name}/xdp staged"


async def test_an_interface_of_another_namespace_is_not_mistaken_for_ours(
    base: PurePosixPath,
) -> None:
    """Numbers of interfaces are unique in their namespace alone."""
    name = f"t{os.getpid()}"
    with pin_directory() as folder:
        load_foreign(folder)
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            inside = ("nsenter", f"--net=/run/netns/{name}", sys.executable, "-c", _LINK)
            subprocess.run((*inside, str(folder)), check=True, cwd=ROOT)
            found = await listed(base)
        finally:
            subprocess.run(["ip", "netns", "del", name], check=True)
        program = next(one for one in found.values() if f"{folder}/foreign" in one.pins)

    assert program.attachments[0].target == f"{name}/lo/xdp"
    assert f"{folder}/link" in program.pins


def test_processes_that_may_not_be_looked_at_are_counted() -> None:
    """Those with more rights than the executor has in its systemd unit."""
    code = (
        "from services.node_executor.adapters.program_holders import Search, program_owners;"
        "search = Search('descriptors', 10**6); program_owners(search); print(search.notes())"
    )
    rights = "-all,+bpf,+net_admin,+perfmon,+sys_admin"
    command = ("setpriv", f"--bounding-set={rights}", sys.executable, "-c", code)
    ended = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True)

    assert "processes have rights that keep their descriptors from being read" in ended.stdout


_LINK = """
import sys
from pathlib import PurePosixPath
from services.node_executor.adapters import pins
from services.node_executor.adapters.bpf_syscall import LINK_CREATE, Descriptor, bpf
import struct
folder = PurePosixPath(sys.argv[1])
program = pins.open_pinned(folder / "foreign")
request = struct.pack("<IIII48x", program.fd, 1, 37, 2)
link = Descriptor(bpf(LINK_CREATE, request, action="linking"))
pins.pin(link, folder / "link")
"""


def test_a_search_that_is_too_long_says_so() -> None:
    """In number and in time; what it found until then counts."""
    few = Search("descriptors", 3)
    late = Search("names in bpffs", 1000, seconds=-1.0)

    program_owners(few)
    found = PinnedPrograms(first=PurePosixPath("/sys/fs/bpf")).find(late)

    assert few.note == "there are more descriptors than are looked at"
    assert found == {}
    assert late.note in ("looking at all names in bpffs takes too long", "")


def test_a_name_that_was_read_before_is_followed_to_what_it_stands_for_now(
    base: PurePosixPath, wire: Wire
) -> None:
    """Programs, and links that run another program by now; what has no name is not found."""
    pins.prepare_pin_directory(base)
    searched = PinnedPrograms(first=base)

    def found(*programs: LinkedChain) -> list[list[str]]:
        by_program = searched.find(Search("names in bpffs", 10**6))
        own = [by_program.get(one.info.id, []) for one in programs]
        return [[path.removeprefix(f"{base}/") for path in paths] for paths in own]

    with (
        link_chain([a_source("passes")], "xdp", name="one") as one,
        link_chain([a_source("passes")], "xdp", name="two") as two,
    ):
        index = socket.if_nametoindex(wire.name)
        made = hooks.attach(one.program, index, "xdp", hook_point=wire.name)
        with made.link:
            pins.pin(made.link, base / "link")
            pins.pin(one.program, base / "name")
            first = found(one, two)
            hooks.replace_program(made.link, two.program, expected_id=one.info.id)
            pins.pin(two.program, base / "name")
            second = found(one, two)
            Path(base / "name").unlink()
            third = found(one, two)

    assert first == [["link", "name"], []]
    assert second == [[], ["link", "name"]]
    assert third == [[], ["link"]]
