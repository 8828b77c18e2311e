# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The deployments that the log speaks of, and what nodes may have of each.

Pure but for what is known, which grows.

Rules:
 * What was accepted nodes may have from then on, and what they had before until the command ended
   well.  A removal ends with no node having anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.auditor.compliance.facts import ComplianceFact
from shared.contracts.events import PUBLIC, Audience


@dataclass(slots=True)
class Run:
    """One accepted revision."""

    package: str
    version: str
    archive_sha256: str
    record: int
    nodes: tuple[str, ...]
    waived: set[str] = field(default_factory=set)
    """Rules that a waiver excused it from."""


@dataclass(slots=True)
class Deployment:
    """One deployment by its key."""

    name: str
    audience: Audience = PUBLIC
    runs: dict[int, Run] = field(default_factory=dict)
    """By revision."""
    by_command: dict[str, Run] = field(default_factory=dict)
    removal: tuple[str, int] | None = None
    """Command and record."""
    in_use: dict[str, Run] = field(default_factory=dict)
    """By archive: what nodes may have."""

    def settle(self, run: Run | None) -> list[str]:
        """Nodes have this and nothing else; the archives that they have no more."""
        before = self.in_use
        self.in_use = {run.archive_sha256: run} if run is not None else {}
        return sorted(before.keys() - self.in_use.keys())

    def run_of(self, archive: str) -> Run | None:
        """The newest revision of that archive."""
        newest_first = reversed(self.runs.values())
        return next((one for one in newest_first if one.archive_sha256 == archive), None)

    def archive_of(self, version: str) -> str:
        """Of the newest revision of that version; empty: none is known."""
        newest_first = reversed(self.runs.values())
        return next((one.archive_sha256 for one in newest_first if one.version == version), "")


@dataclass(slots=True)
class KnownDeployments:
    """Every deployment that was told of until now."""

    _known: dict[str, Deployment] = field(default_factory=dict)
    _having: dict[str, set[str]] = field(default_factory=dict)
    """Archive to the deployments that ever had it."""

    def of(self, name: str) -> Deployment:
        """The deployment of that key."""
        return self._known.setdefault(name, Deployment(name))

    def apply(self, fact: ComplianceFact) -> tuple[Deployment, Run]:
        """A revision was accepted."""
        details = fact.details
        deployment = self.of(fact.deployment)
        places = [one for one in details.places if isinstance(one, list | tuple) and one]
        nodes = tuple(dict.fromkeys(str(one[0]) for one in places))
        run = Run(fact.package, fact.version, details.archive_sha256, fact.index, nodes)
        deployment.audience, deployment.removal = fact.audience, None
        deployment.runs[details.revision] = run
        deployment.by_command[fact.correlation] = run
        if run.archive_sha256:
            deployment.in_use[run.archive_sha256] = run
            self._having.setdefault(run.archive_sha256, set()).add(fact.deployment)
        return deployment, run

    def remove(self, fact: ComplianceFact) -> None:
        """A removal was accepted."""
        self.of(fact.deployment).removal = fact.correlation, fact.index

    def are_having(self, archive: str) -> bool:
        """Whether any may have it on nodes."""
        return any(archive in self._known[one].in_use for one in self._having.get(archive, ()))

    def having(self, archive: str) -> list[Deployment]:
        """Those that may have it on nodes, by key."""
        names = sorted(self._having.get(archive, ())) if archive else []
        return [one for one in map(self._known.__getitem__, names) if archive in one.in_use]
