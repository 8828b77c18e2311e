# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which mode each body of a chain gets, and where the chain keeps its context.

Pure.  A chain that cannot be one program is refused with every broken rule at once.

The verdict of the chain is the verdict of the last body that ran, as it is.  At the end of a TCX
chain the kernel knows pass, drop, redirect and next only: stolen, trap, queued, repeat, pipe and
reclassify let the packet pass (include/net/tcx.h, tcx_action_code).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.node_executor.linking import rules
from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import (
    Frame,
    KernelFacts,
    LinkPlan,
    LinkPolicy,
    LinkRefusedError,
    PlannedBody,
    Segment,
)
from shared.contracts.node import verdicts_of
from shared.errors import Reason

_CONTEXT_BYTES: Final = 8


def plan_link(
    bodies: Sequence[Body],
    facts: KernelFacts,
    policy: LinkPolicy,
    *,
    slots: Mapping[str, int] | None = None,
) -> LinkPlan:
    """How `bodies`, first to run first, become the fewest programs.

    Args:
        bodies: At least one.
        facts: What the kernel can do.
        policy: What is wanted.
        slots: Counter slot by body name; None: each body's position.

    Raises:
        LinkRefusedError: they cannot; every reason is listed, with the program it concerns.
    """
    if not bodies:
        raise AssertionError("an empty chain is not linked but taken off its hook")
    paths = [f"chain[{position}] {body.name}" for position, body in enumerate(bodies)]
    slot_bytes = _context_slot_bytes(bodies)
    problems = _problems(bodies, paths, slot_bytes, facts, policy)
    if problems:
        named = "; ".join(f"{problem.path}: {problem.rule}" for problem in problems[:3])
        raise LinkRefusedError(f"the chain cannot be linked into one program: {named}", problems)
    verdicts = verdicts_of(policy.hook)
    warnings = [
        warning
        for body, path in zip(bodies[:-1], paths, strict=False)
        for warning in rules.proceed_warnings(body, path, hook=policy.hook)
    ]
    planned = tuple(
        PlannedBody(
            body=body,
            mode="inline",
            reason="no rule speaks against it",
            proceed_values=tuple(dict.fromkeys(verdicts[name] for name in body.proceed_on)),
            zeroed_stack_bytes=_zeroed_bytes(body, is_first=position == 0),
            slot=position if slots is None else slots[body.name],
        )
        for position, body in enumerate(bodies)
    )
    segment = Segment(
        bodies=planned,
        layout="shared-frame",
        licence=rules.linked_licence(bodies),
        why_begun="it is the first",
        frame=Frame(context_bytes=slot_bytes),
    )
    return LinkPlan(
        hook=policy.hook,
        attachment=policy.way,
        segments=(segment,),
        policy=policy,
        has_frags=bodies[0].has_frags,
        has_types=facts.has_types,
        warnings=tuple(warnings),
    )


def _problems(
    bodies: Sequence[Body],
    paths: Sequence[str],
    slot_bytes: int,
    facts: KernelFacts,
    policy: LinkPolicy,
) -> list[Reason]:
    problems: list[Reason] = []
    for position, (body, path) in enumerate(zip(bodies, paths, strict=True)):
        is_last = position == len(bodies) - 1
        problems += rules.proceed_problems(body, path, hook=policy.hook, is_last=is_last)
        problems += rules.inline_problems(body, path, is_last=is_last)
    frame_bytes = max(slot_bytes, bodies[-1].main_stack_bytes)
    if not problems:
        problems += rules.frame_problems(bodies, paths, frame_bytes)
    problems += rules.licence_problems(bodies, paths, facts)
    problems += rules.joint_problems(bodies, paths, facts, policy)
    return problems


def _context_slot_bytes(bodies: Sequence[Body]) -> int:
    """Below the deepest body that another follows; the last body may overwrite the slot."""
    if len(bodies) == 1:
        return 0
    return max(body.main_stack_bytes for body in bodies[:-1]) + _CONTEXT_BYTES


def _zeroed_bytes(body: Body, *, is_first: bool) -> int:
    return body.main_stack_bytes if body.reads_uninitialised_stack and not is_first else 0
