# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a package could run and what it uses, found out from its bytes without loading them.

Stands beside `ElfFacts`, which has sections, helpers, maps and licence strings; nothing is said
twice.  Lists are bounded, so that a package's record holds many versions.
"""

from __future__ import annotations

from typing import Final

from shared.contracts.base import Message

MAX_NAMED: Final = 24
"""Types, sources and functions of one list that are named; all are counted."""
MAX_REASONS: Final = 12


class NamedThings(Message, frozen=True, kw_only=True):
    """The first of a sorted list, and how many there are."""

    names: tuple[str, ...] = ()
    total: int = 0


class DataSection(Message, frozen=True, kw_only=True):
    """Global variables of one section."""

    name: str
    """`.rodata`, `.data`, `.bss`, or one of them with a name of its own behind a dot."""
    size_bytes: int
    variables: int


class KernelReason(Message, frozen=True, kw_only=True):
    """Something that a program uses, and since when Linux has it."""

    feature: str
    """As `helper bpf_loop (181)`."""
    since: str
    """As `5.17`; empty: no table knows it."""


class LinuxSupport(Message, frozen=True, kw_only=True):
    """The oldest Linux that can run a program.

    A bound: helpers may have come later to one type of program, and distributions bring features
    to older numbers.
    """

    minimum: str = ""
    """As `5.17`; empty: something that it uses is in no table."""
    because: str = ""
    """The feature that decides."""
    reasons: tuple[KernelReason, ...] = ()
    """What asks for more than Linux 4.18, youngest first; the first MAX_REASONS."""
    optional: tuple[KernelReason, ...] = ()
    """What it uses where it is there: calls behind a question asked at load time."""
    architectures: dict[str, str] = {}
    """The oldest Linux by architecture whose JIT compiler runs it, as `uname -m` names them."""


class WindowsSupport(Message, frozen=True, kw_only=True):
    """Whether the program's source could be compiled for eBPF for Windows."""

    possible: bool = False
    blocker: str = ""
    """The first of what prevents it."""


class ProgramAnalysis(Message, frozen=True, kw_only=True):
    """One program of one object."""

    object: str
    function: str
    type: str
    """As `xdp`; empty: the section's name says nothing."""
    attach: str = ""
    """As `cgroup_inet4_connect`; empty where the type says it all."""
    stack_bytes: int = 0
    """Of the deepest chain of calls, each function rounded up as the kernel rounds it, without what
    kernels add of their own to loops."""
    tail_calls: bool = False
    linux: LinuxSupport = LinuxSupport()
    windows: WindowsSupport = WindowsSupport()


class ObjectAnalysis(Message, frozen=True, kw_only=True):
    """One object file."""

    path: str
    kernel_types: NamedThings = NamedThings()
    """Types and fields of the kernel that CO-RE relocations need, as `struct sk_buff.mark`."""
    asked_types: NamedThings = NamedThings()
    """Those whose existence the object asks for."""
    sources: NamedThings = NamedThings()
    """Names of source files that the compiler left."""
    data: tuple[DataSection, ...] = ()


class RemovedCall(Message, frozen=True, kw_only=True):
    """A call that libbpf 1.0 and later do not have."""

    name: str
    path: str
    """The executable or the source that calls it."""
    line: int = 0
    """Of a source; 0: an executable's table of symbols names it."""
    replacement: str = ""
    """The function to begin with instead."""


class CapabilityNeed(Message, frozen=True, kw_only=True):
    """A capability that calls of an executable ask for."""

    name: str
    """As `CAP_NET_ADMIN`."""
    because: str
    """The first call that does."""
    declared: bool = False
    """Whether the manifest has it."""


class CompanionAnalysis(Message, frozen=True, kw_only=True):
    """One executable of a companion."""

    companion: str
    platform: str
    path: str
    libraries: tuple[str, ...] = ()
    """That it is linked to when it starts (DT_NEEDED)."""
    interpreter: str = ""
    """Its dynamic linker; empty: it is linked statically."""
    libbpf: str = ""
    """Version of a libbpf that is part of it, as `1.4`."""
    capabilities: tuple[CapabilityNeed, ...] = ()


class PackageAnalysis(Message, frozen=True, kw_only=True):
    """All of one package."""

    objects: tuple[ObjectAnalysis, ...] = ()
    programs: tuple[ProgramAnalysis, ...] = ()
    companions: tuple[CompanionAnalysis, ...] = ()
    removed_calls: tuple[RemovedCall, ...] = ()
    """Of companions and of C sources in the archive; the first MAX_NAMED."""
    removed_call_count: int = 0
