# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which revision of a deployment a node has, while a newer one is on its way and afterwards.

Pure, and the one answer to that question: who tells nodes, judges them or speaks of them asks here.

Rules:
 * Without a rollout, or once it is over, every node has the newest revision.
 * A node has it from the moment on that its wave released it: nodes of the waves before, and the
   first `released` of the wave that goes on.  All others keep what they had, which may be nothing.
 * A node that came after the waves were made is in none: it gets what was everywhere before, and
   the newest revision when that is everywhere.
 * A blue/green wave is about the interfaces that its label names on each of its nodes; what no
   label names follows when the rollout is over.  So a node may have two revisions, a place never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from services.scheduler.placement import NodeView
from services.scheduler.revision_facts import RevisionFacts, facts_of
from shared.contracts.deployments import (
    DeploymentRecord,
    DeploymentRevision,
    EarlierRevision,
)
from shared.contracts.desired import Cause
from shared.contracts.rollouts import RolloutWave
from shared.identifiers import render_place, split_place
from shared.packed_places import Place, pack_places, unpack_places

OVER: Final = frozenset({"complete", "rolled-back", "aborted"})
"""Phases in which the newest revision is everywhere."""
WHOLE: Final = ""
"""In place of an interface: all of the node."""
_ALL: Final = (WHOLE,)
_KEPT: Final = 64
_Step = tuple[int, int, str]
"""Wave, position in it, label of the interfaces that it is about."""


def is_rolling(record: DeploymentRecord | None) -> bool:
    """Whether a revision of the deployment is on its way to nodes."""
    if record is None or record.removed or record.rollout is None:
        return False
    return record.rollout.phase not in OVER


def base_of(record: DeploymentRecord | None) -> DeploymentRevision | None:
    """The revision that was everywhere last, which may be the newest; None: there is none."""
    if record is None or record.removed or not record.revisions:
        return None
    if not is_rolling(record):
        return record.revisions[-1]
    return next((one.revision for one in record.earlier if not one.packed_places), None)


def at_end(record: DeploymentRecord) -> DeploymentRecord:
    """The deployment as if its newest revision were everywhere."""
    if record.rollout is None and not record.earlier:
        return record
    return msgspec.structs.replace(record, rollout=None, earlier=())


def at_base(record: DeploymentRecord) -> DeploymentRecord:
    """The deployment as if a rollout that goes on had gone back."""
    if not is_rolling(record):
        return record
    base = base_of(record)
    return msgspec.structs.replace(
        record,
        revisions=record.revisions if base is None else (base,),
        removed=base is None,
        rollout=None,
        earlier=(),
    )


def assignment(
    record: DeploymentRecord | None, known: Assignment | None = None
) -> Assignment | None:
    """Who has which revision; None: nobody any, for it was removed or never was.

    Args:
        record: The deployment.
        known: What was assigned before: given back, the same object, if nothing changed there.
    """
    if record is None or record.removed or not record.revisions:
        return None
    newest = _facts(record.revisions[-1], known)
    if not is_rolling(record) or record.rollout is None:
        is_same = known is not None and known.is_whole and known.newest is newest
        return known if known is not None and is_same else Assignment(newest)
    state = record.rollout
    waves = known.waves if known is not None and known.waves == state.waves else state.waves
    earlier = tuple((_facts(one.revision, known), one.packed_places) for one in record.earlier)
    found = Assignment(newest, waves, (state.wave, state.released), earlier)
    return known if known is not None and known.is_same(found) else found


class Assignment:
    """Who has which revision of one deployment; compared by identity."""

    def __init__(
        self,
        newest: RevisionFacts,
        waves: tuple[RolloutWave, ...] = (),
        reached: tuple[int, int] | None = None,
        earlier: tuple[tuple[RevisionFacts, str], ...] = (),
    ) -> None:
        """Of a rollout that goes on: the wave `reached`, and how many of its nodes are released.

        `earlier` is what there was, each with who has it.
        """
        self.newest: Final = newest
        self.waves: Final = waves
        self.is_whole: Final = reached is None
        """Whether every node has the newest revision."""
        self._reached: Final = reached or (0, 0)
        self._earlier: Final = earlier
        self._steps: Final = _steps(waves)
        self._named: Final = tuple((_holders(packed), one) for one, packed in earlier if packed)
        self._base: Final = next((one for one, packed in earlier if not packed), None)

    @property
    def key(self) -> str:
        """Of the deployment."""
        return self.newest.key

    @property
    def revisions(self) -> tuple[RevisionFacts, ...]:
        """All that some node may have, newest first."""
        return self.newest, *(one for one, _ in self._earlier)

    def is_same(self, other: Assignment) -> bool:
        """Whether the other one means the same for every node."""
        return (self.newest, self.is_whole, self._reached, self.waves, self._earlier) == (
            (other.newest, other.is_whole, other._reached, other.waves, other._earlier)
        )

    def on(self, node: NodeView, place: str = WHOLE) -> DeploymentRevision | None:
        """What the node has there; None: nothing.

        Without a place: what it has where no label of the rollout names one.
        """
        facts = self.facts_on(node, place)
        return facts.revision if facts is not None else None

    def facts_on(self, node: NodeView, place: str = WHOLE) -> RevisionFacts | None:
        """As `on`, of what it has the facts."""
        if self.is_whole:
            return self.newest
        step = self._step_at(node, place)
        if step is not None and step[:2] < self._reached:
            return self.newest
        whole = self._base
        for holders, facts in self._named:
            places = holders.get(node.name, ())
            if place != WHOLE and place in places:
                return facts
            if WHOLE in places:
                whole = facts
        return whole

    def wave_of(self, node: NodeView, place: str = WHOLE) -> int | None:
        """In which wave, counted from 0, the newest revision comes there; None: in none."""
        step = self._step_at(node, place)
        return step[0] if step is not None else None

    def had_by(self, node: NodeView) -> tuple[RevisionFacts, ...]:
        """All that the node has, newest first; more than one if its places differ."""
        if not self.is_split(node):
            facts = self.facts_on(node)
            return () if facts is None else (facts,)
        there = {id(self.facts_on(node, place)) for place in (WHOLE, *node.interfaces)}
        return tuple(one for one in self.revisions if id(one) in there)

    def share(self, node: NodeView) -> object:
        """Equal for two assignments of a deployment only if they mean the same for the node."""
        if self.is_whole:
            return self.newest
        if not self.is_split(node):
            return self.facts_on(node)
        return (
            self.newest,
            self._base,
            [(wave, position) < self._reached for wave, position, _ in self._steps_of(node)],
            [(facts, holders.get(node.name)) for holders, facts in self._named],
        )

    def is_split(self, node: NodeView) -> bool:
        """Whether the places of the node may have different revisions."""
        return any(label for _, _, label in self._steps_of(node)) or any(
            holders.get(node.name, _ALL) != _ALL for holders, _ in self._named
        )

    def _step_at(self, node: NodeView, place: str) -> _Step | None:
        for step in self._steps.get(node.name, ()):
            if not step[2] or _names(node, step[2], place):
                return step
        return None

    def _steps_of(self, node: NodeView) -> tuple[_Step, ...]:
        return self._steps.get(node.name, ())


