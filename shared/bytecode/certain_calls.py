# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which kernel functions a program calls on every kernel, and which only where they are.

Portable programs ask first: for a type or an enumerator by CO-RE, for a weak symbol, for a constant
that is set before loading.  The verifier knows the answers and never walks the other way, so a call
there is no reason to refuse a kernel.

Rules:
 * A branch may be decided at load time if all that it compares may be known then: constants,
   relocated numbers, addresses of symbols, content of memory that is frozen before loading.
 * What comes from packets, contexts, other maps and helpers is not known.  What a function of the
   object is given, and what it returns, may be.
 * A call is certain if it is reached whichever way those branches go.  In doubt it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from shared.bytecode.instructions import (
    CALL,
    EXIT,
    FRAME_POINTER,
    HELPER_CALL,
    JUMP,
    LOAD_IMMEDIATE_64,
    MAY_GOTO,
    SUBPROGRAM_CALL,
    Instruction,
)

MAX_INSTRUCTIONS: Final = 100_000
"""Of programs longer than this no call is certain."""
MAX_PASSES: Final = 64
"""What has not settled then is taken as found so far: too little, never too much.  If it is the
stack that has not, every branch may be decided."""
_LOAD, _STORE_IMMEDIATE, _STORE, _ALU_32, _JUMP_64, _JUMP_32, _ALU_64 = 1, 2, 3, 4, 5, 6, 7
_REGISTER: Final = 0x08
_MOVE, _SWAP = 0xB0, 0xD0
_LONG_JUMP: Final = 0x06
_CALLER_SAVED: Final = 0b111111
_FROZEN: Final = 16
"""Registers 0 to 10 have a bit each for `may be known`, and this much higher one for `points to
memory that is frozen`."""

Call = tuple[str, int | str]
"""`("helper", id)` or `("function", name)`."""


@dataclass(frozen=True)
class FunctionCode:
    """One function of an object, with what relocations say of its instructions."""

    instructions: Sequence[Instruction]
    functions: Mapping[int, int] = field(default_factory=dict)
    """Position of a call or reference, to the index of the object's function that it means."""
    kernel_functions: Mapping[int, str] = field(default_factory=dict)
    """Position of a call, to the name of the kernel function."""
    frozen: frozenset[int] = frozenset()
    """Positions that load the address of memory whose content is set before loading."""

    @cached_property
    def blocks(self) -> tuple[_Block, ...]:
        """The runs of instructions that are walked from their first to their last."""
        return tuple(_blocks(self.instructions))


@dataclass(frozen=True, slots=True)
class _Block:
    first: int
    end: int
    """Position behind the last instruction."""
    successors: tuple[int, ...]
    """Indexes of blocks."""
    is_choice: bool
    """Whether it ends with a branch that compares."""


def certain_calls(functions: Sequence[FunctionCode]) -> frozenset[Call]:
    """What the first of the functions, which is the program, calls on every kernel."""
    if sum(len(one.instructions) for one in functions) > MAX_INSTRUCTIONS:
        return frozenset()
    bits: dict[Call, int] = {}
    own = [[_own_calls(one, block, bits) for block in one.blocks] for one in functions]
    open_branches = [
        _may_be_decided(one, is_program=index == 0) for index, one in enumerate(functions)
    ]
    called = [[_called(one, block) for block in one.blocks] for one in functions]
    reached = [[0] * len(one.blocks) for one in functions]
    for _ in range(MAX_PASSES):
        changed = False
        for index, code in enumerate(functions):
            for number in reversed(range(len(code.blocks))):
                block = code.blocks[number]
                found = own[index][number] | _behind(
                    [reached[index][one] for one in block.successors],
                    may_be_decided=number in open_branches[index],
                )
                for function in called[index][number]:
                    found |= reached[function][0] if reached[function] else 0
                if found != reached[index][number]:
                    reached[index][number] = found
                    changed = True
        if not changed:
            break
    certain = reached[0][0] if reached and reached[0] else 0
    return frozenset(call for call, bit in bits.items() if certain & bit)


def _behind(ways: Sequence[int], *, may_be_decided: bool) -> int:
    found = ways[0] if ways else 0
    for way in ways[1:]:
        found = found & way if may_be_decided else found | way
    return found


def _own_calls(code: FunctionCode, block: _Block, bits: dict[Call, int]) -> int:
    found = 0
    for position in range(block.first, block.end):
        instruction = code.instructions[position]
        call: Call | None = None
        if position in code.kernel_functions:
            call = ("function", code.kernel_functions[position])
        elif instruction.opcode == CALL and instruction.source == HELPER_CALL:
            call = ("helper", instruction.immediate)
        if call is not None:
            found |= bits.setdefault(call, 1 << len(bits))
    return found


def _called(code: FunctionCode, block: _Block) -> tuple[int, ...]:
    """The object's functions that the block calls or hands to a helper."""
    positions = range(block.first, block.end)
    return tuple({code.functions[one] for one in positions if one in code.functions})


