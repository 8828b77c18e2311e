# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of rollouts after every step of any history, and what any history comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import assignment, base_of, is_rolling
from services.scheduler.rollout.core import Instruction
from services.scheduler.rollout.standing import released_nodes
from services.scheduler.rollout.waves import share_of
from services.scheduler.status import view_places
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import DesiredNode, DesiredProgram
from shared.contracts.events import EventBody
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import NO_POLICY, RolloutPolicy
from tests.support.rollout_histories import BAD, History, Scheduler

ValueT = TypeVar("ValueT")


class KeptPromises(History):
    """A history in which each write is held against what was promised."""

    def __init__(self, views: Iterable[NodeView], policy: RolloutPolicy = NO_POLICY) -> None:
        """Nothing was broken yet."""
        self._reached: dict[str, set[str]] = {}
        """By deployment, nodes that were ever released to its newest revision, or one that is
        still on its way."""
        self._untouched: dict[str, tuple[int, frozenset[str]]] = {}
        """By deployment that went back, to what, and nodes that never had anything else since."""
        self._first: dict[str, set[str]] = {}
        """By deployment, nodes of first waves of a revision that is bad."""
        super().__init__(views, policy)

    def stored(self, record: DeploymentRecord, events: tuple[EventBody, ...], step: str) -> None:
        """Steps follow one another, and what goes back leaves others alone."""
        before = self.store.deployments.get(record.key)
        super().stored(record, events, step)
        reached = self._reached.setdefault(record.key, set())
        self._untouched.pop(record.key, None)
        state = record.rollout
        if is_rolling(record) and state is not None:
            if before is None or before.revisions[-1].revision != record.revisions[-1].revision:
                assert state.released == 0
                if not is_rolling(before):
                    reached.clear()
                if record.revisions[-1].version == BAD:
                    self._first.setdefault(record.key, set()).update(state.waves[0].names)
            reached.update(released_nodes(state))
        elif is_rolling(before) and before is not None:
            is_back = state is not None and state.phase in ("rolled-back", "aborted")
            base = base_of(before)
            if is_back and base is not None:
                others = frozenset(self.nodes) - reached
                self._untouched[record.key] = base.told_on("")[0], others

    def told(self, node: DesiredNode) -> None:
        """One revision of a place, and only those are told that are meant."""
        before = self.store.desired.get(node.node)
        super().told(node)
        for chain in node.chains:
            counts = Counter(one.deployment for one in chain.programs)
            assert all(count == 1 for count in counts.values()), "a place has one revision"
        was, now = _programs(before), _programs(node)
        for at in {*was, *now}:
            self._check_change(node.node, at[0], was.get(at), now.get(at))

    def _check_change(
        self, node: str, key: str, was: DesiredProgram | None, now: DesiredProgram | None
    ) -> None:
        record = self.leader.deployments[key]
        if now is not None and now.version == BAD:
            assert node in self._first[key], "what failed on the first nodes reached another"
        if was is None or now is None or _same(was, now):
            return
        newest = record.revisions[-1]
        if is_rolling(record) and node not in self._reached[key]:
            assert now.revision != newest.revision, "a node has it that was not released"
            base = base_of(record)
            is_late = base is None or was.revision != base.told_on("")[0]
            assert is_late, "a node that was not released is told otherwise"
        back_to, others = self._untouched.get(key, (0, frozenset()))
        is_late = was.revision != back_to
        assert node not in others or is_late, "going back changed who had nothing else"

    def check_step(self, process: Scheduler, step: Instruction) -> None:
        """No more are changed than may be unavailable, and none before the wave before is well."""
        before, after = step.before, step.after
        if not is_rolling(after) or before.rollout is None or after.rollout is None:
            return
        assert after.rollout.step > before.rollout.step
        told = set(released_nodes(before.rollout))
        new = set(released_nodes(after.rollout)) - told
        if not new:
            return
        members = {name for wave in after.rollout.waves for name in wave.names}
        running = {name for name in members if runs_newest(after, process.observed.get(name))}
        down = _down(process, before)
        allowed = share_of(after.revisions[-1].spec.rollout.max_unavailable, len(members))
        further = new - down - _given_up(process)
        assert not further or len(down) + len(further) <= allowed, (
            f"{sorted(further)} are changed while {sorted(down)} are down, of {allowed}"
        )
        self._check_policy(process, before, new)
        earlier = {n for wave in after.rollout.waves[: after.rollout.wave] for n in wave.names}
        proven = running | process.silent | _given_up(process)
        assert earlier <= proven, "a wave begins before the one before is well"

    def _check_policy(self, process: Scheduler, before: DeploymentRecord, new: set[str]) -> None:
        """Of the fleet no more nodes and rollouts are on their way than the policy says."""
        rolling = {
            key: one for key, one in process.deployments.items() if is_rolling(one) and one.rollout
        }
        others = [key for key, one in rolling.items() if key != before.key and _has_begun(one)]
        lost = _given_up(process)
        down = (process.silent - lost).union(*(_down(process, one) for one in rolling.values()))
        for one in self.policy.rules:
            if one.max_rollouts is not None and not _has_begun(before):
                assert len(others) < one.max_rollouts, f"{others} are on their way"
            if one.max_unavailable is not None and new - down - lost:
                allowed = share_of(one.max_unavailable, len(process.nodes.keys() - lost))
                assert len(down | new - lost) <= allowed, "the policy allows less"

    def check_rest(self) -> None:
        """What nodes are told at rest is what each has by its place, derived in any order."""
        fleet = self.leader.fleet()
        derived = derive_desired(replace(fleet, known=None))
        assert not derived.changed
        turned = Fleet(_turned(fleet.deployments), _turned(fleet.nodes), _turned(fleet.desired))
        assert derive_desired(turned).desired == derived.desired, "the order of input decides"
        for name, desired in self.store.desired.items():
            if self.nodes[name].view.is_forgotten:
                continue
            for (key, place), program in _programs(desired).items():
                had = assignment(self.store.deployments[key])
                assert had is not None
                node = self.nodes[name].view
                revision = had.on(node, place)
                assert revision is not None
                assert program.revision == revision.told_on(node.platform)[0]
        facts = self.facts()
        found = self.leader.instructions_of(facts)
        assert self.leader.instructions_of(reversed(facts)) == found, "the order of events decides"

    def check_end(self) -> None:
        """Every deployment is where it was to be, or says by name why it is not."""
        self.check_rest()
        fleet = self.leader.fleet()
        observed = {name: one.observed for name, one in self.nodes.items() if one.observed}
        for record in self.store.deployments.values():
            if is_rolling(record) and record.rollout is not None:
                assert record.rollout.why, f"{record.rollout.phase}, and nobody knows why"
                continue
            assert not record.unfinished, "a command has no end"
            for view in view_places(record, fleet, observed):
                assert view.state == "running" or (view.state == "failed" and view.why), view
        for command_id, made in self.accepted.items():
            ending = self.store.ended.get(f"{command_id}.complete")
            if ending is None:
                newest = self.store.deployments[made.key]
                assert is_rolling(newest), "a command has no end, and nothing goes on"
                assert command_id in newest.unfinished, "a command was forgotten"
            elif not made.removed and made.revisions[-1].version == BAD:
                assert ending.outcome == "failed", "what is bad succeeded"


