# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What another policy would have said, from what was recorded when a version was judged.

Pure.

Rules:
 * What is true, and what the kernel takes, is the same under every policy: those findings stay.
 * How grave it is that a rule does not hold is what the other policy says, where policies may say.
 * What the policy itself wants is asked anew, of the facts that were recorded.
 * Of waivers nothing is said: whoever asks knows which were in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.licences import (
    LicenceFacts,
    LicenceFinding,
    LicenceOutcome,
    LicenceVerdict,
    TaggedFiles,
)
from shared.contracts.package_manifest import FileGroup, PackageManifest
from shared.contracts.policy_replay import ReplayChange
from shared.licensing.expressions import Arm, ExpressionError, parse_expression
from shared.licensing.package import group_of_file
from shared.licensing.policies import USUAL_OUTCOMES, LicencePolicy
from shared.licensing.policy_rules import policy_groups, policy_platforms
from shared.licensing.verdict import gravest

MAX_TAGS: Final = 64
OF_POLICY: Final = frozenset({"policy-groups", "policy-platforms"})
_RELEASED: Final = "stable"


def facts_of(manifest: PackageManifest, source_licences: Mapping[str, str]) -> LicenceFacts:
    """What is to be recorded of a package.

    Args:
        manifest: Its own.
        source_licences: The SPDX tag of each file that has one, by path.
    """
    found: dict[tuple[FileGroup, str], str] = {}
    for path, tag in sorted(source_licences.items()):
        group = group_of_file(manifest, path)
        if group != "kernel" and group not in manifest.licences:
            found.setdefault((group, tag), path)
    tags = [
        TaggedFiles(group=group, tag=tag, path=path) for (group, tag), path in sorted(found.items())
    ]
    return LicenceFacts(
        licence=manifest.licence,
        licences=manifest.licences,
        platforms=manifest.platforms,
        tags=tuple(tags[:MAX_TAGS]),
        more_tags=max(0, len(tags) - MAX_TAGS),
    )


def rejudged(
    facts: LicenceFacts,
    verdict: LicenceVerdict,
    policy: LicencePolicy,
    *,
    channels: tuple[str, ...] = (),
) -> LicenceVerdict:
    """The verdict of another policy, without waivers; rules that hold are left out.

    Args:
        facts: As recorded; all of them (`more_tags` is 0).
        verdict: As recorded.
        policy: The other one.
        channels: Which the version was to be released to.
    """
    recorded = RecordedPackage(facts, policy)
    findings = (
        *(
            _regraded(one, policy, channels)
            for one in verdict.findings
            if one.rule not in OF_POLICY and one.text
        ),
        *_asked_anew(recorded),
    )
    kept = tuple(one for one in findings if one.outcome != "passed")
    return LicenceVerdict(
        policy=policy.name,
        policy_version=policy.version,
        outcome=gravest(kept),
        findings=kept,
    )


def pack_digest(policy: LicencePolicy) -> str:
    """SHA-256 of a pack's content, however its file is laid out."""
    return canonical_digest(policy)


def change_of_accepted(was: LicenceOutcome, would: LicenceOutcome) -> ReplayChange:
    """What would have become of something that was accepted.

    Args:
        was: Its verdict, with waivers.
        would: The other policy's, with waivers.
    """
    if would == "refused":
        return "would-refuse"
    if would == "review":
        return "same" if was == "review" else "would-review"
    return "would-pass" if was == "review" else "same"


@dataclass(frozen=True)
class RecordedPackage:
    """A package as far as it was recorded."""

    facts: LicenceFacts
    policy: LicencePolicy

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the code is meant for."""
        return self.facts.platforms

    @cached_property
    def expressions(self) -> Mapping[FileGroup, str]:
        """What the manifest says of the kernel code, and of each group that it names."""
        return {"kernel": self.facts.licence, **self.facts.licences}

    @property
    def declared(self) -> str:
        """The expression of the kernel code."""
        return self.expressions["kernel"]

    @property
    def arms(self) -> frozenset[Arm]:
        """The choices that the kernel code is offered under."""
        return self.arms_of("kernel")

    @cached_property
    def source_licences(self) -> Mapping[str, str]:
        """SPDX tags by path, of one file for each."""
        return {one.path: one.tag for one in self.facts.tags}

    def arms_of(self, group: FileGroup) -> frozenset[Arm]:
        """The choices that the group is offered under; none if it has no expression of its own."""
        try:
            return parse_expression(self.expressions.get(group, ""), path=group)
        except ExpressionError:
            return frozenset()

    def expression_path(self, group: FileGroup = "kernel") -> str:
        """Where the manifest says it."""
        return f"manifest.licences.{group}" if group in self.facts.licences else "manifest.licence"

    def group_of(self, path: str) -> FileGroup:
        """What a file was taken to be for."""
        return next(one.group for one in self.facts.tags if one.path == path)


def _asked_anew(recorded: RecordedPackage) -> Iterator[LicenceFinding]:
    yield from policy_groups(recorded)
    yield from policy_platforms(recorded)


def _regraded(
    finding: LicenceFinding, policy: LicencePolicy, channels: tuple[str, ...]
) -> LicenceFinding:
    bare = msgspec.structs.replace(finding, waiver="")
    rule = next((one for one in USUAL_OUTCOMES if one == finding.rule), None)
    if rule is None:
        return bare
    is_settable = _SETTABLE.get(finding.rule)
    if is_settable is not None and not is_settable(finding, channels):
        return bare
    return msgspec.structs.replace(bare, outcome=policy.outcome_of(rule))


_SETTABLE: Final[Mapping[str, Callable[[LicenceFinding, tuple[str, ...]], bool]]] = {
    "companion-libraries": lambda one, _: bool(one.evidence.get("excluding")),
    "licence-drift": lambda one, channels: "group" in one.evidence and _RELEASED in channels,
    "source-present": lambda one, _: (
        not (one.evidence.get("source") or one.evidence.get("sources"))
    ),
}
"""Rules of which policies may grade some findings and not others, and which."""
