# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The same programs made into a chain in every way that is compared; no benchmark by itself.

A kind is what a member is: a no-op, a program that counts in an array, or the programs of the
first-party packages in turn.  Members are compiled C, each instance with maps of its own.
"""

from __future__ import annotations

import platform
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final, Literal

from cli.package_build import build_package
from services.node_executor.adapters.bpf_syscall import MAP_UPDATE, Descriptor, Memory, bpf
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.programs import load_program, run_packet
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.plan import LinkPolicy
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    FRAME_POINTER,
    JUMP,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    STORE_64,
    TAIL_CALL_HELPER,
    Instruction,
)
from shared.contracts.node import DEFAULT_PROCEED_ON
from shared.identifiers import Hook
from shared.package_archive import unpack_archive

Kind = Literal["no-op", "counting", "package"]
Variant = Literal["bodies", "inline", "inline, counted", "call-global", "segments", "tail calls"]

PACKAGES: Final = Path(__file__).parents[1] / "packages"
MAP_CREATE: Final = 0
PROGRAM_ARRAY: Final = 3
MOVE_IMMEDIATE: Final = 0xB7
JUMP_UNLESS_EQUAL_32: Final = 0x56

PACKET: Final = (
    bytes(12)
    + struct.pack("!HBBHHHBBH4s4s", 0x0800, 0x45, 0, 50, 1, 0, 64, 6, 0, bytes(4), bytes(4))
    + struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, 5 << 4, 0x10, 1000, 0, 0)
    + bytes(10)
)
"""A TCP acknowledgement to port 443: counted, never limited."""

SOURCE: Final = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, __u64);
         __uint(max_entries, 1); } seen SEC(".maps");
static __always_inline void count(void) {
    __u32 key = 0; __u64 *value = bpf_map_lookup_elem(&seen, &key);
    if (value) *value += 1;
}
SEC("xdp") int passes_xdp(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int counts_xdp(struct xdp_md *ctx) { count(); return XDP_PASS; }
SEC("tc") int passes_tc(struct __sk_buff *ctx) { return TC_ACT_OK; }
SEC("tc") int counts_tc(struct __sk_buff *ctx) { count(); return TC_ACT_OK; }
char _license[] SEC("license") = "Dual BSD/GPL";
"""


def members(kind: Kind, hook: Hook, size: int) -> list[ProgramSource]:
    """So many programs of a kind, each with a name of its own."""
    choices = _choices(kind, hook)
    return [
        ProgramSource(
            name=f"p{position}",
            object_path="program.bpf.o",
            data=choices[position % len(choices)][0],
            function=choices[position % len(choices)][1],
            proceed_on=DEFAULT_PROCEED_ON[hook],
        )
        for position in range(size)
    ]


def make(variant: Variant, sources: Sequence[ProgramSource], hook: Hook, held: ExitStack) -> Made:
    """The chain in one of the ways; it lives as long as `held`."""
    every = frozenset(range(len(sources)))
    policies: dict[Variant, LinkPolicy] = {
        "inline": LinkPolicy(hook=hook, has_counters=False),
        "inline, counted": LinkPolicy(hook=hook),
        "call-global": LinkPolicy(hook=hook, has_counters=False, called=every),
        "segments": LinkPolicy(hook=hook, has_counters=False, separate=every - {0}),
    }
    if variant in policies:
        policy = policies[variant]
        chain = held.enter_context(link_chain(sources, hook, name="benchmark", policy=policy))
        return Made(chain.program, chain)
    bodies = [held.enter_context(load_body(one, hook, is_first=True)) for one in sources]
    if variant == "bodies":
        return Made(_bare_bodies(bodies, hook), None)
    return Made(_tail_calls(bodies, hook, held), None)


class Made:
    """A program to run, and the chain it is the head of, if the executor linked it."""

    def __init__(self, program: Descriptor, chain: LinkedChain | None) -> None:
        self.program: Final = program
        self.chain: Final = chain


@cache
def _choices(kind: Kind, hook: Hook) -> tuple[tuple[bytes, str], ...]:
    """Objects and functions that take turns."""
    end = "xdp" if hook == "xdp" else "tc"
    if kind == "no-op":
        return ((_compiled(), f"passes_{end}"),)
    if kind == "counting":
        return ((_compiled(), f"counts_{end}"),)
    counting = (packaged("port-count"), f"port_count_{end}")
    return (_packaged_limit(), counting) if hook == "xdp" else (counting,)


