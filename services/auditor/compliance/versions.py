# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The versions that the log speaks of: what they broke, which are newer, which were revoked.

Pure but for what is known, which grows.

Rules:
 * A version is in one space for ever, also when the space opens and others are told of it: what is
   told to everybody of a version that only a space had published is that version.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.auditor.compliance.facts import ComplianceFact, JudgedRule
from shared.contracts.events import Audience
from shared.errors import RefusedError
from shared.versions import Precedence, precedence

PUBLISHED = "package.publish"


@dataclass(slots=True)
class Version:
    """One version of one package in one space."""

    home: Audience
    package: str
    version: str
    archive_sha256: str = ""
    record: int = -1
    """Of its publication; -1: none was seen until now."""
    broken: dict[str, list[JudgedRule]] = field(default_factory=dict)
    """Rules that were for review or refused when it was published."""
    is_revoked: bool = False
    order: Precedence | None = None
    """None: it is no version by which one is newer than another."""

    @property
    def key(self) -> tuple[str, str]:
        """Space and package, and the version."""
        return f"{self.home}/{self.package}", self.version


@dataclass(slots=True)
class KnownVersions:
    """Every version that was told of until now."""

    _homes: dict[tuple[str, str], tuple[Audience, ...]] = field(default_factory=dict)
    """Package and version to the spaces in which they are published, the first one first."""
    _versions: dict[str, dict[tuple[Audience, str], Version]] = field(default_factory=dict)
    """By package."""
    _of_archive: dict[str, dict[tuple[str, str], Version]] = field(default_factory=dict)
    revoked_archives: dict[str, int] = field(default_factory=dict)
    """Digest to the record that revoked it."""

    @classmethod
    def of(cls, facts: Iterable[ComplianceFact]) -> KnownVersions:
        """Nothing was told yet, but where versions are going to be published is known."""
        homes: dict[tuple[str, str], dict[Audience, None]] = {}
        for fact in facts:
            if fact.action == PUBLISHED and fact.outcome != "refused":
                homes.setdefault((fact.package, fact.version), {})[fact.audience] = None
        return cls({key: tuple(found) for key, found in homes.items()})

    def named(self, fact: ComplianceFact) -> Version:
        """The version that a record speaks of."""
        homes = self._homes.get((fact.package, fact.version), ())
        home = fact.audience if fact.audience in homes or not homes else homes[0]
        known = self._versions.setdefault(fact.package, {})
        key = home, fact.version
        if key not in known:
            order = _order_of(fact.version)
            known[key] = Version(home, fact.package, fact.version, order=order)
        return known[key]

    def publish(self, fact: ComplianceFact) -> Version:
        """It was published."""
        version = self.named(fact)
        self._set_archive(version, fact.details.archive_sha256)
        version.record = fact.index
        return version

    def revoke(self, fact: ComplianceFact) -> Version:
        """It was revoked."""
        version = self.named(fact)
        version.is_revoked = True
        self._set_archive(version, version.archive_sha256 or fact.details.archive_sha256)
        if version.archive_sha256:
            self.revoked_archives[version.archive_sha256] = fact.index
        return version

    def of_package(self, package: str) -> list[Version]:
        """All that are known of it, in every space."""
        return list(self._versions.get(package, {}).values())

    def of_archive(self, archive: str) -> list[Version]:
        """Those that have this archive."""
        return list(self._of_archive.get(archive, {}).values())

    def _set_archive(self, version: Version, archive: str) -> None:
        if version.archive_sha256 and version.archive_sha256 != archive:
            self._of_archive[version.archive_sha256].pop(version.key, None)
        version.archive_sha256 = archive
        if archive:
            self._of_archive.setdefault(archive, {})[version.key] = version

    def newer_without(self, version: Version, rule: str) -> Version | None:
        """The first published version after this one, in its space, that does not break the rule.

        None: there is none that was not revoked.
        """
        newer = [
            one
            for one in self.of_package(version.package)
            if one.home == version.home
            and one.record >= 0
            and not one.is_revoked
            and rule not in one.broken
            and one.order is not None
            and version.order is not None
            and one.order > version.order
        ]
        return min(newer, key=lambda one: one.record, default=None)


def _order_of(version: str) -> Precedence | None:
    try:
        return precedence(version)
    except RefusedError:
        return None
