# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What this kernel can do, against what libbpf and the verifier say about it themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cffi import FFI

from services.node_executor.adapters.capabilities import KernelCapabilities, probe_pieces
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.libbpf_cdef import LIBRARY
from services.node_executor.adapters.program_probe import NOT_ASKED, PROGRAM_TYPES
from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.bytecode.map_declarations import MAP_TYPES
from shared.capability_lookup import program_type, restricted_helpers
from shared.contracts.capabilities import Capabilities
from shared.number_ranges import parse_ranges
from tests.support.bpf_objects import compile_source

ROOT = Path(__file__).parents[2]


@cache
def probed() -> Capabilities:
    """The answers of this kernel."""
    found = list(probe_pieces())
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] is not None
    return found[-1]


@cache
def libbpf() -> Any:
    """The probes of libbpf, which ours are compared with."""
    ffi = FFI()
    ffi.cdef("""
        int libbpf_probe_bpf_prog_type(int, const void *);
        int libbpf_probe_bpf_map_type(int, const void *);
        int libbpf_probe_bpf_helper(int, int, const void *);
        void *bpf_object__open_mem(const void *, size_t, const void *);
        int bpf_object__load(void *);
        void bpf_object__close(void *);
    """)
    return ffi, ffi.dlopen(LIBRARY)


def test_program_types_are_those_that_libbpf_finds() -> None:
    """Every type that both know."""
    ffi, library = libbpf()
    ours = {kind.name: kind.name not in probed().missing_program_types for kind in PROGRAM_TYPES}
    theirs = {
        kind.name: library.libbpf_probe_bpf_prog_type(kind.number, ffi.NULL)
        for kind in PROGRAM_TYPES
    }

    assert ours == {name: theirs[name] == 1 if theirs[name] >= 0 else ours[name] for name in ours}
    assert sum(answer >= 0 for answer in theirs.values()) > 25


def test_map_types_are_those_that_libbpf_finds() -> None:
    """Every type that both know."""
    ffi, library = libbpf()
    missing = []
    for number, name in enumerate(MAP_TYPES):
        if number and library.libbpf_probe_bpf_map_type(number, ffi.NULL) == 0:
            missing.append(name)

    assert list(probed().missing_map_types) == missing


@pytest.mark.parametrize("name", ["xdp", "sched_cls", "kprobe", "cgroup_sock_addr"])
def test_no_helper_is_named_that_libbpf_does_not_find(name: str) -> None:
    """Older releases of it know fewer ways in which the verifier says no, so it finds more."""
    ffi, library = libbpf()
    number = next(one.number for one in PROGRAM_TYPES if one.name == name)
    asked = [n for n in range(1, probed().helper_count + 1) if n not in NOT_ASKED]
    support = program_type(probed(), name)
    assert support is not None

    theirs = {n for n in asked if library.libbpf_probe_bpf_helper(number, n, ffi.NULL) == 1}

    assert parse_ranges(support.helpers) <= theirs


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("xdp", {1, 23, 44, 51, 54, 65, 69}, {4, 9, 13, 18, 33}),
        ("sched_cls", {1, 9, 13, 18, 33, 69}, {4, 44, 54, 65}),
        ("kprobe", {1, 4, 27, 45}, {9, 23, 44, 69}),
    ],
)
def test_each_type_has_the_helpers_of_its_kind(name: str, has: set[int], lacks: set[int]) -> None:
    """Redirects and heads for XDP, skb for classifiers, memory of the kernel for probes."""
    support = program_type(probed(), name)
    assert support is not None

    assert has <= parse_ranges(support.helpers)
    assert not lacks & parse_ranges(support.helpers)


def test_the_kernel_has_no_helper_after_the_last() -> None:
    """The list is closed at 211."""
    assert probed().helper_count <= 211
    assert probed().helper_count >= max(
        number for one in probed().program_types for number in parse_ranges(one.helpers)
    )


