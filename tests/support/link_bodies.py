# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bodies for the linker, made by hand or at random, that the simulator can run."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from services.node_executor.linking.body import Body, Function, Line, ProgramArray
from services.node_executor.linking.plan import (
    KernelFacts,
    LinkPlan,
    LinkPolicy,
    LinkRefusedError,
)
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    SUBPROGRAM_CALL,
    Instruction,
)
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook
from tests.support.bpf_simulator import CONTEXT_BYTES, TAIL_CALL

LEAVE: Final = Instruction(EXIT)
PASS: Final = (Instruction(0xB7, 0, immediate=2), LEAVE)
CALLS_SUBPROGRAM: Final = (Instruction(CALL, source=SUBPROGRAM_CALL, immediate=1), LEAVE, *PASS)
OWN_ARRAY: Final = 500
"""Descriptor of an array that holds one program of a body's own, at index 0."""
OWN_PROGRAM: Final = (
    Instruction(0x72, 1, offset=CONTEXT_BYTES - 1, immediate=77),
    Instruction(0xB7, 0, immediate=2),
    LEAVE,
)


def a_body(
    name: str = "body",
    instructions: tuple[Instruction, ...] = PASS,
    proceed_on: tuple[str, ...] = ("pass",),
    **facts: object,
) -> Body:
    """A body that passes, with whatever a test cares for."""
    body = Body(
        name=name,
        instructions=instructions,
        stack_depths_bytes=(0,),
        licence="Dual BSD/GPL",
        proceed_on=proceed_on,
    )
    return replace(body, **facts)  # type: ignore[arg-type]


def a_policy(hook: Hook = "xdp", **options: object) -> LinkPolicy:
    """A policy without counters, so that a test sees its own rule alone."""
    return replace(LinkPolicy(hook=hook, has_counters=False), **options)  # type: ignore[arg-type]


def plan(
    *bodies: Body, policy: LinkPolicy | None = None, facts: KernelFacts | None = None
) -> LinkPlan:
    """The plan of these bodies."""
    return plan_link(bodies, facts or KernelFacts(), policy or a_policy())


def refusal(
    *bodies: Body, policy: LinkPolicy | None = None, facts: KernelFacts | None = None
) -> LinkRefusedError:
    """Why these bodies cannot be linked."""
    try:
        plan(*bodies, policy=policy, facts=facts)
    except LinkRefusedError as refused:
        return refused
    raise AssertionError("the chain is not refused")


def modes(planned: LinkPlan) -> list[str]:
    """The bodies' modes, in their order."""
    return [body.mode for body in planned.bodies]


def rules(planned: LinkPlan) -> set[str]:
    """Ids of the rules that shaped the plan."""
    return {constraint.rule for constraint in planned.constraints}


@st.composite
def verdict_exits(draw: st.DrawFn, hook: Hook) -> list[Instruction]:
    """r0 becomes a verdict, sometimes with noise above its 32 bits, or no verdict at all."""
    values = [*verdicts_of(hook).values(), 9, 1000]
    value = draw(st.sampled_from(values))
    if draw(st.booleans()):
        return [Instruction(0xB7, 0, immediate=value), LEAVE]
    high = draw(st.sampled_from([0, 1, -1]))
    return [
        Instruction(LOAD_IMMEDIATE_64, 0, immediate=value),
        Instruction(0, immediate=high),
        LEAVE,
    ]


