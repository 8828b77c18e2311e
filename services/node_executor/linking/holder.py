# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A function that runs bodies one after another: what comes before, between and behind them.

    begin       keep the context, look the counters up, decide whether this packet is timed
    body 0      inline, or a call
    check 0     time; if w0 is no proceed value goto out; count it
    r1 = context; the frame set to zero where the plan says so
    body 1 ...
    beyond      what follows when the last body went on
    out         count the verdict (r1 points to the slot)
    leave       translate the verdict where the hook knows fewer; exit

The verdict is compared as 32 bits because the kernel reads no more of r0.  Counting has constant
offsets everywhere, so that no pointer arithmetic depends on the path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from services.node_executor.linking.assembly import (
    ADD,
    ADD_IMMEDIATE,
    CLOCK_HELPER,
    JUMP_IF_EQUAL,
    JUMP_IF_EQUAL_32,
    JUMP_UNLESS_EQUAL,
    JUMP_UNLESS_EQUAL_32,
    MOVE_32,
    SHIFT_RIGHT_IMMEDIATE,
    SUBTRACT,
    Assembler,
    Label,
)
from services.node_executor.linking.counters import (
    MISSED_OFFSET,
    WORD_BYTES,
    bucket_offset,
    slot_offset,
    time_offset,
)
from services.node_executor.linking.keeping import (
    Keeper,
    leave_unless_found,
    look_up,
    sample,
)
from services.node_executor.linking.plan import Frame, PlannedBody
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook

_LIKELY: Final[dict[str, tuple[str, ...]]] = {
    "xdp": ("pass", "drop", "tx", "redirect", "aborted"),
    "tc": ("shot", "ok", "unspec", "redirect", "pipe"),
}
"""Verdicts that end a chain, the most likely first; the others follow."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What runs between two checks."""

    bodies: tuple[PlannedBody, ...]
    """One; or the bodies of a wrapping function, which counts for itself."""
    write: Callable[[Label | None], None]
    """Writes it: r1 holds the context.  What was an exit goes to the label, or stays an exit; a
    call falls through to what is next."""
    is_call: bool = False

    @property
    def is_wrapped(self) -> bool:
        """Whether it is a wrapping function: bit 32 of what it returns says that it went on."""
        return len(self.bodies) > 1


@dataclass(frozen=True, slots=True)
class Ending:
    """What a function does when its bodies have run."""

    closed: int
    """Verdict of a packet that cannot have the whole chain."""
    leaving: Mapping[int, int]
    """What replaces a verdict that ends the chain."""
    beyond_values: Callable[[tuple[int, ...]], tuple[int, ...]]
    """Which of the last body's proceed values have something follow; for others it leaves."""
    write_beyond: Callable[[Holder], None]
    """Writes what follows; r0 holds the verdict.  Does not fall through."""
    is_wrapper: bool = False
    """Whether bit 32 of the result has a meaning, so that it has to be 0 on leaving."""

    def is_plain_after(self, proceed: tuple[int, ...]) -> bool:
        """Whether nothing is left to do behind a last body with these proceed values."""
        return not (self.leaving or self.is_wrapper or self.beyond_values(proceed))


