# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments of spaces: who is told of them, where they meet, what others are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.audiences import UNSEEN, Sight, UnknownSpaceError
from services.scheduler.completion import endings
from services.scheduler.deployment import UnknownDeploymentError
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.labelling import refuse_label_conflicts
from services.scheduler.liveness import Silence
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.placement import NoEligibleNodeError
from services.scheduler.plan_difference import chains_with, planned_chains
from services.scheduler.revocation import affected
from services.scheduler.staging import seen_errors
from services.scheduler.status import deployment_status, node_status
from shared.contracts.events import PUBLIC
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import ObservedNode
from shared.contracts.reviews import RevokedVersion
from shared.contracts.scheduler import NodeLabels
from shared.deployment_keys import deployment_key, split_key
from shared.errors import FaultError, Reason, Refusal, RefusedError
from shared.redaction import WITHHELD
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    all_observing,
    applied,
    observing,
    opened,
    orders,
    removed,
    seen_by,
    told,
)

ACME, EMBARGO = "p_acme", "r_0123456789abcdef"
ANN, BOB = Sight(frozenset({PUBLIC, ACME})), Sight()
ALIVE = Silence(seconds=1.0, is_silent=False)
SECRET = "quiet-fix"
"""Name of what is not for everybody, as deployment and as package."""


def a_secret(space: str = ACME, **fields: Any) -> Any:
    """A deployment of a space, in front of others."""
    return a_spec(SECRET, package=SECRET, space=space, **{"order": 10, **fields})


@pytest.fixture
def shared() -> Fleet:
    """A public deployment, and one of `p_acme` in front of it; nodes run them."""
    fleet = seen_by(a_fleet(), p_acme=["ann"], r_0123456789abcdef=["eve"])
    fleet = applied(fleet, a_spec(order=20, names=["n1"]))
    return applied(fleet, a_secret(names=["n1"]), at=2)


def text(shown: object) -> str:
    """All of it, as it travels."""
    return msgspec.json.encode(shown).decode()


def test_a_key_tells_space_and_name_of_a_deployment() -> None:
    """The public one's key is its name, as it was before there were spaces."""
    assert deployment_key(PUBLIC, "edge") == "edge"
    assert split_key(deployment_key(ACME, "edge")) == (ACME, "edge")


def test_the_same_name_in_another_space_is_another_deployment() -> None:
    """Both run, in one chain, and neither is the other's next revision."""
    fleet = applied(seen_by(a_fleet(), p_acme=["ann"]), a_spec(order=20))

    fleet = applied(fleet, a_spec(order=10, space=ACME), at=2)

    assert orders(fleet) == {"eth0/xdp": ["p_acme.edge", "edge"]}
    assert [one.revisions[-1].revision for one in fleet.deployments.values()] == [1, 1]


def test_a_hook_point_is_told_to_the_space_that_has_a_program_there(shared: Fleet) -> None:
    """With the names of its members; other hook points of the node are told to everybody."""
    with_eth1 = replace(shared, nodes={"n1": a_node("n1", "eth0", "eth1")})
    node = applied(with_eth1, a_spec("other", interfaces=("eth1",)), at=3).desired["n1"]

    told_to = {chain.interface: chain.audience for chain in node.chains}

    assert told_to == {"eth0": ACME, "eth1": PUBLIC}
    assert node.members == {ACME: ("ann",)}


def test_members_come_and_go_without_a_chain_being_touched(shared: Fleet) -> None:
    """The record is written, and no node has anything to do."""
    before = shared.desired["n1"]

    after = derive_desired(seen_by(shared, p_acme=["ann", "carl"])).changed["n1"]

    assert after.members == {ACME: ("ann", "carl")}
    assert (after.chains, after.generation) == (before.chains, before.generation)


def test_once_a_space_is_open_its_hook_points_are_told_to_everybody(shared: Fleet) -> None:
    """Programs, order, cause and generation stay as they are."""
    before = shared.desired["n1"]

    after = told(opened(shared, ACME)).desired["n1"]

    assert [chain.audience for chain in after.chains] == [PUBLIC]
    assert [chain.cause.audience for chain in after.chains] == [PUBLIC]
    assert after.members == {}
    assert (after.chains[0].programs, after.generation) == (
        before.chains[0].programs,
        before.generation,
    )


def test_a_space_that_is_not_known_is_seen_by_nobody() -> None:
    """What cannot be read is not for everybody."""
    fleet = applied(a_fleet(), a_secret())

    assert [chain.audience for chain in fleet.desired["n1"].chains] == [ACME]
    assert fleet.desired["n1"].members == {ACME: ()}
    assert not fleet.audiences.seen_by("ann").sees(ACME)


