# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel of a node can do, as it answered when it was asked: once in each of its boots.

Short, because every node has it in its record: helpers are ranges of ids (`1-3,7`), and of program
and map types only those are named that are missing.  Nothing is concluded from a version.
"""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message
from shared.identifiers import ProbeHook

CgroupVersion = Literal["", "1", "2", "hybrid"]
"""Which hierarchy the node has mounted; `hybrid`: both; empty: none."""


class ProgramTypeSupport(Message, frozen=True, kw_only=True):
    """One type of program that loads on the node."""

    name: str
    """As `xdp` or `sched_cls`."""
    helpers: str = ""
    """Ids of the helpers that it may call.  Without `helpers_are_known` it says nothing."""
    helpers_are_known: bool = True
    """Whether the kernel could be asked; it cannot about types that need a function to attach to.
    """
    free_of_gpl: str = ""
    """Those among `gpl_only_helpers` that this type may call without a GPL-compatible licence."""


class MissingProbe(Message, frozen=True, kw_only=True):
    """A kind of probe that cannot be attached on the node."""

    hook: ProbeHook
    why: str
    """What the kernel lacks, by its name."""


class Capabilities(Message, frozen=True, kw_only=True):
    """One kernel, with the rights that the node executor has."""

    kernel_build: str
    """Release and build, as `uname -rv` says."""
    build_id: str = ""
    """Of the kernel's image, in hexadecimal (/sys/kernel/notes); empty: it does not say."""
    has_types: bool = False
    """Whether the kernel carries BTF of itself."""
    program_types: tuple[ProgramTypeSupport, ...] = ()
    """Those that load."""
    missing_program_types: tuple[str, ...] = ()
    missing_map_types: tuple[str, ...] = ()
    """Of those that this executor knows; types newer than it are not listed anywhere."""
    helper_count: int = 0
    """Greatest id of a helper that the kernel knows."""
    helpers_not_asked: str = ""
    """Asking about these leaves a trace in the kernel's log or its tracing, so nobody did."""
    gpl_only_helpers: str = ""
    """Ids of helpers that need a GPL-compatible licence."""
    kernel_functions: tuple[str, ...] = ()
    """Names of the kfuncs in the kernel's image; which types may call them the kernel does not
    say."""
    kernel_functions_are_known: bool = False
    """Whether the kernel's BTF marks them (it does where it was built with pahole 1.27)."""
    cgroup: CgroupVersion = ""
    missing_probes: tuple[MissingProbe, ...] | None = None
    """Those that cannot be attached; null: a release that did not ask."""
    problem: str = ""
    """Why the kernel could not be asked, or not about everything."""
