# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program costs in a linked chain, and in a chain of tail calls; how long linking takes.

Every value is a median over rounds in which all variants take turns, so that a busy moment of the
machine meets them all.  `BPF_PROG_TEST_RUN` measures; "alone" is one program in the harness.

Linked: the chain as the executor links it.  Tail calls: a root program and one program for each
member, each ending in a tail call into its own one-slot array.  Bodies: the members' code written
one after another by hand, with neither checks nor calls; what linked costs over that is the price
of being a chain.
"""

from __future__ import annotations

import platform
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.report import Row, report
from services.node_executor.adapters.bpf_syscall import MAP_UPDATE, Descriptor, Memory, bpf
from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.programs import load_program, run_packet
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.body import Body
from services.node_executor.linking.emission import emit
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    JUMP,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    TAIL_CALL_HELPER,
    Instruction,
)

SIZES: Final = (1, 2, 4, 8, 16, 32)
ROUNDS: Final = 11
REPEATS: Final = 200_000
PACKET: Final = bytes(64)
LINKING_TARGET_NS: Final = 1.0
LINK_ROUNDS: Final = 15

MAP_CREATE: Final = 0
ARRAY, PROGRAM_ARRAY = 2, 3
PASS: Final = 2
MOVE, MOVE_IMMEDIATE, ADD_IMMEDIATE = 0xBF, 0xB7, 0x07
STORE_32, LOAD_64, STORE_64, JUMP_IF_ZERO = 0x62, 0x79, 0x7B, 0x15

SOURCE: Final = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64);
         __uint(max_entries, 1); } seen SEC(".maps");
SEC("xdp") int counts(struct xdp_md *ctx) {
    __u32 key = 0; __u64 *value = bpf_map_lookup_elem(&seen, &key);
    if (value) *value += 1;
    return XDP_PASS;
}
char _license[] SEC("license") = "Dual BSD/GPL";
"""
MEMORY_SCRIPT: Final = """
from services.node_executor.adapters import chain, hooks, map_access, pins
from services.node_executor.adapters.capture import the_capture
the_capture()
print(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("VmRSS")))
"""

Code = tuple[Instruction, ...]


def passing() -> Code:
    """The least that a member can do."""
    return (Instruction(MOVE_IMMEDIATE, 0, immediate=PASS), Instruction(EXIT))


def counting(map_fd: int) -> Code:
    """One array lookup, one addition."""
    return (
        Instruction(STORE_32, 10, offset=-4),
        Instruction(MOVE, 2, 10),
        Instruction(ADD_IMMEDIATE, 2, immediate=-4),
        *_map(1, map_fd),
        Instruction(CALL, immediate=1),
        Instruction(JUMP_IF_ZERO, 0, offset=3),
        Instruction(LOAD_64, 1, 0),
        Instruction(ADD_IMMEDIATE, 1, immediate=1),
        Instruction(STORE_64, 0, 1),
        *passing(),
    )


def linked_chain(members: Sequence[Code], maps: Sequence[int]) -> Descriptor:
    """As the executor links it."""
    bodies = [
        Body(
            name=f"m{number}",
            instructions=code,
            stack_depths_bytes=(8,),
            licence="GPL",
            proceed_on=("pass",),
            map_ids={fd: fd for fd in maps},
        )
        for number, code in enumerate(members)
    ]
    policy = LinkPolicy(hook="xdp", has_counters=False)
    return _load(emit(plan_link(bodies, KernelFacts(), policy))[0].instructions)


def bare_bodies(members: Sequence[Code]) -> Descriptor:
    """The members' code one after another: no check, no kept context."""
    code = [i for member in members[:-1] for i in (*member[:-1], Instruction(JUMP))]
    return _load((*code, *members[-1]))


def tail_calls(members: Sequence[Code], held: ExitStack) -> Descriptor:
    """A root that starts the list, then every member with a tail call at its end."""
    arrays = [held.enter_context(_create_map(PROGRAM_ARRAY, 4, 1)) for _ in range(len(members) + 1)]
    programs = [
        held.enter_context(_load(_ending_in_tail_call(code, array.fd)))
        for code, array in zip((passing(), *members), arrays, strict=True)
    ]
    for array, program in zip(arrays, programs[1:], strict=False):
        memory = Memory()
        key, value = memory.of(bytes(4)), memory.of(struct.pack("<I", program.fd))
        bpf(MAP_UPDATE, struct.pack("<I4xQQQ", array.fd, key, value, 0), action="chaining")
    return programs[0]


