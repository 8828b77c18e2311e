# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs joined by hand, as the linker would if it did not know a rule, and the kernel's answer.

Nothing of the linker is used: what these tests say of the kernel holds whatever the linker does.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    MAP_UPDATE,
    PROGRAM_LOAD,
    Descriptor,
    Memory,
    bpf,
    bpf_attempt,
)
from shared.bytecode.instructions import CALL, EXIT, JUMP, Instruction, encode, subprogram_starts

Code = tuple[Instruction, ...]

XDP, SCHED_CLS = 6, 3
ATTACH_XDP, TCX_INGRESS, TCX_EGRESS = 37, 46, 47
HAS_FRAGS, DEVICE_BOUND = 1 << 5, 1 << 6
MAP_CREATE, BTF_LOAD = 0, 18
FUNCTION_KIND = 12
"""BTF_KIND_FUNC."""
HASH, ARRAY, PROGRAM_ARRAY, PER_CPU_ARRAY = 1, 2, 3, 6
LOG_BYTES = 1 << 22
LOOKUP, TAIL_CALL, ADJUST_HEAD, ADJUST_META = 1, 12, 44, 54


# Instructions.
def move(to: int, register: int) -> Instruction:
    """Register `to` = the other one."""
    return Instruction(0xBF, to, register)


def number(to: int, value: int) -> Instruction:
    """Register `to` = value, 64 bits."""
    return Instruction(0xB7, to, immediate=value)


def add(to: int, value: int) -> Instruction:
    """Register `to` += value."""
    return Instruction(0x07, to, immediate=value)


def load(size: int, to: int, register: int, offset: int) -> Instruction:
    """Register `to` = *(size *)(register + offset)."""
    return Instruction({8: 0x79, 4: 0x61, 2: 0x69, 1: 0x71}[size], to, register, offset)


def store(size: int, register: int, offset: int, value: int) -> Instruction:
    """*(size *)(register + offset) = the register `value`."""
    return Instruction({8: 0x7B, 4: 0x63, 2: 0x6B, 1: 0x73}[size], register, value, offset)


def put(size: int, register: int, offset: int, value: int) -> Instruction:
    """*(size *)(register + offset) = the number `value`."""
    return Instruction({8: 0x7A, 4: 0x62, 2: 0x6A, 1: 0x72}[size], register, 0, offset, value)


def jump(distance: int) -> Instruction:
    """Goto."""
    return Instruction(JUMP, offset=distance)


def if_equal(register: int, value: int, distance: int) -> Instruction:
    """If register == value goto, 64 bits."""
    return Instruction(0x15, register, 0, distance, value)


def if_equal_32(register: int, value: int, distance: int) -> Instruction:
    """If the register's lower half == value goto."""
    return Instruction(0x16, register, 0, distance, value)


def helper(identifier: int) -> Instruction:
    """Call a helper."""
    return Instruction(CALL, immediate=identifier)


def call(distance: int) -> Instruction:
    """Call a function of the program."""
    return Instruction(CALL, source=1, immediate=distance)


def kernel_call(type_id: int) -> Instruction:
    """Call a kernel function."""
    return Instruction(CALL, source=2, immediate=type_id)


def map_in(to: int, fd: int) -> Code:
    """Register `to` = the map."""
    return (Instruction(0x18, to, 1, immediate=fd), Instruction(0))


LEAVE: Final = Instruction(EXIT)


def returning(value: int) -> Code:
    """A program that does nothing else."""
    return (number(0, value), LEAVE)


def counting(fd: int, value: int) -> Code:
    """One more in entry 0 of an array, then that verdict."""
    return (
        put(4, 10, -8, 0),
        move(2, 10),
        add(2, -8),
        *map_in(1, fd),
        helper(LOOKUP),
        if_equal(0, 0, 3),
        load(8, 1, 0, 0),
        add(1, 1),
        store(8, 0, 0, 1),
        *returning(value),
    )


def using_stack(depth: int, value: int = 2) -> Code:
    """A program that writes so far below its frame pointer."""
    return (put(8, 10, -depth, 1), *returning(value))


def tail_calling(fd: int, slot: int, otherwise: int) -> Code:
    """A program that ends in a tail call, with a verdict for an empty slot."""
    return (*map_in(2, fd), number(3, slot), helper(TAIL_CALL), *returning(otherwise))


# Joining.
PASSING = returning(2)
WITH_FUNCTION: Code = (call(1), LEAVE, *PASSING)


def branching(count: int) -> Code:
    """So many branches that the verifier keeps in mind until it has seen the end."""
    return (
        load(4, 2, 1, 12),
        *(if_equal(2, n + 5, count - n - 1) for n in range(count)),
        *PASSING,
    )


