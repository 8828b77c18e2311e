# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A small assembler: instructions, labels, and jumps that are checked against 16 bits.

An unconditional jump whose target is too far goes to another jump with the same target on the way
(an island), so far labels cost nothing and no kernel needs to know `gotol`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Final

from shared.bytecode.instructions import (
    CALL,
    EXIT,
    FRAME_POINTER,
    HELPER_CALL,
    JUMP,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    STORE_64,
    STORE_IMMEDIATE_64,
    SUBPROGRAM_CALL,
    Instruction,
)

Label = Hashable

FARTHEST: Final = 32_767
"""Instructions that a jump can pass over, forwards."""

MOVE: Final = 0xBF
MOVE_32: Final = 0xBC
MOVE_IMMEDIATE: Final = 0xB7
ADD: Final = 0x0F
ADD_IMMEDIATE: Final = 0x07
SUBTRACT: Final = 0x1F
AND_IMMEDIATE: Final = 0x57
OR: Final = 0x4F
SHIFT_RIGHT_IMMEDIATE: Final = 0x77
JUMP_IF_EQUAL: Final = 0x15
JUMP_UNLESS_EQUAL: Final = 0x55
JUMP_IF_EQUAL_32: Final = 0x16
JUMP_UNLESS_EQUAL_32: Final = 0x56
"""RFC 9669 section 4; the 32-bit jumps compare the lower half of a register."""

LOOKUP_HELPER: Final = 1
CLOCK_HELPER: Final = 5
"""bpf_map_lookup_elem, bpf_ktime_get_ns."""


class Assembler:
    """Instructions that grow; `finish` resolves the labels."""

    def __init__(self) -> None:
        self.code: Final[list[Instruction]] = []
        self._labels: Final[dict[Label, int]] = {}
        self._jumps: Final[dict[Label, list[int]]] = defaultdict(list)
        self._references: Final[list[tuple[int, Label]]] = []

    @property
    def position(self) -> int:
        """Where the next instruction goes."""
        return len(self.code)

    def place(self, label: Label) -> None:
        """Let `label` stand for the next instruction."""
        if label in self._labels:
            raise AssertionError(f"label {label} is placed twice")
        self._labels[label] = len(self.code)

    def place_at(self, label: Label, position: int) -> None:
        """Let `label` stand for the instruction at `position`, which may be still to come."""
        self._labels[label] = position

    def is_wanted(self, label: Label) -> bool:
        """Whether something jumps to `label` so far; the verifier refuses what nothing reaches."""
        return label in self._jumps

    def add(
        self, opcode: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0
    ) -> None:
        """One instruction."""
        self.code.append(Instruction(opcode, destination, source, offset, value))

    def extend(self, instructions: Sequence[Instruction]) -> None:
        """Instructions as they are."""
        self.code.extend(instructions)

    def move(self, destination: int, source: int) -> None:
        """Emit: destination = source."""
        self.add(MOVE, destination, source)

    def set(self, destination: int, value: int) -> None:
        """Emit: destination = value, sign-extended."""
        self.add(MOVE_IMMEDIATE, destination, value=value)

    def load(self, destination: int, base: int, offset: int) -> None:
        """Emit: destination = *(u64 *)(base + offset)."""
        self.add(LOAD_64, destination, base, offset)

    def store(self, base: int, offset: int, source: int) -> None:
        """Emit: *(u64 *)(base + offset) = source."""
        self.add(STORE_64, base, source, offset)

    def zero_stack(self, distance_bytes: int) -> None:
        """The 8 bytes at this distance below the frame pointer become 0."""
        self.add(STORE_IMMEDIATE_64, FRAME_POINTER, offset=-distance_bytes)

    def increment(self, base: int, offset: int, scratch: int) -> None:
        """One more at *(u64 *)(base + offset); not atomic, for per-CPU values."""
        self.load(scratch, base, offset)
        self.add(ADD_IMMEDIATE, scratch, value=1)
        self.store(base, offset, scratch)

    def set_wide(self, destination: int, value: int) -> None:
        """Emit: destination = a value of 64 bits."""
        low, high = value & 0xFFFFFFFF, value >> 32
        self.add(LOAD_IMMEDIATE_64, destination, value=low)
        self.add(0, value=high)

    def load_map(self, destination: int, descriptor: int) -> None:
        """Emit: destination = the map."""
        self.add(LOAD_IMMEDIATE_64, destination, MAP_DESCRIPTOR, value=descriptor)
        self.add(0)

    def call_helper(self, helper: int) -> None:
        """Call a kernel helper."""
        self.add(CALL, source=HELPER_CALL, value=helper)

    def exit(self) -> None:
        """Leave the function."""
        self.add(EXIT)

    def jump(self, label: Label) -> None:
        """Go to `label`, however far it is."""
        self._jumps[label].append(len(self.code))
        self.add(JUMP)

    def jump_if(self, opcode: int, register: int, value: int, label: Label) -> None:
        """Go to `label`, which is near, if the comparison with an immediate holds."""
        self._jumps[label].append(len(self.code))
        self.add(opcode, register, value=value)

    def call(self, label: Label) -> None:
        """Call the function at `label`."""
        self.refer(len(self.code), label)
        self.add(CALL, source=SUBPROGRAM_CALL)

    def refer(self, position: int, label: Label) -> None:
        """Let the instruction at `position` hold the distance to a function."""
        self._references.append((position, label))

    def turn_into_jump(self, position: int, label: Label) -> None:
        """Replace the instruction at `position` by a jump."""
        self._jumps[label].append(position)
        self.code[position] = Instruction(JUMP)

    def finish(self) -> tuple[Instruction, ...]:
        """The instructions with every distance filled in."""
        for position, label in self._references:
            distance = self._labels[label] - position - 1
            self.code[position] = self.code[position]._replace(immediate=distance)
        for label, positions in self._jumps.items():
            target = self._labels[label]
            islands = sorted(at for at in positions if self.code[at].opcode == JUMP)
            for position in positions:
                distance = self._reachable(position, target, islands) - position - 1
                self.code[position] = self.code[position]._replace(offset=distance)
        return tuple(self.code)

    @staticmethod
    def _reachable(position: int, target: int, islands: Sequence[int]) -> int:
        """The target, or the farthest island that is near enough."""
        limit = position + 1 + FARTHEST
        if position < target <= limit:
            return target
        index = bisect_right(islands, limit) - 1
        if index < 0 or islands[index] <= position or target <= position:
            raise AssertionError(f"nothing on the way from {position} to {target}")
        return islands[index]
