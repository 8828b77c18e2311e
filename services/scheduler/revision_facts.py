# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from a revision alone, worked out once and not for each of ten thousand nodes.

Pure: facts are kept by the identity of the revision, which never changes.
"""

from __future__ import annotations

from typing import Final

from services.scheduler.chain_order import Entrant
from services.scheduler.fitness import Demand, demand_of, node_lack
from services.scheduler.node_overlays import Applying, applying, overlaid_revision
from services.scheduler.placement import NodeView
from services.scheduler.selection import is_selected, probe_targets
from shared.contracts.deployments import DeploymentRevision
from shared.contracts.desired import DesiredProgram
from shared.identifiers import render_place

_KEPT: Final = 4096
"""Revisions, and answers of each."""


class RevisionFacts:
    """One revision, ready for planning; compared by identity."""

    def __init__(self, revision: DeploymentRevision) -> None:
        """Nothing is worked out that nobody asked for yet."""
        self.revision: Final = revision
        self.key: Final = revision.spec.key
        self.demand: Final[Demand] = demand_of(revision)
        self.entrant: Final = entrant_of(revision)
        self.probes: Final = probe_targets(revision.spec)
        self.space: Final = revision.spec.space
        self.has_overlays: Final = bool(revision.spec.overlays)
        self.is_by_name: Final = (
            not self.probes
            and not self.demand.is_about_drivers
            and all(isinstance(one, str) for one in revision.spec.interfaces)
        )
        """Whether names alone say which interfaces of a node that lacks nothing are meant."""
        choice = revision.choice
        self.chosen: Final = frozenset(choice.names) if choice is not None else None
        """The nodes that may have it, if it is for so many; None: all."""
        self._selected: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
        self._placed: dict[str, tuple[str, ...]] | None = None
        self._programs: Final[dict[str, DesiredProgram]] = {}
        self._lacks: Final[dict[object, str | None]] = {}
        self._overlaid: Final[dict[Applying, RevisionFacts]] = {}

    def on(self, node: NodeView) -> RevisionFacts:
        """The facts of what it is on the node; for the same overlays always the same object."""
        which = applying(self.revision.spec, node) if self.has_overlays else ()
        if not which:
            return self
        known = self._overlaid.get(which)
        if known is None:
            there = overlaid_revision(self.revision, which)
            known = self._overlaid[which] = RevisionFacts(there)
        return known

    def is_chosen(self, node: str) -> bool:
        """Whether the node may have it, if it is for so many nodes."""
        return self.chosen is None or node in self.chosen

    def placed_on(self, node: str) -> tuple[str, ...]:
        """The places of a node that it was accepted for."""
        if self._placed is None:
            found: dict[str, list[str]] = {}
            for one in self.revision.accepted_for:
                found.setdefault(one.node, []).append(render_place(one.interface, one.netns))
            self._placed = {name: tuple(places) for name, places in found.items()}
        return self._placed.get(node, ())

    def selected(self, node: NodeView) -> tuple[str, ...]:
        """The interfaces of a node that are meant, ascending, if that is by name."""
        known = self._selected.get(node.interfaces)
        if known is None:
            if len(self._selected) >= _KEPT:
                self._selected.clear()
            spec = self.revision.spec
            known = tuple(sorted(one for one in node.interfaces if is_selected(one, spec, node)))
            self._selected[node.interfaces] = known
        return known

    def program(self, platform: str) -> DesiredProgram:
        """What it puts into every chain of a node of the platform; always the same object."""
        known = self._programs.get(platform)
        if known is None:
            known = self._programs[platform] = desired_program(self.revision, platform)
        return known

    def lack(self, node: NodeView) -> str | None:
        """The first requirement that the node fails; the same for all nodes of one kind."""
        if self.demand.excuses is not None:
            return node_lack(self.demand, node)
        if node.kind not in self._lacks:
            if len(self._lacks) >= _KEPT:
                self._lacks.clear()
            self._lacks[node.kind] = node_lack(self.demand, node)
        return self._lacks[node.kind]


_KNOWN: Final[dict[int, RevisionFacts]] = {}


def facts_of(revision: DeploymentRevision) -> RevisionFacts:
    """The facts; of one object always the same ones, as long as they are kept."""
    known = _KNOWN.get(id(revision))
    if known is None or known.revision is not revision:
        if len(_KNOWN) >= _KEPT:
            _KNOWN.clear()
        known = _KNOWN[id(revision)] = RevisionFacts(revision)
    return known


def entrant_of(revision: DeploymentRevision) -> Entrant:
    """What decides its place in a chain."""
    spec = revision.spec
    return Entrant(
        key=spec.key,
        package=spec.package,
        number=revision.order,
        has_number=revision.has_number,
        before=spec.before,
        after=spec.after,
    )


def desired_program(revision: DeploymentRevision, platform: str) -> DesiredProgram:
    """The program that a revision puts into every chain of a node of this platform."""
    resolved = revision.resolved
    if resolved is None:
        raise AssertionError("unreachable: the newest revision is always resolved")
    spec = revision.spec
    path = resolved.on_platform(platform).object
    kept = resolved.kept.get(platform)
    return DesiredProgram(
        deployment=spec.key,
        revision=kept.revision if kept else revision.told_as or revision.revision,
        package=spec.package,
        version=kept.version if kept else revision.version,
        program=resolved.program,
        function=resolved.function,
        object=path,
        order=revision.order,
        has_packages_order=revision.has_packages_order,
        proceed_on=resolved.proceed_on,
        config=spec.config if resolved.config is None else resolved.config,
        constants=resolved.constants,
        variables=resolved.variables,
        map_policies=resolved.map_policies,
        metrics=resolved.metrics,
        companions=resolved.companions,
        signed=kept.signed if kept else resolved.signed,
        licence=kept.licence if kept else resolved.licences.get(path),
        instance=revision.instance,
    )
