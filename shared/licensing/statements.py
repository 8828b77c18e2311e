# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what a package says of its licence is true: to the kernel, and to people.

Pure.  The kernel knows six strings and opens GPL-only functions for them; the manifest states the
exact licence.  A string that claims more than the expression grants is a false statement to the
kernel, whatever the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.licences import LicenceFinding
from shared.contracts.package_facts import ElfFacts, ProgramFacts
from shared.licensing.compatibility import PROMISES, may_combine, never_combines, strings_for
from shared.licensing.expressions import (
    Arm,
    ExpressionError,
    is_known,
    parse_expression,
    render_arm,
)
from shared.licensing.kernel import ClosedCalls
from shared.licensing.package import (
    LicensedPackage,
    finding,
    listed,
    spoken_helpers,
)

_COMPATIBLE: Final = tuple(sorted(PROMISES))

_Asked = tuple[str, dict[str, Any]]
"""What a function does that is closed to it, in words that follow its name; and the evidence."""


def expression_valid(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """What the manifest says of each group of files is an SPDX expression."""
    for group, expression in package.expressions.items():
        path = package.expression_path(group)
        try:
            parse_expression(expression, path=path)
        except ExpressionError as error:
            for reason in error.reasons:
                yield finding(
                    "expression-valid",
                    "refused",
                    path,
                    reason.rule,
                    "write an SPDX expression, as GPL-2.0-only OR BSD-2-Clause",
                    spdx=expression,
                )


def identifiers_known(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Every licence that is named is in the SPDX list, or the author's own `LicenseRef-`."""
    for group, expression in package.expressions.items():
        named = {one for arm in package.arms_of(group) for one in arm}
        unknown = sorted(one for one in named if not is_known(one))
        if unknown:
            yield finding(
                "identifiers-known",
                package.policy.outcome_of("identifiers-known"),
                package.expression_path(group),
                f"names {listed(unknown)}, which the SPDX list does not have",
                "use the identifier of the SPDX list, or LicenseRef- and a name of your own",
                spdx=expression,
                licences=unknown,
            )


def arms_combine(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """Licences that apply together may apply together."""
    for group, expression in package.expressions.items():
        yield from _combined(package.arms_of(group), expression, package.expression_path(group))


def _combined(arms: frozenset[Arm], expression: str, path: str) -> Iterator[LicenceFinding]:
    impossible = sorted(render_arm(arm) for arm in arms if never_combines(arm))
    unclear = sorted(
        render_arm(arm) for arm in arms if not may_combine(arm) and not never_combines(arm)
    )
    if impossible:
        yield finding(
            "arms-combine",
            "refused" if len(impossible) == len(arms) else "noted",
            path,
            f"code under {impossible[0]} cannot be one work: the licences exclude each other",
            "leave one of the two out of the object, or take it under another licence",
            spdx=expression,
            licences=impossible,
        )
    if unclear:
        yield finding(
            "arms-combine",
            "review",
            path,
            f"it is not known whether code under {unclear[0]} may be one work",
            "have it looked at, or leave one of the two out of the object",
            spdx=expression,
            licences=unclear,
        )


def kernel_string(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """What each object tells the kernel is what the expression grants."""
    if not package.arms:
        return
    for facts in package.elf:
        if is_gpl_compatible(facts.licence):
            yield from _false_promises(package, facts)
        else:
            yield from _other_string(package, facts)


def under_declared(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """An object whose string names one choice alone hides no other from whoever reads it."""
    dual = tuple(one for one in strings_for(package.arms) if one.startswith("Dual "))
    for facts in package.elf:
        if dual and facts.licence in ("GPL", "GPL v2"):
            yield finding(
                "under-declared",
                package.policy.outcome_of("under-declared"),
                f"archive[{facts.path}].license",
                f"tells the kernel '{facts.licence}' where the manifest offers more",
                f"'{dual[0]}' says the same to the kernel and more to people",
                file=facts.path,
                elf=facts.licence,
                spdx=package.declared,
                allowed=dual,
            )


def gpl_only_helpers(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """No function calls a helper that the kernel closes to the object's string."""
    for facts in package.elf:
        if facts.compiler and not is_gpl_compatible(facts.licence):
            yield finding(
                "gpl-only-helpers",
                "noted",
                f"archive[{facts.path}].license",
                f"{facts.path} is compiled on nodes; what it calls is not known before",
                "none is needed: a node refuses what its kernel refuses",
                file=facts.path,
                elf=facts.licence,
            )

    def called(_program: ProgramFacts, closed: ClosedCalls) -> _Asked | None:
        names = spoken_helpers(closed.helpers)
        what = f"calls {listed(names)}, which the kernel opens to GPL-compatible programs only"
        return (what, {"helpers": names}) if names else None

    yield from _closed("gpl-only-helpers", package, called)


def kernel_functions(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """No function calls a kernel function under a string that closes all of them."""

    def called(_program: ProgramFacts, closed: ClosedCalls) -> _Asked | None:
        names = list(closed.kernel_functions)
        what = (
            f"calls {listed(names)}, and the kernel opens its functions to GPL-compatible "
            "programs only"
        )
        return (what, {"kernel_functions": names}) if names else None

    yield from _closed("kernel-functions", package, called)


def program_types(package: LicensedPackage) -> Iterator[LicenceFinding]:
    """No function is of a type that the kernel takes from GPL-compatible programs alone."""

    def placed(program: ProgramFacts, closed: ClosedCalls) -> _Asked | None:
        what = (
            f"is in section {program.section}, and the kernel takes such programs with a "
            "GPL-compatible licence only"
        )
        return (what, {}) if closed.is_type_closed else None

    yield from _closed("program-types", package, placed)


def _closed(
    rule: str,
    package: LicensedPackage,
    asked: Callable[[ProgramFacts, ClosedCalls], _Asked | None],
) -> Iterator[LicenceFinding]:
    """What functions ask of the kernel although their object's string closes it."""
    for facts in package.elf:
        for program, closed in package.closed(facts, licence=facts.licence):
            found = asked(program, closed)
            if found is None:
                continue
            what, evidence = found
            yield finding(
                rule,
                "refused",
                f"archive[{facts.path}].license",
                f"function {program.function} {what}",
                _open_up(package),
                file=facts.path,
                function=program.function,
                **evidence,
                elf=facts.licence,
                allowed=_COMPATIBLE,
            )


def _open_up(package: LicensedPackage) -> str:
    strings = strings_for(package.arms)
    if strings:
        return f"let the object say '{strings[-1]}', which the manifest grants, or leave the call"
    return "offer the code under GPL-2.0 as well and say so in both places, or leave the call"


def _false_promises(package: LicensedPackage, facts: ElfFacts) -> Iterator[LicenceFinding]:
    allowed = strings_for(package.arms)
    for choice, holds in PROMISES[facts.licence]:
        if not any(map(holds, package.arms)):
            yield finding(
                "kernel-string",
                "refused",
                f"archive[{facts.path}].license",
                f"tells the kernel '{facts.licence}', but the manifest does not offer {choice}",
                f"let the object say '{allowed[-1]}'"
                if allowed
                else f"offer {choice} in the manifest, or let the object say the expression itself",
                file=facts.path,
                elf=facts.licence,
                spdx=package.declared,
                allowed=allowed,
            )


def _other_string(package: LicensedPackage, facts: ElfFacts) -> Iterator[LicenceFinding]:
    """A string outside the kernel's list must be the expression, or a choice of it."""
    if not package.stated(facts):
        yield finding(
            "kernel-string",
            "refused",
            f"archive[{facts.path}].license",
            "is neither a string that the kernel knows nor a choice the manifest offers",
            "let the object say one of the strings that the manifest grants",
            file=facts.path,
            elf=facts.licence,
            spdx=package.declared,
            allowed=[*strings_for(package.arms), package.declared],
        )
