# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel says to joined programs whose types, source lines, licence or maps are wrong.

The programs are joined by hand; each test begins with its rule.
"""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.node_executor.adapters.kernel_errors import KernelFaultError
from shared.bytecode.instructions import Instruction
from tests.support.hand_linked import (
    LEAVE,
    PASSING,
    PER_CPU_ARRAY,
    PROGRAM_ARRAY,
    SCHED_CLS,
    TAIL_CALL,
    WITH_FUNCTION,
    Code,
    Kernel,
    add,
    branching,
    called,
    counting,
    helper,
    inline,
    kernel_call,
    kernel_functions,
    load,
    map_in,
    move,
    number,
    put,
    returning,
    tail_calling,
    typed,
    types,
)

LINKING = Path(__file__).parents[2] / "services" / "node_executor" / "linking"
BPF_LOOP = 181


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ((move(6, 1), Instruction(0x30, immediate=60), *returning(0)), "LD_ABS"),
        ((), "tail_call"),
    ],
    ids=["packet_loads", "own_tail_calls"],
)
def test_types_functions_with_packet_loads_or_tail_calls_need_btf(
    kernel: Kernel, body: Code, words: str
) -> None:
    """The verifier must know that they return a number."""
    array = kernel.map(PROGRAM_ARRAY, value=4)
    joined = called([body or tail_calling(array, 0, 0)], proceed=(0,))
    known = types("__sk_buff")
    functions = [(0, known.static), *((start, known.static) for start in joined.starts[1:])]

    refused = kernel.load(joined, kind=SCHED_CLS)
    allowed = kernel.load(joined, kind=SCHED_CLS, functions=functions, found=known)

    assert allowed.number == 0, allowed.last_lines
    assert refused.number == errno.EINVAL
    assert f"{words} is not allowed in subprogs without BTF" in refused.log


def test_types_a_global_function_must_name_its_context(kernel: Kernel) -> None:
    """`void *ctx` is not enough, so the linker writes the type of every body anew."""
    joined = called([(load(4, 2, 1, 12), *PASSING)])

    refused = kernel.load(joined, functions=typed(joined, types().untyped))

    assert refused.number == errno.EINVAL
    assert "reference type('UNKNOWN" in refused.log
    assert kernel.load(joined, functions=typed(joined, types().exported)).number == 0


def test_types_records_must_name_every_function_or_none(kernel: Kernel) -> None:
    """One body without BTF would take it from all others."""
    joined = inline([WITH_FUNCTION, WITH_FUNCTION])
    some = typed(joined, types().static)[:-1]

    refused = kernel.load(joined, functions=some)

    assert refused.number == errno.EINVAL
    assert "number of funcs in func_info doesn't match number of subprogs" in refused.log


def test_lines_the_first_instruction_of_every_function_needs_one(kernel: Kernel) -> None:
    """The chain's own first instruction too; positions ascend."""
    joined = inline([WITH_FUNCTION, WITH_FUNCTION])
    functions = typed(joined, types().static)
    ours, first, second = joined.starts

    assert kernel.load(joined, functions=functions, lines=joined.starts).number == 0
    missing = kernel.load(joined, functions=functions, lines=(1, first, second))
    unsorted = kernel.load(joined, functions=functions, lines=(ours, second, first))

    assert "missing bpf_line_info for func#0" in missing.log
    assert missing.number == unsorted.number == errno.EINVAL


def test_packet_loads_are_only_for_programs_that_have_a_packet_buffer(kernel: Kernel) -> None:
    """XDP has none: such a body can only be a TC one."""
    body = (move(6, 1), Instruction(0x30, immediate=60), *returning(0))

    assert kernel.load(body).number == errno.EINVAL
    assert kernel.load(body, kind=SCHED_CLS).number == 0


def test_log_a_small_buffer_makes_a_program_that_verifies_fail(kernel: Kernel) -> None:
    """ENOSPC hides every other answer, so statistics are asked for first and text only then."""
    code = inline([branching(200)] * 4)

    assert kernel.load(code, log_level=4, log_bytes=4096).number == 0
    assert kernel.load(code, log_level=1, log_bytes=4096).number == errno.ENOSPC


def test_segments_nothing_is_known_of_the_verdict_behind_a_tail_call(kernel: Kernel) -> None:
    """An empty slot falls through: a segment must set a verdict of its own there."""
    array = kernel.map(PROGRAM_ARRAY, value=4)

    refused = kernel.load((*map_in(2, array), number(3, 0), helper(TAIL_CALL), LEAVE))

    assert refused.number == errno.EACCES
    assert "R0 !read_ok" in refused.log