@dataclass(frozen=True)
class Joined:
    """Instructions, and where functions start."""

    code: Code
    starts: tuple[int, ...]


def inline(
    bodies: Sequence[Code],
    *,
    proceed: Sequence[int] = (2,),
    slot: int = 256,
    compares_64_bits: bool = False,
    zeroed: int = 0,
) -> Joined:
    """All bodies in one function, the context kept at `slot` below the frame pointer."""
    mains = [min([*subprogram_starts(body)[1:], len(body)]) for body in bodies]
    heads: list[Code] = [(store(8, 10, -slot, 1),)]
    zeroes = tuple(put(8, 10, -depth, 0) for depth in range(8, zeroed + 1, 8))
    heads += [(load(8, 1, 10, -slot), *zeroes) for _ in bodies[1:]]
    compare = if_equal if compares_64_bits else if_equal_32
    check = (
        *(compare(0, value, len(proceed) - place) for place, value in enumerate(proceed)),
        LEAVE,
    )
    checks: list[Code] = [*(check for _ in bodies[1:]), ()]
    main_at, position = [], 0
    for head, main, checked in zip(heads, mains, checks, strict=True):
        main_at.append(position + len(head))
        position += len(head) + main + len(checked)
    behind_at = []
    for body, main in zip(bodies, mains, strict=True):
        behind_at.append(position)
        position += len(body) - main
    code: list[Instruction] = []
    behind: list[Instruction] = []
    starts = [0]
    for index, body in enumerate(bodies):
        place = [
            main_at[index] + own if own < mains[index] else behind_at[index] + own - mains[index]
            for own in range(len(body))
        ]
        moved = []
        for own, instruction in enumerate(body):
            if instruction.refers_to_subprogram:
                target = place[own + instruction.immediate + 1]
                moved.append(instruction._replace(immediate=target - place[own] - 1))
            elif instruction.opcode == EXIT and own < mains[index] and checks[index]:
                moved.append(jump(main_at[index] + mains[index] - place[own] - 1))
            else:
                moved.append(instruction)
        code += [*heads[index], *moved[: mains[index]], *checks[index]]
        behind += moved[mains[index] :]
        starts += [place[own] for own in subprogram_starts(body)[1:]]
    return Joined((*code, *behind), tuple(starts))


def called(bodies: Sequence[Code], *, proceed: Sequence[int] = (2,), stack: int = 0) -> Joined:
    """Each body a function, the context kept in r6; the caller uses `stack` bytes."""
    head = (move(6, 1), *((put(8, 10, -stack, 0),) if stack else ()))
    each = 2 + len(proceed) + 1
    length = len(head) + each * len(bodies) + 1
    code: list[Instruction] = list(head)
    starts = [0]
    at = length
    for body in bodies:
        code += [move(1, 6), call(at - len(code) - 2)]
        code += [if_equal_32(0, value, len(proceed) - n) for n, value in enumerate(proceed)]
        code += [jump(length - 1 - len(code) - 1)]
        at += len(body)
    code.append(LEAVE)
    for body in bodies:
        starts += [len(code) + own for own in subprogram_starts(body)]
        code += body
    return Joined(tuple(code), tuple(starts))


# The kernel.
@dataclass(frozen=True)
class Types:
    """BTF in the kernel with the functions that tests need."""

    fd: int
    static: int
    exported: int
    untyped: int
    """Global too, but its context is a `void *`."""
    name_offset: int


@cache
def types(context: str = "xdp_md") -> Types:
    """BTF with `int f(struct CONTEXT *)` as static and as global function; kept for the process."""
    strings = b"\0"
    offsets = {}
    for name in ("int", context, "x", "ctx", "f_static", "f_global", "f_untyped", "a.bpf.c"):
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"

    def kind(name: str, which: int, length: int, size: int) -> bytes:
        return struct.pack("<III", offsets.get(name, 0), which << 24 | length, size)

    integer, structure, pointer, anything = 1, 2, 3, 4
    records = (
        kind("int", 1, 0, 4)
        + struct.pack("<I", 1 << 24 | 32)
        + kind(context, 4, 1, 4)
        + struct.pack("<III", offsets["x"], integer, 0)
        + kind("", 2, 0, structure)
        + kind("", 2, 0, 0)
        + kind("", 13, 1, integer)
        + struct.pack("<II", offsets["ctx"], pointer)
        + kind("", 13, 1, integer)
        + struct.pack("<II", offsets["ctx"], anything)
        + kind("f_static", 12, 0, 5)
        + kind("f_global", 12, 1, 5)
        + kind("f_untyped", 12, 1, 6)
    )
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(records), len(records), len(strings))
    memory = Memory()
    blob = header + records + strings
    request = struct.pack("<QQIII", memory.of(blob), 0, len(blob), 0, 0)
    fd = bpf(BTF_LOAD, request, action="loading BTF")
    return Types(fd, static=7, exported=8, untyped=9, name_offset=offsets["a.bpf.c"])