def _ending_in_tail_call(code: Code, array_fd: int) -> Code:
    length = len(code)
    body = tuple(
        Instruction(JUMP, offset=length - position - 1) if i.opcode == EXIT else i
        for position, i in enumerate(code)
    )
    return (
        Instruction(MOVE, 6, 1),
        *body,
        Instruction(MOVE, 1, 6),
        *_map(2, array_fd),
        Instruction(MOVE_IMMEDIATE, 3),
        Instruction(CALL, immediate=TAIL_CALL_HELPER),
        *passing(),
    )


def _map(register: int, fd: int) -> Code:
    return (
        Instruction(LOAD_IMMEDIATE_64, register, MAP_DESCRIPTOR, immediate=fd),
        Instruction(0),
    )


def _load(code: Code) -> Descriptor:
    program = LinkedProgram(
        hook="xdp", instructions=code, licence="GPL", has_frags=False, functions=(), lines=()
    )
    return load_program(program, None, name="benchmark")


def _create_map(kind: int, value_bytes: int, entries: int) -> Descriptor:
    request = struct.pack("<IIIII", kind, 4, value_bytes, entries, 0)
    return Descriptor(bpf(MAP_CREATE, request, action="making a map"))


def measure_packets() -> list[Row]:
    """Nanoseconds for one packet through the whole chain, by variant and length."""
    with ExitStack() as held:
        maps = [held.enter_context(_create_map(ARRAY, 8, 1)).fd for _ in range(8)]
        kinds: dict[str, list[Code]] = {
            "no-op": [passing()] * max(SIZES),
            "counting": [counting(maps[number % 8]) for number in range(max(SIZES))],
        }
        programs: dict[tuple[str, str, int], Descriptor] = {}
        for kind, members in kinds.items():
            for size in SIZES:
                chosen = members[:size]
                programs[kind, "linked", size] = held.enter_context(linked_chain(chosen, maps))
                programs[kind, "bodies", size] = held.enter_context(bare_bodies(chosen))
                programs[kind, "tail calls", size] = tail_calls(chosen, held)
        found = _medians(programs)
    return _packet_rows(found)


def _medians(programs: dict[tuple[str, str, int], Descriptor]) -> dict[tuple[str, str, int], float]:
    taken: dict[tuple[str, str, int], list[int]] = {case: [] for case in programs}
    for _ in range(ROUNDS):
        for case, program in programs.items():
            taken[case].append(run_packet(program, PACKET, repeat=REPEATS).duration_ns)
    return {case: statistics.median(values) for case, values in taken.items()}


def _packet_rows(found: dict[tuple[str, str, int], float]) -> list[Row]:
    rows = []
    for kind in ("no-op", "counting"):
        for size in SIZES:
            programs = f"{size} {kind} program{'s' if size > 1 else ''}"
            rows += [
                Row(f"{programs}, {variant}", found[kind, variant, size], "ns/packet")
                for variant in ("bodies", "linked", "tail calls")
            ]
        last = SIZES[-1]
        over = (found[kind, "linked", last] - found[kind, "bodies", last]) / last
        rows.append(
            Row(
                f"linking, a {kind} program of {last}, over its body",
                over,
                "ns/program",
                target=LINKING_TARGET_NS,
            )
        )
    return rows


def measure_linking() -> list[Row]:
    """Milliseconds from an object file in memory to the linked program, by phase."""
    with tempfile.TemporaryDirectory() as directory:
        source, made = Path(directory) / "counts.bpf.c", Path(directory) / "counts.bpf.o"
        source.write_text(SOURCE)
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        subprocess.run(
            ("clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", made), check=True
        )
        program = ProgramSource(
            name="counts",
            object_path="counts.bpf.o",
            data=made.read_bytes(),
            function="counts",
            proceed_on=("pass",),
        )
    rounds = []
    for _ in range(LINK_ROUNDS):
        with link_chain([program], "xdp", name="benchmark") as chain:
            rounds.append(chain.durations_ms)
    phases = {phase: statistics.median(one[phase] for one in rounds) for phase in rounds[0]}
    return [
        *(Row(f"one program, {phase}", value, "ms") for phase, value in phases.items()),
        Row("one program, load and link together", sum(phases.values()), "ms"),
    ]


def measure_memory() -> Row:
    """Resident memory of a process that has the kernel adapters and libbpf open."""
    done = subprocess.run(
        (sys.executable, "-c", MEMORY_SCRIPT), check=True, capture_output=True, text=True
    )
    return Row("process with the kernel adapters", int(done.stdout) / 1024, "MiB")


def main() -> None:
    """Measure all and print."""
    report("chain_overhead", [*measure_packets(), *measure_linking(), measure_memory()])


if __name__ == "__main__":
    main()
