# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The instructions of a planned chain, one program for each segment.

Layout of a program: the main function, then the functions of each body (and bodies that are
called), then functions that the linker adds.  How a function runs its bodies is `holder`'s matter.

A segment goes on to the next by a tail call into the array that was made for this generation.
When that finds nothing, the packet is counted as missed and is dropped: none has half a chain.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from services.node_executor.linking import verdict_rules
from services.node_executor.linking.assembly import (
    MOVE_32,
    OR,
    Assembler,
    Label,
)
from services.node_executor.linking.holder import Ending, Holder, Unit
from services.node_executor.linking.keeping import (
    COUNTERS_FUNCTION,
    InRegisters,
    Keeper,
    OnStack,
    look_up,
)
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.placement import Placement
from services.node_executor.linking.plan import Frame, LinkPlan, Run, Segment
from shared.bytecode.instructions import TAIL_CALL_HELPER

WENT_ON: Final = 1 << 32
"""Bit in what a wrapping function returns: the chain goes on."""
_MAIN: Final = "main"
_WRAPPER: Final = "wrapper"
_LONG: Final = 24_000
"""Instructions of a function from which on its checks do not jump to its end directly."""
_CHECK_INSTRUCTIONS: Final = 96
"""More than a check takes, with time, counters and all verdicts."""
_KEY_BYTES: Final = 8


def emit(
    plan: LinkPlan, *, counters_fd: int = 0, program_array_fd: int = 0
) -> tuple[LinkedProgram, ...]:
    """The programs of `plan`, one for each segment; the same plan gives the same instructions.

    Args:
        plan: What to emit.
        counters_fd: Descriptor of the counter map; used when the plan has counters.
        program_array_fd: Descriptor of the array that holds segment n at index n; used when the
            plan has more than one segment.
    """
    programs = []
    first = 0
    for index, segment in enumerate(plan.segments):
        writer = _SegmentWriter(
            plan,
            segment,
            index=index,
            first=first,
            counters_fd=counters_fd if plan.has_counters else None,
            program_array_fd=program_array_fd,
        )
        programs.append(writer.write())
        first += len(segment.bodies)
    return tuple(programs)


