# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The engine: every rule asked of a package, and what they come to together.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from shared.contracts.licences import (
    OUTCOMES,
    LicenceElection,
    LicenceFinding,
    LicenceOutcome,
    LicenceVerdict,
)
from shared.errors import Reason
from shared.licensing import obligations, policy_rules, statements
from shared.licensing.companions import companion_libraries
from shared.licensing.elections import elect
from shared.licensing.package import LicensedPackage

Rule = Callable[[LicensedPackage], Iterator[LicenceFinding]]

RULES: Final[dict[str, Rule]] = {
    "expression-valid": statements.expression_valid,
    "identifiers-known": statements.identifiers_known,
    "arms-combine": statements.arms_combine,
    "kernel-string": statements.kernel_string,
    "under-declared": statements.under_declared,
    "gpl-only-helpers": statements.gpl_only_helpers,
    "kernel-functions": statements.kernel_functions,
    "program-types": statements.program_types,
    "texts-present": obligations.texts_present,
    "source-present": obligations.source_present,
    "source-tags": obligations.source_tags,
    "shared-code": obligations.shared_code,
    "companion-libraries": companion_libraries,
    "policy-groups": policy_rules.policy_groups,
    "policy-platforms": policy_rules.policy_platforms,
}
"""In the order in which they are listed."""
MAX_FINDINGS: Final = 20
"""Of one rule; what is more is counted."""


def check_licences(package: LicensedPackage) -> LicenceVerdict:
    """What the package's policy says of it, rule by rule."""
    findings = tuple(one for name, rule in RULES.items() for one in _found(name, rule, package))
    elections: tuple[LicenceElection, ...] = tuple(
        election for facts in package.elf if (election := elect(package, facts)) is not None
    )
    return LicenceVerdict(
        policy=package.policy.name,
        policy_version=package.policy.version,
        outcome=gravest(findings),
        findings=findings,
        elections=elections,
    )


def with_rule(
    verdict: LicenceVerdict, name: str, found: Iterable[LicenceFinding]
) -> LicenceVerdict:
    """The verdict with one more rule, which is not asked of a package alone."""
    findings = (*verdict.findings, *_bounded(name, found))
    return msgspec.structs.replace(verdict, findings=findings, outcome=gravest(findings))


def gravest(findings: Iterable[LicenceFinding]) -> LicenceOutcome:
    """The gravest outcome; `passed` of nothing, and `noted` of what is waived."""
    outcomes: Iterator[LicenceOutcome] = (
        "noted" if one.waiver else one.outcome for one in findings
    )
    return max(outcomes, key=OUTCOMES.index, default="passed")


def refusals(verdict: LicenceVerdict) -> list[Reason]:
    """Why the package cannot be published, as requests are refused; empty if it can."""
    return [
        Reason(
            path=one.path,
            rule=f"{one.text} [{one.rule}; fix: {one.fix}]",
            got=one.evidence,
            allowed=list(one.allowed) or None,
        )
        for one in verdict.findings
        if one.outcome == "refused" and not one.waiver
    ]


def _found(name: str, rule: Rule, package: LicensedPackage) -> list[LicenceFinding]:
    return _bounded(name, rule(package)) or [LicenceFinding(rule=name, outcome="passed")]


def _bounded(name: str, findings: Iterable[LicenceFinding]) -> list[LicenceFinding]:
    """The gravest first, and no more than anybody reads or a record holds."""
    found = sorted(findings, key=lambda one: OUTCOMES.index(one.outcome), reverse=True)
    left_out = found[MAX_FINDINGS:]
    if left_out:
        return [
            *found[:MAX_FINDINGS],
            LicenceFinding(
                rule=name,
                outcome=gravest(left_out),
                text=f"{len(left_out)} more places are left out",
                fix="mend those that are named, then ask again",
            ),
        ]
    return found
