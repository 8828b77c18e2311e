# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What joined programs do otherwise than one after another; each test begins with its rule.

The programs are joined by hand and load; what they do shows why the linker must not join them so.
"""

from __future__ import annotations

import struct

import pytest

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.map_access import read_number
from services.node_executor.adapters.programs import run_packet
from shared.bytecode.instructions import Instruction
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS
from tests.support.hand_linked import (
    ADJUST_HEAD,
    ADJUST_META,
    LEAVE,
    PASSING,
    PROGRAM_ARRAY,
    SCHED_CLS,
    Code,
    Kernel,
    add,
    called,
    counting,
    helper,
    if_equal,
    inline,
    jump,
    kernel_call,
    kernel_function,
    load,
    move,
    number,
    put,
    returning,
    store,
    tail_calling,
    typed,
    types,
)

PASS, DROP, ABORTED = XDP_VERDICTS["pass"], XDP_VERDICTS["drop"], XDP_VERDICTS["aborted"]
OK, SHOT = TC_VERDICTS["ok"], TC_VERDICTS["shot"]
PACKET = bytes(64)


def verdict(program: Descriptor, packet: bytes = PACKET) -> int:
    """Of one run."""
    return run_packet(program, packet).verdict


def count(fd: int) -> int | None:
    """What `counting` counted."""
    return read_number(Descriptor(fd, release=lambda _: None), bytes(4))


def test_compare_32_bits_because_the_kernel_reads_no_more_of_a_verdict(kernel: Kernel) -> None:
    """0x1_0000_0002 passes alone; a comparison of 64 bits would end the chain there."""
    wide: Code = (Instruction(0x18, 0, immediate=2), Instruction(0, immediate=1), LEAVE)
    first, second = kernel.map(), kernel.map()

    assert verdict(kernel.loaded(wide)) == PASS
    right = inline([wide, counting(first, DROP)])
    wrong = inline([wide, counting(second, DROP)], compares_64_bits=True)
    assert (verdict(kernel.loaded(right)), count(first)) == (DROP, 1)
    assert (verdict(kernel.loaded(wrong)), count(second)) == (PASS, 0)


def test_packet_loads_leave_the_whole_chain_on_a_short_packet(kernel: Kernel) -> None:
    """With 0, which is ok: the program behind, which would have shot the packet, never runs."""
    seen = kernel.map()
    loads = (move(6, 1), Instruction(0x30, immediate=200), *returning(OK))
    chain = [loads, counting(seen, SHOT)]
    known = types("__sk_buff")

    joined = kernel.loaded(inline(chain, proceed=(OK,)), kind=SCHED_CLS)
    assert (verdict(joined), count(seen)) == (OK, 0)
    assert (verdict(joined, bytes(300)), count(seen)) == (SHOT, 1)

    functions = called(chain, proceed=(OK,))
    records = [(start, known.static) for start in functions.starts]
    apart = kernel.loaded(functions, kind=SCHED_CLS, functions=records, found=known)
    assert (verdict(apart), count(seen)) == (SHOT, 2)


def test_own_tail_calls_leave_the_whole_chain_unless_the_body_is_a_function(
    kernel: Kernel,
) -> None:
    """As a function it returns to the chain with the verdict of the program that it called."""
    seen, array = kernel.map(), kernel.map(PROGRAM_ARRAY, value=4)
    target = kernel.loaded(PASSING)
    chain = [tail_calling(array, 0, DROP), counting(seen, DROP)]
    assert kernel.put_program(array, 0, target) == 0

    assert (verdict(kernel.loaded(inline(chain))), count(seen)) == (PASS, 0)
    for kind in (types().static, types().exported):
        functions = called(chain)
        program = kernel.loaded(functions, functions=typed(functions, kind))
        assert verdict(program) == DROP
    assert count(seen) == 2


def test_throw_leaves_the_whole_chain_from_a_function_too(kernel: Kernel) -> None:
    """With its cookie as the verdict; so such a body can only be last."""
    seen = kernel.map()
    throws = (number(1, PASS), kernel_call(kernel_function("bpf_throw")), *returning(DROP))
    chain = [throws, counting(seen, DROP)]

    for joined in (inline(chain), called(chain)):
        program = kernel.loaded(joined, functions=typed(joined, types().static))
        assert verdict(program) == PASS
    assert count(seen) == 0


def test_may_goto_inline_bodies_share_one_budget_of_rounds(kernel: Kernel) -> None:
    """The first uses it up, so the second loops not at all; as functions each has its own."""
    seen = kernel.map()
    endless = (number(6, 0), Instruction(0xE5, offset=2), add(6, 1), jump(-3), *PASSING)
    hundred = (
        *(number(6, 0), Instruction(0xE5, offset=3), add(6, 1), if_equal(6, 100, 1), jump(-4)),
        *counting(seen, 0)[:-5],
        *(store(8, 0, 0, 6), number(0, PASS), LEAVE),
    )
    # `counting` skips three instructions where there is no entry; here it is one.
    hundred = tuple(if_equal(0, 0, 1) if i == if_equal(0, 0, 3) else i for i in hundred)

    assert (verdict(kernel.loaded(hundred)), count(seen)) == (PASS, 100)
    verdict(kernel.loaded(inline([endless, hundred])))
    assert count(seen) == 0
    functions = called([endless, hundred])
    verdict(kernel.loaded(functions, functions=typed(functions, types().static)))
    assert count(seen) == 100


def test_uninitialised_stack_holds_what_the_neighbour_left(kernel: Kernel) -> None:
    """The verdict becomes the neighbour's number, unless the frame is set to zero."""
    leaves = (put(8, 10, -16, 3), *PASSING)
    reads = (load(8, 0, 10, -16), Instruction(0x57, 0, immediate=3), LEAVE)

    assert verdict(kernel.loaded(inline([leaves, reads], slot=24))) == XDP_VERDICTS["tx"]
    cured = inline([leaves, reads], slot=24, zeroed=16)
    assert verdict(kernel.loaded(cured)) == ABORTED


