# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever becomes of rollouts: who has which revision, and who is told nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import Assignment, assignment, is_rolling
from services.scheduler.rollout.going_back import rolled_back
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.rollouts import RolloutSpec
from shared.errors import RefusedError
from tests.fleets import a_command, a_node, a_package, a_spec, told
from tests.support.rollout_progress import WAYS, Progress, progressed

NAMES = ("aa", "bb")
NODES = tuple(
    a_node(name, "eth0", "wan0", blue="eth0", green="wan0", rack=rack)
    for name, rack in zip(("n1", "n2", "n3", "n4", "n5"), "aabbc", strict=True)
)
ROLLOUTS = (
    RolloutSpec(),
    RolloutSpec(strategy="canary"),
    RolloutSpec(strategy="canary", canary=2, waves=(1,)),
    RolloutSpec(strategy="waves", waves=("50%",), failure_domain="rack"),
    RolloutSpec(strategy="waves", failure_domain="rack", across="one-by-one"),
    RolloutSpec(strategy="blue-green", blue="blue", green="green"),
    RolloutSpec(max_unavailable=1),
)
versions = st.integers(1, 4).map(lambda one: f"{one}.0.0")
applications = st.tuples(
    st.builds(
        lambda name, order, interfaces, rollout: a_spec(
            name, order=order, interfaces=interfaces, rollout=rollout
        ),
        st.sampled_from(NAMES),
        st.integers(0, 2),
        st.sampled_from([("*",), ("eth0",), ("wan0",)]),
        st.sampled_from(ROLLOUTS),
    ),
    versions,
)
progress = st.builds(Progress, st.sampled_from(NAMES), st.sampled_from(WAYS))
joining = st.sampled_from(
    [a_node(name, "eth0", "wan0", blue="eth0", green="wan0") for name in "xy"]
)
steps = st.one_of(applications, progress, progress, progress, joining, st.sampled_from(NAMES))
histories = st.lists(steps, max_size=14)


def _after(fleet: Fleet, step: object, number: int) -> Fleet:
    """The fleet once it was accepted; not told yet."""
    if isinstance(step, Progress):
        return progressed(fleet, step, number)
    if isinstance(step, NodeView):
        return replace(fleet, nodes={**fleet.nodes, step.name: step})
    if isinstance(step, str):
        return fleet.with_deployment(draft_removal(fleet, step, a_command(number)).record)
    if not isinstance(step, tuple):
        raise TypeError(step)
    spec, version = step
    return fleet.with_deployment(_drafted(fleet, spec, version, number))


def _drafted(fleet: Fleet, spec: DeploymentSpec, version: str, number: int) -> DeploymentRecord:
    return draft_application(fleet, spec, a_package(version=version), a_command(number)).record


def _played(history: Iterable[object]) -> Iterable[tuple[Fleet, Fleet]]:
    """The fleet before and after each step that was accepted, each time told."""
    fleet = Fleet(deployments={}, nodes={one.name: one for one in NODES}, desired={})
    for number, step in enumerate(history, start=1):
        try:
            after = told(_after(fleet, step, number))
        except RefusedError:
            continue
        yield fleet, after
        fleet = after


def _had(fleet: Fleet, node: NodeView) -> dict[tuple[str, str], object]:
    """Deployment and interface to what the node has there."""
    found: dict[tuple[str, str], object] = {}
    for key, record in fleet.deployments.items():
        now = assignment(record)
        for place in node.interfaces:
            revision = now.on(node, place) if now is not None else None
            if revision is not None and revision.resolved is not None:
                found[key, place] = (
                    revision.told_on(node.platform),
                    revision.spec,
                    revision.instance,
                )
    return found


