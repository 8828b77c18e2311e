# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy pack asks beyond the truth of statements.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from shared.contracts.licences import LicenceFinding
from shared.contracts.package_manifest import FileGroup
from shared.licensing.compatibility import fits
from shared.licensing.expressions import (
    Arm,
    ExpressionError,
    bare,
    parse_expression,
)
from shared.licensing.package import finding
from shared.licensing.policies import LicencePolicy


class PolicySubject(Protocol):
    """What a pack is asked about: less than all that is known of a package."""

    @property
    def policy(self) -> LicencePolicy:
        """The pack."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the code is meant for."""

    @property
    def declared(self) -> str:
        """The expression of the kernel code."""

    @property
    def arms(self) -> frozenset[Arm]:
        """The choices that the kernel code is offered under."""

    @property
    def expressions(self) -> Mapping[FileGroup, str]:
        """What is said of the kernel code, and of each group that is named."""

    @property
    def source_licences(self) -> Mapping[str, str]:
        """SPDX tags by path."""

    def arms_of(self, group: FileGroup) -> frozenset[Arm]:
        """The choices that a group is offered under."""

    def expression_path(self, group: FileGroup = "kernel") -> str:
        """Where the manifest says it."""

    def group_of(self, path: str) -> FileGroup:
        """What a file is for."""


def policy_groups(package: PolicySubject) -> Iterator[LicenceFinding]:
    """Each group of files as a whole, and files that state a licence, are what the policy takes.

    Files are judged by what their group is declared to be under; those of a group of which the
    manifest says nothing, by their own tags.
    """
    for group, expression in package.expressions.items():
        arms = package.arms_of(group)
        if arms:
            path = package.expression_path(group)
            yield from _asked_of(package, group, arms, path, expression, file="")
    for path, tag in sorted(package.source_licences.items()):
        group = package.group_of(path)
        if group in package.expressions:
            continue
        try:
            arms = parse_expression(tag, path=path)
        except ExpressionError as error:
            yield finding(
                "policy-groups",
                "review",
                f"archive[{path}]",
                f"its SPDX tag {error.reasons[0].rule}",
                "write an SPDX expression behind SPDX-License" + "-Identifier:",
                file=path,
                spdx=tag,
            )
        else:
            yield from _asked_of(package, group, arms, f"archive[{path}]", tag, file=path)


def policy_platforms(package: PolicySubject) -> Iterator[LicenceFinding]:
    """Code that is meant for more than Linux may be taken on the other platforms."""
    rule, platforms = package.policy.cross_platform, package.platforms
    others = [one for one in platforms if one != "linux"]
    if rule is None or not others or not package.arms:
        return
    if all(bare(arm).intersection(rule.not_alone) for arm in package.arms):
        yield finding(
            "policy-platforms",
            rule.outcome,
            package.expression_path(),
            f"is meant for {' and '.join(platforms)}: {rule.because}",
            "offer a choice without the GPL as well, as GPL-2.0-only OR BSD-2-Clause",
            spdx=package.declared,
            platforms=list(platforms),
            licences=sorted(rule.not_alone),
        )


def _asked_of(
    package: PolicySubject,
    group: FileGroup,
    arms: frozenset[Arm],
    path: str,
    expression: str,
    *,
    file: str,
) -> Iterator[LicenceFinding]:
    rule = package.policy.groups.get(group)
    if rule is None:
        return
    evidence = {"spdx": expression, **({"file": file} if file else {})}
    for wanted in rule.offers:
        if not any(fits(arm, wanted) for arm in arms):
            yield finding(
                "policy-groups",
                rule.outcome,
                path,
                f"does not offer {' or '.join(wanted)}: {rule.because}",
                f"offer it under {wanted[0]} as well",
                **evidence,
                allowed=wanted,
            )
    if not any(rule.permits(arm) for arm in arms):
        yield finding(
            "policy-groups",
            rule.outcome,
            path,
            f"offers no choice that policy {package.policy.name} takes: {rule.because}",
            "offer it under a licence that the policy takes",
            **evidence,
            allowed=rule.allows or rule.allows_categories,
        )
