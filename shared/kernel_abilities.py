# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a kernel is known to lack of what a program requires, in words.

Pure.  Nothing is concluded from a version, and what was not found out is held against no program:
the verifier decides then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from shared.bytecode.helper_names import helper_name
from shared.bytecode.kernel_function_homes import is_never_in_a_module
from shared.bytecode.licences import GPL_ONLY_HELPERS, is_gpl_compatible
from shared.contracts.capabilities import Capabilities
from shared.contracts.package_facts import ProgramRequirements
from shared.errors import RefusedError
from shared.identifiers import Hook, is_probe
from shared.number_ranges import parse_ranges

PROGRAM_TYPE_OF_HOOK: Final[dict[Hook, str]] = {
    "xdp": "xdp",
    "tc-ingress": "sched_cls",
    "tc-egress": "sched_cls",
}
READS_FRAGMENTS: Final = frozenset((188, 189, 190))
"""bpf_xdp_get_buff_len, bpf_xdp_load_bytes and bpf_xdp_store_bytes came with packets in several
buffers, so a kernel without any of them takes no program that reads such packets."""
NAMED: Final = 5
"""Missing things of one kind that are named; all others are counted."""
KEPT_KERNELS: Final = 256
_TRIED_ALONE: Final[tuple[Hook, ...]] = ("iterator",)
"""Nodes try them by themselves.  Their type, `tracing`, is asked about as programs for functions
have it, and a kernel without trampolines has iterators all the same."""
_SPOKEN: Final[dict[Hook, str]] = {"xdp": "XDP", "tc-ingress": "TC", "tc-egress": "TC"}
_REPLACED: Final = {112: 4, 113: 4, 114: 45, 115: 45}
"""libbpf calls the older of two helpers where the kernel lacks the newer."""


@dataclass(frozen=True, slots=True)
class TypeAbilities:
    """What programs of one type may call."""

    helpers: frozenset[int] | None = None
    """None: the kernel could not be asked."""
    free_of_gpl: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class KernelAbilities:
    """One kernel's capabilities, ready to be looked up in; compared by identity."""

    types: dict[str, TypeAbilities] = field(default_factory=dict)
    missing_types: frozenset[str] = frozenset()
    missing_map_types: frozenset[str] = frozenset()
    not_asked: frozenset[int] = frozenset()
    gpl_only: frozenset[int] | None = None
    """None: not probed, the built-in table holds."""
    kernel_functions: frozenset[str] | None = None
    """None: the kernel does not name them."""
    has_kernel_types: bool = True

    def restricted(self, program_type: str) -> frozenset[int]:
        """The helpers that programs of this type call only with a GPL-compatible licence."""
        if self.gpl_only is None:
            return GPL_ONLY_HELPERS
        free = self.types.get(program_type, TypeAbilities()).free_of_gpl
        return self.gpl_only - free | GPL_ONLY_HELPERS & self.not_asked

    def missing_helpers(self, program_type: str, helpers: Iterable[int]) -> list[int]:
        """Those that programs of this type cannot call, ascending."""
        known = self.types.get(program_type, TypeAbilities()).helpers
        if known is None:
            return []
        there = known | self.not_asked
        return sorted(
            {one for one in helpers if one not in there and _REPLACED.get(one) not in there}
        )

    def missing_functions(self, names: Iterable[str]) -> list[str]:
        """The kfuncs that the kernel is known not to have, sorted.

        A function that may be in a module is not known to be missing: modules come and go.
        """
        known = self.kernel_functions
        if known is None:
            return []
        return sorted({one for one in names if one not in known and is_never_in_a_module(one)})


NOTHING_KNOWN: Final = KernelAbilities()


