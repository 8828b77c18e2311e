# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a function that holds bodies keeps context, counters and time while they run.

On the stack below the bodies' own (`OnStack`), or in registers that calls preserve, when the
function has no stack (`InRegisters`).
"""

from __future__ import annotations

from typing import Final, Protocol

from services.node_executor.linking.assembly import (
    ADD_IMMEDIATE,
    AND_IMMEDIATE,
    CLOCK_HELPER,
    JUMP_UNLESS_EQUAL,
    LOOKUP_HELPER,
    Assembler,
    Label,
)
from services.node_executor.linking.plan import Frame
from shared.bytecode.instructions import FRAME_POINTER

COUNTERS_FUNCTION: Final = "counters"
"""Label of the function that looks the counters up where the caller has no stack."""


class Keeper(Protocol):
    """Keeps what is needed between bodies; r1 to r5 are nobody's."""

    verdict_register: int
    """Holds the verdict while the kernel is called between two bodies."""

    @property
    def has_time(self) -> bool:
        """Whether packets are timed here."""

    def begin(self, closed: int) -> None:
        """Keep the context that r1 holds; look the counters up, or leave with `closed`."""

    def context_at_first(self) -> None:
        """Emit: r1 = the context, before anything but `begin` and sampling ran."""

    def context(self) -> None:
        """Emit: r1 = the context."""

    def counters(self) -> int:
        """The register that holds the counters: r1, or one that calls preserve."""

    def time(self, register: int) -> None:
        """Emit: register = when the present body began; 0: this packet is not timed."""

    def set_time(self, register: int) -> None:
        """The present body begins at `register`."""

    def clear_time(self) -> None:
        """This packet is not timed."""


def look_up(code: Assembler, descriptor: int, key_bytes: int) -> None:
    """Emit: r0 = the counters; the key takes a word at this distance below the frame pointer.

    Its 4 bytes are written as 8, because a body may have left a pointer there (see Frame).
    """
    code.zero_stack(key_bytes)
    code.move(2, FRAME_POINTER)
    code.add(ADD_IMMEDIATE, 2, value=-key_bytes)
    code.load_map(1, descriptor)
    code.call_helper(LOOKUP_HELPER)


def leave_unless_found(code: Assembler, closed: int) -> None:
    """Leave with `closed` if r0 is 0: it is not, but the verifier of older kernels must see it."""
    label = ("found", code.position)
    code.jump_if(JUMP_UNLESS_EQUAL, 0, 0, label)
    code.set(0, closed)
    code.exit()
    code.place(label)


class OnStack:
    """Below the deepest body of the frame."""

    verdict_register = 6

    def __init__(self, code: Assembler, frame: Frame, descriptor: int) -> None:
        self._code: Final = code
        self._frame: Final = frame
        self._descriptor: Final = descriptor

    @property
    def has_time(self) -> bool:
        """As said in Keeper."""
        return self._frame.time_bytes > 0

    def begin(self, closed: int) -> None:
        """As said in Keeper."""
        code, frame = self._code, self._frame
        if frame.context_bytes:
            code.store(FRAME_POINTER, -frame.context_bytes, 1)
        if frame.counters_bytes:
            code.move(6, 1)
            look_up(code, self._descriptor, frame.counters_bytes)
            leave_unless_found(code, closed)
            code.store(FRAME_POINTER, -frame.counters_bytes, 0)

    def context_at_first(self) -> None:
        """As said in Keeper."""
        if self._frame.counters_bytes:
            self._code.move(1, 6)

    def context(self) -> None:
        """As said in Keeper."""
        self._code.load(1, FRAME_POINTER, -self._frame.context_bytes)

    def counters(self) -> int:
        """As said in Keeper."""
        self._code.load(1, FRAME_POINTER, -self._frame.counters_bytes)
        return 1

    def time(self, register: int) -> None:
        """As said in Keeper."""
        self._code.load(register, FRAME_POINTER, -self._frame.time_bytes)

    def set_time(self, register: int) -> None:
        """As said in Keeper."""
        self._code.store(FRAME_POINTER, -self._frame.time_bytes, register)

    def clear_time(self) -> None:
        """As said in Keeper."""
        self._code.zero_stack(self._frame.time_bytes)


class InRegisters:
    """Context in r6, counters in r7, time in r8: for a function that only calls."""

    verdict_register = 9

    def __init__(self, code: Assembler, *, has_counters: bool, has_time: bool) -> None:
        self._code: Final = code
        self._has_counters: Final = has_counters
        self.has_time: Final = has_time

    def begin(self, closed: int) -> None:
        """As said in Keeper."""
        self._code.move(6, 1)
        if self._has_counters:
            self._code.call(COUNTERS_FUNCTION)
            leave_unless_found(self._code, closed)
            self._code.move(7, 0)

    def context_at_first(self) -> None:
        """As said in Keeper."""
        if self._has_counters:
            self._code.move(1, 6)

    def context(self) -> None:
        """As said in Keeper."""
        self._code.move(1, 6)

    def counters(self) -> int:
        """As said in Keeper."""
        return 7

    def time(self, register: int) -> None:
        """As said in Keeper."""
        self._code.move(register, 8)

    def set_time(self, register: int) -> None:
        """As said in Keeper."""
        self._code.move(8, register)

    def clear_time(self) -> None:
        """As said in Keeper."""
        self._code.set(8, 0)


def sample(code: Assembler, keeper: Keeper, *, seen_offset: int, period: int) -> None:
    """Decide at a function's begin whether this packet is timed: every `period`th is."""
    label: Label = ("unsampled", code.position)
    keeper.clear_time()
    base = keeper.counters()
    code.load(2, base, seen_offset)
    code.add(ADD_IMMEDIATE, 2, value=1)
    code.store(base, seen_offset, 2)
    code.add(AND_IMMEDIATE, 2, value=period - 1)
    code.jump_if(JUMP_UNLESS_EQUAL, 2, 0, label)
    code.call_helper(CLOCK_HELPER)
    keeper.set_time(0)
    code.place(label)
