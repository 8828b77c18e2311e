# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where one kernel program ends and the next begins: as few segments as the limits allow.

Each segment takes as many of the bodies as fit; since whatever fits also fits with fewer, no
division has fewer segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.node_executor.linking.arrangement import Arrangement, Misfit, arrange
from services.node_executor.linking.body_rules import Candidate
from services.node_executor.linking.plan import KernelFacts, LinkPolicy

_GLUE_INSTRUCTIONS: Final = 64
"""More than the linker adds for one body, as the verifier walks it."""


@dataclass(frozen=True, slots=True)
class Division:
    """Neighbours that are one program."""

    first: int
    count: int
    arrangement: Arrangement
    why_begun: Misfit | None
    """Why the bodies before could not take the first of these in; None: there are none before."""


def divide(
    bodies: Sequence[Candidate], facts: KernelFacts, policy: LinkPolicy
) -> tuple[list[Division], list[Misfit]]:
    """The segments, first to run first, and what fits into none."""
    divisions: list[Division] = []
    misfits: list[Misfit] = []
    first, why = 0, None
    while first < len(bodies):
        count, arrangement, obstacle = _longest(bodies, first, facts, policy)
        if arrangement is None:
            if obstacle is not None:
                misfits.append(obstacle)
        else:
            divisions.append(Division(first, count, arrangement, why))
        first, why = first + count, obstacle
    return divisions, misfits


def _longest(
    bodies: Sequence[Candidate], first: int, facts: KernelFacts, policy: LinkPolicy
) -> tuple[int, Arrangement | None, Misfit | None]:
    """How many bodies from `first` on are one segment, how, and what stops the next one.

    Without an arrangement the count is one, and the body fits nowhere.
    """
    rest = len(bodies) - first
    whole = _try(bodies, first, rest, facts, policy)
    if isinstance(whole, Arrangement):
        return rest, whole, None
    found, obstacle = None, whole
    count = 0
    for length in range(1, rest):
        attempt = _try(bodies, first, length, facts, policy)
        if isinstance(attempt, Misfit):
            obstacle = attempt
            break
        found, count = attempt, length
    return max(count, 1), found, obstacle


def _try(
    bodies: Sequence[Candidate], first: int, count: int, facts: KernelFacts, policy: LinkPolicy
) -> Arrangement | Misfit:
    chosen = bodies[first : first + count]
    is_final = first + count == len(bodies)
    misfit = next(_joint_misfits(chosen, is_final=is_final, facts=facts, policy=policy), None)
    if misfit is not None:
        return misfit
    arrangement = arrange(chosen, is_final=is_final, facts=facts, policy=policy)
    if isinstance(arrangement, Misfit):
        return arrangement
    misfit = _function_misfit(chosen, arrangement, is_final=is_final, facts=facts)
    return arrangement if misfit is None else misfit


def _joint_misfits(
    bodies: Sequence[Candidate], *, is_final: bool, facts: KernelFacts, policy: LinkPolicy
) -> Iterator[Misfit]:
    """Limits of one program that do not depend on how its bodies are arranged."""
    head, last = bodies[0], bodies[-1]
    for candidate in bodies[1:]:
        if candidate.body.is_gpl_compatible != head.body.is_gpl_compatible:
            closed = head if candidate.body.is_gpl_compatible else candidate
            yield Misfit(
                "licence",
                candidate.path,
                f"the licence of {closed.path} ('{closed.body.licence}') is not GPL-compatible, and"
                " such programs are never one kernel program with GPL-compatible ones",
            )
        if candidate.position in policy.separate:
            yield Misfit(
                "verifier-feedback",
                candidate.path,
                "the verifier found the chain too hard as one program",
            )
    for candidate in bodies:
        if candidate.body.is_device_bound and head.position > 0:
            yield Misfit(
                "device-bound",
                candidate.path,
                "it is bound to its interface's driver, and the kernel enters such programs from"
                " the hook only, not from another segment",
            )
    maps = set().union(*(candidate.body.map_ids.values() for candidate in bodies))
    own = policy.has_counters + (not is_final)
    if len(maps) + own > facts.max_maps:
        yield Misfit(
            "maps",
            last.path,
            "one kernel program may use at most so many distinct maps, the linker's own included",
            len(maps) + own,
            facts.max_maps,
        )
    walked = sum(
        max(candidate.body.verified_instructions, len(candidate.body.instructions))
        + _GLUE_INSTRUCTIONS
        for candidate in bodies
    )
    if walked > facts.max_instructions and len(bodies) > 1:
        yield Misfit(
            "instructions",
            last.path,
            "the verifier walks at most so many instructions of one kernel program",
            walked,
            facts.max_instructions,
        )
    called = {
        function for candidate in bodies for function in candidate.body.called_kernel_functions
    }
    if len(called) > facts.max_kernel_functions:
        yield Misfit(
            "kernel-functions",
            last.path,
            "one kernel program may call at most so many distinct kernel functions",
            len(called),
            facts.max_kernel_functions,
        )


def _function_misfit(
    bodies: Sequence[Candidate], arrangement: Arrangement, *, is_final: bool, facts: KernelFacts
) -> Misfit | None:
    """Limits of one program that depend on its functions."""
    own = sum(len(candidate.body.starts) - 1 for candidate in bodies)
    functions = 1 + own + arrangement.functions
    last = bodies[-1].path
    if functions > facts.max_subprograms:
        return Misfit(
            "subprograms",
            last,
            "one kernel program may have at most so many functions",
            functions,
            facts.max_subprograms,
        )
    tail_calls = not is_final or any(candidate.body.code.tail_calls for candidate in bodies)
    if functions > 1 and tail_calls and not facts.has_tail_calls_beside_calls:
        own_tail_calls = len(bodies) == 1 and is_final and not arrangement.functions
        if not own_tail_calls:
            return Misfit(
                "tail-calls-beside-calls",
                last,
                "this kernel takes no program that has functions and tail-calls",
            )
    return None