def test_proceed_terminal_a_later_pass_undoes_a_drop(kernel: Kernel) -> None:
    """The chain's verdict is that of the last program that ran, so the plan warns."""
    assert verdict(kernel.loaded(inline([returning(DROP), PASSING], proceed=(DROP,)))) == PASS


def test_direct_writes_of_one_tc_body_put_the_kernel_s_code_at_the_head(kernel: Kernel) -> None:
    """Every packet pays for it, whichever body it reaches: the program grows at its start."""
    writes = (
        *(load(4, 2, 1, 76), load(4, 3, 1, 80), move(4, 2), add(4, 1)),
        Instruction(0x2D, 4, 3, 1),
        put(1, 2, 0, 1),
        *returning(OK),
    )
    joined = inline([returning(OK), writes], proceed=(OK,))

    with_writes = kernel_info.program_info(kernel.loaded(joined, kind=SCHED_CLS).fd).xlated_bytes
    assert with_writes > 8 * len(joined.code)


def test_segments_an_empty_slot_falls_through(kernel: Kernel) -> None:
    """No error, no trace: the segment itself must refuse the packet and count it."""
    array = kernel.map(PROGRAM_ARRAY, value=4)
    program = kernel.loaded(tail_calling(array, 0, ABORTED))

    assert verdict(program) == ABORTED
    assert kernel.put_program(array, 0, kernel.loaded(PASSING)) == 0
    assert verdict(program) == PASS


def test_tail_calls_thirty_three_are_the_most_for_one_packet(kernel: Kernel) -> None:
    """Segments and own tail calls share them: the thirty-fourth falls through."""
    entries = 40
    array = kernel.map(PROGRAM_ARRAY, value=4, entries=entries)
    for slot in range(entries):
        following = tail_calling(array, slot + 1, DROP) if slot < entries - 1 else PASSING
        assert kernel.put_program(array, slot, kernel.loaded(following)) == 0

    assert verdict(kernel.loaded(tail_calling(array, entries - 33, DROP))) == PASS
    assert verdict(kernel.loaded(tail_calling(array, entries - 34, DROP))) == DROP


