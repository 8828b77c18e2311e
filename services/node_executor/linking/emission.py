# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The instructions of a planned chain.

Layout (r10 is the frame pointer, S the plan's context slot):

    *(u64 *)(r10 - S) = r1
    main function of body 0, every exit a jump to check 0
    check 0:  if w0 == v goto body 1 (for each proceed value v); exit
    r1 = *(u64 *)(r10 - S); the frame set to zero where the plan says so
    main function of body 1, ...
    main function of the last body, its exits kept
    subprograms of all bodies, calls and callback references moved along

Each check ends in an exit of its own, so no jump is longer than one body.  The verdict is compared
as 32 bits because the kernel reads no more of r0.
"""

from __future__ import annotations

from typing import NamedTuple

from services.node_executor.linking.body import Body
from services.node_executor.linking.linked_program import (
    LinkedProgram,
    PlacedFunction,
    PlacedLine,
)
from services.node_executor.linking.plan import LinkPlan, PlannedBody
from shared.bytecode.instructions import (
    EXIT,
    FRAME_POINTER,
    JUMP,
    JUMP_IF_EQUAL_32,
    LOAD_64,
    STORE_64,
    STORE_IMMEDIATE_64,
    Instruction,
)


class _Place(NamedTuple):
    """Where the parts of one body lie in the linked program."""

    main: int
    main_length: int
    subprograms: int

    def position(self, own: int) -> int:
        """Where the body's instruction number `own` lies."""
        if own < self.main_length:
            return self.main + own
        return self.subprograms + own - self.main_length


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
    del counters_fd, program_array_fd
    heads = [_head(planned, index, plan) for index, planned in enumerate(plan.bodies)]
    checks = [_check(planned) for planned in plan.bodies[:-1]] + [()]
    places = _places(plan, heads, checks)
    mains: list[Instruction] = []
    subprograms: list[Instruction] = []
    for planned, place, head, check in zip(plan.bodies, places, heads, checks, strict=True):
        moved = _moved(planned.body, place, has_check=bool(check))
        mains += [*head, *moved[: place.main_length], *check]
        subprograms += moved[place.main_length :]
    has_types = all(planned.body.has_types for planned in plan.bodies)
    has_lines = has_types and all(planned.body.lines for planned in plan.bodies)
    program = LinkedProgram(
        hook=plan.hook,
        instructions=(*mains, *subprograms),
        licence=plan.segments[0].licence,
        has_frags=plan.has_frags,
        functions=_functions(plan, places) if has_types else (),
        lines=_lines(plan, places) if has_lines else (),
        unchanged_body=0 if len(plan.bodies) == 1 else None,
    )
    return (program,)


def _head(planned: PlannedBody, index: int, plan: LinkPlan) -> tuple[Instruction, ...]:
    slot = -plan.segments[0].context_slot_bytes
    if not slot:
        return ()
    if index == 0:
        return (Instruction(STORE_64, destination=FRAME_POINTER, source=1, offset=slot),)
    zeroes = tuple(
        Instruction(STORE_IMMEDIATE_64, destination=FRAME_POINTER, offset=-depth)
        for depth in range(8, planned.zeroed_stack_bytes + 1, 8)
    )
    return (Instruction(LOAD_64, destination=1, source=FRAME_POINTER, offset=slot), *zeroes)


def _check(planned: PlannedBody) -> tuple[Instruction, ...]:
    count = len(planned.proceed_values)
    compares = tuple(
        Instruction(JUMP_IF_EQUAL_32, offset=count - number, immediate=value)
        for number, value in enumerate(planned.proceed_values)
    )
    return (*compares, Instruction(EXIT))


def _places(
    plan: LinkPlan,
    heads: list[tuple[Instruction, ...]],
    checks: list[tuple[Instruction, ...]],
) -> list[_Place]:
    main_starts = []
    position = 0
    for planned, head, check in zip(plan.bodies, heads, checks, strict=True):
        main_starts.append(position + len(head))
        position += len(head) + planned.body.main_length + len(check)
    places = []
    for planned, main in zip(plan.bodies, main_starts, strict=True):
        places.append(_Place(main, planned.body.main_length, position))
        position += len(planned.body.instructions) - planned.body.main_length
    return places


def _moved(body: Body, place: _Place, *, has_check: bool) -> list[Instruction]:
    moved = []
    for own, instruction in enumerate(body.instructions):
        position = place.position(own)
        if instruction.refers_to_subprogram:
            target = place.position(own + instruction.immediate + 1)
            moved.append(instruction._replace(immediate=target - position - 1))
        elif instruction.opcode == EXIT and has_check and own < place.main_length:
            moved.append(Instruction(JUMP, offset=place.main + place.main_length - position - 1))
        else:
            moved.append(instruction)
    return moved


def _functions(plan: LinkPlan, places: list[_Place]) -> tuple[PlacedFunction, ...]:
    main = PlacedFunction(0, 0, plan.bodies[0].body.functions[0].type_id)
    behind = (
        PlacedFunction(place.position(function.position), index, function.type_id)
        for index, (planned, place) in enumerate(zip(plan.bodies, places, strict=True))
        for function in planned.body.functions[1:]
    )
    return (main, *behind)


def _lines(plan: LinkPlan, places: list[_Place]) -> tuple[PlacedLine, ...]:
    placed = [
        PlacedLine(place.position(line.position), index, *line[1:])
        for index, (planned, place) in enumerate(zip(plan.bodies, places, strict=True))
        for line in planned.body.lines
    ]
    placed.sort()
    # The kernel wants a line at the first instruction, which may be ours.
    return (placed[0]._replace(position=0), *(line for line in placed if line.position))
