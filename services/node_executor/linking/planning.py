# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which segment and which mode each body of a chain gets, and every rule that led there.

Pure.  A body stands inline unless a rule says that it has to be called; a segment ends where a
limit of one kernel program is reached.  A chain that no division saves is refused with every
broken rule at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from services.node_executor.linking import body_rules, verdict_rules
from services.node_executor.linking.arrangement import Misfit
from services.node_executor.linking.body import Body
from services.node_executor.linking.body_rules import Candidate
from services.node_executor.linking.counters import max_slots
from services.node_executor.linking.explanation import explain
from services.node_executor.linking.plan import (
    Constraint,
    KernelFacts,
    LinkMode,
    LinkPlan,
    LinkPolicy,
    LinkRefusedError,
    PlannedBody,
    Segment,
)
from services.node_executor.linking.segmentation import Division, divide
from shared.bytecode.licences import is_gpl_compatible
from shared.errors import Reason

_INLINE = "no rule speaks against standing inline"
_MAX_PERIOD = 1 << 31
_Problem = tuple[str, Reason]


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
    if (policy.hook == "xdp") != (policy.way == "xdp"):
        raise AssertionError(f"a chain on {policy.hook} is not attached by {policy.way}")
    candidates = _candidates(bodies, facts, policy)
    numbers = [slots[body.name] for body in bodies] if slots else list(range(len(bodies)))
    problems = list(_problems(candidates, numbers, facts, policy))
    divisions, misfits = divide(candidates, facts, policy)
    problems += [
        (misfit.rule, _reason(misfit))
        for misfit in misfits
        if (misfit.rule, misfit.path) not in {(rule, reason.path) for rule, reason in problems}
    ]
    problems += _tail_call_problems(candidates, len(divisions), facts)
    if problems:
        raise _refusal(problems)
    segments = tuple(
        _segment(division, candidates, numbers, facts, policy) for division in divisions
    )
    constraints = tuple(explain(candidates, divisions, segments, facts, policy))
    return LinkPlan(
        hook=policy.hook,
        attachment=policy.way,
        segments=segments,
        policy=policy,
        has_frags=_has_frags(bodies, policy),
        has_types=facts.has_types,
        warnings=tuple(
            f"{found.path}: {found.text}" for found in constraints if found.effect == "warning"
        ),
        constraints=constraints,
    )


def _candidates(bodies: Sequence[Body], facts: KernelFacts, policy: LinkPolicy) -> list[Candidate]:
    last = len(bodies) - 1
    return [
        Candidate(
            body=body,
            position=position,
            path=f"chain[{position}] {body.name}",
            is_last=position == last,
            calls=tuple(
                body_rules.call_reasons(
                    body, position=position, is_last=position == last, facts=facts, policy=policy
                )
            ),
        )
        for position, body in enumerate(bodies)
    ]


def _problems(
    candidates: Sequence[Candidate], numbers: Sequence[int], facts: KernelFacts, policy: LinkPolicy
) -> Iterator[_Problem]:
    """What speaks against the chain, however it is divided."""
    period = policy.time_sample_period
    if period and (not 0 < period <= _MAX_PERIOD or period & (period - 1)):
        rule = "must be a power of two that fits into 32 bits, or 0 for none"
        yield "time-sampling", Reason(path="link.time_sample_period", rule=rule, got=period)
    if period and not policy.has_counters:
        yield (
            "time-sampling",
            Reason(path="link.time_sample_period", rule="needs counters, which are off"),
        )
    for candidate, slot in zip(candidates, numbers, strict=True):
        yield from verdict_rules.proceed_problems(
            candidate.body, candidate.path, hook=policy.hook, is_last=candidate.is_last
        )
        yield from body_rules.body_problems(candidate, facts)
        if policy.has_counters and not 0 <= slot < max_slots(policy.hook):
            yield (
                "slots",
                Reason(
                    path=candidate.path,
                    rule="a hook point has at most so many slots for counters",
                    got=slot + 1,
                    allowed=max_slots(policy.hook),
                ),
            )
    yield from _frags_problems(candidates, policy)


