# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a plan says: each body in its mode with the reason, and where the chain keeps things."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

from services.node_executor.linking.body import Body
from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.errors import ErrorCode
from shared.errors import RefusedError
from shared.identifiers import Hook

LinkMode = Literal["inline"]
"""How a body becomes part of the program."""


class LinkRefusedError(RefusedError):
    """The chain cannot be one program; each reason names the program and the rule."""

    code: ClassVar[ErrorCode] = "link_refused"


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the linker must know about the kernel that will verify its work."""

    gpl_only_helpers: Collection[int] = GPL_ONLY_HELPERS


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What is allowed beyond what the kernel allows."""

    hook: Hook
    max_maps: int = 64
    """Distinct maps of one program (kernel/bpf/verifier.c, MAX_USED_MAPS)."""
    max_subprograms: int = 256
    """Functions of one program, the main one included (BPF_MAX_SUBPROGS)."""


@dataclass(frozen=True, slots=True)
class PlannedBody:
    """One body and how it is linked."""

    body: Body
    mode: LinkMode
    reason: str
    """Why this mode; one sentence."""
    proceed_values: tuple[int, ...]
    """Verdicts, signed 32 bit, after which the next body runs; not used of the last body."""
    zeroed_stack_bytes: int = 0
    """How much of the shared frame is set to zero before this body, a multiple of 8."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A chain that may be emitted."""

    hook: Hook
    bodies: tuple[PlannedBody, ...]
    context_slot_bytes: int
    """The context is kept at this distance below the frame pointer; 0: one body, nothing kept."""
    licence: str
    """Licence string of the linked program."""
    has_frags: bool
    has_functions: bool
    """Whether every body names the BTF types of its functions, so the linked program can too."""
    has_lines: bool
    warnings: tuple[str, ...] = ()