@lru_cache(maxsize=KEPT_KERNELS)
def kernel_abilities(capabilities: Capabilities | None) -> KernelAbilities:
    """The capabilities for look-ups; equal ones give the same object.

    A record that contradicts itself says nothing.
    """
    if capabilities is None:
        return NOTHING_KNOWN
    try:
        return KernelAbilities(
            types={
                one.name: TypeAbilities(
                    parse_ranges(one.helpers) if one.helpers_are_known else None,
                    parse_ranges(one.free_of_gpl),
                )
                for one in capabilities.program_types
            },
            missing_types=frozenset(capabilities.missing_program_types),
            missing_map_types=frozenset(capabilities.missing_map_types),
            not_asked=parse_ranges(capabilities.helpers_not_asked),
            gpl_only=parse_ranges(capabilities.gpl_only_helpers) or None,
            kernel_functions=frozenset(capabilities.kernel_functions)
            if capabilities.kernel_functions_are_known
            else None,
            has_kernel_types=capabilities.has_types,
        )
    except RefusedError:
        return NOTHING_KNOWN


@lru_cache(maxsize=KEPT_KERNELS * 64)
def kernel_lack(
    abilities: KernelAbilities,
    hook: Hook,
    requires: ProgramRequirements,
    *,
    fragments: bool,
    probe_type: str = "",
) -> str:
    """The first of the program's requirements that the kernel fails, as `has no ...`.

    Empty: it fails none that is known.

    Args:
        abilities: Of the kernel.
        hook: Decides the type of the program, if it is no probe.
        requires: What the program cannot do without.
        fragments: Whether it is loaded as one that reads packets in several buffers.
        probe_type: The type of a probe's program, which its target decides.
    """
    kind, spoken = (
        (probe_type, hook) if is_probe(hook) else (PROGRAM_TYPE_OF_HOOK[hook], _SPOKEN[hook])
    )
    if hook in _TRIED_ALONE:
        missing = abilities.missing_types - {kind}
        abilities = replace(abilities, missing_types=missing)
    return next(_lacks(abilities, kind, spoken, requires, fragments=fragments), "")


def spoken_helper(helper: int) -> str:
    """As `bpf_loop (181)`."""
    name = helper_name(helper)
    return f"{name} ({helper})" if name else str(helper)


def _lacks(
    abilities: KernelAbilities,
    kind: str,
    spoken: str,
    requires: ProgramRequirements,
    *,
    fragments: bool,
) -> Iterator[str]:
    if kind in abilities.missing_types:
        yield f"has no {spoken} programs"
    helpers = abilities.missing_helpers(kind, requires.helpers)
    if helpers:
        yield f"has no {_named('helper', map(spoken_helper, helpers))} for {spoken} programs"
    functions = abilities.missing_functions(requires.kernel_functions)
    if functions:
        yield f"has no {_named('kernel function', functions)}"
    map_types = sorted(abilities.missing_map_types.intersection(requires.map_types))
    if map_types:
        yield f"has no {_named('map type', map_types)}"
    if requires.kernel_types and not abilities.has_kernel_types:
        yield "has no BTF, which the program is relocated against (CO-RE)"
    known = abilities.types.get(kind, TypeAbilities()).helpers
    if fragments and known is not None and not known & READS_FRAGMENTS:
        yield "has no XDP programs for packets in several buffers (frags)"
    if not is_gpl_compatible(requires.licence):
        yield from _closed_to(abilities.restricted(kind), requires)


def _closed_to(restricted: frozenset[int], requires: ProgramRequirements) -> Iterator[str]:
    """What a program calls that is closed to its licence."""
    only = f"for GPL-compatible programs only, not for the licence '{requires.licence}'"
    helpers = sorted(restricted.intersection(requires.helpers))
    if helpers:
        yield f"has {_named('helper', map(spoken_helper, helpers))} {only}"
    if requires.kernel_functions:
        yield f"has {_named('kernel function', requires.kernel_functions)} {only}"


def _named(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:NAMED])
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return f"{what}{'s' if len(listed) > 1 else ''} {shown}{more}"
