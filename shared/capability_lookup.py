# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program needs and a node's kernel is known not to have.

Pure.  What the node could not find out is never held against a program: the verifier decides then.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.number_ranges import parse_ranges


def program_type(capabilities: Capabilities, name: str) -> ProgramTypeSupport | None:
    """What is known of the type; None: it does not load there, or was not asked about."""
    return next((one for one in capabilities.program_types if one.name == name), None)


def missing_helpers(capabilities: Capabilities, name: str, helpers: Iterable[int]) -> list[int]:
    """The helpers that programs of this type cannot call on the node, ascending."""
    support = program_type(capabilities, name)
    if support is None or not support.helpers_are_known:
        return []
    callable_ = parse_ranges(support.helpers) | parse_ranges(capabilities.helpers_not_asked)
    return sorted(set(helpers) - callable_)


def restricted_helpers(capabilities: Capabilities, name: str, helpers: Iterable[int]) -> list[int]:
    """The helpers that programs of this type call only with a GPL-compatible licence."""
    support = program_type(capabilities, name)
    free = parse_ranges(support.free_of_gpl) if support else frozenset()
    return sorted(set(helpers) & parse_ranges(capabilities.gpl_only_helpers) - free)


def missing_kernel_functions(capabilities: Capabilities, names: Iterable[str]) -> list[str]:
    """The kfuncs that the node's kernel does not have, sorted."""
    if not capabilities.kernel_functions_are_known:
        return []
    return sorted(set(names) - set(capabilities.kernel_functions))


def missing_map_types(capabilities: Capabilities, names: Iterable[str]) -> list[str]:
    """The map types that the node's kernel does not have, sorted."""
    return sorted(set(names) & set(capabilities.missing_map_types))
