# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""eBPF instructions as values: decode, encode, and where subprograms start.

Encoding: RFC 9669 §3 (little-endian hosts).  A 64-bit immediate load takes two slots; its second
slot has opcode 0 and is kept as an instruction of its own, so that positions equal slot numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from shared.errors import RefusedError

INSTRUCTION_BYTES: Final = 8
_SLOT: Final = struct.Struct("<BBhi")

CALL: Final = 0x85
EXIT: Final = 0x95
JUMP: Final = 0x05
JUMP_IF_EQUAL_32: Final = 0x16
LOAD_IMMEDIATE_64: Final = 0x18
LOAD_64: Final = 0x79
STORE_64: Final = 0x7B
STORE_IMMEDIATE_64: Final = 0x7A
MAY_GOTO: Final = 0xE5
PACKET_LOADS: Final = frozenset((0x20, 0x28, 0x30, 0x40, 0x48, 0x50))
"""LD_ABS and LD_IND of 4, 2 and 1 bytes: they end the program when the packet is too short."""

HELPER_CALL: Final = 0
SUBPROGRAM_CALL: Final = 1
KFUNC_CALL: Final = 2
"""Values of a call's source register (include/uapi/linux/bpf.h, BPF_PSEUDO_CALL and on)."""
MAP_DESCRIPTOR: Final = 1
MAP_VALUE: Final = 2
SUBPROGRAM_ADDRESS: Final = 4
"""Values of a 64-bit immediate load's source register (BPF_PSEUDO_MAP_FD, _MAP_VALUE, _FUNC)."""

TAIL_CALL_HELPER: Final = 12
FRAME_POINTER: Final = 10


class Instruction(NamedTuple):
    """One 8-byte slot."""

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    """Signed 16 bit; of a jump, counted from the next instruction."""
    immediate: int = 0
    """Signed 32 bit; of a subprogram call, counted from the next instruction."""

    @property
    def refers_to_subprogram(self) -> bool:
        """Whether the immediate is a distance to a subprogram's first instruction."""
        return (self.opcode == CALL and self.source == SUBPROGRAM_CALL) or (
            self.opcode == LOAD_IMMEDIATE_64 and self.source == SUBPROGRAM_ADDRESS
        )

    @property
    def refers_to_map(self) -> bool:
        """Whether the immediate is a map's file descriptor."""
        return self.opcode == LOAD_IMMEDIATE_64 and self.source in (MAP_DESCRIPTOR, MAP_VALUE)

    def calls_helper(self, helper: int) -> bool:
        """Whether this calls the helper with that id."""
        return (self.opcode, self.source, self.immediate) == (CALL, HELPER_CALL, helper)


def decode(code: bytes) -> tuple[Instruction, ...]:
    """The instructions of `code`.

    Raises:
        RefusedError: the length is not a multiple of 8 bytes.
    """
    if len(code) % INSTRUCTION_BYTES:
        raise RefusedError("the program's length is not a multiple of 8 bytes")
    return tuple(
        Instruction(opcode, registers & 0xF, registers >> 4, offset, immediate)
        for opcode, registers, offset, immediate in _SLOT.iter_unpack(code)
    )


def encode(instructions: Iterable[Instruction]) -> bytes:
    """The bytes that `decode` turns into `instructions`."""
    return b"".join(
        _SLOT.pack(i.opcode, i.destination | i.source << 4, i.offset, i.immediate)
        for i in instructions
    )


def subprogram_starts(instructions: Sequence[Instruction]) -> tuple[int, ...]:
    """Positions where a function starts, ascending; the first is 0, the main function.

    A function starts where a pc-relative call or a callback reference points to.

    Raises:
        RefusedError: a call or reference points outside the program.
    """
    starts = {0}
    for position, instruction in enumerate(instructions):
        if instruction.refers_to_subprogram:
            target = position + instruction.immediate + 1
            if not 0 <= target < len(instructions):
                raise RefusedError(f"instruction {position} calls outside the program")
            starts.add(target)
    return tuple(sorted(starts))


def helpers_called(instructions: Iterable[Instruction]) -> frozenset[int]:
    """Ids of the kernel helpers called."""
    return frozenset(
        i.immediate for i in instructions if i.opcode == CALL and i.source == HELPER_CALL
    )
