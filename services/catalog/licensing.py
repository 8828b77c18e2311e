# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what an object tells the kernel about its licence agrees with what the manifest says.

Pure.  The kernel knows six strings (include/linux/license.h) and opens GPL-only functions for
them; the manifest states the exact licence as an SPDX expression.  A string that claims more than
the expression grants is a false statement to the kernel, and is refused with what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from services.catalog.spdx import Arm, ExpressionError, has_arm, parse_expression
from shared.bytecode.licences import GPL_ONLY_HELPERS, closed_calls, is_gpl_compatible
from shared.contracts.capabilities import Capabilities
from shared.contracts.catalog import ElfFacts, PackageManifest
from shared.errors import Reason
from shared.kernel_abilities import kernel_abilities

_GPL_2: Final = frozenset({"GPL-2.0-only", "GPL-2.0-or-later"})
_BSD: Final = frozenset({"BSD-2-Clause", "BSD-3-Clause"})
_MIT: Final = frozenset({"MIT"})
_MPL: Final = frozenset({"MPL-1.1", "MPL-2.0"})
_MERGES_INTO_GPL_2: Final = frozenset(
    {*_GPL_2, *_BSD, *_MIT, "0BSD", "ISC", "Zlib", "CC0-1.0", "MPL-2.0", "Unlicense"}
    | {"LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-2.0-only", "LGPL-2.0-or-later"}
)
"""Licences whose code may be part of a GPL-2.0 work.  Apache-2.0 and GPL-3.0-only are not among
them (gnu.org/licenses/license-list)."""


def _is_gpl_2(arm: Arm) -> bool:
    bare = {licence.partition(" WITH ")[0] for licence in arm}
    return not bare.isdisjoint(_GPL_2) and bare <= _MERGES_INTO_GPL_2


def _is_any_of(allowed: frozenset[str]) -> Callable[[Arm], bool]:
    return lambda arm: arm <= allowed


_PROMISES: Final[dict[str, tuple[tuple[str, Callable[[Arm], bool]], ...]]] = {
    "GPL": (("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),),
    "GPL v2": (("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),),
    "GPL and additional rights": (
        ("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),
        ("another licence", lambda arm: not _is_gpl_2(arm)),
    ),
    "Dual BSD/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),
        ("BSD-2-Clause or BSD-3-Clause", _is_any_of(_BSD)),
    ),
    "Dual MIT/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),
        ("MIT", _is_any_of(_MIT)),
    ),
    "Dual MPL/GPL": (
        ("GPL-2.0-only or GPL-2.0-or-later", _is_gpl_2),
        ("MPL-1.1 or MPL-2.0", _is_any_of(_MPL)),
    ),
}
"""The kernel's string, and every choice that the expression must then offer."""


def restricted_anywhere(kernels: Iterable[Capabilities | None]) -> frozenset[int]:
    """The helpers that some kernel opens to GPL-compatible programs only.

    Those of the table of this release are among them, whatever the kernels say: another may join.
    """
    probed = (kernel_abilities(one).gpl_only or frozenset() for one in kernels)
    return GPL_ONLY_HELPERS.union(*probed)


def is_closed(elf: Iterable[ElfFacts]) -> bool:
    """Whether some object's licence is not GPL-compatible."""
    return not all(is_gpl_compatible(facts.licence) for facts in elf)


def licence_reasons(
    manifest: PackageManifest,
    elf: Sequence[ElfFacts],
    *,
    restricted: Collection[int] = GPL_ONLY_HELPERS,
) -> Iterator[Reason]:
    """Every disagreement between the manifest's expression and the objects' strings.

    `restricted` are the helpers that are open to GPL-compatible programs only.
    """
    try:
        arms = parse_expression(manifest.licence, path="manifest.licence")
    except ExpressionError as error:
        yield from error.reasons
        return
    for facts in elf:
        path = f"archive[{facts.path}].license"
        if is_gpl_compatible(facts.licence):
            yield from _false_promises(manifest.licence, arms, facts.licence, path=path)
        else:
            yield from _kernel_refusals(facts, restricted, path=path)
            yield from _other_string(manifest.licence, arms, facts.licence, path=path)


def _false_promises(
    expression: str, arms: frozenset[Arm], licence: str, *, path: str
) -> Iterator[Reason]:
    for choice, holds in _PROMISES[licence]:
        if not has_arm(arms, holds=holds):
            yield Reason(
                path=path,
                rule=f"tells the kernel '{licence}', but the manifest does not offer {choice}",
                got={"elf": licence, "spdx": expression},
                allowed=_strings_for(arms),
            )


def _kernel_refusals(
    facts: ElfFacts, restricted: Collection[int], *, path: str
) -> Iterator[Reason]:
    for program in facts.programs:
        helpers, functions = closed_calls(
            facts.licence, program.helpers, program.kernel_functions, restricted=restricted
        )
        if helpers or functions:
            yield Reason(
                path=path,
                rule=f"function {program.function} calls what the kernel opens to "
                "GPL-compatible programs only",
                got={
                    "elf": facts.licence,
                    "helpers": list(helpers),
                    "kernel_functions": list(functions),
                },
                allowed=sorted(_PROMISES),
            )


def _other_string(
    expression: str, arms: frozenset[Arm], licence: str, *, path: str
) -> Iterator[Reason]:
    """A string outside the kernel's list must be the expression, or an arm of it.

    Words that SPDX does not know, as `Proprietary`, are the `LicenseRef-` of that name.
    """
    try:
        stated = parse_expression(licence, path=path) if licence else arms
    except ExpressionError:
        stated = frozenset()
    is_named = frozenset({_as_reference(licence)}) in arms
    if not is_named and (not stated or not stated <= arms):
        yield Reason(
            path=path,
            rule="is neither a string that the kernel knows nor a choice the manifest offers",
            got={"elf": licence, "spdx": expression},
            allowed=[*_strings_for(arms), expression],
        )


def _as_reference(licence: str) -> str:
    """A licence string in the letters of an SPDX identifier (SPDX 2.3, annex D.1)."""
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", licence)


def _strings_for(arms: frozenset[Arm]) -> list[str]:
    """The kernel's strings that the expression would justify."""
    return [
        string
        for string, promises in _PROMISES.items()
        if all(has_arm(arms, holds=holds) for _, holds in promises)
    ]
