# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How much stack code uses, and which instructions it has that not every kernel knows.

Read in one pass over the bytes, without an object for each instruction.  The stack of a function is
the lowest place below its frame pointer that an instruction names, by the frame pointer itself or
by a register that was made from it: what the verifier finds on the ways that it walks is the same,
or less where it never walks some code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.bytecode.instructions import (
    CALL,
    FRAME_POINTER,
    INSTRUCTION_BYTES,
    LOAD_IMMEDIATE_64,
    MAY_GOTO,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
)

_SLOT: Final = struct.Struct("<BBhi")
_JUMP_64, _JUMP_32 = 5, 6
_MOVE_64: Final = 0xBF
_ADD_IMMEDIATE_64: Final = 0x07
_LONG_JUMP: Final = 0x06
_SWAP_ALWAYS: Final = 0xD7
_UNSIGNED_LESS: Final = frozenset((0xA0, 0xB0, 0xC0, 0xD0))
"""JLT, JLE, JSLT, JSLE."""
_MOVES: Final = frozenset((0xBC, _MOVE_64))
_DIVISIONS: Final = frozenset((0x34, 0x37, 0x3C, 0x3F, 0x94, 0x97, 0x9C, 0x9F))
_SIGNED_LOADS: Final = frozenset((0x81, 0x89, 0x91))
_ATOMICS: Final = frozenset((0xC3, 0xDB, 0xD3, 0xCB))
_ATOMIC_ADD: Final = 0
_ACQUIRE, _RELEASE = 0x100, 0x110
_CALLER_SAVED: Final = range(6)
_FETCHES: Final = 1

Feature = str
"""A key of `shared.portability.linux_versions.INSTRUCTION_SETS`."""


@dataclass(frozen=True, slots=True)
class CodeUse:
    """What one function uses."""

    stack_bytes: int
    features: frozenset[Feature]


def read_code_use(code: bytes) -> CodeUse:
    """Stack and special instructions of one function.

    `code` is of whole instructions; calls between functions of the object may be relocated.
    """
    reader = _Reader()
    handlers = reader.handlers
    for opcode, registers, offset, immediate in _SLOT.iter_unpack(code):
        handlers[opcode & 7](opcode, registers, offset, immediate)
    features = _features_of_opcodes(frozenset(code[::INSTRUCTION_BYTES]))
    return CodeUse(-reader.lowest, features | reader.features)


class _Reader:
    """Follows the frame pointer through the instructions, in the order in which they stand."""

    def __init__(self) -> None:
        self.lowest = 0
        """Distance of the lowest place in the stack."""
        self.features: set[Feature] = set()
        self._copies: Final = {FRAME_POINTER: 0}
        """Distance from the frame pointer, of registers that were made from it."""
        self.handlers: Final[tuple[Callable[[int, int, int, int], None], ...]] = (
            self._load_immediate,
            self._load,
            self._store_immediate,
            self._store,
            self._compute,
            self._jump,
            self._jump,
            self._compute,
        )

    def _load_immediate(self, opcode: int, registers: int, _offset: int, _immediate: int) -> None:
        # The second slot of an immediate has opcode 0 and register 0, which no frame is kept in.
        self._copies.pop(registers & 0xF, None)
        if opcode == LOAD_IMMEDIATE_64 and registers >> 4 == SUBPROGRAM_ADDRESS:
            self.features.add("callbacks")

    def _load(self, _opcode: int, registers: int, offset: int, _immediate: int) -> None:
        self._touch(registers >> 4, offset)
        self._copies.pop(registers & 0xF, None)

    def _store_immediate(self, _opcode: int, registers: int, offset: int, _immediate: int) -> None:
        self._touch(registers & 0xF, offset)

    def _store(self, opcode: int, registers: int, offset: int, immediate: int) -> None:
        self._touch(registers & 0xF, offset)
        if opcode in _ATOMICS and immediate != _ATOMIC_ADD:
            is_ordering = immediate in (_ACQUIRE, _RELEASE)
            self.features.add("acquire-release" if is_ordering else "atomics")
            self._copies.pop(registers >> 4 if immediate & _FETCHES else 0, None)

    def _compute(self, opcode: int, registers: int, offset: int, immediate: int) -> None:
        destination, source = registers & 0xF, registers >> 4
        if opcode == _MOVE_64 and not offset and source in self._copies:
            self._copies[destination] = self._copies[source]
        elif opcode == _ADD_IMMEDIATE_64 and destination in self._copies:
            self._copies[destination] += immediate
            self._touch(destination, 0)
        else:
            self._copies.pop(destination, None)
        if offset and opcode in _MOVES:
            self.features.add("address-spaces" if offset == 1 else "cpu-v4")
        elif offset and opcode in _DIVISIONS:
            self.features.add("cpu-v4")

    def _jump(self, opcode: int, registers: int, offset: int, immediate: int) -> None:
        if opcode == CALL:
            for register in _CALLER_SAVED:
                self._copies.pop(register, None)
            if registers >> 4 == SUBPROGRAM_CALL:
                self.features.add("calls")
        elif (immediate if opcode == _LONG_JUMP else offset) < 0 and opcode != MAY_GOTO:
            self.features.add("loops")

    def _touch(self, register: int, offset: int) -> None:
        if register in self._copies:
            self.lowest = min(self.lowest, self._copies[register] + offset)


def _features_of_opcodes(opcodes: frozenset[int]) -> frozenset[Feature]:
    found = set()
    if any(one & 7 == _JUMP_32 and one != _LONG_JUMP for one in opcodes):
        found.add("jump32")
    if any(one & 7 in (_JUMP_64, _JUMP_32) and one & 0xF0 in _UNSIGNED_LESS for one in opcodes):
        found.add("jump-less")
    if opcodes & {_LONG_JUMP, _SWAP_ALWAYS, *_SIGNED_LOADS}:
        found.add("cpu-v4")
    if MAY_GOTO in opcodes:
        found.add("may-goto")
    return frozenset(found)
