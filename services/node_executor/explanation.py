# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why a chain is linked as it is: the plan's own words, kept with the generation that it led to.

Pure.  It is kept and not planned again, because a later plan would lack what the verifier said to
the attempts before it, and the archives may be gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from services.node_executor.linking.plan import Constraint, LinkPlan, PlannedBody, Segment
from shared.contracts.inspection import (
    BodyExplained,
    ChainExplanation,
    ConstraintShown,
    SegmentExplained,
)

MAX_CONSTRAINTS: Final = 400
"""More are counted: 64 programs with six rules each."""
MAX_TEXT: Final = 600
"""Characters of one sentence; a kernel message inside may be long."""

REMEDIES: Final[Mapping[str, str]] = {
    "own-tail-calls": (
        "last place in a chain without counters, or no tail calls into arrays that hold programs"
    ),
    "packet-loads": (
        "reading packets through pointers or bpf_skb_load_bytes instead of LD_ABS and LD_IND, as"
        " compilers do unless asked for them; or last place in a chain without counters"
    ),
    "may-goto": "last place, or a loop that is bounded in another way than by may_goto",
    "main-length": "a shorter main function, its parts in functions of their own",
    "verifier-feedback": "fewer branches, or fewer programs beside it in its segment",
    "joint-jumps": "fewer branches in it or in the programs inline beside it",
    "stack-depth": (
        "a smaller stack: scratch data in a per-CPU array map instead of local variables"
    ),
    "frame-sum": ("a smaller stack, of it or of the functions that the programs beside it call"),
    "tail-call-frame": (
        "no tail call inside a function of its own, or less stack in the programs beside it"
    ),
    "call-depth": "fewer functions that call one another",
}
"""Rule id to what would have to be otherwise for the program to be linked inline."""


def explain(plan: LinkPlan) -> ChainExplanation:
    """The plan as it is shown and kept."""
    constraints = tuple(_shown(one) for one in plan.constraints)
    bodies: list[BodyExplained] = []
    for index, segment in enumerate(plan.segments):
        for planned in segment.bodies:
            path = f"chain[{len(bodies)}] {planned.body.name}"
            rules = [one for one in plan.constraints if one.path == path]
            bodies.append(_body(planned, index, rules))
    return ChainExplanation(
        attachment=plan.attachment,
        has_frags=plan.has_frags,
        has_counters=plan.has_counters,
        programs=tuple(bodies),
        segments=tuple(_segment(segment) for segment in plan.segments),
        constraints=constraints[:MAX_CONSTRAINTS],
        constraints_left_out=max(0, len(constraints) - MAX_CONSTRAINTS),
        warnings=tuple(_cut(warning) for warning in plan.warnings),
    )


def _body(planned: PlannedBody, segment: int, rules: Iterable[Constraint]) -> BodyExplained:
    body = planned.body
    needed: tuple[str, ...] = ()
    if planned.mode not in ("inline", "alone"):
        needed = tuple(
            dict.fromkeys(
                _cut(REMEDIES.get(one.rule, f"{one.rule} must not apply: {one.text}"))
                for one in rules
                if one.effect == planned.mode
            )
        ) or (_cut(planned.reason),)
    return BodyExplained(
        deployment=body.name,
        mode=planned.mode,
        reason=_cut(planned.reason),
        segment=segment,
        slot=planned.slot,
        instructions=len(body.instructions),
        stack_bytes=body.main_stack_bytes,
        proceed_on=body.proceed_on,
        zeroed_stack_bytes=planned.zeroed_stack_bytes,
        needed_for_inline=needed,
    )


def _segment(segment: Segment) -> SegmentExplained:
    return SegmentExplained(
        why_begun=_cut(segment.why_begun),
        layout=segment.layout,
        licence=segment.licence,
        deployments=tuple(planned.body.name for planned in segment.bodies),
        context_slot_bytes=segment.context_slot_bytes,
        is_device_bound=segment.is_device_bound,
    )


def _shown(constraint: Constraint) -> ConstraintShown:
    return ConstraintShown(
        rule=constraint.rule,
        path=constraint.path,
        text=_cut(constraint.text),
        effect=_cut(constraint.effect),
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
