# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the bodies of one segment share stack: which stand inline, which are called, and from where.

Two layouts are tried, and the one with fewer calls is taken:

 * shared-frame: the main function holds the inline bodies; context and counters are kept on its
   stack, below the deepest body.  Bodies may be called beside them if the frames fit.
 * calls-only: the main function has no stack, so each function that it calls has all of it.  Inline
   neighbours share a function that wraps them.

What a function needs from the kernel: its own frame and those of all functions that it calls fit
in 512 bytes, above a function that tail-calls lie less than 256 (check_max_stack_depth).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.node_executor.linking.body_rules import Candidate, call_obstacle
from services.node_executor.linking.code_facts import rounded
from services.node_executor.linking.plan import (
    MAX_STACK_BYTES,
    Frame,
    KernelFacts,
    Layout,
    LinkPolicy,
    Run,
)

WORD_BYTES: Final = 8
TAIL_CALL_STACK_BYTES: Final = 256

Why = tuple[str, str]
"""Rule and sentence."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A segment's bodies in their places."""

    layout: Layout
    frame: Frame
    runs: tuple[Run, ...]
    called: dict[int, Why]
    """Why a body is called, by index in the segment."""
    functions: int
    """Functions that the linker adds to the bodies' own: called ones, and those that wrap."""

    @property
    def calls(self) -> int:
        """How many calls a packet makes that sees all bodies."""
        return len(self.runs) if self.layout == "calls-only" else len(self.called)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why bodies cannot be arranged in one segment."""

    rule: str
    path: str
    text: str
    got: int | None = None
    allowed: int | None = None


def arrange(
    bodies: Sequence[Candidate], *, is_final: bool, facts: KernelFacts, policy: LinkPolicy
) -> Arrangement | Misfit:
    """The arrangement with the fewest calls, or why there is none.

    Args:
        bodies: Of one segment, in their order.
        is_final: Whether no segment follows; otherwise the context is needed to the end.
        facts: What the kernel can do.
        policy: What is wanted.
    """
    needs = _Needs(policy.has_counters, policy.time_sample_period > 0, not is_final)
    called = {index: found.calls[0] for index, found in enumerate(bodies) if found.calls}
    relieved = _relieve_jumps(bodies, called, facts)
    if isinstance(relieved, Misfit):
        return relieved
    shared = _shared_frame(bodies, relieved, needs, facts)
    if isinstance(shared, Arrangement) and shared.calls <= len(called):
        return shared
    only_calls = _calls_only(bodies, called, needs, facts)
    found = [each for each in (shared, only_calls) if isinstance(each, Arrangement)]
    if not found:
        return shared if isinstance(shared, Misfit) else only_calls
    return min(found, key=lambda arrangement: arrangement.calls)


@dataclass(frozen=True, slots=True)
class _Needs:
    has_counters: bool
    has_time: bool
    has_context_behind: bool


def _frame(stacks: Sequence[int], needs: _Needs) -> Frame | Misfit:
    """Where things are kept beside bodies with these stacks; a called body uses none.

    The misfit's path is empty.
    """
    before = max(stacks[:-1], default=0)
    behind = max(stacks) if needs.has_context_behind else before
    cursor, context, counters, time = behind, 0, 0, 0
    if len(stacks) > 1 or needs.has_context_behind:
        cursor = context = cursor + WORD_BYTES
    is_late = needs.has_counters and not needs.has_time and len(stacks) == 1
    if needs.has_counters and not is_late:
        covering = max(cursor, stacks[-1])
        words = 2 if needs.has_time else 1
        is_late = covering + words * WORD_BYTES > MAX_STACK_BYTES and not needs.has_time
        cursor = counters = (cursor if is_late else covering) + WORD_BYTES
        if needs.has_time:
            cursor = time = cursor + WORD_BYTES
    key = 0
    if is_late:
        key = 2 * WORD_BYTES if context == WORD_BYTES else WORD_BYTES
    size = max(cursor, key, *stacks)
    if size > MAX_STACK_BYTES:
        return Misfit(
            "stack-depth",
            "",
            "its main function uses too much stack to stand inline beside what the chain keeps",
            size,
            MAX_STACK_BYTES,
        )
    return Frame(context, counters, time, key, size)


def _frame_misfits(
    bodies: Sequence[Candidate], called: dict[int, Why], above_bytes: int
) -> Iterator[Misfit]:
    """Bodies that do not fit below a frame."""
    for index, candidate in enumerate(bodies):
        body = candidate.body
        use = body.calls
        main = rounded(body.main_stack_bytes) if index in called else 0
        total = above_bytes + main + use.below_bytes
        if (use.below_bytes or main) and total > MAX_STACK_BYTES:
            yield Misfit(
                "frame-sum",
                candidate.path,
                "its functions do not fit into the stack below the frame that the chain shares",
                total,
                MAX_STACK_BYTES,
            )
        over = [] if use.above_tail_call_bytes is None else [main + use.above_tail_call_bytes]
        if index in called and any(at < body.main_length for at in body.code.tail_calls):
            over.append(0)
        if over and above_bytes + max(over) >= TAIL_CALL_STACK_BYTES:
            yield Misfit(
                "tail-call-frame",
                candidate.path,
                "it tail-calls inside a function, and the frames above that have to be smaller",
                above_bytes + max(over),
                TAIL_CALL_STACK_BYTES - 16,
            )


def _shared_frame(
    bodies: Sequence[Candidate], called: dict[int, Why], needs: _Needs, facts: KernelFacts
) -> Arrangement | Misfit:
    """All inline bodies in the main function; the deepest are called until the rest fits."""
    called = dict(called)
    while True:
        stacks = _stacks(bodies, called)
        frame = _frame(stacks, needs)
        misfit = (
            frame
            if isinstance(frame, Misfit)
            else next(_frame_misfits(bodies, called, rounded(frame.size_bytes)), None)
        )
        inline = [index for index in range(len(bodies)) if index not in called]
        if not inline:
            return _calls_only(bodies, called, needs, facts)
        if isinstance(frame, Frame) and misfit is None:
            return Arrangement("shared-frame", frame, (), called, len(called))
        deepest = max(inline, key=lambda index: (stacks[index], -index))
        problem = _named(misfit, bodies[deepest])
        if not _can_be_called(bodies[deepest], facts):
            return problem
        called[deepest] = (problem.rule, _because(problem, bodies[deepest]))


def _calls_only(
    bodies: Sequence[Candidate], called: dict[int, Why], needs: _Needs, facts: KernelFacts
) -> Arrangement | Misfit:
    """Inline neighbours in functions that wrap them, as many in each as fit."""
    called = dict(called)
    within = _Needs(needs.has_counters, needs.has_time, has_context_behind=False)
    runs: list[Run] = []
    first = 0
    while first < len(bodies):
        frame, count = Frame(), 0
        while first + count < len(bodies) and first + count not in called:
            grown = bodies[first : first + count + 1]
            fitting = _run_frame(grown, within, facts)
            if fitting is None:
                break
            frame, count = fitting, count + 1
        if count <= 1:
            candidate = bodies[first]
            if first not in called:
                obstacle = call_obstacle(candidate.body, facts)
                if obstacle is not None:
                    rule, words, got, allowed = obstacle
                    text = f"it would have to be a function of the chain, but {words}"
                    return Misfit(rule, candidate.path, text, got, allowed)
                called[first] = (
                    "frame-sum",
                    "its stack and that of its neighbours do not fit into one function",
                )
            frame, count = Frame(), 1
        runs.append(Run(first, count, frame))
        first += count
    misfit = next(_frame_misfits(bodies, called, 0), None)
    if misfit is not None:
        return misfit
    extra = len(runs) + (1 if needs.has_counters else 0)
    return Arrangement("calls-only", Frame(), tuple(runs), called, extra)


def _run_frame(bodies: Sequence[Candidate], needs: _Needs, facts: KernelFacts) -> Frame | None:
    """The frame of a function that wraps these, if they fit."""
    frame = _frame([candidate.body.main_stack_bytes for candidate in bodies], needs)
    if isinstance(frame, Misfit):
        return None
    if next(_frame_misfits(bodies, {}, rounded(frame.size_bytes)), None) is not None:
        return None
    if not all(_can_be_called(candidate, facts) for candidate in bodies):
        return None
    # A global function is verified by itself; a static one along the chain.
    fits = len(bodies) == 1 or _pending(bodies, range(len(bodies)), facts) <= facts.max_jumps
    return frame if fits else None


def _relieve_jumps(
    bodies: Sequence[Candidate], called: dict[int, Why], facts: KernelFacts
) -> dict[int, Why] | Misfit:
    """`called` with those added whose branches are too many for one function."""
    called = dict(called)
    while True:
        # What is verified along the chain counts, wherever it stands.
        joint = [i for i in range(len(bodies)) if i not in called or not facts.has_types]
        pending = _pending(bodies, joint, facts)
        if pending <= facts.max_jumps or len(bodies) == 1:
            return called
        largest = max(joint, key=lambda index: (bodies[index].body.pending_branches, -index))
        if not facts.has_types or not _can_be_called(bodies[largest], facts):
            return Misfit(
                "joint-jumps",
                bodies[largest].path,
                "the branches of all programs together are more than the verifier keeps in mind",
                pending,
                facts.max_jumps,
            )
        called[largest] = (
            "joint-jumps",
            "the branches of all inline programs together are more than the verifier keeps in mind",
        )


def _pending(bodies: Sequence[Candidate], chosen: Sequence[int], facts: KernelFacts) -> int:
    """Branches that the verifier keeps in mind of these together; 0 if they cannot be too many."""
    if sum(bodies[index].body.main_length for index in chosen) <= facts.max_jumps:
        return 0
    return sum(bodies[index].body.pending_branches for index in chosen)


def _can_be_called(candidate: Candidate, facts: KernelFacts) -> bool:
    return call_obstacle(candidate.body, facts) is None


def _stacks(bodies: Sequence[Candidate], called: dict[int, Why]) -> list[int]:
    return [
        0 if index in called else candidate.body.main_stack_bytes
        for index, candidate in enumerate(bodies)
    ]


def _named(misfit: Misfit | None, candidate: Candidate) -> Misfit:
    if misfit is None:
        raise AssertionError("a frame that fits needs no relief")
    if misfit.path:
        return misfit
    return Misfit(misfit.rule, candidate.path, misfit.text, misfit.got, misfit.allowed)


def _because(problem: Misfit, deepest: Candidate) -> str:
    if problem.path == deepest.path:
        return problem.text
    return f"with its stack in the shared frame, {problem.path} would not fit: {problem.text}"