class Holder:
    """Writes one function that holds bodies."""

    def __init__(
        self,
        code: Assembler,
        *,
        hook: Hook,
        name: Label,
        keeper: Keeper,
        frame: Frame,
        ending: Ending,
        counters_fd: int | None,
        sample_period: int,
        is_long: bool,
    ) -> None:
        self._code: Final = code
        self._hook: Final[Hook] = hook
        self._name: Final = name
        self.keeper: Final = keeper
        self._frame: Final = frame
        self._ending: Final = ending
        self._counters_fd: Final = counters_fd
        self._sample_period: Final = sample_period
        self._is_long: Final = is_long
        self._strays: Final[list[tuple[Label, int, bool]]] = []
        """Ways out of checks, to be written behind the bodies, with the slot to count in and
        whether the counters were looked up late by then."""
        self._is_looked_up_late = False

    def write(self, units: tuple[Unit, ...], note: Callable[[str], None]) -> None:
        """The whole function; `note` is told what the instructions that follow are for."""
        code, keeper = self._code, self.keeper
        note("the chain begins")
        keeper.begin(self._ending.closed)
        counted = [unit for unit in units if not unit.is_wrapped]
        if keeper.has_time and counted:
            seen = time_offset(self._hook, counted[0].bodies[0].slot) + 2 * WORD_BYTES
            sample(code, keeper, seen_offset=seen, period=self._sample_period)
        for number, unit in enumerate(units):
            planned = unit.bodies[0]
            is_last = number == len(units) - 1
            if number:
                note(f"before {planned.body.name}")
                keeper.context()
            else:
                keeper.context_at_first()
            for distance in range(WORD_BYTES, planned.zeroed_stack_bytes + 1, WORD_BYTES):
                code.zero_stack(distance)
            if is_last and self._ends_plainly(unit):
                unit.write(None)
                if unit.is_call:
                    code.exit()
                continue
            check = self._label("check", number)
            unit.write(check)
            code.place(check)
            note(f"after {unit.bodies[-1].body.name}")
            self._check(unit, number, is_last=is_last)
        note("the chain ends")
        beyond = self._label("beyond", 0)
        if code.is_wanted(beyond):
            code.place(beyond)
            self._ending.write_beyond(self)
        for label, slot, is_looked_up_late in self._strays:
            code.place(label)
            self._is_looked_up_late = is_looked_up_late
            self._go_out(slot)
        self._out()
        self._leave()

    def count_missed(self) -> None:
        """Count a packet that found no next segment."""
        if self._counters_fd is None:
            return
        self._code.increment(self._counters(), MISSED_OFFSET, 2)

    def _ends_plainly(self, last: Unit) -> bool:
        counts = self._counters_fd is not None and not last.is_wrapped
        return not counts and self._ending.is_plain_after(last.bodies[-1].proceed_values)

    def _label(self, kind: str, *rest: int) -> Label:
        return (self._name, kind, *rest)

    def _check(self, unit: Unit, number: int, *, is_last: bool) -> None:
        code = self._code
        target = self._label("beyond", 0) if is_last else self._label("next", number)
        if unit.is_wrapped:
            self._check_wrapped(unit, target, is_last=is_last)
        else:
            self._check_body(unit.bodies[0], number, target, is_last=is_last)
        if not is_last and code.is_wanted(target):
            code.place(target)

    def _check_body(
        self, planned: PlannedBody, number: int, target: Label, *, is_last: bool
    ) -> None:
        code = self._code
        values = planned.proceed_values
        if is_last:
            values = self._ending.beyond_values(values)
        self._measure(planned.slot)
        if self._counters_fd is None:
            self._branch(values, [target] * len(values), planned.slot, falls=not is_last)
            return
        if is_last and self._frame.late_key_bytes:
            self._look_up_late()
        labels = [self._label("count", number, index) for index in range(len(values))]
        self._branch(values, labels, planned.slot, falls=bool(values))
        # The last one falls through from its comparison, the first one to what follows.
        for index in reversed(range(len(values))):
            if code.is_wanted(labels[index]):
                code.place(labels[index])
            offset = bucket_offset(self._hook, planned.slot, values[index])
            code.increment(self._counters(), offset, 2)
            if index or is_last:
                code.jump(target)

    def _branch(
        self, values: tuple[int, ...], labels: list[Label], slot: int, *, falls: bool
    ) -> None:
        """Go to the label of r0's value, or out; with `falls` the last label stands right behind.

        In a long function the way out begins here, as an island for those before.
        """
        code = self._code
        falls = falls and bool(values) and not self._is_long
        for value, label in zip(values[: -1 if falls else None], labels, strict=False):
            code.jump_if(JUMP_IF_EQUAL_32, 0, value, label)
        if not falls:
            self._go_out(slot)
        elif self._counters_fd is None:
            code.jump_if(JUMP_UNLESS_EQUAL_32, 0, values[-1], self._label("out", 0))
        else:
            stray = self._label("stray", len(self._strays))
            self._strays.append((stray, slot, self._is_looked_up_late))
            code.jump_if(JUMP_UNLESS_EQUAL_32, 0, values[-1], stray)

    def _go_out(self, slot: int) -> None:
        """Leave the chain with r0."""
        code, ending = self._code, self._ending
        if self._counters_fd is not None:
            base = self._counters()
            if base != 1:
                code.move(1, base)
            code.add(ADD_IMMEDIATE, 1, value=slot_offset(self._hook, slot))
        elif not ending.leaving and not ending.is_wrapper:
            code.exit()
            return
        code.jump(self._label("out", 0))

    def _counters(self) -> int:
        """The register that holds the counters, now."""
        # A late lookup leaves the pointer in r7.
        if self._is_looked_up_late:
            return 7
        return self.keeper.counters()

    def _look_up_late(self) -> None:
        """r7 = the counters; r0 stays."""
        code = self._code
        if self._counters_fd is None:
            raise AssertionError("there are no counters to look up")
        code.move(6, 0)
        look_up(code, self._counters_fd, self._frame.late_key_bytes)
        leave_unless_found(code, self._ending.closed)
        code.move(7, 0)
        code.move(0, 6)
        self._is_looked_up_late = True

    def _check_wrapped(self, unit: Unit, target: Label, *, is_last: bool) -> None:
        code = self._code
        leave = self._label("leave", 0)
        code.move(1, 0)
        code.add(SHIFT_RIGHT_IMMEDIATE, 1, value=32)
        near = self._label("went-on", code.position)
        if self._is_long:
            code.jump_if(JUMP_UNLESS_EQUAL, 1, 0, near)
            code.jump(leave)
            code.place(near)
        else:
            code.jump_if(JUMP_IF_EQUAL, 1, 0, leave)
        if is_last:
            values = unit.bodies[-1].proceed_values
            for value in self._ending.beyond_values(values):
                code.jump_if(JUMP_IF_EQUAL_32, 0, value, target)
            code.jump(leave)
        elif self.keeper.has_time:
            self._restart_time()

    def _measure(self, slot: int) -> None:
        """Add the time since the body began, if this packet is timed; r0 stays."""
        code, keeper = self._code, self.keeper
        if not keeper.has_time:
            return
        untimed = self._label("untimed", code.position)
        keeper.time(1)
        code.jump_if(JUMP_IF_EQUAL, 1, 0, untimed)
        code.move(keeper.verdict_register, 0)
        code.call_helper(CLOCK_HELPER)
        keeper.time(1)
        keeper.set_time(0)
        code.add(SUBTRACT, 0, 1)
        base = keeper.counters()
        offset = time_offset(self._hook, slot)
        code.load(2, base, offset)
        code.add(ADD, 2, 0)
        code.store(base, offset, 2)
        code.increment(base, offset + WORD_BYTES, 2)
        code.move(0, keeper.verdict_register)
        code.place(untimed)

    def _restart_time(self) -> None:
        """What a wrapping function took is measured there, not here."""
        code, keeper = self._code, self.keeper
        untimed = self._label("untimed", code.position)
        keeper.time(1)
        code.jump_if(JUMP_IF_EQUAL, 1, 0, untimed)
        code.call_helper(CLOCK_HELPER)
        keeper.set_time(0)
        code.place(untimed)

    def _out(self) -> None:
        code = self._code
        out = self._label("out", 0)
        if not code.is_wanted(out):
            return
        code.place(out)
        if self._counters_fd is None:
            self._translate()
            return
        verdicts = verdicts_of(self._hook)
        likely = _LIKELY["xdp" if self._hook == "xdp" else "tc"]
        ordered = [*likely, *(name for name in verdicts if name not in likely)]
        buckets = [self._label("bucket", index) for index in range(len(ordered))]
        for name, label in zip(ordered, buckets, strict=True):
            code.jump_if(JUMP_IF_EQUAL_32, 0, verdicts[name], label)
        code.increment(1, len(verdicts) * WORD_BYTES, 2)
        self._exit()
        for name, label in zip(ordered, buckets, strict=True):
            value = verdicts[name]
            code.place(label)
            code.increment(1, list(verdicts).index(name) * WORD_BYTES, 2)
            if value in self._ending.leaving:
                code.set(0, self._ending.leaving[value])
                code.exit()
            else:
                self._exit()

    def _exit(self) -> None:
        if self._ending.is_wrapper:
            self._code.add(MOVE_32, 0, 0)
        self._code.exit()

    def _leave(self) -> None:
        """Leave with a verdict that is counted already."""
        leave = self._label("leave", 0)
        if self._code.is_wanted(leave):
            self._code.place(leave)
            self._translate()

    def _translate(self) -> None:
        """Leave; verdicts that the hook does not know are replaced."""
        code, leaving = self._code, self._ending.leaving
        results = {result: ("return", code.position, result) for result in leaving.values()}
        for value, result in leaving.items():
            code.jump_if(JUMP_IF_EQUAL_32, 0, value, results[result])
        self._exit()
        for result, label in results.items():
            code.place(label)
            code.set(0, result)
            code.exit()