def _packaged_limit() -> tuple[bytes, str]:
    return packaged("rate-limit"), "rate_limit"


@cache
def packaged(package: str) -> bytes:
    """The object file of a first-party package."""
    built = build_package(PACKAGES / package)
    return unpack_archive(built.archive)[built.manifest.programs[0].object]


@cache
def _compiled() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        source, made = Path(directory) / "member.bpf.c", Path(directory) / "member.bpf.o"
        source.write_text(SOURCE)
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        subprocess.run(
            ("clang", "-O2", "-g", "-target", "bpf", include, "-c", source, "-o", made), check=True
        )
        return made.read_bytes()


def _bare_bodies(bodies: Sequence[LoadedBody], hook: Hook) -> Descriptor:
    """The members' code one after another: no check, no kept context, nothing but the work.

    Only for members that need neither context nor functions.
    """
    parts = [body.body.instructions for body in bodies]
    joined = [_leaving_at_end(part) for part in parts[:-1]]
    return _load((*(i for part in joined for i in part), *parts[-1]), hook)


def _tail_calls(bodies: Sequence[LoadedBody], hook: Hook, held: ExitStack) -> Descriptor:
    """A root that starts the list, then every member with a tail call at its end."""
    arrays = [held.enter_context(_program_array()) for _ in range(len(bodies) + 1)]
    passing = [_verdict(body) for body in bodies]
    root = (Instruction(MOVE_IMMEDIATE, 0, immediate=passing[0]), Instruction(EXIT))
    codes = [_ending_in_tail_call(root, 0, passing[0], arrays[0].fd)]
    codes += [
        _ending_in_tail_call(body.body.instructions, body.body.main_stack_bytes, verdict, array.fd)
        for body, verdict, array in zip(bodies, passing, arrays[1:], strict=True)
    ]
    programs = [held.enter_context(_load(code, hook)) for code in codes]
    for array, program in zip(arrays, programs[1:], strict=False):
        memory = Memory()
        key, value = memory.of(bytes(4)), memory.of(struct.pack("<I", program.fd))
        bpf(MAP_UPDATE, struct.pack("<I4xQQQ", array.fd, key, value, 0), action="chaining")
    return programs[0]


def _verdict(body: LoadedBody) -> int:
    """What the member says to the packet of the benchmark, signed."""
    verdict: int = struct.unpack("<i", struct.pack("<I", run_packet(body.program, PACKET).verdict))[
        0
    ]
    return verdict


def _ending_in_tail_call(
    code: Sequence[Instruction], stack_bytes: int, passing: int, array_fd: int
) -> tuple[Instruction, ...]:
    """What a member that is written for chains of tail calls has at its end."""
    slot = -(stack_bytes + 8)
    return (
        Instruction(STORE_64, FRAME_POINTER, 1, slot),
        *_leaving_at_end(code),
        Instruction(JUMP_UNLESS_EQUAL_32, 0, offset=6, immediate=passing),
        Instruction(LOAD_64, 1, FRAME_POINTER, slot),
        Instruction(LOAD_IMMEDIATE_64, 2, MAP_DESCRIPTOR, immediate=array_fd),
        Instruction(0),
        Instruction(MOVE_IMMEDIATE, 3),
        Instruction(CALL, immediate=TAIL_CALL_HELPER),
        Instruction(MOVE_IMMEDIATE, 0, immediate=passing),
        Instruction(EXIT),
    )


def _leaving_at_end(code: Sequence[Instruction]) -> list[Instruction]:
    """Every exit becomes a jump behind the last instruction."""
    return [
        Instruction(JUMP, offset=len(code) - position - 1) if i.opcode == EXIT else i
        for position, i in enumerate(code)
    ]


def _load(code: Sequence[Instruction], hook: Hook) -> Descriptor:
    program = LinkedProgram(
        hook=hook,
        instructions=tuple(code),
        licence="GPL",
        has_frags=False,
        functions=(),
        lines=(),
    )
    return load_program(program, None, name="benchmark")


def _program_array() -> Descriptor:
    request = struct.pack("<IIIII", PROGRAM_ARRAY, 4, 4, 1, 0)
    return Descriptor(bpf(MAP_CREATE, request, action="making an array of programs"))
