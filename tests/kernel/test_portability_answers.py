# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The portability report says of this kernel what the kernel says."""

from __future__ import annotations

import os
import re

import pytest

from services.node_executor.adapters.capabilities import probe_pieces
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.program_probe import PROGRAM_TYPES
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.code_facts import rounded
from shared.bytecode.elf import read_elf
from shared.bytecode.map_declarations import MAP_TYPES
from shared.contracts.capabilities import Capabilities
from shared.contracts.package_analysis import ProgramAnalysis
from shared.errors import RefusedError
from shared.identifiers import Hook
from shared.number_ranges import parse_ranges
from shared.portability.linux_versions import (
    KERNEL_FUNCTION_SINCE,
    MAP_TYPE_SINCE,
    PROGRAM_TYPE_SINCE,
    Release,
    helper_since,
    release,
)
from shared.portability.object_analysis import analyse_object
from tests.support.bpf_objects import compile_source, corpus_object
from tests.support.chain_corpus import TC_PROGRAMS, XDP_PROGRAMS, TestProgram

pytestmark = pytest.mark.kernel

UNKNOWN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
static __attribute__((unused)) long (*of_tomorrow)(void) = (void *)%d;
extern int bpf_of_tomorrow(void) __ksym;
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int asks(struct xdp_md *ctx) { return %s(); }
"""


KERNELS_OWN_BYTES = {"may_loop": 16, "calls_back": 24}
"""Stack that this kernel takes for itself, to count a loop or to save registers around one."""


@pytest.fixture(scope="module")
def kernel() -> Capabilities:
    """What this kernel answers when it is asked."""
    return [one for one in probe_pieces() if one is not None][-1]


def running() -> Release:
    """This kernel's release."""
    found = re.match(r"\d+\.\d+", os.uname().release)
    assert found is not None
    return release(found[0])


def is_old_enough(since: str) -> bool:
    """Whether the tables say that this kernel has it."""
    return release(since) <= running()


def analysed(data: bytes, function: str) -> ProgramAnalysis:
    """The program of that object."""
    return next(
        one for one in analyse_object(read_elf(data, "one.o"))[1] if one.function == function
    )


def test_every_map_type_that_the_tables_give_this_kernel_is_there(kernel: Capabilities) -> None:
    """And this kernel has none that they say came later."""
    there = set(MAP_TYPES[1:]) - set(kernel.missing_map_types)

    assert there == {name for name, since in MAP_TYPE_SINCE.items() if is_old_enough(since)}


def test_every_type_of_program_that_the_tables_give_this_kernel_is_there(
    kernel: Capabilities,
) -> None:
    """Those that a configuration leaves out are named by the node, so that nobody has to guess."""
    there = {one.name for one in kernel.program_types}
    promised = {name for name, since in PROGRAM_TYPE_SINCE.items() if is_old_enough(since)}

    assert set(PROGRAM_TYPE_SINCE) == {one.name for one in PROGRAM_TYPES}
    assert there <= promised
    assert promised - there <= set(kernel.missing_program_types)
    assert {"xdp", "sched_cls"} <= there


def test_every_helper_that_the_tables_give_this_kernel_is_there(kernel: Capabilities) -> None:
    """Of those that some type of program, which loads here, may call."""
    callable_by_any = {
        helper for one in kernel.program_types for helper in parse_ranges(one.helpers)
    }
    promised = {one for one in range(1, 212) if is_old_enough(helper_since(one))}

    assert kernel.helper_count == max(promised)
    assert callable_by_any <= promised


def test_kernel_functions_that_are_here_came_no_later(kernel: Capabilities) -> None:
    """A younger release in the table than the one that has the function would be wrong."""
    if not kernel.kernel_functions_are_known:
        assert kernel.has_types
        return
    here = set(kernel.kernel_functions)

    assert all(
        is_old_enough(KERNEL_FUNCTION_SINCE[one]) for one in here & set(KERNEL_FUNCTION_SINCE)
    )


@pytest.mark.parametrize("program", [*XDP_PROGRAMS, *TC_PROGRAMS], ids=str)
def test_what_loads_here_is_said_to_run_here(program: TestProgram) -> None:
    """And its stack is what the verifier counted, or more where the verifier never walks."""
    is_xdp = program.family == "xdp"
    hook: Hook = "xdp" if is_xdp else "tc-ingress"
    found = analysed(corpus_object(program.object_name), program.function)

    with load_body(program.source(("pass",)), hook, is_first=True) as loaded:
        walked = rounded(loaded.body.stack_depths_bytes[0]) + loaded.body.calls.below_bytes

    assert found.linux.minimum, found.linux.because
    assert is_old_enough(found.linux.minimum)
    assert found.stack_bytes + KERNELS_OWN_BYTES.get(program.function, 0) >= walked
    assert is_xdp or found.windows.blocker == "no programs of type sched_cls"


@pytest.mark.parametrize("call", ["of_tomorrow", "bpf_of_tomorrow"])
def test_what_no_table_knows_this_kernel_refuses(call: str) -> None:
    """A helper and a kernel function that this kernel is too old for: nothing is promised."""
    data = compile_source(UNKNOWN % (900, call))
    found = analysed(data, "asks").linux

    assert found.minimum == ""
    assert found.architectures == {}
    source = ProgramSource("asks", "asks.o", data, "asks", ("pass",))
    with pytest.raises(RefusedError), load_body(source, "xdp", is_first=True):
        pass