def test_who_took_a_restricted_program_off_is_not_told_to_everybody(shared: Fleet) -> None:
    """The chain is everybody's again; its cause is still the space's own command."""
    chain = removed(shared, f"{ACME}.{SECRET}", at=3).desired["n1"].chains[0]

    assert (chain.audience, chain.cause.audience) == (PUBLIC, ACME)
    assert chain.cause.command_id == a_command(3).command_id


def test_two_restricted_spaces_do_not_meet_at_a_hook_point(shared: Fleet) -> None:
    """The newcomer is refused, and nothing of the other is named."""
    spec = a_spec("other", order=30, space=EMBARGO)

    with pytest.raises(ChainConflictError) as caught:
        draft_application(shared, spec, a_package(), a_command(3))

    (reason,) = caught.value.reasons
    assert reason.path == "space"
    assert "one restricted space" in reason.rule
    assert SECRET not in text(caught.value.refusal())
    assert ACME not in text(caught.value.refusal())


def test_spaces_that_meet_without_a_deployment_keep_who_was_there(shared: Fleet) -> None:
    """The other is left out of the chain, and its members are told why without a name."""
    spec = a_spec("other", order=30, space=EMBARGO, labels={"role": "edge"})
    with_edge = replace(shared, nodes={**shared.nodes, "n2": a_node("n2", role="edge")})
    fleet = applied(with_edge, spec, at=3)
    labels = {**fleet.nodes, "n1": a_node("n1", role="edge")}

    derived = derive_desired(replace(fleet, nodes=labels))

    (conflict,) = derived.conflicts
    assert (conflict.holder, conflict.left_out) == (f"{ACME}.{SECRET}", f"{EMBARGO}.other")
    assert ACME not in conflict.told(Sight(frozenset({PUBLIC, EMBARGO})), "this chain")


def test_a_label_that_would_make_spaces_meet_is_refused_without_names(shared: Fleet) -> None:
    """Whoever labels nodes need not be a member of either."""
    spec = a_spec("other", order=30, space=EMBARGO, labels={"role": "edge"})
    with_edge = replace(shared, nodes={**shared.nodes, "n2": a_node("n2", role="edge")})
    fleet = applied(with_edge, spec, at=3)

    with pytest.raises(ChainConflictError) as caught:
        refuse_label_conflicts(
            fleet, a_node_record("n1"), NodeLabels(node="n1", labels={"role": "edge"})
        )

    assert not {SECRET, ACME, EMBARGO, "other"} & set(text(caught.value.refusal()).split('"'))


def test_a_taken_place_is_told_without_a_name(shared: Fleet) -> None:
    """A public deployment that wants the place of one that is not public."""
    with pytest.raises(ChainConflictError) as caught:
        draft_application(shared, a_spec("third", order=10), a_package(), a_command(3))

    said = text(caught.value.refusal())
    assert UNSEEN in said
    assert SECRET not in said


def test_link_options_that_contradict_are_told_without_a_name() -> None:
    """Who wants it otherwise is not said."""
    fleet = seen_by(a_fleet(), p_acme=["ann"])
    fleet = applied(fleet, a_secret(link=LinkWishes(attach="native")), at=1)

    with pytest.raises(ChainConflictError) as caught:
        draft_application(
            fleet,
            a_spec("third", order=30, link=LinkWishes(attach="generic")),
            a_package(),
            a_command(2),
        )

    said = text(caught.value.refusal())
    assert UNSEEN in said
    assert SECRET not in said


def test_what_is_not_seen_cannot_be_removed_as_what_never_was() -> None:
    """One way, one answer."""
    missing = a_fleet()
    hidden = replace(applied(seen_by(a_fleet(), p_acme=["ann"]), a_secret()), deployments={})

    said = []
    for fleet in (missing, hidden):
        with pytest.raises(UnknownDeploymentError) as caught:
            draft_removal(fleet, f"{ACME}.{SECRET}", a_command(2))
        said.append(text(caught.value.refusal()))

    assert said[0] == said[1]


def test_a_plan_shows_places_that_are_not_seen_and_nothing_else_of_them(shared: Fleet) -> None:
    """So that one knows that there is something, and where."""
    spec = a_spec("third", order=30)

    draft = draft_application(shared, spec, a_package(), a_command(3), sight=BOB)

    (chain,) = draft.plan.chains
    shown = [(one.deployment, one.order, one.restricted) for one in chain.programs]
    assert shown == [("", 10, True), ("edge", 20, False), ("third", 30, False)]
    assert SECRET not in text(draft.plan)
    assert ACME not in text(draft.plan)


def test_a_members_plan_shows_everything(shared: Fleet) -> None:
    """With the key that says in which space it is."""
    after = removed(shared, "edge", at=3).desired

    (chain,) = planned_chains(chains_with(("edge",), shared.desired, after), ANN)

    assert [one.deployment for one in chain.programs] == [f"{ACME}.{SECRET}", "edge"]


