# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A machine for the few instructions that linked test programs are made of.

Memory is three regions: the context, which stands for the packet too; the counters; and the stack
frames, which are zero when their function begins.  Any other access is an error, and so are a jump
out of the function, a read of a register that nobody set, and more frames or stack than allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from shared.bytecode.instructions import (
    CALL,
    EXIT,
    HELPER_CALL,
    JUMP,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    PACKET_LOADS,
    SUBPROGRAM_CALL,
    Instruction,
    subprogram_starts,
)

CONTEXT_BYTES: Final = 64
CONTEXT_AT: Final = 0x10_0000
COUNTERS_AT: Final = 0x20_0000
STACKS_AT: Final = 0x40_0000
STACK_BYTES: Final = 512
MAX_FRAMES: Final = 8
MAX_TAIL_CALLS: Final = 33
LOOKUP, CLOCK, TAIL_CALL = 1, 5, 12
_WORD: Final = (1 << 64) - 1
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}


class SimulatorError(Exception):
    """The program did what the kernel would not have let it do."""


class _TailCall(Exception):  # noqa: N818 - because it is control flow
    def __init__(self, program: Sequence[Instruction]) -> None:
        super().__init__()
        self.program = program


@dataclass
class Machine:
    """One processor with one packet."""

    context: bytearray
    counters: bytearray = field(default_factory=bytearray)
    arrays: Mapping[int, Mapping[int, Sequence[Instruction]]] = field(default_factory=dict)
    """Programs by descriptor of their array and index."""
    packet_bytes: int = CONTEXT_BYTES
    """How far direct loads reach."""
    now: int = 1000
    tail_calls: int = 0
    _frames: list[bytearray] = field(default_factory=list)

    def run(self, program: Sequence[Instruction]) -> int:
        """The verdict of a program that begins here: 32 bits."""
        return self._function(program, 0, [0] * 11, is_entry=True) & 0xFFFFFFFF

    def _function(
        self,
        program: Sequence[Instruction],
        start: int,
        arguments: list[int],
        *,
        is_entry: bool = False,
    ) -> int:
        while True:
            if len(self._frames) >= MAX_FRAMES:
                raise SimulatorError("too many frames")
            self._frames.append(bytearray(STACK_BYTES))
            registers: list[int | None] = [None] * 11
            registers[1:6] = arguments[1:6]
            if is_entry:
                registers[1:6] = [CONTEXT_AT, None, None, None, None]
            registers[10] = STACKS_AT + len(self._frames) * STACK_BYTES
            try:
                return _Run(self, program, start, registers).run()
            except _TailCall as entered:
                program, start, is_entry = entered.program, 0, True
            finally:
                self._frames.pop()

    def region(self, address: int, size: int) -> tuple[bytearray, int]:
        """The memory at an address, and where in it."""
        for base, memory in (
            (CONTEXT_AT, self.context),
            (COUNTERS_AT, self.counters),
            *((STACKS_AT + index * STACK_BYTES, frame) for index, frame in enumerate(self._frames)),
        ):
            if base <= address and address + size <= base + len(memory):
                return memory, address - base
        raise SimulatorError(f"no memory at {address:#x}")

    def enter(self, array: int, index: int) -> None:
        """Tail-call, or nothing if the array has no such program."""
        program = self.arrays.get(array, {}).get(index)
        if program is not None and self.tail_calls < MAX_TAIL_CALLS:
            self.tail_calls += 1
            raise _TailCall(program)

    def call(self, program: Sequence[Instruction], start: int, registers: list[int | None]) -> int:
        """What a function of the program returns."""
        return self._function(program, start, [0 if r is None else r for r in registers])


