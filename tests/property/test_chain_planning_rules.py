# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of chains and desired state that hold for every sequence of commands."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application
from services.scheduler.deployment import rollback_target
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from shared.contracts.deployments import DeploymentSpec
from shared.errors import RefusedError
from tests.fleets import a_command, a_node, a_package, a_spec, applied, removed, told

NAMES = ("aa", "bb", "cc", "dd")
INTERFACES = ("eth0", "eth1", "wan0")

nodes = st.builds(
    lambda interfaces, labels: {
        name: a_node(name, *sorted(chosen), **labelled)
        for name, chosen, labelled in zip(("n1", "n2", "n3"), interfaces, labels, strict=True)
    },
    st.tuples(*[st.sets(st.sampled_from(INTERFACES), min_size=1)] * 3),
    st.tuples(*[st.dictionaries(st.sampled_from(("a", "b")), st.just("1"))] * 3),
)
specs = st.builds(
    lambda name, order, interfaces, labels: a_spec(
        name, order=order, interfaces=interfaces, labels=labels
    ),
    st.sampled_from(NAMES),
    st.integers(0, 3),
    st.sampled_from([("*",), ("eth*",), ("wan*", "eth0")]),
    st.dictionaries(st.sampled_from(("a", "b")), st.just("1"), max_size=1),
)
removals = st.sampled_from(NAMES)
fleet_changes = nodes
histories = st.lists(st.one_of(specs, removals, fleet_changes), max_size=10)


def _played(first: dict[str, NodeView], history: list[object]) -> Fleet:
    """The fleet after each step of a history; refused steps change nothing."""
    fleet = Fleet(deployments={}, nodes=first, desired={})
    for number, step in enumerate(history, start=1):
        try:
            if isinstance(step, DeploymentSpec):
                fleet = applied(fleet, step, at=number)
            elif isinstance(step, str):
                fleet = removed(fleet, step, at=number)
            elif isinstance(step, dict):
                fleet = told(replace(fleet, nodes=step))
        except RefusedError:
            continue
    return fleet


@given(nodes, histories)
def test_no_two_programs_share_a_place_and_orders_ascend(
    first: dict[str, NodeView], history: list[object]
) -> None:
    """Whatever happened, every chain is strictly ordered."""
    fleet = _played(first, history)

    for node in fleet.desired.values():
        for chain in node.chains:
            orders = [program.order for program in chain.programs]
            assert orders == sorted(set(orders))


@given(nodes, histories)
def test_deriving_again_changes_nothing(first: dict[str, NodeView], history: list[object]) -> None:
    """What was written is final until something else changes."""
    fleet = _played(first, history)

    again = derive_desired(fleet)

    assert dict(again.changed) == {}
    assert again.desired == fleet.desired


@given(nodes, histories, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    first: dict[str, NodeView], history: list[object], rng: random.Random
) -> None:
    """Records come from a store in any order."""
    fleet = _played(first, history)
    untold = replace(fleet, desired={})

    def shuffled(mapping: dict[str, object]) -> dict[str, object]:
        items = list(mapping.items())
        rng.shuffle(items)
        return dict(items)

    permuted = Fleet(
        deployments=shuffled(dict(fleet.deployments)),  # type: ignore[arg-type]
        nodes=shuffled(dict(fleet.nodes)),  # type: ignore[arg-type]
        desired={},
    )

    assert derive_desired(permuted) == derive_desired(untold)


@given(nodes, histories)
def test_a_generation_goes_up_by_one_exactly_when_a_chain_changes(
    first: dict[str, NodeView], history: list[object]
) -> None:
    """A node acts upon generations, so each must mean a change and each change one."""
    before = _played(first, history[:-1])
    after = _played(first, history)

    for name, node in after.desired.items():
        old = before.desired.get(name)
        if old is None:
            assert node.generation == 1
        elif old.chains == node.chains:
            assert node.generation == old.generation
        else:
            assert node.generation == old.generation + 1


@given(nodes, histories)
def test_an_accepted_deployment_claims_no_place_of_another(
    first: dict[str, NodeView], history: list[object]
) -> None:
    """Right after acceptance a deployment has every place it was accepted for."""
    fleet = _played(first, history)
    for number, name in enumerate(NAMES):
        spec = a_spec(name, interfaces=("*",), order=number)
        try:
            draft = draft_application(fleet, spec, a_package(), a_command(99))
        except RefusedError:
            continue
        derived = derive_desired(fleet.with_deployment(draft.record)).desired
        for place in draft.record.revisions[-1].placements:
            assert any(
                program.deployment == name
                for chain in derived[place.node].chains
                if chain.interface == place.interface
                for program in chain.programs
            )


@given(st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(["1.0.0", "1.1.0"])), min_size=2))
def test_a_rollback_of_a_rollback_is_what_was_there_before(
    revisions: list[tuple[int, str]],
) -> None:
    """Specification and version of the two newest revisions swap, and swap back."""
    fleet = Fleet(deployments={}, nodes={"n1": a_node()}, desired={})
    for number, (order, version) in enumerate(revisions, start=1):
        fleet = applied(fleet, a_spec("edge", order=order), version=version, at=number)
    original = fleet.deployments["edge"].revisions[-1]

    for number in (1, 2):
        target = rollback_target(fleet.deployments["edge"], name="edge", to_revision=0)
        package = a_package(version=target.version)
        facts = a_command(len(revisions) + number)
        draft = draft_application(fleet, target.spec, package, facts, rollback_of=target)
        fleet = told(fleet.with_deployment(draft.record))

    restored = fleet.deployments["edge"].revisions[-1]
    assert (restored.spec, restored.version) == (original.spec, original.version)
    assert restored.archive_sha256 == original.archive_sha256
