# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the licence between two versions of a package.

Pure.  Both are looked at under one policy and for the same kernels, so that what differs is the
packages' own.

Rules:
 * Another expression stops the version from being released: who took the earlier one under its
   terms learns of it from somebody who decided.
 * Another string for the kernel, further GPL-only functions and another election are for review.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shared.contracts.licences import LicenceFinding
from shared.licensing.elections import elect
from shared.licensing.expressions import Arm, ExpressionError, parse_expression, render_arm
from shared.licensing.package import LicensedPackage, finding, listed, spoken_helpers

RULE: Final = "licence-drift"
_SAME: Final = "keep what the earlier version says, or let a waiver for this rule be granted"


def drift_findings(
    before: LicensedPackage, after: LicensedPackage, *, is_released: bool
) -> Iterator[LicenceFinding]:
    """Everything that is not as it was; that the rule holds if nothing is.

    Args:
        before: The newest released version.
        after: The one that follows.
        is_released: Whether it is to be released, so that another expression stops it.
    """
    found = [
        *_expressions(before, after, is_released=is_released),
        *_strings(before, after),
        *_functions(before, after),
        *_elections(before, after),
    ]
    yield from found or [LicenceFinding(rule=RULE, outcome="passed")]


def _expressions(
    before: LicensedPackage, after: LicensedPackage, *, is_released: bool
) -> Iterator[LicenceFinding]:
    old, new = before.expressions, after.expressions
    for group in dict.fromkeys((*old, *new)):
        was, now = (one.get(group, one["kernel"]) for one in (old, new))
        if _meaning(was) == _meaning(now):
            continue
        yield finding(
            RULE,
            after.policy.outcome_of(RULE) if is_released else "review",
            after.expression_path(group),
            f"was '{was}' in {before.manifest.version}, the newest release, and is '{now}' now",
            _SAME,
            group=group,
            before=was,
            spdx=now,
            version=before.manifest.version,
        )


def _strings(before: LicensedPackage, after: LicensedPackage) -> Iterator[LicenceFinding]:
    old = {facts.path: facts.licence for facts in before.elf}
    for facts in after.elf:
        was = old.get(facts.path)
        if was == facts.licence or (was is None and facts.licence in old.values()):
            continue
        yield finding(
            RULE,
            "review",
            f"archive[{facts.path}].license",
            f"tells the kernel '{facts.licence}', and the newest release said "
            f"'{was if was is not None else listed(sorted(set(old.values())))}'",
            "let the object say what it said, or have the change looked at",
            file=facts.path,
            elf=facts.licence,
            before=was if was is not None else sorted(set(old.values())),
        )


def _functions(before: LicensedPackage, after: LicensedPackage) -> Iterator[LicenceFinding]:
    old, new = _closed(before), _closed(after)
    for what, more in (("now calls", new - old), ("no longer calls", old - new)):
        if more:
            yield finding(
                RULE,
                "review" if more <= new else "noted",
                "archive",
                f"{what} {listed(sorted(more))}, which the kernel opens to GPL-compatible "
                "programs only",
                "none is needed if it is meant; under another licence the code could not run",
                functions=sorted(more),
            )


def _elections(before: LicensedPackage, after: LicensedPackage) -> Iterator[LicenceFinding]:
    old, new = _elected(before), _elected(after)
    for path in sorted(old.keys() & new.keys()):
        if old[path] != new[path]:
            yield finding(
                RULE,
                "review",
                f"archive[{path}]",
                f"is taken under {new[path]}, and the newest release under {old[path]}",
                "have it looked at whether what is handed out with it still fits",
                file=path,
                before=old[path],
                elected=new[path],
            )


def _elected(package: LicensedPackage) -> Mapping[str, str]:
    found = (elect(package, facts) for facts in package.elf)
    return {one.file: one.elected for one in found if one is not None}


def _closed(package: LicensedPackage) -> set[str]:
    """What its functions call that a licence that is not GPL-compatible closes."""
    found: set[str] = set()
    for facts in package.elf:
        for _, closed in package.closed(facts, licence=""):
            found.update(spoken_helpers(closed.helpers), closed.kernel_functions)
    return found


def _meaning(expression: str) -> frozenset[str] | str:
    """The same for expressions that offer the same; of what is no expression, its text."""
    try:
        arms: frozenset[Arm] = parse_expression(expression, path="licence")
    except ExpressionError:
        return expression
    return frozenset(map(render_arm, arms))
