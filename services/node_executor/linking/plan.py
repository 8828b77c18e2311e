# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a plan says: segments of bodies, each body in its mode, and every rule that shaped them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from services.node_executor.linking.body import Body
from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook

LinkMode = Literal["inline", "call-global", "call-static", "alone"]
"""How a body stands in its segment: its instructions in the chain's own function, a function that
the kernel verifies by itself, or a function that it verifies along the chain; `alone`: it is a
probe, which nothing is linked with."""
Attachment = Literal["xdp", "tcx", "cls_bpf", "probe"]
"""What the chain is attached by; it decides what a verdict does at the end of the chain.  A probe
has no verdicts."""
Layout = Literal["shared-frame", "calls-only"]
"""Where a segment's main function keeps things: on its stack, or in registers without a stack."""
FragsPolicy = Literal["auto", "on", "off"]
EndVerdict = Literal["unspec", "ok"]

MAX_STACK_BYTES: Final = 512
"""Of a function and everything that it calls (MAX_BPF_STACK)."""


class LinkRefusedError(RefusedError):
    """The chain cannot be linked; each reason names the program and the rule."""

    code: ClassVar[ErrorCode] = "link_refused"

    def __init__(
        self, message: str, reasons: Iterable[Reason] = (), constraints: Iterable[Constraint] = ()
    ) -> None:
        super().__init__(message, reasons)
        self.constraints: Final = tuple(constraints)
        """The same reasons with the ids of their rules."""


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the linker must know about the kernel that will verify its work."""

    gpl_only_helpers: Collection[int] = GPL_ONLY_HELPERS
    has_types: bool = True
    """Whether BTF with functions loads; without it no body can be a global function."""
    has_perfmon: bool = True
    """Whether linked programs are loaded with CAP_PERFMON, and so may use a stack slot for a
    pointer and then for parts of a number."""
    has_tail_calls_beside_calls: bool = True
    """Whether one program may both call functions of its own and tail-call (Linux 5.10, x86-64)."""
    max_maps: int = 64
    """Distinct maps of one program (kernel/bpf/verifier.c, MAX_USED_MAPS)."""
    max_subprograms: int = 256
    """Functions of one program, the main one included (BPF_MAX_SUBPROGS)."""
    max_instructions: int = 1_000_000
    """Instructions that the verifier walks (BPF_COMPLEXITY_LIMIT_INSNS)."""
    max_jumps: int = 8192
    """Branches that the verifier keeps in mind (BPF_COMPLEXITY_LIMIT_JMP_SEQ)."""
    max_tail_calls: int = 33
    """Of one packet, the chain's and the bodies' own together (MAX_TAIL_CALL_CNT)."""
    max_call_frames: int = 8
    """Functions that call one another, the main one included (MAX_CALL_FRAMES)."""
    max_kernel_functions: int = 256
    """Distinct kernel functions of one program (MAX_KFUNC_DESCS)."""


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What is wanted of the chain, beyond that it works."""

    hook: Hook
    attachment: Attachment | None = None
    """None: `xdp` for XDP, `tcx` for TC."""
    has_counters: bool = True
    time_sample_period: int = 0
    """Every so manieth packet of a segment is timed in each program; a power of two, 0: none.
    Needs counters."""
    end_verdict: EndVerdict = "unspec"
    """TCX: what a chain returns that ran to its end with ok, pipe or unspec."""
    frags: FragsPolicy = "auto"
    """XDP: whether the chain declares that it reads packets in several buffers."""
    called: frozenset[int] = frozenset()
    """Positions of bodies that must not be inline: the verifier refused an earlier attempt."""
    separate: frozenset[int] = frozenset()
    """Positions where a segment must begin: the verifier refused an earlier attempt."""

    @property
    def way(self) -> Attachment:
        """What the chain is attached by."""
        return self.attachment or ("xdp" if self.hook == "xdp" else "tcx")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A rule that applied, and what it did to the plan."""

    rule: str
    """Stable id, as `own-tail-calls`."""
    path: str
    """`chain[1] rate-limit`, or `chain`."""
    text: str
    """The rule, one sentence."""
    effect: str
    """What follows, as `call-global`, `begins segment 1`, `refused`."""


@dataclass(frozen=True, slots=True)
class PlannedBody:
    """One body and how it is linked."""

    body: Body
    mode: LinkMode
    reason: str
    """Why this mode; one sentence."""
    proceed_values: tuple[int, ...]
    """Verdicts, signed 32 bit, after which the next body runs, or the chain ends as wanted."""
    zeroed_stack_bytes: int = 0
    """How much of the shared frame is set to zero before this body, a multiple of 8."""
    slot: int = 0
    """Where its counters are, for as long as the program instance lives."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a function that holds bodies keeps things while they run, in bytes below r10.

    0: not kept.
    """

    context_bytes: int = 0
    counters_bytes: int = 0
    """Pointer to the counters."""
    time_bytes: int = 0
    """When the present body began, if this packet is timed."""
    late_key_bytes: int = 0
    """Key of a lookup of the counters behind the last body, whose stack covers the pointer; 0: the
    pointer is kept, or there are no counters."""
    size_bytes: int = 0
    """Stack of the whole function, bodies and what is kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours of a calls-only segment that share one function; a called body stands alone."""

    first: int
    """Index in the segment."""
    count: int
    frame: Frame = Frame()
    """Of the function that wraps them; a called body has none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bodies that are one kernel program."""

    bodies: tuple[PlannedBody, ...]
    layout: Layout
    licence: str
    """Licence string of the program."""
    why_begun: str
    """Why a segment begins here; one sentence."""
    frame: Frame = Frame()
    """Of the main function (shared-frame)."""
    runs: tuple[Run, ...] = ()
    """What the main function calls (calls-only)."""
    is_device_bound: bool = False
    """XDP: loaded for one interface, because a body reads what its driver offers."""

    @property
    def context_slot_bytes(self) -> int:
        """The context is kept at this distance below the frame pointer; 0: not on the stack."""
        return self.frame.context_bytes


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A chain that may be emitted."""

    hook: Hook
    attachment: Attachment
    segments: tuple[Segment, ...]
    policy: LinkPolicy
    has_frags: bool
    has_types: bool
    """Whether the programs are loaded with BTF that names all their functions."""
    warnings: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    @property
    def bodies(self) -> tuple[PlannedBody, ...]:
        """All bodies, first to run first."""
        return tuple(planned for segment in self.segments for planned in segment.bodies)

    @property
    def has_counters(self) -> bool:
        """Whether each body's verdicts are counted."""
        return self.policy.has_counters

    def segment_of(self, position: int) -> int:
        """Index of the segment that holds the body at `position` of the chain."""
        passed = 0
        for index, segment in enumerate(self.segments):
            passed += len(segment.bodies)
            if position < passed:
                return index
        raise AssertionError(f"the chain has no body {position}")