def runs_newest(record: DeploymentRecord, observed: ObservedNode | None) -> bool:
    """Whether the node read back what the newest revision is told as, where it has it."""
    revision = record.revisions[-1]
    found = [
        program
        for chain in (observed.chains if observed else ())
        for program in chain.programs
        if program.deployment == record.key
    ]
    return any((one.revision, one.archive_sha256) == revision.told_on("") for one in found)


def _down(process: Scheduler, record: DeploymentRecord) -> set[str]:
    """Nodes of its rollout that are silent, refuse what they have, or changed and do not run it."""
    state = record.rollout
    assert state is not None
    members = {name for wave in state.waves for name in wave.names} - _given_up(process)
    failed = {name for name in members if _fails(process, record, name)}
    late = {
        name
        for name in released_nodes(state)
        if name in members and not runs_newest(record, process.observed.get(name))
    }
    return (members & process.silent) | failed | late


def _given_up(process: Scheduler) -> set[str]:
    """Nodes that count for nothing, as far as the process knows."""
    return {name for name, node in process.nodes.items() if node.is_forgotten}


def _has_begun(record: DeploymentRecord) -> bool:
    """Whether a node was ever told its newest revision."""
    state = record.rollout
    assert state is not None
    return state.wave > 0 or state.released > 0 or bool(state.wave_started_at)


def _fails(process: Scheduler, record: DeploymentRecord, name: str) -> bool:
    """Whether the node refuses the chain that what it is to have of the deployment is in."""
    desired, observed = process.thought_told.get(name), process.observed.get(name)
    had = assignment(record)
    if desired is None or observed is None or had is None:
        return False
    if observed.desired_generation < desired.generation:
        return False
    node = process.nodes[name]
    places = {
        place
        for (key, place), program in _programs(desired).items()
        if key == record.key
        and (revision := had.on(node, place)) is not None
        and program.revision == revision.told_on("")[0]
    }
    return any(one.state == "failed" and one.place in places for one in observed.chains)


def _programs(node: DesiredNode | None) -> dict[tuple[str, str], DesiredProgram]:
    """By deployment and place."""
    return {
        (program.deployment, chain.place): program
        for chain in (node.chains if node else ())
        for program in chain.programs
    }


def _same(one: DesiredProgram, other: DesiredProgram) -> bool:
    """Whether they are one but for their place in the chain, which others decide, too."""
    return msgspec.structs.replace(one, order=other.order) == other


def _turned(known: Mapping[str, ValueT]) -> dict[str, ValueT]:
    return dict(reversed(list(known.items())))
