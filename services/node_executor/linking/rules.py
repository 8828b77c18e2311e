# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which bodies may stand inline at which place of a chain, rule by rule.

Inlining must not change what a body does.  Each rule here names a construct for which it would,
or that the kernel refuses in a joint program.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from shared.bytecode.instructions import (
    CALL,
    KFUNC_CALL,
    MAY_GOTO,
    PACKET_LOADS,
    TAIL_CALL_HELPER,
    helpers_called,
)
from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.node import verdicts_of
from shared.errors import Reason
from shared.identifiers import Hook

MAX_STACK_BYTES: Final = 512
CONTEXT_SLOT_BYTES: Final = 8
MAX_MAIN_LENGTH: Final = 32_000
"""Instructions of a body's main function: each exit becomes a jump of at most 32,767."""
TAIL_CALL_STACK_BYTES: Final = 256
"""Frames above a function that tail-calls must stay below this (check_max_stack_depth)."""

_THROW: Final = "bpf_throw"
_TERMINAL: Final[dict[str, frozenset[str]]] = {
    "xdp": frozenset(("aborted", "drop", "tx", "redirect")),
    "tc": frozenset(("shot", "stolen", "queued", "repeat", "redirect", "trap")),
}


def proceed_problems(body: Body, path: str, *, hook: Hook, is_last: bool) -> Iterator[Reason]:
    """Whether the verdicts after which the chain goes on are verdicts, and any at all."""
    known = verdicts_of(hook)
    unknown = [name for name in body.proceed_on if name not in known]
    if unknown:
        yield Reason(
            path=f"{path}.proceed_on",
            rule=f"must be verdicts of {hook}",
            got=unknown,
            allowed=list(known),
        )
    if not body.proceed_on and not is_last:
        yield Reason(
            path=f"{path}.proceed_on",
            rule="must name a verdict, or no program behind this one could ever run",
            got=[],
            allowed=list(known),
        )


def proceed_warnings(body: Body, path: str, *, hook: Hook) -> Iterator[str]:
    """Verdicts that end a packet's way, which the next body would override."""
    terminal = _TERMINAL["xdp" if hook == "xdp" else "tc"]
    for verdict in body.proceed_on:
        if verdict in terminal:
            yield (
                f"{path}: the chain goes on after '{verdict}', so a later program's verdict"
                f" replaces it and the packet is not treated as '{verdict}'"
            )


def inline_problems(body: Body, path: str, *, is_last: bool) -> Iterator[Reason]:
    """Constructs that inlining would change, or that the kernel refuses in a joint program."""
    opcodes = {instruction.opcode for instruction in body.instructions}
    if not is_last:
        if opcodes & PACKET_LOADS:
            yield Reason(
                path=path,
                rule="a program with direct packet loads (LD_ABS, LD_IND) can only be last: on a"
                " short packet they would leave the whole chain",
            )
        if _THROW in body.kernel_functions:
            yield Reason(
                path=path,
                rule="a program that calls bpf_throw can only be last: throwing would leave the"
                " whole chain",
            )
        if MAY_GOTO in opcodes:
            yield Reason(
                path=path,
                rule="a program with may_goto can only be last: the loop budget is one for the"
                " whole chain",
            )
        if body.main_length > MAX_MAIN_LENGTH:
            yield Reason(
                path=path,
                rule="the main function is too long to be followed by another program",
                got=body.main_length,
                allowed=MAX_MAIN_LENGTH,
            )
    allowed = MAX_STACK_BYTES if is_last else MAX_STACK_BYTES - CONTEXT_SLOT_BYTES
    if body.main_stack_bytes > allowed:
        yield Reason(
            path=path,
            rule="the main function uses too much stack for its place in the chain",
            got=body.main_stack_bytes,
            allowed=allowed,
        )
    yield from _tail_call_problems(body, path)
    if any(i.opcode == CALL and i.source == KFUNC_CALL and i.offset for i in body.instructions):
        yield Reason(path=path, rule="functions of kernel modules cannot be called from a chain")


def _tail_call_problems(body: Body, path: str) -> Iterator[Reason]:
    if not any(i.calls_helper(TAIL_CALL_HELPER) for i in body.instructions):
        return
    for array in body.program_arrays:
        if not array.is_empty:
            yield Reason(
                path=path,
                rule="a program that tail-calls programs of its own would leave the whole chain",
                got=array.name,
            )