class _Run:
    """One function, from its start to its exit."""

    def __init__(
        self,
        machine: Machine,
        program: Sequence[Instruction],
        start: int,
        registers: list[int | None],
    ) -> None:
        self._machine = machine
        self._program = program
        self._at = start
        self._registers = registers

    def run(self) -> int:
        for _ in range(200_000):
            instruction = self._program[self._at]
            self._at += 1
            if instruction.opcode == EXIT:
                return self._read(0)
            if instruction.opcode in PACKET_LOADS:
                if instruction.immediate >= self._machine.packet_bytes:
                    return 0
                self._registers[0] = self._machine.context[instruction.immediate]
            else:
                self._step(instruction)
        raise SimulatorError("it does not end")

    def _read(self, register: int) -> int:
        value = self._registers[register]
        if value is None:
            raise SimulatorError(f"r{register} is not set before {self._at - 1}")
        return value

    def _step(self, i: Instruction) -> None:
        kind = i.opcode & 0x07
        if i.opcode == CALL:
            self._call(i)
        elif i.opcode == LOAD_IMMEDIATE_64:
            high = self._program[self._at].immediate
            self._at += 1
            is_map = i.source == MAP_DESCRIPTOR
            low = i.immediate & 0xFFFFFFFF
            self._registers[i.destination] = low if is_map else low | (high << 32) & _WORD
        elif kind in (0x05, 0x06):
            self._jump(i)
        elif kind in (0x04, 0x07):
            self._registers[i.destination] = self._calculate(i)
        else:
            self._access(i)

    def _jump(self, i: Instruction) -> None:
        if i.opcode == JUMP:
            self._at += i.offset
            return
        mask = _WORD if i.opcode & 0x07 == 0x05 else 0xFFFFFFFF
        right = self._read(i.source) if i.opcode & 0x08 else i.immediate
        is_equal = self._read(i.destination) & mask == right & mask
        if is_equal == {0x10: True, 0x50: False}[i.opcode & 0xF0]:
            self._at += i.offset

    def _calculate(self, i: Instruction) -> int:
        mask = _WORD if i.opcode & 0x07 == 0x07 else 0xFFFFFFFF
        right = self._read(i.source) if i.opcode & 0x08 else i.immediate & _WORD
        operation = i.opcode & 0xF0
        if operation == 0xB0:
            return right & mask
        return _OPERATIONS[operation](self._read(i.destination) & mask, right & mask) & mask

    def _access(self, i: Instruction) -> None:
        kind, size = i.opcode & 0x07, _SIZES[i.opcode & 0x18]
        base = i.source if kind == 0x01 else i.destination
        memory, start = self._machine.region(self._read(base) + i.offset, size)
        if kind == 0x01:
            self._registers[i.destination] = int.from_bytes(memory[start : start + size], "little")
            return
        value = self._read(i.source) if kind == 0x03 else i.immediate & _WORD
        memory[start : start + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def _call(self, i: Instruction) -> None:
        machine = self._machine
        if i.source == SUBPROGRAM_CALL:
            result = machine.call(self._program, self._at + i.immediate, self._registers)
        elif i.source == HELPER_CALL:
            result = self._help(i.immediate)
        else:
            raise SimulatorError("no kernel functions here")
        self._registers[0:6] = [result, None, None, None, None, None]

    def _help(self, helper: int) -> int:
        machine = self._machine
        if helper == LOOKUP:
            memory, start = machine.region(self._read(2), 4)
            if memory[start : start + 4] != bytes(4):
                raise SimulatorError("the counters have one entry")
            return COUNTERS_AT
        if helper == CLOCK:
            machine.now += 7
            return machine.now
        if helper == TAIL_CALL:
            if self._read(1) != CONTEXT_AT:
                raise SimulatorError("a tail call without the context")
            machine.enter(self._read(2), self._read(3) & 0xFFFFFFFF)
            return _WORD
        raise SimulatorError(f"no helper {helper} here")


_OPERATIONS: Final[dict[int, Callable[[int, int], int]]] = {
    0x00: lambda left, right: left + right,
    0x10: lambda left, right: left - right,
    0x40: lambda left, right: left | right,
    0x50: lambda left, right: left & right,
    0x60: lambda left, right: left << (right & 63),
    0x70: lambda left, right: left >> (right & 63),
    0xA0: lambda left, right: left ^ right,
}


def structure_problems(program: Sequence[Instruction]) -> list[str]:
    """What the kernel's first look would refuse: it knows instructions, functions and jumps."""
    starts = (*subprogram_starts(program), len(program))
    wide = {at + 1 for at, i in enumerate(program) if i.opcode == LOAD_IMMEDIATE_64}
    problems = [f"function at {at} begins inside an instruction" for at in starts if at in wide]
    reached = set(starts)
    for begin, end in pairwise(starts):
        if program[end - 1].opcode not in (EXIT, JUMP):
            problems.append(f"the function at {begin} runs into the next")
        for at in range(begin, end):
            instruction = program[at]
            is_jump = instruction.opcode & 0x07 in (0x05, 0x06)
            if at in wide or not is_jump or instruction.opcode == CALL:
                reached.add(at + 1)
            elif instruction.opcode != EXIT:
                target = at + 1 + instruction.offset
                reached.add(target)
                if instruction.opcode != JUMP:
                    reached.add(at + 1)
                if not begin <= target < end or target in wide:
                    problems.append(f"the jump at {at} leaves its function")
                if not -32_768 <= instruction.offset <= 32_767:
                    problems.append(f"the jump at {at} is too long")
    problems += [f"nothing reaches {at}" for at in range(len(program)) if at not in reached]
    return problems


def stack_problems(program: Sequence[Instruction]) -> list[str]:
    """What the kernel would say of the functions' frames together (check_max_stack_depth)."""
    starts = subprogram_starts(program)
    ends = (*starts[1:], len(program))
    problems: list[str] = []

    def visit(number: int, above: int, depth: int) -> None:
        code = program[starts[number] : ends[number]]
        used = max([-i.offset for i in code if _uses_stack(i)], default=0)
        if number and above >= 256 and any(i.calls_helper(TAIL_CALL) for i in code):
            problems.append(f"a tail call below {above} bytes")
        total = above + -(-used // 16) * 16
        if total > STACK_BYTES:
            problems.append(f"{total} bytes of stack")
        if depth > MAX_FRAMES:
            problems.append(f"{depth} frames")
            return
        for at in range(starts[number], ends[number]):
            if program[at].refers_to_subprogram:
                visit(starts.index(at + program[at].immediate + 1), total, depth + 1)

    visit(0, 0, 1)
    return problems


def _uses_stack(i: Instruction) -> bool:
    kind = i.opcode & 0x07
    return (kind == 0x01 and i.source == 10) or (kind in (0x02, 0x03) and i.destination == 10)
