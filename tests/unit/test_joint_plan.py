# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several deployments are planned as they would be applied, and their chains are named."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import derive_desired
from services.scheduler.joint_plan import draft_together
from services.scheduler.service import planning
from shared.contracts.inspection import draft_digest
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_package, a_spec, applied

PACKAGE = a_package()
PLANNING = planning(datetime(2026, 1, 1, tzinfo=UTC))


def test_the_chains_are_those_of_the_end() -> None:
    """Two deployments on one hook point are one chain, in their order."""
    first, second = a_spec("edge", order=20), a_spec("guard", order=10)

    draft = draft_together(a_fleet(), [(first, PACKAGE), (second, PACKAGE)], PLANNING)

    (chain,) = draft.plan.chains
    assert [place.deployment for place in chain.programs] == ["guard", "edge"]
    (staged,) = draft.staging["n1"]
    assert [program.deployment for program in staged.programs] == ["guard", "edge"]
    assert draft.plan.deployment == "edge, guard"


def test_every_staged_chain_is_named_by_its_digest() -> None:
    """So that the node that keeps it can be asked about it."""
    fleet = a_fleet(a_node("n1", "eth0", "eth1"), a_node("n2"))

    draft = draft_together(
        fleet,
        [(a_spec("edge", interfaces=("eth*",)), PACKAGE), (a_spec("tail", order=9), PACKAGE)],
        PLANNING,
    )

    staged = {draft_digest(chain) for chains in draft.staging.values() for chain in chains}
    assert {chain.draft for chain in draft.plan.chains} == staged
    assert len(staged) == 2  # both nodes have the same chain on eth0


def test_one_deployment_is_planned_as_it_always_was() -> None:
    """Nothing but the name of the draft is added."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2", role="edge")), a_spec("other", order=5))
    spec = a_spec("edge", names=("n1",))

    together = draft_together(fleet, [(spec, PACKAGE)], PLANNING)
    alone = draft_application(fleet, spec, PACKAGE, PLANNING)

    assert together.staging == alone.staging
    assert together.plan.excluded == alone.plan.excluded
    assert [chain.programs for chain in together.plan.chains] == [
        chain.programs for chain in alone.plan.chains
    ]


def test_deployments_of_one_plan_cannot_claim_one_place() -> None:
    """As they could not when applied one after another."""
    with pytest.raises(RefusedError, match="already has"):
        draft_together(a_fleet(), [(a_spec("edge"), PACKAGE), (a_spec("guard"), PACKAGE)], PLANNING)


def test_a_deployment_is_named_once_in_a_plan() -> None:
    """Two files with one name are a mistake."""
    specs = [(a_spec("edge"), PACKAGE), (a_spec("edge", order=3), PACKAGE)]

    with pytest.raises(RefusedError, match="edge may be named once"):
        draft_together(a_fleet(), specs, PLANNING)


def test_a_plan_lists_one_node_alone_if_that_is_asked_for() -> None:
    """Chains and excluded nodes of others are left out; all nodes try theirs."""
    fleet = a_fleet(a_node("n1"), a_node("n2"), a_node("n3", "lo"), a_node("n4", "lo"))

    draft = draft_together(fleet, [(a_spec("edge"), PACKAGE)], PLANNING, node="n2")
    none = draft_together(fleet, [(a_spec("edge"), PACKAGE)], PLANNING, node="n3")

    assert [chain.node for chain in draft.plan.chains] == ["n2"]
    assert (draft.plan.excluded, draft.plan.more_chains) == ((), 0)
    assert set(draft.staging) == {"n1", "n2"}
    assert (none.plan.chains, [one.node for one in none.plan.excluded]) == ((), ["n3"])


def test_a_plan_of_many_nodes_has_room_in_a_message() -> None:
    """What is not listed is counted, and the places that were accepted fit a record."""
    many = [a_node(f"n{number}", *(("eth0",) if number % 2 else ("lo",))) for number in range(3000)]
    fleet = a_fleet(*many)

    together = draft_together(fleet, [(a_spec("edge"), PACKAGE)], PLANNING)
    draft = draft_application(fleet, a_spec("edge"), PACKAGE, PLANNING)

    revision = draft.record.revisions[-1]
    for plan in (together.plan, draft.plan):
        assert len(plan.chains) + plan.more_chains == 1500
        assert len(plan.excluded) + plan.more_excluded == 1500
        assert len(msgspec.json.encode(plan)) < 256 * 1024
    assert len(revision.accepted_for) == 1500
    assert revision.placements == ()
    assert len(msgspec.json.encode(revision)) < 32 * 1024
    assert set(draft.staging) == {one.node for one in revision.accepted_for}
    assert dict(derive_desired(fleet.with_deployment(draft.record)).changed) == draft.desired