@st.composite
def steps(draw: st.DrawFn, depth: int, register: int) -> list[Instruction]:
    """A few instructions that leave traces in the packet, in r6 to r9 and on the stack."""
    place = draw(st.integers(0, CONTEXT_BYTES - 9))
    slot = 8 * draw(st.integers(1, max(1, depth // 8)))
    choices = [
        [
            Instruction(0x71, 2, register, place),
            Instruction(0x07, 2, immediate=draw(st.integers(1, 9))),
            Instruction(0x73, register, 2, place),
        ],
        [Instruction(0x71, 7, register, place), Instruction(0x73, register, 7, place + 1)],
        [Instruction(0xB7, draw(st.integers(6, 9)), immediate=draw(st.integers(-5, 5)))],
    ]
    if depth >= 8:
        choices.append(
            [
                Instruction(0x71, 3, register, place),
                Instruction(0x7B, 10, 3, -slot),
                Instruction(0x79, 4, 10, -slot),
                Instruction(0x0F, 4, 3),
                Instruction(0x73, register, 4, place),
            ]
        )
    return draw(st.sampled_from(choices))


@st.composite
def bodies(
    draw: st.DrawFn, hook: Hook, number: int, licences: tuple[str, ...], *, is_deep: bool = False
) -> Body:
    """A body that the simulator can run: branches, several exits, functions, own tail calls."""
    deep = [61, 62, 63, 64]
    depth = 8 * draw(st.sampled_from(deep if is_deep else [0, 0, 1, 1, 2, 2, 3, 13, 13, 31, *deep]))
    sub_depth = 8 * draw(st.sampled_from([0, 1, 2, 20, 31, 60]))
    has_function = draw(st.booleans()) and -(-depth // 16) * 16 + -(-sub_depth // 16) * 16 <= 512
    reads = depth >= 8 and draw(st.booleans())
    tail_calls = draw(st.sampled_from([False] * 7 + [True]))
    has_types = draw(st.booleans())
    # The context in r5 until something is called, which is the last thing before the exits.
    code = [Instruction(0xBF, 5, 1)]
    if reads:
        slot = -8 * draw(st.integers(1, depth // 8))
        code += [Instruction(0x79, 2, 10, slot), Instruction(0x73, 5, 2, number)]
    for _ in range(draw(st.integers(0, 4))):
        some = draw(steps(depth, 5))
        if draw(st.booleans()):
            wanted = draw(st.integers(0, 3))
            at = draw(st.integers(0, CONTEXT_BYTES - 1))
            leaving = draw(verdict_exits(hook))
            code += [
                Instruction(0x71, 2, 5, at),
                Instruction(0x57, 2, immediate=3),
                Instruction(0x55, 2, offset=len(leaving), immediate=wanted),
                *leaving,
            ]
        code += some
    if hook != "xdp" and draw(st.sampled_from([False] * 5 + [True])):
        code += [Instruction(0xBF, 6, 5), Instruction(0x30, immediate=draw(st.integers(0, 70)))]
        code += [Instruction(0xBF, 5, 6)]
    if tail_calls:
        code += [
            Instruction(0xBF, 6, 5),
            Instruction(0xBF, 1, 5),
            Instruction(LOAD_IMMEDIATE_64, 2, MAP_DESCRIPTOR, immediate=OWN_ARRAY),
            Instruction(0),
            Instruction(0xB7, 3, immediate=draw(st.integers(0, 1))),
            Instruction(CALL, immediate=TAIL_CALL),
            Instruction(0xBF, 5, 6),
        ]
    function: list[Instruction] = []
    ending = draw(verdict_exits(hook))
    if has_function:
        function = [Instruction(0xBF, 5, 1), *draw(steps(sub_depth, 5))]
        if sub_depth:
            function += [Instruction(0x7A, 10, offset=-sub_depth, immediate=-1)]
        function += draw(verdict_exits(hook))
        code += [Instruction(0xBF, 1, 5)]
        code += [Instruction(CALL, source=SUBPROGRAM_CALL, immediate=0)]
        if draw(st.booleans()):
            ending = [LEAVE]
        code[-1] = code[-1]._replace(immediate=len(ending))
    if depth:
        code.insert(1, Instruction(0x7A, 10, offset=-depth, immediate=-1) if not reads else
                    Instruction(0xB7, 9, immediate=1))  # fmt: skip
    main = [*code, *ending]
    starts = (0, len(main)) if has_function else (0,)
    allowed = tuple(verdicts_of(hook))
    return Body(
        name=f"b{number}",
        instructions=(*main, *function),
        stack_depths_bytes=(depth, sub_depth) if has_function else (depth,),
        licence=draw(st.sampled_from(licences)),
        proceed_on=tuple(draw(st.lists(st.sampled_from(allowed), min_size=1, unique=True))),
        map_ids={OWN_ARRAY: 1} if tail_calls else {},
        program_arrays=(ProgramArray("own", is_empty=False),) if tail_calls else (),
        reads_uninitialised_stack=reads,
        functions=tuple(Function(at, 5 + at) for at in starts) if has_types else (),
        lines=tuple(Line(at, 1, 2, (at + 1) << 10) for at in starts) if has_types else (),
    )
