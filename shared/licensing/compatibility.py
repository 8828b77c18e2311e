# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which licences may come together in one work, and what a kernel's licence string promises.

Pure.  From the licences' texts as the Free Software Foundation reads them
(gnu.org/licenses/license-list); what is not in its list is not taken for compatible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from shared.licensing.expressions import Arm, bare, category

GPL_2: Final = frozenset({"GPL-2.0-only", "GPL-2.0-or-later"})
_BSD: Final = frozenset({"BSD-2-Clause", "BSD-3-Clause"})
_MIT: Final = frozenset({"MIT"})
_MPL: Final = frozenset({"MPL-1.1", "MPL-2.0"})
_MERGES_INTO_GPL_2: Final = frozenset(
    {*GPL_2, *_BSD, *_MIT, "0BSD", "ISC", "Zlib", "CC0-1.0", "MPL-2.0", "Unlicense"}
    | {"LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-2.0-only", "LGPL-2.0-or-later"}
)
"""Licences whose code may be part of a GPL-2.0 work.  Apache-2.0 and GPL-3.0-only are not among
them."""
_GPL_3_FAMILY: Final = frozenset(
    f"{name}-3.0-{which}" for name in ("AGPL", "GPL", "LGPL") for which in ("only", "or-later")
)
_MERGES_INTO_GPL_3: Final = _GPL_3_FAMILY | _MERGES_INTO_GPL_2 - {"GPL-2.0-only"} | {"Apache-2.0"}
_NEVER_WITH_GPL_2_ONLY: Final = _GPL_3_FAMILY | {
    *("Apache-2.0", "BSD-4-Clause", "CDDL-1.0", "CDDL-1.1", "EPL-1.0", "EPL-2.0", "MPL-1.1")
}
_WEAK: Final = "Copyleft Limited"
_PERMISSIVE: Final = frozenset({"Permissive", "Public Domain"})
MAX_COMBINATIONS: Final = 256


def is_gpl_2(arm: Arm) -> bool:
    """Whether the code may be taken as a GPL-2.0 work under the arm."""
    licences = bare(arm)
    return not licences.isdisjoint(GPL_2) and licences <= _MERGES_INTO_GPL_2


def is_permissive(arm: Iterable[str]) -> bool:
    """Whether no licence of the arm asks for source or for the same licence."""
    return all(category(licence) in _PERMISSIVE for licence in arm)


def may_combine(arm: Arm) -> bool:
    """Whether code under all these licences may be one work, for all that is known of them."""
    licences = bare(arm)
    return (
        len(licences) <= 1
        or is_permissive(one for one in licences if category(one) != _WEAK)
        or licences <= _MERGES_INTO_GPL_2
        or licences <= _MERGES_INTO_GPL_3
    )


def never_combines(arm: Arm) -> bool:
    """Whether two of the arm's licences are known to exclude each other in one work."""
    licences = bare(arm)
    return "GPL-2.0-only" in licences and not licences.isdisjoint(_NEVER_WITH_GPL_2_ONLY)


def fits(arm: Arm, wanted: Collection[str]) -> bool:
    """Whether the code may be taken under one of the licences `wanted`, by this arm."""
    licences = bare(arm)
    named = licences.intersection(wanted)
    return bool(named) and (
        licences <= set(wanted) or (not named.isdisjoint(GPL_2) and is_gpl_2(arm))
    )


def joint_arms(works: Iterable[Collection[Arm]]) -> frozenset[Arm]:
    """The ways to take all the works as one; none if no choice of arms may come together."""
    joint: set[Arm] = {frozenset()}
    for arms in works:
        unions = {bare(one | other) for one in joint for other in arms}
        combinable = sorted((arm for arm in unions if may_combine(arm)), key=len)
        joint = set(combinable[:MAX_COMBINATIONS])
    return frozenset(joint)


Choice = tuple[str, Callable[[Arm], bool]]

PROMISES: Final[dict[str, tuple[Choice, ...]]] = {
    "GPL": (("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),),
    "GPL v2": (("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),),
    "GPL and additional rights": (
        ("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),
        ("another licence", lambda arm: not is_gpl_2(arm)),
    ),
    "Dual BSD/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),
        ("BSD-2-Clause or BSD-3-Clause", lambda arm: arm <= _BSD),
    ),
    "Dual MIT/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),
        ("MIT", lambda arm: arm <= _MIT),
    ),
    "Dual MPL/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", is_gpl_2),
        ("MPL-1.1 or MPL-2.0", lambda arm: arm <= _MPL),
    ),
}
"""The kernel's string, and every choice that the expression must then offer.  The strings do not
say which BSD, nor -only or -or-later (Documentation/process/license-rules.rst)."""


def strings_for(arms: Iterable[Arm]) -> list[str]:
    """The kernel's strings that the expression would justify."""
    offered = list(arms)
    return [
        string
        for string, choices in PROMISES.items()
        if all(any(holds(arm) for arm in offered) for _, holds in choices)
    ]
