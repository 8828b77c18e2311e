# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What speaks against a body standing inline at its place of the chain, rule by rule.

Inlining must not change what a body does.  As a function of the linked program a body that leaves
early comes back to the chain, so that later bodies run as they would one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from shared.errors import Reason

MAX_MAIN_LENGTH: Final = 32_000
"""Instructions of an inline body's main function: each exit becomes a 16-bit jump."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A body at its place of the chain."""

    body: Body
    position: int
    path: str
    is_last: bool
    """Whether no body of the chain is behind it."""
    calls: tuple[tuple[str, str], ...] = ()
    """Rule and sentence: why it has to be called."""

    @property
    def must_be_called(self) -> bool:
        """Whether it cannot stand inline anywhere."""
        return bool(self.calls)


def call_reasons(
    body: Body, *, position: int, is_last: bool, facts: KernelFacts, policy: LinkPolicy
) -> Iterator[tuple[str, str]]:
    """Rules by which the body has to be a function of its own."""
    ends_as_it_is = is_last and not policy.has_counters and policy.way != "tcx"
    # A function can only tail-call, or load from packets directly, if its BTF says what it returns.
    stays_last = ends_as_it_is or (is_last and not facts.has_types)
    if body.tail_calls_programs and not stays_last:
        yield (
            "own-tail-calls",
            "it tail-calls programs of its own, which would leave the whole chain",
        )
    if body.code.has_packet_loads and not stays_last:
        yield (
            "packet-loads",
            "on a short packet its direct loads (LD_ABS, LD_IND) would leave the whole chain",
        )
    if body.code.has_may_goto and not is_last:
        yield (
            "may-goto",
            "it loops with may_goto, and functions that are one share one budget of rounds",
        )
    if body.main_length > MAX_MAIN_LENGTH and not ends_as_it_is:
        yield (
            "main-length",
            "its main function is longer than a jump over it can reach",
        )
    if position in policy.called and call_obstacle(body, facts) is None:
        yield (
            "verifier-feedback",
            "the verifier found the chain too hard with this program inline",
        )


def call_obstacle(body: Body, facts: KernelFacts) -> tuple[str, str, int | None, int | None] | None:
    """Why the body cannot be a function: rule, words, what there is, what is allowed."""
    depth = 1 + body.calls.depth
    if depth > facts.max_call_frames:
        words = "its own functions already call one another as deep as the kernel allows"
        return "call-depth", words, depth, facts.max_call_frames
    leaves = bool(body.code.tail_calls) or body.code.has_packet_loads
    if leaves and not facts.has_types:
        words = "for a function with tail calls or direct loads the kernel needs BTF, which is not"
        return "types", f"{words} loaded here", None, None
    if body.code.tail_calls and not facts.has_tail_calls_beside_calls:
        words = "this kernel takes no program that has functions and tail-calls"
        return "tail-calls-beside-calls", words, None, None
    return None


def body_problems(candidate: Candidate, facts: KernelFacts) -> Iterator[tuple[str, Reason]]:
    """What no mode and no segment cures."""
    body, path = candidate.body, candidate.path
    if body.throws and not candidate.is_last:
        yield (
            "throw",
            Reason(
                path=path,
                rule="a program that calls bpf_throw can only be last: throwing leaves the whole"
                " chain, from a function too",
            ),
        )
    obstacle = call_obstacle(body, facts)
    if candidate.must_be_called and obstacle is not None:
        rule, text, got, allowed = obstacle
        why = candidate.calls[0][1]
        yield (
            rule,
            Reason(
                path=path,
                rule=f"it has to be a function of the chain ({why}), but {text}",
                got=got,
                allowed=allowed,
            ),
        )
    if not facts.has_types and any(at >= body.main_length for at in body.code.tail_calls):
        yield (
            "types",
            Reason(path=path, rule="tail calls in functions need BTF, which is not loaded here"),
        )
    if not facts.has_types and body.has_callbacks:
        yield (
            "types",
            Reason(path=path, rule="callbacks need BTF, which is not loaded here"),
        )
    indexes = {body.instructions[position].offset for position in body.code.kernel_calls}
    if any(index >= len(body.module_types_fds) for index in indexes - {0}):
        yield (
            "module-functions",
            Reason(path=path, rule="it calls functions of a kernel module that is not loaded here"),
        )
