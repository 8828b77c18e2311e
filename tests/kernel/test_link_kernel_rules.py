# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel says when a linking rule is broken on purpose; each test begins with its rule.

The programs are joined by hand.  What does load but behaves differently when it is joined stands
in `test_link_kernel_semantics`; types, lines and licences in `test_link_kernel_loading`; hooks in
`test_link_kernel_hooks`.
"""

from __future__ import annotations

import errno
import struct

import pytest

from shared.bytecode.instructions import Instruction
from tests.support.capabilities import PERFMON, SYS_ADMIN, without
from tests.support.hand_linked import (
    HASH,
    LEAVE,
    LOOKUP,
    PASSING,
    PROGRAM_ARRAY,
    WITH_FUNCTION,
    Code,
    Kernel,
    add,
    branching,
    call,
    called,
    counting,
    helper,
    if_equal,
    inline,
    jump,
    load,
    map_in,
    move,
    number,
    put,
    store,
    tail_calling,
    typed,
    types,
    using_stack,
)


def looping(rounds: int) -> Code:
    """A loop that the verifier walks round by round: about two instructions each."""
    return (number(2, 0), add(2, 1), Instruction(0xA5, 2, 0, -2, rounds), *PASSING)


def nested(depth: int) -> Code:
    """Functions that call one another, so many frames with the main one."""
    return tuple(i for _ in range(depth - 1) for i in (call(1), LEAVE)) + PASSING


def test_maps_one_program_may_use_sixty_four(kernel: Kernel) -> None:
    """E2BIG, and the same map counts once."""
    maps = [kernel.map() for _ in range(65)]

    allowed = kernel.load(inline([counting(fd, 2) for fd in (*maps[:64], *maps[:8])]))
    refused = kernel.load(inline([counting(fd, 2) for fd in maps]))

    assert allowed.number == 0, allowed.last_lines
    assert refused.number == errno.E2BIG
    assert "The total number of maps per program has reached the limit of 64" in refused.log


def test_subprograms_one_program_may_have_256(kernel: Kernel) -> None:
    """E2BIG; the main function counts."""
    assert kernel.load(inline([WITH_FUNCTION] * 255)).number == 0
    refused = kernel.load(inline([WITH_FUNCTION] * 256))

    assert (refused.number, "too many subprograms" in refused.log) == (errno.E2BIG, True)


def test_joint_jumps_8192_pending_branches_are_the_limit_of_all_bodies_together(
    kernel: Kernel,
) -> None:
    """EFAULT, though each body loads alone; called as static functions they fail as well."""
    bodies = [branching(2000)] * 5

    refused = kernel.load(inline(bodies))
    static = called(bodies)
    refused_called = kernel.load(static, functions=typed(static, types().static))

    assert kernel.load(bodies[0], log_level=4).number == 0
    assert refused.number == refused_called.number == errno.EFAULT
    assert "The sequence of 8193 jumps is too complex" in refused.log


def test_joint_jumps_bodies_that_are_global_functions_do_not_share_the_limit(
    kernel: Kernel,
) -> None:
    """The kernel verifies each by itself; without BTF it takes them for static ones."""
    bodies = called([branching(1000)] * 30)

    allowed = kernel.load(bodies, functions=typed(bodies, types().exported))

    assert allowed.number == 0, allowed.last_lines
    assert kernel.load(bodies).number == errno.EFAULT


def test_instructions_one_million_are_verified_and_global_functions_add_up(kernel: Kernel) -> None:
    """E2BIG for the sum, in either mode."""
    bodies = [looping(200_000)] * 3
    functions = called(bodies)

    for refused in (
        kernel.load(inline(bodies), log_level=4),
        kernel.load(functions, functions=typed(functions, types().exported), log_level=4),
    ):
        assert refused.number == errno.E2BIG
        assert "BPF program is too large. Processed 1000001 insn" in refused.log
    assert kernel.load(bodies[0], log_level=4).number == 0


def test_stack_depth_an_inline_body_has_504_bytes_and_the_last_one_512(kernel: Kernel) -> None:
    """The context takes eight, which the last body may overwrite."""
    assert kernel.load(inline([using_stack(504), PASSING], slot=512)).number == 0
    assert kernel.load(inline([PASSING, using_stack(512)], slot=8)).number == 0
    refused = kernel.load(inline([using_stack(512), PASSING], slot=520))

    assert refused.number == errno.EACCES
    assert "invalid" in refused.log


@pytest.mark.parametrize(("own", "body", "total"), [(8, 512, 528), (16, 504, 528)])
def test_frame_sum_a_called_body_has_512_only_under_a_caller_without_stack(
    kernel: Kernel, own: int, body: int, total: int
) -> None:
    """Frames count in steps of 16 and add up."""
    assert kernel.load(called([using_stack(512)])).number == 0

    refused = kernel.load(called([using_stack(body)], stack=own))

    assert refused.number == errno.EACCES
    assert f"combined stack size of 2 calls is {total}. Too large" in refused.log


def test_frame_sum_a_body_s_function_shares_the_stack_with_its_neighbour(kernel: Kernel) -> None:
    """480 bytes of one main function, 256 of the other's subprogram: as calls they load."""
    bodies = [using_stack(480), (call(1), LEAVE, *using_stack(256))]

    refused = kernel.load(inline(bodies, slot=488))

    assert "combined stack size of 2 calls is 752. Too large" in refused.log
    assert kernel.load(called(bodies)).number == 0