def frame_problems(
    bodies: Sequence[Body], paths: Sequence[str], frame_bytes: int
) -> Iterator[Reason]:
    """Whether each body's own subprograms fit below the frame that all bodies share."""
    for body, path in zip(bodies, paths, strict=True):
        deepest = _deepest_call_bytes(body)
        if deepest and _rounded(frame_bytes) + deepest > MAX_STACK_BYTES:
            yield Reason(
                path=path,
                rule="the chain's shared stack frame and this program's subprograms together use"
                " too much stack",
                got=_rounded(frame_bytes) + deepest,
                allowed=MAX_STACK_BYTES,
            )
        if _tail_calls_in_subprogram(body) and frame_bytes >= TAIL_CALL_STACK_BYTES:
            yield Reason(
                path=path,
                rule="it tail-calls inside a subprogram, so the chain's shared stack frame must be"
                " smaller",
                got=frame_bytes,
                allowed=TAIL_CALL_STACK_BYTES - 1,
            )


def licence_problems(
    bodies: Sequence[Body], paths: Sequence[str], facts: KernelFacts
) -> Iterator[Reason]:
    """Whether the bodies' licences allow them to be one program.

    The kernel takes one licence string for the whole.  Saying GPL for a body that does not say so
    itself would be a false statement, and without it no body may call GPL-only functions.
    """
    closed = [path for body, path in zip(bodies, paths, strict=True) if not _is_gpl(body)]
    if not closed:
        return
    for body, path in zip(bodies, paths, strict=True):
        restricted = sorted(helpers_called(body.instructions) & set(facts.gpl_only_helpers))
        if restricted or body.kernel_functions:
            yield Reason(
                path=path,
                rule="it calls GPL-only kernel functions, so it cannot be one program with"
                f" {', '.join(closed)}, whose licence is not GPL-compatible",
                got=[*restricted, *body.kernel_functions],
            )


def joint_problems(
    bodies: Sequence[Body], paths: Sequence[str], facts: KernelFacts, policy: LinkPolicy
) -> Iterator[Reason]:
    """Limits that hold for the chain as a whole."""
    maps = set().union(*(body.map_ids.values() for body in bodies))
    if len(maps) > facts.max_maps:
        yield Reason(
            path="chain",
            rule="one program may use at most so many distinct maps",
            got=len(maps),
            allowed=facts.max_maps,
        )
    subprograms = 1 + sum(len(body.starts) - 1 for body in bodies)
    if subprograms > facts.max_subprograms:
        yield Reason(
            path="chain",
            rule="one program may have at most so many functions",
            got=subprograms,
            allowed=facts.max_subprograms,
        )
    if policy.hook == "xdp" and len({body.has_frags for body in bodies}) > 1:
        for body, path in zip(bodies, paths, strict=True):
            if not body.has_frags:
                yield Reason(
                    path=path,
                    rule="it cannot read packets in several buffers (xdp.frags), but other"
                    " programs of the chain declare that they do; all must agree",
                )
    without_types = [p for b, p in zip(bodies, paths, strict=True) if not b.has_types]
    for body, path in zip(bodies, paths, strict=True):
        if body.has_callbacks and without_types:
            yield Reason(
                path=path,
                rule=f"callbacks need merged BTF, and there is none for {', '.join(without_types)}",
            )


def linked_licence(bodies: Sequence[Body]) -> str:
    """The licence string of the linked program: what holds for all its bodies together."""
    licences = list(dict.fromkeys(body.licence for body in bodies))
    if len(licences) == 1:
        return licences[0]
    closed = [licence for licence in licences if not is_gpl_compatible(licence)]
    return " AND ".join(closed) if closed else "GPL"


def _is_gpl(body: Body) -> bool:
    return is_gpl_compatible(body.licence)


def _rounded(depth_bytes: int) -> int:
    """As the kernel counts a frame under a JIT: in steps of 16, at least one."""
    return max(16, -(-depth_bytes // 16) * 16)


def _deepest_call_bytes(body: Body) -> int:
    """Stack of the deepest chain of subprograms below the main function; 0 without any."""
    starts = body.starts
    if len(starts) == 1 or len(body.stack_depths_bytes) != len(starts):
        return 0
    ends = (*starts[1:], len(body.instructions))
    index = {start: number for number, start in enumerate(starts)}
    deepest: dict[int, int] = {}

    def below(function: int, seen: frozenset[int]) -> int:
        if function in deepest:
            return deepest[function]
        found = 0
        for position in range(starts[function], ends[function]):
            instruction = body.instructions[position]
            if instruction.refers_to_subprogram:
                callee = index[position + instruction.immediate + 1]
                if callee not in seen:
                    own = _rounded(body.stack_depths_bytes[callee])
                    found = max(found, own + below(callee, seen | {callee}))
        deepest[function] = found
        return found

    return below(0, frozenset((0,)))


def _tail_calls_in_subprogram(body: Body) -> bool:
    subprograms = body.instructions[body.main_length :]
    return any(instruction.calls_helper(TAIL_CALL_HELPER) for instruction in subprograms)