@dataclass(frozen=True)
class Answer:
    """What the kernel says to a program."""

    program: Descriptor | None
    number: int
    """errno; 0: it was loaded."""
    log: str

    @property
    def last_lines(self) -> str:
        """The end of the verifier's log."""
        return "\n".join(self.log.strip().splitlines()[-6:])


class Kernel:
    """Loads programs and makes maps; everything goes when the test ends."""

    def __init__(self, held: ExitStack) -> None:
        self._held = held

    def load(
        self,
        code: Joined | Code,
        *,
        kind: int = XDP,
        attach_type: int | None = None,
        licence: str = "GPL",
        flags: int = 0,
        functions: Sequence[tuple[int, int]] = (),
        lines: Sequence[int] = (),
        found: Types | None = None,
        log_level: int = 1,
        log_bytes: int = LOG_BYTES,
        interface_index: int = 0,
    ) -> Answer:
        """Whether the kernel takes the program; `functions` are positions and type ids."""
        instructions = code.code if isinstance(code, Joined) else code
        known = found or types()
        memory = Memory()
        log, read_log = memory.space(log_bytes) if log_level else (0, bytes)
        records = b"".join(struct.pack("<II", *function) for function in functions)
        places = b"".join(
            struct.pack("<IIII", at, known.name_offset, known.name_offset, 7 << 10 | 1)
            for at in lines
        )
        default = ATTACH_XDP if kind == XDP else TCX_INGRESS
        request = struct.pack(
            "<IIQQIIQII16sIIIIQIIQI4x",
            *(kind, len(instructions), memory.of(encode(instructions)), memory.text(licence)),
            *(log_level, log_bytes if log_level else 0, log, 0, flags, b"by_hand"),
            *(interface_index, default if attach_type is None else attach_type),
            *(known.fd if records or places else 0, 8, memory.of(records), len(functions)),
            *(16 if places else 0, memory.of(places), len(lines)),
        )
        fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
        text = read_log().split(b"\0", 1)[0].decode(errors="replace")
        program = None if failure else self._held.enter_context(Descriptor(fd))
        return Answer(program, failure, text)

    def loaded(self, code: Joined | Code, **how: object) -> Descriptor:
        """The program, which the kernel takes."""
        answer = self.load(code, **how)  # type: ignore[arg-type]
        assert answer.program is not None, answer.last_lines
        return answer.program

    def map(self, kind: int = ARRAY, *, value: int = 8, entries: int = 1, key: int = 4) -> int:
        """The descriptor of a new map."""
        request = struct.pack("<IIIII", kind, key, value, entries, 0)
        return self._held.enter_context(Descriptor(bpf(MAP_CREATE, request, action="a map"))).fd

    def put_program(self, array: int, slot: int, program: Descriptor) -> int:
        """The errno of writing a program into an array of programs; 0: it is there."""
        memory = Memory()
        key, value = memory.of(struct.pack("<I", slot)), memory.of(struct.pack("<I", program.fd))
        _, failure, _ = bpf_attempt(MAP_UPDATE, struct.pack("<I4xQQQ", array, key, value, 0))
        return failure


@contextmanager
def a_kernel() -> Iterator[Kernel]:
    """A kernel for one test."""
    with ExitStack() as held:
        yield Kernel(held)


def typed(joined: Joined, body_type: int, main_type: int | None = None) -> list[tuple[int, int]]:
    """Function records: the main function static, every other of that type."""
    first = types().static if main_type is None else main_type
    return [(0, first), *((start, body_type) for start in joined.starts[1:])]


@cache
def kernel_functions(names: tuple[str, ...]) -> tuple[int, ...]:
    """The kernel's own type ids of those of its functions that it has types for."""
    library = ctypes.CDLL("libbpf.so.1")
    library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    known = ctypes.c_void_p(library.btf__load_vmlinux_btf())
    try:
        found = [library.btf__find_by_name_kind(known, n.encode(), FUNCTION_KIND) for n in names]
    finally:
        library.btf__free(known)
    return tuple(type_id for type_id in found if type_id > 0)


def kernel_function(name: str) -> int:
    """The kernel's own type id of one of its functions."""
    (found,) = kernel_functions((name,))
    return found