def test_call_depth_eight_frames_load_inline_and_not_as_a_call(kernel: Kernel) -> None:
    """E2BIG: the chain's own frame is the ninth."""
    assert kernel.load(inline([nested(8), PASSING])).number == 0

    refused = kernel.load(called([nested(8)]))

    assert refused.number == errno.E2BIG
    assert "the call stack of 9 frames is too deep" in refused.log


def test_tail_call_frame_a_function_that_tail_calls_needs_less_than_256_bytes_above_it(
    kernel: Kernel,
) -> None:
    """Beside a body of 240 bytes and the context's eight it fails."""
    array = kernel.map(PROGRAM_ARRAY, value=4)
    bodies = [(call(1), LEAVE, *tail_calling(array, 0, 2)), using_stack(240)]
    joined = inline(bodies, slot=248)
    fitting = inline([bodies[0], using_stack(232)], slot=240)

    refused = kernel.load(joined, functions=typed(joined, types().static))
    allowed = kernel.load(fitting, functions=typed(fitting, types().static))

    assert allowed.number == 0, allowed.last_lines
    assert refused.number == errno.EACCES
    assert "tail_calls are not allowed when call stack of previous frames is 256" in refused.log


def test_proceed_empty_a_check_that_nothing_passes_leaves_dead_instructions(kernel: Kernel) -> None:
    """EINVAL: the verifier takes no instruction that cannot be reached."""
    refused = kernel.load(inline([PASSING, PASSING], proceed=()))

    assert refused.number == errno.EINVAL
    assert "unreachable insn" in refused.log


def test_uninitialised_stack_a_neighbour_s_pointer_is_no_number(kernel: Kernel) -> None:
    """A sum of two stack slots that loads alone fails behind a body that left a pointer there."""
    leaves = (store(8, 10, -8, 1), *PASSING)
    adds = (load(8, 2, 10, -8), load(8, 3, 10, -8), Instruction(0x0F, 2, 3), *PASSING)

    assert kernel.load(adds).number == 0
    refused = kernel.load(inline([leaves, adds], slot=16))

    assert "R2 pointer += pointer prohibited" in refused.log
    assert kernel.load(inline([leaves, adds], slot=16, zeroed=8)).number == 0


def test_uninitialised_stack_what_bodies_left_there_multiplies_the_verifier_s_states(
    kernel: Kernel,
) -> None:
    """Sixteen slots with a pointer or a number, then a key that was never written: E2BIG."""
    count = 16
    leaving = [
        (
            load(4, 2, 1, 12),
            if_equal(2, n + 7, 2),
            store(8, 10, -8 * (n + 1), 1),
            jump(1),
            put(8, 10, -8 * (n + 1), 0),
            *PASSING,
        )
        for n in range(count)
    ]
    wide = kernel.map(HASH, key=8 * count, entries=4)
    last = (move(2, 10), add(2, -8 * count), *map_in(1, wide), helper(LOOKUP), *PASSING)
    slot = 8 * count + 8

    assert kernel.load(last).number == 0
    assert kernel.load(inline([*leaving, last], slot=slot), log_level=4).number == errno.E2BIG
    zeroed = kernel.load(inline([*leaving, last], slot=slot, zeroed=8 * count), log_level=4)
    assert zeroed.number == 0


def test_uninitialised_stack_shows_when_perfmon_is_given_up(kernel: Kernel) -> None:
    """So the linker asks which bodies read stack that they did not write."""
    reads = (load(8, 0, 10, -16), Instruction(0x57, 0, immediate=1), LEAVE)

    assert kernel.load(reads).number == 0
    with without(PERFMON, SYS_ADMIN):
        refused = kernel.load(reads)

    assert refused.number == errno.EACCES
    assert "invalid read from stack" in refused.log


def test_perfmon_without_it_bodies_that_load_alone_corrupt_each_other_s_spilled_pointers(
    kernel: Kernel,
) -> None:
    """One keeps a pointer in a slot of which the next one writes a half."""
    spills = (store(8, 10, -8, 1), load(8, 1, 10, -8), *PASSING)
    writes_half = (put(4, 10, -4, 0), *PASSING)
    joined = inline([spills, writes_half], slot=16)

    with without(PERFMON, SYS_ADMIN):
        alone = [kernel.load(spills).number, kernel.load(writes_half).number]
        refused = kernel.load(joined)

    assert alone == [0, 0]
    assert refused.number == errno.EACCES
    assert "attempt to corrupt spilled pointer on stack" in refused.log
    assert kernel.load(joined).number == 0


def test_main_length_a_far_jump_needs_the_newer_instruction(kernel: Kernel) -> None:
    """Opcode 0x06 jumps 32 bits far; jumps of 16 bits end at 32,767."""
    verdict = (load(4, 2, 1, 12), if_equal(2, 7, 1), Instruction(0x06, immediate=40_000))
    far = (*verdict, *([number(3, 1)] * 40_000), *PASSING)

    assert kernel.load(far, log_level=4).number == 0
    with pytest.raises(struct.error):
        kernel.load((*verdict[:2], jump(40_000), *far[3:]))


def test_stack_depth_is_what_the_statistics_of_the_original_say(kernel: Kernel) -> None:
    """Main function first, then each function in order of its start."""
    answer = kernel.load((call(2), number(0, 2), LEAVE, *using_stack(40)), log_level=4)
    inlined = kernel.load(using_stack(48), log_level=4)

    assert "stack depth 0+40" in answer.log
    assert "stack depth 48" in inlined.log