def _blocks(instructions: Sequence[Instruction]) -> Iterator[_Block]:
    targets = {
        position: [one for one in _targets(instruction, position) if one < len(instructions)]
        for position, instruction in enumerate(instructions)
        if _ends_block(instruction)
    }
    starts = {0, *(position + 1 for position in targets)}
    starts |= {target for ways in targets.values() for target in ways}
    ordered = sorted(start for start in starts if 0 <= start < len(instructions))
    index = {start: number for number, start in enumerate(ordered)}
    for first, end in zip(ordered, [*ordered[1:], len(instructions)], strict=True):
        last = end - 1
        ways = targets.get(last, [end] if end < len(instructions) else [])
        yield _Block(
            first=first,
            end=end,
            successors=tuple(index[way] for way in ways if way in index),
            is_choice=last in targets and len(targets[last]) > 1,
        )


def _ends_block(instruction: Instruction) -> bool:
    return instruction.opcode & 7 in (_JUMP_64, _JUMP_32) and instruction.opcode != CALL


def _targets(instruction: Instruction, position: int) -> tuple[int, ...]:
    if instruction.opcode == EXIT:
        return ()
    if instruction.opcode == JUMP:
        return (position + 1 + instruction.offset,)
    if instruction.opcode == _LONG_JUMP:
        return (position + 1 + instruction.immediate,)
    return (position + 1, position + 1 + instruction.offset)


def _may_be_decided(code: FunctionCode, *, is_program: bool) -> frozenset[int]:
    """Indexes of the blocks that end with a branch of which the verifier may know the way."""
    if not code.blocks:
        return frozenset()
    slots: set[int] = set()
    count = len(code.blocks)
    for _ in range(MAX_PASSES):
        size = len(slots)
        entry: list[int | None] = [None] * count
        entry[0] = 0 if is_program else _CALLER_SAVED & ~1
        left = [0] * count
        waiting = [0]
        while waiting:
            number = waiting.pop()
            left[number] = state = _walk(code, code.blocks[number], entry[number] or 0, slots)
            for successor in code.blocks[number].successors:
                before = entry[successor]
                joined = state if before is None else before | state
                if joined != before:
                    entry[successor] = joined
                    waiting.append(successor)
        if len(slots) == size:
            return frozenset(
                number
                for number, block in enumerate(code.blocks)
                if block.is_choice
                and _compares_known(code.instructions[block.end - 1], left[number])
            )
    return frozenset(number for number, block in enumerate(code.blocks) if block.is_choice)


def _compares_known(branch: Instruction, state: int) -> bool:
    if branch.opcode == MAY_GOTO:
        return False
    is_known = bool(state >> branch.destination & 1)
    return is_known and (not branch.opcode & _REGISTER or bool(state >> branch.source & 1))


def _walk(code: FunctionCode, block: _Block, state: int, slots: set[int]) -> int:
    """What may be known behind the block; `slots` are distances in the stack, added to."""
    position = block.first
    while position < block.end:
        instruction = code.instructions[position]
        kind = instruction.opcode & 7
        if instruction.opcode == LOAD_IMMEDIATE_64:
            state = _set(state, instruction.destination, known=True, frozen=position in code.frozen)
            position += 2
            continue
        if instruction.opcode == CALL:
            is_own = instruction.source == SUBPROGRAM_CALL or position in code.functions
            state &= ~(_CALLER_SAVED | _CALLER_SAVED << _FROZEN)
            state |= 1 if is_own and position not in code.kernel_functions else 0
        elif kind in (_ALU_32, _ALU_64):
            state = _compute(instruction, state)
        elif kind == _LOAD:
            is_spilled = instruction.source == FRAME_POINTER and instruction.offset in slots
            is_known = is_spilled or bool(state >> (instruction.source + _FROZEN) & 1)
            state = _set(state, instruction.destination, known=is_known, frozen=is_spilled)
        elif instruction.destination == FRAME_POINTER and (
            kind == _STORE_IMMEDIATE or (kind == _STORE and state >> instruction.source & 1)
        ):
            slots.add(instruction.offset)
        position += 1
    return state


def _compute(instruction: Instruction, state: int) -> int:
    destination, operation = instruction.destination, instruction.opcode & 0xF0
    has_source = bool(instruction.opcode & _REGISTER) and operation != _SWAP
    is_known = not has_source or bool(state >> instruction.source & 1)
    is_frozen = has_source and bool(state >> (instruction.source + _FROZEN) & 1)
    if operation == _MOVE:
        return _set(state, destination, known=is_known, frozen=is_frozen)
    is_frozen |= bool(state >> (destination + _FROZEN) & 1)
    is_known = is_known and bool(state >> destination & 1)
    return _set(state, destination, known=is_known, frozen=is_frozen)


def _set(state: int, register: int, *, known: bool, frozen: bool) -> int:
    state &= ~(1 << register | 1 << (register + _FROZEN))
    return state | known << register | frozen << (register + _FROZEN)
