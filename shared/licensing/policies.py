# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Policy packs: what an installation wants of licences, as data with a version.

Pure: the text is read elsewhere.  A pack can ask for more than the truth of statements, never for
less: what the kernel refuses and what is false is refused under each.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.contracts.licences import LicenceOutcome
from shared.contracts.package_manifest import FileGroup
from shared.errors import Reason, RefusedError
from shared.identifiers import Token
from shared.licensing.expressions import Arm, bare, category, is_known
from shared.validation import convert_document
from shared.versions import parse_version

SettableRule = Literal[
    "companion-libraries",
    "identifiers-known",
    "licence-drift",
    "texts-present",
    "under-declared",
    "source-present",
    "source-tags",
]
SHIPPED: Final = ("cncf", "gpl-ok", "lfn-l3af", "permissive-only")
DEFAULT_POLICY: Final = "gpl-ok"


USUAL_OUTCOMES: Final[Mapping[SettableRule, LicenceOutcome]] = {
    "companion-libraries": "refused",
    "identifiers-known": "review",
    "licence-drift": "refused",
    "texts-present": "review",
    "under-declared": "noted",
    "source-present": "review",
    "source-tags": "review",
}
"""How grave it is when a rule does not hold, where a pack says nothing."""


class GroupRule(Document, frozen=True, kw_only=True):
    """`[groups.<group>]`: what the expression of such files must offer."""

    offers: tuple[Annotated[tuple[str, ...], Meta(min_length=1)], ...] = ()
    """Of each list one licence at least must be among the choices."""
    allows: tuple[str, ...] = ()
    """With `allows_categories`: one choice must consist of nothing else.  Both empty: anything."""
    allows_categories: tuple[str, ...] = ()
    """As ScanCode LicenseDB sorts licences: `Permissive`, `Public Domain`, `Copyleft`, …"""
    outcome: LicenceOutcome = "refused"
    because: Annotated[str, Meta(min_length=1, max_length=300)]

    def permits(self, arm: Arm) -> bool:
        """Whether the choice consists of licences that are allowed."""
        if not self.allows and not self.allows_categories:
            return True
        return all(
            one in self.allows or category(one) in self.allows_categories for one in bare(arm)
        )


class CrossPlatformRule(Document, frozen=True, kw_only=True):
    """`[cross_platform]`: of code that is meant for more than Linux."""

    not_alone: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Some choice must be free of these."""
    outcome: LicenceOutcome = "refused"
    because: Annotated[str, Meta(min_length=1, max_length=300)]


class LicencePolicy(Document, frozen=True, kw_only=True):
    """One pack."""

    name: Token
    version: str
    """SemVer 2.0.0."""
    summary: Annotated[str, Meta(min_length=1, max_length=300)]
    source: str = ""
    """Where the rules are written down."""
    elects: tuple[str, ...] = ()
    """Licences in the order in which choices are preferred."""
    groups: dict[FileGroup, GroupRule] = {}
    cross_platform: CrossPlatformRule | None = None
    outcomes: dict[SettableRule, LicenceOutcome] = {}
    """How grave it is when a rule does not hold, where it is another than usual."""

    def outcome_of(self, rule: SettableRule) -> LicenceOutcome:
        """How grave it is when the rule does not hold."""
        return self.outcomes.get(rule, USUAL_OUTCOMES[rule])


def parse_policy(text: str, *, path: str) -> LicencePolicy:
    """The pack that the TOML text describes.

    Raises:
        RefusedError: It is not TOML, breaks the shape, or names licences that nobody knows.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = Reason(path=path, rule=f"is not TOML: {error}")
        raise RefusedError(f"{path}: {reason.rule}", [reason]) from error
    policy = convert_document(document, LicencePolicy, what=path)
    parse_version(policy.version, path=f"{path}: version")
    named = {*policy.elects}
    for rule in policy.groups.values():
        named.update(rule.allows, *rule.offers)
    if policy.cross_platform:
        named.update(policy.cross_platform.not_alone)
    unknown = sorted(one for one in named if not is_known(one))
    if unknown:
        reasons = [Reason(path=path, rule="is not in the SPDX list", got=one) for one in unknown]
        raise RefusedError(f"{path}: names licences that SPDX does not know", reasons)
    return policy