def earlier_when_next(
    record: DeploymentRecord | None, nodes: Mapping[str, NodeView]
) -> tuple[EarlierRevision, ...]:
    """What nodes have when a next revision begins its way, newest first.

    Of a rollout that goes on, its own revision as far as it came, and what it was to replace as far
    as somebody still has it; what was everywhere before all stays, for it may come back.

    Args:
        record: The deployment as it is; None: it is new.
        nodes: All of the fleet.
    """
    now = assignment(record)
    if record is None or now is None:
        return ()
    newest = EarlierRevision(
        revision=record.revisions[-1], changed_by=record.changed_by, changed_at=record.changed_at
    )
    if now.is_whole:
        return (newest,)
    held: dict[int, list[Place]] = {}
    for name, node in nodes.items():
        for place, facts in _had_on(now, node):
            interface, netns = split_place(place)
            held.setdefault(id(facts), []).append((name, interface, netns))
    known = {id(one.revision): one for one in (newest, *record.earlier)}
    found: list[EarlierRevision] = []
    for facts in now.revisions:
        one = known[id(facts.revision)]
        if one is not newest and not one.packed_places:
            found.append(one)
        elif id(facts) in held:
            places = pack_places(held[id(facts)])
            found.append(msgspec.structs.replace(one, packed_places=places))
    return tuple(found)


def command_of(
    record: DeploymentRecord, revision: DeploymentRevision | None
) -> tuple[str, Cause | None]:
    """When the command was accepted that the revision came by, and who gave it.

    Without a revision, of the newest command, which may be what took the deployment off.
    """
    for one in record.earlier if revision is not None and is_rolling(record) else ():
        if revision is not None and one.revision.revision == revision.revision:
            return one.changed_at, one.changed_by
    return record.changed_at, record.changed_by


def _had_on(now: Assignment, node: NodeView) -> Iterable[tuple[str, RevisionFacts]]:
    """What the node has: all of it, and what is otherwise in single places."""
    whole = now.facts_on(node)
    if whole is not None:
        yield WHOLE, whole
    if now.is_split(node):
        for place in node.interfaces:
            facts = now.facts_on(node, place)
            if facts is not None and facts is not whole:
                yield place, facts


def _names(node: NodeView, label: str, place: str) -> bool:
    """Whether the label names the interface of the place."""
    return place != WHOLE and node.labels.get(label) == place


def _facts(revision: DeploymentRevision, known: Assignment | None) -> RevisionFacts:
    """Of a revision that was read anew, the facts that are known."""
    for one in known.revisions if known is not None else ():
        if one.revision is revision or one.revision == revision:
            return one
    return facts_of(revision)


@lru_cache(maxsize=_KEPT)
def _holders(packed: str) -> Mapping[str, tuple[str, ...]]:
    """By node, the places."""
    found: dict[str, tuple[str, ...]] = {}
    for node, interface, netns in unpack_places(packed):
        place = render_place(interface, netns)
        found[node] = (*found[node], place) if node in found else _ALL if not place else (place,)
    return found


_KNOWN: Final[dict[int, tuple[tuple[RolloutWave, ...], Mapping[str, tuple[_Step, ...]]]]] = {}


def _steps(waves: tuple[RolloutWave, ...]) -> Mapping[str, tuple[_Step, ...]]:
    """By node, where it is in the waves; of the same waves worked out once."""
    known = _KNOWN.get(id(waves))
    if known is None or known[0] is not waves:
        if len(_KNOWN) >= _KEPT:
            _KNOWN.clear()
        found: dict[str, tuple[_Step, ...]] = {}
        for number, wave in enumerate(waves):
            label = wave.interface_label
            for position, name in enumerate(wave.names):
                found[name] = (*found.get(name, ()), (number, position, label))
        known = _KNOWN[id(waves)] = waves, found
    return known[1]