def _frags_problems(candidates: Sequence[Candidate], policy: LinkPolicy) -> Iterator[_Problem]:
    if policy.hook != "xdp" or policy.frags != "auto":
        return
    if len({candidate.body.has_frags for candidate in candidates}) == 1:
        return
    for candidate in candidates:
        if not candidate.body.has_frags:
            yield (
                "frags",
                Reason(
                    path=candidate.path,
                    rule="it cannot read packets in several buffers (xdp.frags), but other programs"
                    " of the chain declare that they do; link.frags, on or off, is for all of them",
                ),
            )


def _tail_call_problems(
    candidates: Sequence[Candidate], segments: int, facts: KernelFacts
) -> Iterator[_Problem]:
    """Whether a packet can get through all segments and through the bodies' own tail calls."""
    own = sum(candidate.body.tail_calls_programs for candidate in candidates)
    needed = segments - 1 + own
    if needed > facts.max_tail_calls:
        yield (
            "tail-calls",
            Reason(
                path="chain",
                rule="a packet can make at most so many tail calls, those from segment to segment"
                " and the programs' own together",
                got=needed,
                allowed=facts.max_tail_calls,
            ),
        )


def _refusal(problems: Sequence[_Problem]) -> LinkRefusedError:
    reasons = [reason for _, reason in problems]
    named = "; ".join(f"{reason.path}: {reason.rule}" for reason in reasons[:3])
    return LinkRefusedError(
        f"the chain cannot be linked: {named}",
        reasons,
        [Constraint(rule, reason.path, reason.rule, "refused") for rule, reason in problems],
    )


def _reason(misfit: Misfit) -> Reason:
    return Reason(path=misfit.path, rule=misfit.text, got=misfit.got, allowed=misfit.allowed)


def _segment(
    division: Division,
    candidates: Sequence[Candidate],
    numbers: Sequence[int],
    facts: KernelFacts,
    policy: LinkPolicy,
) -> Segment:
    arrangement = division.arrangement
    chosen = candidates[division.first : division.first + division.count]
    begins = {0, *(run.first for run in arrangement.runs)}
    planned = []
    for index, candidate in enumerate(chosen):
        body, why = candidate.body, arrangement.called.get(index)
        needs_zeroes = body.reads_uninitialised_stack or not facts.has_perfmon
        # Behind a called body, too: the last body's stack may cover the kept context.
        has_leftovers = why is None and index not in begins
        planned.append(
            PlannedBody(
                body=body,
                mode="inline" if why is None else _call_mode(facts),
                reason=_INLINE if why is None else why[1],
                proceed_values=verdict_rules.proceed_values(body, policy.hook),
                zeroed_stack_bytes=body.main_stack_bytes if has_leftovers and needs_zeroes else 0,
                slot=numbers[candidate.position],
            )
        )
    return Segment(
        bodies=tuple(planned),
        layout=arrangement.layout,
        licence=linked_licence([candidate.body.licence for candidate in chosen]),
        why_begun=division.why_begun.text if division.why_begun else "the chain begins here",
        frame=arrangement.frame,
        runs=arrangement.runs,
        is_device_bound=any(candidate.body.is_device_bound for candidate in chosen),
    )


def linked_licence(licences: Sequence[str]) -> str:
    """The licence string of a program made of bodies with these: what holds for all together."""
    distinct = list(dict.fromkeys(licences))
    if len(distinct) == 1:
        return distinct[0]
    closed = [licence for licence in distinct if not is_gpl_compatible(licence)]
    return " AND ".join(closed) if closed else "GPL"


def _call_mode(facts: KernelFacts) -> LinkMode:
    return "call-global" if facts.has_types else "call-static"


def _has_frags(bodies: Sequence[Body], policy: LinkPolicy) -> bool:
    if policy.hook != "xdp" or policy.frags == "off":
        return False
    return policy.frags == "on" or bodies[0].has_frags