class _SegmentWriter:
    """Writes one program."""

    def __init__(
        self,
        plan: LinkPlan,
        segment: Segment,
        *,
        index: int,
        first: int,
        counters_fd: int | None,
        program_array_fd: int,
    ) -> None:
        self._plan: Final = plan
        self._segment: Final = segment
        self._index: Final = index
        self._first: Final = first
        self._is_final: Final = index == len(plan.segments) - 1
        self._counters_fd: Final = counters_fd
        self._program_array_fd: Final = program_array_fd
        self._code: Final = Assembler()
        self._placement: Final = Placement(self._code, segment, first)

    def write(self) -> LinkedProgram:
        """The program."""
        plan, segment, placement = self._plan, self._segment, self._placement
        placement.begin_function(self._main_name(), "global")
        has_counters = self._counters_fd is not None
        if segment.layout == "shared-frame":
            units = tuple(self._unit(number) for number in range(len(segment.bodies)))
            keeper: Keeper = OnStack(self._code, segment.frame, self._counters_fd or 0)
        else:
            has_time = plan.policy.time_sample_period > 0
            units = tuple(self._run_unit(run) for run in segment.runs)
            keeper = InRegisters(self._code, has_counters=has_counters, has_time=has_time)
        self._hold(_MAIN, units, segment.frame, keeper, self._ending())
        placement.write_functions(self._linkage)
        if segment.layout == "calls-only":
            self._write_own_functions()
        return LinkedProgram(
            hook=plan.hook,
            instructions=self._code.finish(),
            licence=segment.licence,
            has_frags=plan.has_frags,
            functions=placement.functions() if plan.has_types else (),
            lines=placement.lines() if plan.has_types else (),
            is_device_bound=segment.is_device_bound,
            module_types_fds=placement.module_types_fds,
            unchanged_body=self._unchanged_body(),
        )

    @property
    def _linkage(self) -> Literal["static", "global"]:
        return "global" if self._plan.has_types else "static"

    def _main_name(self) -> str:
        return "l3af_chain" if self._index == 0 else f"l3af_segment_{self._index}"

    def _hold(
        self,
        name: Label,
        units: tuple[Unit, ...],
        frame: Frame,
        keeper: Keeper,
        ending: Ending,
    ) -> None:
        length = sum(
            _CHECK_INSTRUCTIONS + (0 if unit.is_call else unit.bodies[0].body.main_length)
            for unit in units
        )
        holder = Holder(
            self._code,
            hook=self._plan.hook,
            name=name,
            keeper=keeper,
            frame=frame,
            ending=ending,
            counters_fd=self._counters_fd,
            sample_period=self._plan.policy.time_sample_period,
            is_long=length > _LONG,
        )
        holder.write(units, self._placement.note)

    def _unit(self, number: int) -> Unit:
        """A body on its own."""
        planned = self._segment.bodies[number]
        if planned.mode == "inline":
            return Unit((planned,), partial(self._placement.write_inline, number))
        return Unit((planned,), partial(self._call, (number, 0)), is_call=True)

    def _run_unit(self, run: Run) -> Unit:
        """What the main function of a calls-only segment calls."""
        if run.count == 1:
            return self._unit(run.first)
        bodies = self._segment.bodies[run.first : run.first + run.count]
        return Unit(bodies, partial(self._call, (_WRAPPER, run.first)), is_call=True)

    def _call(self, function: Label, _check: Label | None) -> None:
        self._code.call(function)

    def _write_own_functions(self) -> None:
        """Functions that wrap inline neighbours, and the one that looks the counters up."""
        for run in self._segment.runs:
            if run.count == 1:
                continue
            units = tuple(self._unit(run.first + number) for number in range(run.count))
            self._placement.begin_function(f"l3af_run_{self._first + run.first}", self._linkage)
            self._code.place((_WRAPPER, run.first))
            keeper = OnStack(self._code, run.frame, self._counters_fd or 0)
            self._hold(
                (_WRAPPER, run.first, "in"), units, run.frame, keeper, self._wrapper_ending()
            )
        if self._counters_fd is not None:
            self._placement.begin_function("l3af_counters", "static")
            self._placement.note("the counters are looked up")
            self._code.place(COUNTERS_FUNCTION)
            look_up(self._code, self._counters_fd, _KEY_BYTES)
            self._code.exit()

    def _ending(self) -> Ending:
        """Of the main function."""
        policy = self._plan.policy
        return Ending(
            closed=verdict_rules.closed_verdict(policy.hook),
            leaving=verdict_rules.leaving_verdicts(policy),
            beyond_values=self._ended if self._is_final else _all,
            write_beyond=self._end if self._is_final else self._go_on,
        )

    def _ended(self, proceed: tuple[int, ...]) -> tuple[int, ...]:
        return verdict_rules.end_verdicts(self._plan.policy, proceed)

    def _end(self, _holder: Holder) -> None:
        """The chain ran to its end with a verdict that has a translation of its own."""
        self._code.set(0, verdict_rules.end_value(self._plan.policy))
        self._code.exit()

    def _go_on(self, holder: Holder) -> None:
        """Enter the next segment; falls through only if it is missing."""
        code = self._code
        holder.keeper.context()
        code.load_map(2, self._program_array_fd)
        code.set(3, self._index + 1)
        code.call_helper(TAIL_CALL_HELPER)
        holder.count_missed()
        code.set(0, verdict_rules.closed_verdict(self._plan.hook))
        code.exit()

    def _wrapper_ending(self) -> Ending:
        return Ending(
            closed=verdict_rules.closed_verdict(self._plan.hook),
            leaving={},
            beyond_values=_all,
            write_beyond=self._return_that_it_went_on,
            is_wrapper=True,
        )

    def _return_that_it_went_on(self, _holder: Holder) -> None:
        code = self._code
        code.add(MOVE_32, 0, 0)
        code.set_wide(1, WENT_ON)
        code.add(OR, 0, 1)
        code.exit()

    def _unchanged_body(self) -> int | None:
        """The chain's only body, if it is linked as it is."""
        planned = self._segment.bodies[0]
        is_alone = len(self._segment.bodies) == 1 and len(self._plan.segments) == 1
        if not is_alone or planned.mode != "inline" or self._counters_fd is not None:
            return None
        if self._plan.attachment == "tcx" or planned.body.has_frags != self._plan.has_frags:
            return None
        return self._first


def _all(proceed: tuple[int, ...]) -> tuple[int, ...]:
    return proceed