@given(histories)
def test_a_node_whose_revisions_stay_is_told_nothing(history: list[object]) -> None:
    """Its record is the same to the byte, however many deployments begin, go on or go back."""
    for before, after in _played(history):
        for name, node in before.nodes.items():
            if _had(before, node) != _had(after, node) or name not in before.desired:
                continue
            assert msgspec.json.encode(after.desired[name]) == msgspec.json.encode(
                before.desired[name]
            )


@given(histories)
def test_a_place_has_one_revision_and_it_is_the_one_that_is_assigned(
    history: list[object],
) -> None:
    """Whatever is told is what the question is answered with."""
    for _, fleet in _played(history):
        for name, desired in fleet.desired.items():
            for chain in desired.chains:
                keys = [one.deployment for one in chain.programs]
                assert len(keys) == len(set(keys))
                for program in chain.programs:
                    now = assignment(fleet.deployments[program.deployment])
                    assert now is not None
                    revision = now.on(fleet.nodes[name], chain.place)
                    assert revision is not None
                    number, _ = revision.told_on(fleet.nodes[name].platform)
                    assert program.revision == number


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_what_is_known_decides_nothing(
    history: list[object], rng: random.Random
) -> None:
    """Neither what nodes are told, nor the waves of what comes next."""

    def shuffled(fleet: Fleet) -> Fleet:
        nodes, deployments = list(fleet.nodes.items()), list(fleet.deployments.items())
        rng.shuffle(nodes)
        rng.shuffle(deployments)
        return replace(fleet, nodes=dict(nodes), deployments=dict(deployments), known=None)

    spec = a_spec("cc", order=9, interfaces=("*",), rollout=ROLLOUTS[3])
    for _, fleet in list(_played(history))[-1:]:
        other = shuffled(fleet)
        assert derive_desired(other).desired == derive_desired(fleet).desired
        assert _drafted(other, spec, "1.0.0", 99) == _drafted(fleet, spec, "1.0.0", 99)


@given(histories)
def test_going_back_undoes_what_the_rollout_did(history: list[object]) -> None:
    """Every node is told of it what it was told before; who had nothing has nothing again."""
    for _, fleet in _played(history):
        for key, record in fleet.deployments.items():
            if not is_rolling(record):
                continue
            after = told(fleet.with_deployment(rolled_back(record, a_command(99))))
            base = record.earlier[-1].revision if record.earlier else None
            kept = base is not None and not record.earlier[-1].packed_places
            for name, desired in after.desired.items():
                platform = fleet.nodes[name].platform
                numbers = {
                    one.revision
                    for chain in desired.chains
                    for one in chain.programs
                    if one.deployment == key
                }
                assert numbers <= ({base.told_on(platform)[0]} if base and kept else set())


@pytest.mark.parametrize("rollout", ROLLOUTS[1:])
def test_released_one_by_one_every_node_has_the_newest_revision_in_the_end(
    rollout: RolloutSpec,
) -> None:
    """And with every release at least one place more, and none less."""
    fleet = Fleet(deployments={}, nodes={one.name: one for one in NODES}, desired={})
    spec = a_spec("aa", interfaces=("*",))
    fleet = told(fleet.with_deployment(_drafted(fleet, spec, "1.0.0", 1)))
    spec = msgspec.structs.replace(spec, rollout=rollout)
    fleet = fleet.with_deployment(_drafted(fleet, spec, "2.0.0", 2))
    reached = _newest(fleet)
    assert not reached
    while is_rolling(fleet.deployments["aa"]):
        fleet = told(progressed(fleet, Progress("aa", "release"), 3))
        assert reached <= (reached := _newest(fleet))

    assert len(reached) == 2 * len(NODES)
    assert fleet.deployments["aa"].earlier == ()


def _newest(fleet: Fleet) -> set[tuple[str, str]]:
    now = assignment(fleet.deployments["aa"])
    if not isinstance(now, Assignment):
        raise TypeError(now)
    return {
        (name, place)
        for name, node in fleet.nodes.items()
        for place in node.interfaces
        if now.facts_on(node, place) is now.newest
    }
