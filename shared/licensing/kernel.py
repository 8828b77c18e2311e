# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a kernel opens to a program of a kind under a licence string.

Pure.  The kernel compares the string byte by byte (include/linux/license.h) and asks at each call
of a helper or kernel function (kernel/bpf/verifier.c: check_helper_call, add_kfunc_call).  A table
that a kernel answered for itself goes before the built-in one, which is Linux 6.18's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from shared.bytecode.licences import GPL_ONLY_HELPERS, is_gpl_compatible
from shared.bytecode.program_kinds import section_kind
from shared.kernel_abilities import KernelAbilities

HelperAnswer = Literal["open", "closed", "absent"]
"""`closed`: for GPL-compatible programs alone; `absent`: programs of the kind cannot call it."""

GPL_ONLY_TYPES: Final = frozenset({"lsm", "struct_ops"})
"""Types that the kernel takes from GPL-compatible programs alone (bpf_lsm_verify_prog,
check_struct_ops_btf_id)."""


KEPT_TABLES: Final = 64


@dataclass(frozen=True, slots=True)
class ProgramKind:
    """What decides which functions a program may call."""

    type: str
    """As `xdp` or `sched_cls`."""
    attach: str = ""
    """As `kprobe_multi`; empty where it makes no difference here."""


_FREE: Final = {
    ProgramKind("perf_event"): frozenset({27}),
    ProgramKind("kprobe", "kprobe_multi"): frozenset({173}),
    ProgramKind("kprobe", "kprobe_session"): frozenset({173}),
    ProgramKind("kprobe", "uprobe_multi"): frozenset({173}),
    ProgramKind("kprobe", "uprobe_session"): frozenset({173}),
}
"""Helpers of the table that kinds have a version of that is open to all: get_stackid and
get_func_ip (kernel/trace/bpf_trace.c)."""


def kind_of_section(section: str) -> ProgramKind:
    """What a program of that section is loaded as; a type without a name if nobody can tell."""
    found = section_kind(section)
    kind = ProgramKind(found.type, found.attach.removeprefix("trace_"))
    return kind if kind in _FREE else ProgramKind(found.type)


@lru_cache(maxsize=KEPT_TABLES)
def restricted_helpers(
    kind: ProgramKind, kernels: tuple[KernelAbilities, ...] = ()
) -> frozenset[int]:
    """The helpers that some of the kernels opens to GPL-compatible programs of the kind only.

    A kernel that was not asked, and no kernel at all, stands for the built-in table.
    """
    free = _FREE.get(kind, frozenset())
    if not kernels:
        return GPL_ONLY_HELPERS - free
    return frozenset().union(*(one.restricted(kind.type) for one in kernels)) - free


def helper_answer(
    kind: ProgramKind, helper: int, licence: str, kernel: KernelAbilities | None = None
) -> HelperAnswer:
    """What the kernel says to a call of the helper.

    Without a kernel's own table nothing is `absent`: the built-in one has licences alone.
    """
    if kernel is not None and kernel.missing_helpers(kind.type, (helper,)):
        return "absent"
    kernels = (kernel,) if kernel is not None else ()
    if is_gpl_compatible(licence) or helper not in restricted_helpers(kind, kernels):
        return "open"
    return "closed"


@dataclass(frozen=True, slots=True)
class ClosedCalls:
    """What a program asks of the kernel that its licence string closes."""

    helpers: tuple[int, ...] = ()
    kernel_functions: tuple[str, ...] = ()
    is_type_closed: bool = False
    """Whether the kernel takes no program of this type under the string."""


def closed_calls(
    kind: ProgramKind,
    licence: str,
    *,
    helpers: Iterable[int],
    kernel_functions: Iterable[str],
    kernels: tuple[KernelAbilities, ...] = (),
) -> ClosedCalls:
    """Why some of the kernels refuses the program for its licence; nothing if none does."""
    if is_gpl_compatible(licence):
        return ClosedCalls()
    return ClosedCalls(
        helpers=tuple(sorted(restricted_helpers(kind, kernels).intersection(helpers))),
        kernel_functions=tuple(sorted(kernel_functions)),
        is_type_closed=kind.type in GPL_ONLY_TYPES,
    )