def test_restricted_helpers_are_in_the_table_of_the_licence_check() -> None:
    """What this kernel restricts is what packages are checked against."""
    restricted = parse_ranges(probed().gpl_only_helpers)

    assert restricted <= GPL_ONLY_HELPERS
    assert {25, 69, 112, 113} <= restricted
    assert restricted_helpers(probed(), "xdp", [1, 25]) == [25]
    assert restricted_helpers(probed(), "perf_event", [27]) == []


_CALLS_KERNEL_FUNCTIONS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
SEC("tc") int calls(struct __sk_buff *ctx)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""


def test_kernel_functions_that_are_named_can_be_called() -> None:
    """A program of the network that calls two of them loads."""
    ffi, library = libbpf()
    data = compile_source(_CALLS_KERNEL_FUNCTIONS)
    opened = library.bpf_object__open_mem(ffi.from_buffer(data), len(data), ffi.NULL)
    failure = library.bpf_object__load(opened)
    library.bpf_object__close(opened)
    names = probed().kernel_functions

    assert failure == 0
    assert probed().kernel_functions_are_known
    assert {"bpf_rcu_read_lock", "bpf_rcu_read_unlock"} <= set(names)
    assert list(names) == sorted(set(names))


def test_the_record_is_far_below_the_limit_of_a_message() -> None:
    """A node of a hundred interfaces has room for them beside it."""
    assert len(msgspec.json.encode(probed())) < 16 * 1024


def test_the_kernel_and_its_build_are_named() -> None:
    """As uname says, with the identity of the image."""
    assert os.uname().release in probed().kernel_build
    assert os.uname().version in probed().kernel_build
    assert len(probed().build_id) in (0, 40)
    assert probed().cgroup in ("1", "2", "hybrid")
    assert probed().problem == ""


class CountingThread:
    """Runs calls in a kernel thread, and counts them."""

    def __init__(self) -> None:
        self.thread = KernelThread()
        self.calls = 0

    async def __call__(self, call: Any, *arguments: Any, **options: Any) -> Any:
        """What the call returns."""
        self.calls += 1
        return await self.thread(call, *arguments, **options)


async def test_the_kernel_is_asked_once_in_a_boot_and_in_pieces(tmp_path: Path) -> None:
    """Another boot asks again, and so does a file that cannot be read."""
    thread, path = CountingThread(), tmp_path / "capabilities.json"

    async def find(boot_id: str) -> tuple[Capabilities, int]:
        before = thread.calls
        found = await KernelCapabilities(path, boot_id=boot_id, thread=thread).find()
        return found, thread.calls - before

    first, asked = await find("boot-1")
    again, read = await find("boot-1")
    _, after_reboot = await find("boot-2")
    path.write_bytes(b"{")
    _, after_damage = await find("boot-2")
    thread.thread.close()

    assert first == again == probed()
    assert read == 1
    assert min(asked, after_reboot, after_damage) > 100


async def test_others_get_their_turn_while_the_kernel_is_asked(tmp_path: Path) -> None:
    """No piece holds the kernel thread for long."""
    thread = KernelThread()
    finding = asyncio.create_task(
        KernelCapabilities(tmp_path / "capabilities.json", boot_id="b", thread=thread).find()
    )
    turns = 0
    while not finding.done():
        await thread(int)
        turns += 1
    thread.close()

    assert turns > 50


def test_a_process_without_rights_says_that_it_could_not_ask() -> None:
    """It is no kernel without programs."""
    code = (
        "import msgspec,sys;from services.node_executor.adapters.capabilities import probe_pieces;"
        "found=[one for one in probe_pieces() if one][-1];"
        "sys.stdout.buffer.write(msgspec.json.encode(found))"
    )
    ended = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    found = msgspec.json.decode(ended.stdout, type=Capabilities)

    assert "loads no program" in found.problem
    assert found.gpl_only_helpers == ""
