# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What to try when the verifier finds a segment too hard, though each body verifies alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from services.node_executor.linking.plan import LinkPlan, LinkPolicy

Difficulty = Literal["too-many-jumps", "too-large", "too-much-stack"]
"""EFAULT with `The sequence of 8193 jumps is too complex`; E2BIG with `BPF program is too large`;
`combined stack size` or `the call stack of 9 frames is too deep`."""


def policy_after(plan: LinkPlan, segment: int, difficulty: Difficulty) -> LinkPolicy | None:
    """The policy of the next attempt after the verifier refused one segment of `plan`.

    First the segment's bodies are called, because the kernel then verifies each by itself; then
    the segment is cut in halves.  None: it is one body, and nothing is left to try.
    """
    first = sum(len(earlier.bodies) for earlier in plan.segments[:segment])
    bodies = plan.segments[segment].bodies
    if len(bodies) == 1:
        return None
    inline = frozenset(
        first + number for number, planned in enumerate(bodies) if planned.mode == "inline"
    )
    tried = inline <= plan.policy.called
    if plan.has_types and difficulty != "too-much-stack" and not tried:
        return replace(plan.policy, called=plan.policy.called | inline)
    middle = first + len(bodies) // 2
    return replace(plan.policy, separate=plan.policy.separate | {middle})