def test_licence_gpl_only_helpers_are_refused_in_a_program_that_is_not_compatible(
    kernel: Kernel,
) -> None:
    """The licence string is one for the whole program."""
    asks = (
        *(put(8, 10, -offset, 0) for offset in range(8, 65, 8)),
        move(2, 10),
        add(2, -64),
        number(3, 64),
        number(4, 0),
        helper(69),
        *PASSING,
    )
    joined = inline([PASSING, asks])

    assert kernel.load(joined, licence="GPL").number == 0
    for licence in ("Proprietary", "GPL-2.0-only", "GPL AND Proprietary"):
        refused = kernel.load(joined, licence=licence)
        assert refused.number == errno.EINVAL
        assert "cannot call GPL-restricted function from non-GPL compatible program" in refused.log


def test_maps_a_descriptor_that_is_closed_belongs_to_nobody(kernel: Kernel) -> None:
    """Instructions hold descriptors, so the maps of a body stay open until the chain is loaded."""
    gone = os.memfd_create("gone")
    os.close(gone)

    assert kernel.load(counting(gone, 2)).number == errno.EBADF


def test_types_callbacks_need_a_type_for_every_function(kernel: Kernel) -> None:
    """A body whose function is handed to the kernel takes the whole program's BTF with it."""
    loop = (
        *(number(1, 3), Instruction(0x18, 2, 4, immediate=6), Instruction(0), number(3, 0)),
        *(number(4, 0), helper(BPF_LOOP), number(0, 2), LEAVE),
        *(number(0, 0), LEAVE),
    )

    refused = kernel.load(loop)

    assert refused.number == errno.EINVAL
    assert "missing btf func_info" in refused.log


def test_kernel_functions_one_program_may_call_256_different_ones(kernel: Kernel) -> None:
    """E2BIG, before any of them is looked at."""
    calls = tuple(kernel_call(function) for function in some_kernel_functions(257))

    refused = kernel.load((*calls, *PASSING), functions=[(0, types().static)])

    assert refused.number == errno.E2BIG
    assert "too many different kernel function calls" in refused.log


def test_module_functions_need_the_module_s_types_beside_the_program(kernel: Kernel) -> None:
    """The call's offset is an index into an array of BTF descriptors; without it: EPROTO."""
    calls = (kernel_call(1)._replace(offset=1), *PASSING)

    refused = kernel.load(calls, functions=[(0, types().static)])

    assert refused.number == errno.EPROTO
    assert "fd_array" in refused.log


def test_slots_a_per_cpu_value_has_room_for_so_many(kernel: Kernel) -> None:
    """All counters of a hook point are one value of a per-CPU array, 32 KiB at most."""
    assert kernel.map(PER_CPU_ARRAY, value=32 * 1024) > 0

    with pytest.raises(KernelFaultError, match="E2BIG"):
        kernel.map(PER_CPU_ARRAY, value=32 * 1024 + 8)


SHOWN_OTHERWISE = {
    "empty-program-arrays": "an empty slot falls through: test_segments_",
    "layout": "a choice of the linker: test_frame_sum_",
    "linked-licence": "what a program says of itself: test_licence_",
    "proceed-unknown": "the kernel knows no such names",
    "tail-calls-beside-calls": "kernels before 5.10 and other processors; this one can",
    "time-sampling": "a wish that contradicts itself, not a limit",
    "verifier-feedback": "the kernel's words themselves: test_joint_jumps_, test_instructions_",
}


def test_every_rule_of_the_linker_has_a_test_that_begins_with_its_name() -> None:
    """Or is no rule of the kernel, for the reason that stands here."""
    here = Path(__file__).parent
    shown = "\n".join(path.read_text() for path in here.glob("test_link_kernel_*.py"))
    rules = {
        rule for path in LINKING.glob("*.py") for rule in rules_in(ast.parse(path.read_text()))
    }

    missing = {rule for rule in rules if f"def test_{rule.replace('-', '_')}_" not in shown}
    assert missing == set(SHOWN_OTHERWISE)
    assert {"maps", "own-tail-calls", "frame-sum"} < rules


def rules_in(tree: ast.AST) -> Iterator[str]:
    """Ids of rules: what is yielded or returned with one, or made into a constraint or misfit."""
    for node in ast.walk(tree):
        first: ast.expr | None = None
        match node:
            case ast.Call(func=ast.Name(id="Misfit" | "Constraint"), args=[first, *_]):
                pass
            case ast.Yield(value=ast.Tuple(elts=[first, *_])):
                pass
            case ast.Return(value=ast.Tuple(elts=[first, _, _, _])):
                pass
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def some_kernel_functions(count: int) -> tuple[int, ...]:
    """Type ids of functions in the kernel's symbol table."""
    symbols = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines())
    # Those for tracing have more parameters than a kernel function may have.
    names = tuple(
        name
        for _, kind, name, *module in symbols
        if kind == "T" and name.startswith("bpf_") and "trace" not in name and not module
    )
    found = tuple(dict.fromkeys(kernel_functions(names)))[:count]
    assert len(found) == count
    return found