@pytest.mark.parametrize(
    "error", [RefusedError("p_acme.quiet-fix is wrong"), FaultError("p_acme.quiet-fix is wrong")]
)
def test_a_node_that_cannot_load_a_chain_does_not_tell_what_is_in_it(
    shared: Fleet, error: RefusedError | FaultError
) -> None:
    """A public deployment meets a restricted one, and the joint program does not load."""
    draft = draft_application(shared, a_spec("third", order=30), a_package(), a_command(3))

    told_to_all = seen_errors({"n1": error}, draft.staging, BOB)["n1"]
    told_to_members = seen_errors({"n1": error}, draft.staging, ANN)["n1"]

    assert SECRET not in text(told_to_all.refusal())
    assert type(told_to_all) is type(error)
    assert told_to_members is error


def _refusing(fleet: Fleet) -> dict[str, ObservedNode]:
    why = Refusal(
        code="verifier_rejected",
        message="p_acme.quiet-fix is refused",
        reasons=(Reason(path="chain[0] p_acme.quiet-fix", rule="too many instructions"),),
    )
    return {name: observing(node, refusal=why) for name, node in fleet.desired.items()}


def test_status_of_a_public_deployment_says_nothing_of_the_other(shared: Fleet) -> None:
    """Its place runs or is refused; the kernel's words about the chain are the members'."""
    record = shared.deployments["edge"]

    for observed in (all_observing(shared), _refusing(shared)):
        status = deployment_status(record, shared, observed, silences={}, sight=BOB)
        assert SECRET not in text(status)
        assert ACME not in text(status)

    running = deployment_status(record, shared, all_observing(shared), silences={}, sight=BOB)
    assert [place.state for place in running.places] == ["running"]
    refused = deployment_status(record, shared, _refusing(shared), silences={}, sight=BOB)
    assert [place.why[0].rule for place in refused.places] == [WITHHELD]
    known = deployment_status(record, shared, _refusing(shared), silences={}, sight=ANN)
    assert known.places[0].why[0].rule == "p_acme.quiet-fix is refused"


def test_a_node_is_shown_as_far_as_one_sees(shared: Fleet) -> None:
    """Digests, tag and cause of a joint chain are left out too."""
    observed, record = all_observing(shared)["n1"], a_node_record("n1")

    strangers = node_status(record, shared, observed, ALIVE, BOB)
    members = node_status(record, shared, observed, ALIVE, ANN)

    assert SECRET not in text(strangers)
    assert [one.restricted for one in strangers.chains[0].programs] == [True, False]
    assert (strangers.chains[0].program_tag, strangers.chains[0].program_id) == ("", 7)
    assert members.chains == observed.chains


def test_the_end_of_a_public_command_tells_nothing_of_the_other(shared: Fleet) -> None:
    """The event goes to everybody, whoever gave the command."""
    (ending,) = endings(shared.deployments["edge"], shared, _refusing(shared))

    assert ending.body.outcome == "failed"
    assert SECRET not in text(ending.body)


def test_the_end_of_a_spaces_own_command_says_why(shared: Fleet) -> None:
    """Its event goes to the members."""
    (ending,) = endings(shared.deployments[f"{ACME}.{SECRET}"], shared, _refusing(shared))

    assert ending.body.deployment == f"{ACME}.{SECRET}"
    assert "too many instructions" in text(ending.body.reasons)


def test_no_node_gets_what_it_would_show_to_everybody() -> None:
    """An executor of a release that knows no spaces has no part in one."""
    former = replace(a_node(), features={})

    with pytest.raises(NoEligibleNodeError) as caught:
        draft_application(
            seen_by(a_fleet(former), p_acme=["ann"]), a_secret(), a_package(), a_command()
        )

    assert "shows everybody what it runs" in text(caught.value.refusal())


def test_what_is_revoked_in_a_space_is_not_told_to_others(shared: Fleet) -> None:
    """The same archive, published in public too, goes on there."""
    archive = a_package().signed.archive_sha256
    within = RevokedVersion(
        package="rate-limit", version="1.0.0", archive_sha256=archive, at="", why="", space=ACME
    )

    assert affected(shared, [within]) == []
    assert [one.record.key for one in affected(opened(shared, ACME), [within])] == ["edge"]
    everywhere = msgspec.structs.replace(within, space=PUBLIC)
    assert [one.record.key for one in affected(shared, [everywhere])] == ["edge"]


def test_an_unknown_space_is_refused_without_its_name() -> None:
    """What one typed may be a name that others must not read in the log."""
    assert text(UnknownSpaceError().refusal()) == text(UnknownSpaceError().refusal())
    assert "got" not in text(UnknownSpaceError().refusal())
