# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel makes of a program's licence string.

The kernel compares the string byte by byte (include/linux/license.h, license_is_gpl_compatible);
SPDX identifiers are not in its list.  It keeps one bit only, not the string.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

GPL_COMPATIBLE_LICENCES: Final = frozenset(
    (
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
    )
)

GPL_ONLY_HELPERS: Final = frozenset(
    (
        *(4, 6, 22, 25, 27, 35, 36, 45, 55, 56, 58, 67, 69, 77, 78, 92, 100, 110, 111, 112, 113),
        *(114, 115, 119, 121, 126, 127, 150, 158, 163, 165, 169, 170, 171, 172, 173, 175, 176),
        *(177, 191, 204, 205, 206, 207),
    )
)
"""Helper ids that only GPL-compatible programs may call, Linux 6.18.  The helper list is frozen
at id 211 (Documentation/bpf/helpers.rst); newer functionality comes as kfuncs, all GPL-only."""


def closed_calls(
    licence: str,
    helpers: Iterable[int],
    kernel_functions: Iterable[str],
    *,
    restricted: Collection[int] = GPL_ONLY_HELPERS,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The helpers and kernel functions among those called that the licence closes.

    `restricted` are the helpers that the kernel opens to GPL-compatible programs only; all kernel
    functions are.
    """
    if is_gpl_compatible(licence):
        return (), ()
    return tuple(sorted(set(helpers).intersection(restricted))), tuple(sorted(kernel_functions))


def is_gpl_compatible(licence: str) -> bool:
    """Whether the kernel lets a program with this licence string call GPL-only functions."""
    return licence in GPL_COMPATIBLE_LICENCES
