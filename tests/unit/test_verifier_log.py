# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The essence of a verifier log."""

from __future__ import annotations

from services.node_executor.adapters.verifier_log import (
    read_stack_depths,
    read_verifier_log,
    read_walked_instructions,
)

NEWER = """\
0: R1=ctx() R10=fp0
; unsigned char *data = (void *)(long)ctx->data; @ reads.bpf.c:11
0: (61) r1 = *(u32 *)(r1 +0)          ; R1_w=pkt(r=0)
; return data[60] ? XDP_PASS : XDP_DROP; @ reads.bpf.c:13
1: (71) r1 = *(u8 *)(r1 +60)
invalid access to packet, off=60 size=1, R1(id=0,off=60,r=0)
R1 offset is outside of the packet
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_the_last_words_and_the_source_line_before_them() -> None:
    """Kernels from 6.9 name file and line."""
    found = read_verifier_log(NEWER)

    assert found.error == "R1 offset is outside of the packet"
    assert found.source_line == "return data[60] ? XDP_PASS : XDP_DROP;"
    assert found.place == "reads.bpf.c:13"
    assert found.sentence == (
        "R1 offset is outside of the packet at reads.bpf.c:13"
        " `return data[60] ? XDP_PASS : XDP_DROP;`"
    )


def test_older_kernels_give_the_text_of_the_line_alone() -> None:
    """Then there is no place to name."""
    found = read_verifier_log("; return data[60];\n1: (71) r1 = *(u8 *)(r1 +60)\nR1 invalid\n")

    assert (found.source_line, found.place) == ("return data[60];", "")


def test_a_log_without_source_lines_still_has_last_words() -> None:
    """An object without BTF."""
    assert read_verifier_log("1: (95) exit\nR0 !read_ok\nprocessed 1 insns\n").sentence == (
        "R0 !read_ok"
    )


def test_an_empty_log_is_said_to_be_one() -> None:
    """No invented reason."""
    assert read_verifier_log("\n").sentence.startswith("it gives no reason")


def test_stack_depths_are_the_main_function_s_first() -> None:
    """As written with log level 4."""
    assert read_stack_depths("verification time 5 usec\nstack depth 48+0+16\nprocessed") == (
        48,
        0,
        16,
    )
    assert read_stack_depths("processed 3 insns") == ()


def test_the_instruction_that_it_was_at_is_known() -> None:
    """By its number a line of a linked chain is found to be of one of its programs."""
    assert read_verifier_log(NEWER).position == 1
    assert read_verifier_log("processed 2 insns\n").position == -1


def test_states_are_not_last_words() -> None:
    """Behind the reason, the verifier of newer kernels shows both states of an endless loop."""
    found = read_verifier_log(
        "; for (;;) @ loops.c:3\n2: (05) goto pc-1\ninfinite loop detected at insn 2\n"
        "cur state: R0=0 R10=fp0\nold state: R0=0 R10=fp0\nprocessed 3 insns\n"
    )

    assert found.error == "infinite loop detected at insn 2"
    assert found.source == "loops.c:3: for (;;)"


def test_the_number_of_walked_instructions_is_in_the_statistics() -> None:
    """Also of kernels that do not keep it beside the program (before 5.16)."""
    assert read_walked_instructions(NEWER) == 2
    assert read_walked_instructions("stack depth 8\n") == 0
