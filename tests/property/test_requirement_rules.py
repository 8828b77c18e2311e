# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A kernel is refused for what it is known to lack, and for nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.package_facts import ProgramRequirements
from shared.identifiers import Hook
from shared.kernel_abilities import NOTHING_KNOWN, kernel_abilities, kernel_lack
from shared.number_ranges import parse_ranges, render_ranges

HELPERS = st.frozensets(st.integers(1, 30) | st.integers(180, 192), max_size=12)
FUNCTIONS = ("bpf_dynptr_size", "bpf_rcu_read_lock", "bpf_throw", "bpf_wq_init")
OF_MODULES = ("bpf_ct_release", "somebodys_own")
MAP_TYPES = ("array", "hash", "ringbuf", "xskmap")
HOOKS: st.SearchStrategy[Hook] = st.sampled_from(("xdp", "tc-ingress", "tc-egress"))


def _some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.frozensets(st.sampled_from(names)).map(lambda found: tuple(sorted(found)))


requirements = st.builds(
    ProgramRequirements,
    helpers=HELPERS.map(lambda found: tuple(sorted(found))),
    kernel_functions=_some(FUNCTIONS + OF_MODULES),
    map_types=_some(MAP_TYPES),
    kernel_types=st.booleans(),
    licence=st.sampled_from(("GPL", "Dual BSD/GPL", "Proprietary", "")),
)
types = st.builds(
    ProgramTypeSupport,
    name=st.sampled_from(("xdp", "sched_cls")),
    helpers=HELPERS.map(render_ranges),
    helpers_are_known=st.booleans(),
    free_of_gpl=HELPERS.map(render_ranges),
)
kernels = st.builds(
    Capabilities,
    kernel_build=st.just("x"),
    has_types=st.booleans(),
    program_types=st.lists(types, max_size=2, unique_by=lambda one: one.name).map(tuple),
    missing_program_types=_some(("sched_cls", "xdp")),
    missing_map_types=_some(MAP_TYPES),
    helpers_not_asked=st.just("6"),
    gpl_only_helpers=HELPERS.map(render_ranges),
    kernel_functions=_some(FUNCTIONS + OF_MODULES),
    kernel_functions_are_known=st.booleans(),
)


def _is_able(
    kernel: Capabilities, hook: Hook, wanted: ProgramRequirements, *, fragments: bool
) -> bool:
    """The rules once more, one after another and on plain sets."""
    kind = "xdp" if hook == "xdp" else "sched_cls"
    support = next((one for one in kernel.program_types if one.name == kind), None)
    known = parse_ranges(support.helpers) if support and support.helpers_are_known else None
    functions = set(kernel.kernel_functions) if kernel.kernel_functions_are_known else None
    table = parse_ranges(kernel.gpl_only_helpers)
    free = parse_ranges(support.free_of_gpl) if support else frozenset()
    restricted = (table - free) | (GPL_ONLY_HELPERS & {6}) if table else GPL_ONLY_HELPERS
    is_open = wanted.licence in ("GPL", "Dual BSD/GPL")
    return all(
        (
            kind not in kernel.missing_program_types,
            known is None or set(wanted.helpers) <= known | {6},
            functions is None or set(wanted.kernel_functions) & set(FUNCTIONS) <= functions,
            not set(wanted.map_types) & set(kernel.missing_map_types),
            kernel.has_types or not wanted.kernel_types,
            not fragments or known is None or bool(known & {188, 189, 190}),
            is_open or not set(wanted.helpers) & restricted,
            is_open or not wanted.kernel_functions,
        )
    )


def _lack(kernel: Capabilities, hook: Hook, wanted: ProgramRequirements, **how: Any) -> str:
    return kernel_lack(kernel_abilities(kernel), hook, wanted, **{"fragments": False, **how})


@settings(max_examples=500, deadline=None)
@given(kernels, HOOKS, requirements, st.booleans())
def test_a_lack_is_found_exactly_where_there_is_one(
    kernel: Capabilities, hook: Hook, wanted: ProgramRequirements, fragments: bool
) -> None:
    """Against the rules, written down in another way."""
    is_able = _is_able(kernel, hook, wanted, fragments=fragments)

    assert (_lack(kernel, hook, wanted, fragments=fragments) == "") == is_able


@settings(deadline=None)
@given(kernels, HOOKS, requirements)
def test_who_asks_for_less_is_refused_nowhere_else(
    kernel: Capabilities, hook: Hook, wanted: ProgramRequirements
) -> None:
    """And who asks for nothing, only where its type does not load."""
    less = msgspec.structs.replace(
        wanted, helpers=wanted.helpers[1:], map_types=wanted.map_types[1:], kernel_types=False
    )
    kind = "xdp" if hook == "xdp" else "sched_cls"

    assert not (_lack(kernel, hook, less) and not _lack(kernel, hook, wanted))
    nothing = _lack(kernel, hook, ProgramRequirements(licence="GPL"))
    assert bool(nothing) == (kind in kernel.missing_program_types)


@settings(deadline=None)
@given(HOOKS, requirements)
def test_a_node_that_found_nothing_out_is_refused_for_the_licence_alone(
    hook: Hook, wanted: ProgramRequirements
) -> None:
    """By the table of this release: those helpers need it on every kernel."""
    open_ = msgspec.structs.replace(wanted, licence="GPL")

    assert kernel_lack(NOTHING_KNOWN, hook, open_, fragments=True) == ""
    lack = kernel_lack(NOTHING_KNOWN, hook, wanted, fragments=True)
    assert not lack or "GPL-compatible" in lack