def test_tag_is_the_same_for_programs_on_different_maps(kernel: Kernel) -> None:
    """So the kernel's tag does not tell two generations apart."""
    one, other = (kernel.loaded(counting(kernel.map(), PASS)) for _ in range(2))

    assert kernel_info.program_info(one.fd).tag == kernel_info.program_info(other.fd).tag


def growing(by: int) -> Code:
    """Grow the head, drop where that fails."""
    return (
        *(number(2, -by), helper(ADJUST_HEAD), if_equal(0, 0, 2)),
        *(*returning(DROP), *PASSING),
    )


def test_reference_each_run_renews_the_headroom(kernel: Kernel) -> None:
    """Two programs that grow by 120 fit apart and not together: the corpus grows by less."""
    apart = kernel.loaded(growing(120))
    first = run_packet(apart, PACKET)

    assert run_packet(apart, first.data).verdict == PASS
    assert verdict(kernel.loaded(inline([growing(120), growing(120)]))) == DROP


def test_reference_metadata_is_handed_on_in_the_context(kernel: Kernel) -> None:
    """Without it the second program of the reference would not see what the first wrote."""
    writes: Code = (
        *(move(6, 1), number(2, -8), helper(ADJUST_META), load(4, 2, 6, 8), load(4, 3, 6, 0)),
        *(move(4, 2), add(4, 8), Instruction(0x2D, 4, 3, 2), number(5, 3), store(8, 2, 0, 5)),
        *PASSING,
    )
    reads: Code = (
        *(load(4, 2, 1, 8), load(4, 3, 1, 0), move(4, 2), add(4, 8), number(0, ABORTED)),
        *(Instruction(0x2D, 4, 3, 1), load(4, 0, 2, 0), LEAVE),
    )
    fresh = struct.pack("<6I", 0, len(PACKET), 0, 0, 0, 0)
    first = run_packet(kernel.loaded(writes), PACKET, context=fresh)
    second = kernel.loaded(reads)

    assert verdict(kernel.loaded(inline([writes, reads]))) == XDP_VERDICTS["tx"]
    assert run_packet(second, first.data, context=first.context).verdict == XDP_VERDICTS["tx"]
    assert run_packet(second, first.data).verdict == ABORTED


@pytest.mark.parametrize(
    ("offset", "is_handed_on"),
    [(8, True), (32, True), (48, True), (12, False), (44, False), (72, False)],
    ids=["mark", "priority", "cb", "queue_mapping", "tc_index", "tc_classid"],
)
def test_reference_some_fields_of_a_tc_context_are_not_handed_on(
    kernel: Kernel, offset: int, is_handed_on: bool
) -> None:
    """The corpus leaves those out: a program behind sees them only when linked."""
    writes = (number(2, 5), store(4, 1, offset, 2), *returning(OK))
    reads = (load(4, 0, 1, offset), LEAVE)
    joined = inline([writes, reads], proceed=(OK,))
    first = run_packet(kernel.loaded(writes, kind=SCHED_CLS), PACKET, context=bytes(192))
    second = kernel.loaded(reads, kind=SCHED_CLS)

    assert verdict(kernel.loaded(joined, kind=SCHED_CLS)) == 5
    try:
        apart = run_packet(second, first.data, context=first.context).verdict
    except KernelFaultError:
        apart = -1
    assert (apart == 5) is is_handed_on


def test_reference_repeated_runs_see_the_packet_as_the_run_before_left_it(kernel: Kernel) -> None:
    """So tests repeat nothing."""
    program = kernel.loaded(growing(4))

    assert len(run_packet(program, PACKET).data) == len(PACKET) + 4
    assert len(run_packet(program, PACKET, repeat=3).data) == len(PACKET) + 12
