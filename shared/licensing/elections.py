# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which of its choices an object's code is taken, and why.

Pure.  Who hands out or runs code that is offered under A OR B takes it under one of them.
"""

from __future__ import annotations

from typing import Final

from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.licences import LicenceElection
from shared.contracts.package_facts import ElfFacts
from shared.licensing.compatibility import fits, is_gpl_2, may_combine
from shared.licensing.expressions import Arm, render_arm
from shared.licensing.package import LicensedPackage, spoken_helpers

_NOBODY: Final = "no programs of the object ask for one choice more than for another"


def elect(package: LicensedPackage, facts: ElfFacts) -> LicenceElection | None:
    """The choice for one object; None if the manifest's expression offers none."""
    arms = sorted(package.arms, key=render_arm)
    if not arms:
        return None
    chosen, why = _choose(package, facts, arms)
    return LicenceElection(
        file=facts.path, elected=render_arm(chosen), declared=package.declared, why=why
    )


def elected_arm(package: LicensedPackage, facts: ElfFacts) -> Arm:
    """The same, as an arm; empty if there is none."""
    arms = sorted(package.arms, key=render_arm)
    return _choose(package, facts, arms)[0] if arms else frozenset()


def _choose(package: LicensedPackage, facts: ElfFacts, arms: list[Arm]) -> tuple[Arm, str]:
    if len(arms) == 1:
        return arms[0], "it is the only one"
    if not is_gpl_compatible(facts.licence) and package.stated(facts):
        arms = [arm for arm in arms if arm in package.stated(facts)]
        if len(arms) == 1:
            return arms[0], f"the object says '{facts.licence}'"
    if calls := needs_gpl(package, facts):
        for arm in _preferred(package, [one for one in arms if is_gpl_2(one)]):
            return arm, f"{calls}, which the kernel opens to GPL-compatible programs only"
    group = package.policy.groups.get("kernel")
    permitted = [arm for arm in arms if may_combine(arm) and (not group or group.permits(arm))]
    for arm in _preferred(package, permitted):
        if any(fits(arm, (licence,)) for licence in package.policy.elects):
            return arm, f"policy {package.policy.name} prefers it"
        return arm, f"policy {package.policy.name} permits it, and {_NOBODY}"
    return arms[0], f"policy {package.policy.name} permits none of the choices"


def needs_gpl(package: LicensedPackage, facts: ElfFacts) -> str:
    """What only the GPL opens to the object, as `function f calls …`; empty if nothing does."""
    for program, closed in package.closed(facts, licence=""):
        called = [*spoken_helpers(closed.helpers), *closed.kernel_functions]
        if called:
            return f"function {program.function} calls {called[0]}"
        if closed.is_type_closed:
            return f"function {program.function} is in section {program.section}"
    return ""


def _preferred(package: LicensedPackage, arms: list[Arm]) -> list[Arm]:
    """In the policy's order; those that it does not name come after, by name."""
    elects = package.policy.elects

    def place(arm: Arm) -> tuple[int, int, str]:
        ranks = [rank for rank, licence in enumerate(elects) if fits(arm, (licence,))]
        return (min(ranks, default=len(elects)), len(arm), render_arm(arm))

    return sorted(arms, key=place)
