# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why a chain is what it is, in words; what revisions and trials add to history and plan."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console, RenderableType

from cli.history import history_of, render_difference, render_history
from cli.plan_view import render_plan
from cli.revision_difference import kept_revision, revision_difference
from cli.why import render_reasons
from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYBODYS, EVERYTHING, Audiences
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.desired_state import Fleet
from services.scheduler.plan_difference import with_estimates, with_trials
from services.scheduler.status import deployment_status
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import StagedChain
from shared.contracts.scheduler import DeploymentStatus
from shared.contracts.selectors import InterfaceSelector, LabelRule
from shared.errors import RefusedError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    applied,
    counted,
    observing,
    removed,
    told,
)


def _shown(part: RenderableType) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(part)
    return text.getvalue()


def _why(fleet: Fleet, place: str = "eth0") -> str:
    found = chain_reasons(fleet, fleet.nodes["n1"], place, hook=None, sight=EVERYTHING)
    return _shown(render_reasons(found))


def _status(fleet: Fleet) -> DeploymentStatus:
    return deployment_status(fleet.deployments["edge"], fleet, {}, silences={})


def test_a_program_is_there_for_reasons_that_are_told() -> None:
    """Of the node, of the interface, of its place, and of who asked for it."""
    zone = LabelRule(label="zone", operator="in", values=("fra", "ams"))
    fleet = applied(
        a_fleet(a_node("n1", role="edge", zone="fra", uplink="eth0")),
        a_spec(
            labels={"role": "edge"},
            names=("n*",),
            rules=(zone,),
            percent=100,
            interfaces=(InterfaceSelector(label="uplink"),),
            order=20,
            owner="net-team",
            expiry="2027-01-01T00:00:00Z",
            link=LinkWishes(attach="generic"),
        ),
    )

    told = _why(fleet)

    for words in (
        "20 edge revision 1: rate-limit 1.0.0",
        "place 20: the deployment says so",
        "name matches n*; label role is edge; zone in fra, ams; place ",
        "label uplink",
        "operator UACTOR 2026-01-01T00:00:01",
        "net-team",
        "2027-01-01T00:00:00Z",
        "link.attach = generic: edge",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"labels": {"role": "edge"}}, "it has no label role"),
        ({"interfaces": ("wan*",)}, "it is for the interfaces wan*"),
        ({"names": ("n2",)}, "its name matches none of n2"),
        ({"order": 500}, "place 500 of eth0/xdp is claimed by base and edge"),
    ],
)
def test_who_is_not_there_has_the_first_reason(fields: dict[str, object], why: str) -> None:
    """A deployment that holds the place of another is among them."""
    nodes = (a_node("n1", "eth0"), a_node("n2", "eth0", "wan0", role="edge"))
    other = applied(a_fleet(*nodes), a_spec("base"), at=1)
    fleet = a_fleet(*nodes)
    fleet = applied(fleet, a_spec("edge", **fields), at=2)
    both = replace(other, deployments={**other.deployments, **fleet.deployments})

    told = _why(both)

    assert "500 base revision 1" in told
    assert f"not here: edge (xdp): {why}" in told


def test_an_interface_that_is_away_keeps_its_chain_and_that_is_said() -> None:
    """And one that never was has none."""
    fleet = applied(a_fleet(), a_spec())
    away = replace(fleet, nodes={"n1": a_node("n1", "lo")})

    assert "eth0, and it is away" in _why(away)
    assert "n1 eth7: no deployment is here" in _why(fleet, "eth7")
    assert "the node has no such interface now" in _why(fleet, "eth7")


def test_what_is_in_a_space_is_a_place_to_others() -> None:
    """Neither its name nor that it asks for anything is told."""
    hidden = Audiences(members={"p_acme": ("somebody",)})
    fleet = replace(a_fleet(), audiences=hidden)
    for number, spec in enumerate(
        (a_spec("guard", space="p_acme", order=3, link=LinkWishes(counters=False)), a_spec()), 1
    ):
        draft = draft_application(fleet, spec, a_package(), a_command(number))
        fleet = told(fleet.with_deployment(draft.record))

    found = chain_reasons(fleet, fleet.nodes["n1"], "eth0", hook="xdp", sight=EVERYBODYS)
    text = msgspec.json.encode(found).decode() + _shown(render_reasons(found))

    assert "3 restricted" in text
    assert "guard" not in text
    assert found.hooks[0].link_reasons == ()


def _three_revisions() -> Fleet:
    fleet = applied(a_fleet(), a_spec(order=1, config={"limits": {"80": 1}}), at=1)
    fleet = applied(fleet, a_spec(order=1, config={"limits": {"80": 2, "443": 5}}), at=2)
    return applied(fleet, a_spec(before=("package:x",)), version="1.1.0", at=3)


def test_revisions_differ_field_by_field() -> None:
    """A field that was left out is named as such, and lists are compared whole."""
    status = _status(_three_revisions())
    first, second, third = status.revisions

    found = revision_difference("edge", first, second)
    changes = revision_difference("edge", second, third).changes
    later = {one.path: (one.before, one.after) for one in changes}

    assert [(one.path, one.before, one.after) for one in found.changes] == [
        ("config.limits.80", 1, 2),
        ("config.limits.443", None, 5),
    ]
    assert later["order"] == (1, None)
    assert later["before"] == (None, ("package:x",))
    assert later["resolved version"] == ("1.0.0", "1.1.0")
    assert "left out" in _shown(render_difference(found))
    assert "are the same" in _shown(render_difference(revision_difference("edge", first, first)))


def test_a_history_is_told_newest_first() -> None:
    """Of each revision what it changed; of a removed deployment that it was."""
    fleet = removed(_three_revisions(), "edge", at=4)
    status = _status(fleet)

    found = history_of(status)
    text = _shown(render_history(found))

    assert [one.revision for one in found.revisions] == [3, 2, 1]
    assert "edge: generation 4, removed" in text
    assert "config.limits.443: left out -> 5" in text
    assert found.revisions[-1].changes == ()
    cut = msgspec.structs.replace(status, revisions=status.revisions[1:])
    assert history_of(cut).revisions[-1].changes is None
    assert "the one before is not kept" in _shown(render_history(history_of(cut)))


def test_a_revision_that_is_not_kept_is_refused_with_those_that_are() -> None:
    """By the argument that named it."""
    with pytest.raises(RefusedError) as caught:
        kept_revision(_status(_three_revisions()), 9, path="before")

    (reason,) = caught.value.reasons
    assert (reason.path, reason.allowed) == ("before", [1, 2, 3])


def test_a_plan_has_what_nodes_found_when_they_tried_it() -> None:
    """Instructions of each program and of the verifier; of a chain not seen whole, of one's own."""
    fleet = applied(a_fleet(), a_spec("base", order=1))
    draft = draft_application(fleet, a_spec(), a_package(), a_command(2))
    (seen,) = observing(draft.desired["n1"]).chains
    trial = StagedChain(
        interface="eth0",
        hook="xdp",
        plan_sha256="",
        verified_instructions=700,
        programs=tuple(
            msgspec.structs.replace(one, instructions=7, object_sha256="f" * 64)
            for one in seen.programs
        ),
    )
    hidden = tuple(
        msgspec.structs.replace(
            chain,
            programs=tuple(
                msgspec.structs.replace(one, restricted=one.deployment == "base")
                for one in chain.programs
            ),
        )
        for chain in draft.plan.chains
    )

    (whole,) = with_trials(draft.plan.chains, {"n1": (trial,)})
    (part,) = with_trials(hidden, {"n1": (trial,)})
    (untried,) = with_trials(draft.plan.chains, {})

    assert [one.instructions for one in whole.programs] == [7, 7]
    assert whole.verified_instructions == 700
    assert [one.instructions for one in part.programs] == [0, 7]
    assert (part.verified_instructions, untried.verified_instructions) == (0, 0)


def test_what_no_node_tried_has_what_its_bytes_say() -> None:
    """Marked as such; what was tried, removed or is of a source has what it had."""
    fleet = applied(a_fleet(), a_spec("base", order=1))
    draft = draft_application(fleet, a_spec(), counted(a_package(), 190), a_command(2))
    deployments = {**fleet.deployments, draft.record.key: draft.record}
    (chain,) = draft.plan.chains
    tried = msgspec.structs.replace(
        chain,
        programs=tuple(msgspec.structs.replace(one, instructions=7) for one in chain.programs),
    )
    gone = msgspec.structs.replace(
        chain,
        programs=tuple(msgspec.structs.replace(one, change="removed") for one in chain.programs),
    )

    found = [
        [(one.instructions, one.is_estimate) for one in shown.programs]
        for shown in with_estimates((chain, tried, gone), deployments, fleet.nodes)
    ]

    assert found == [
        [(0, False), (190, True)],
        [(7, False), (7, False)],
        [(0, False), (0, False)],
    ]
    (untried, *_) = with_estimates((chain,), deployments, fleet.nodes)
    said = render_plan(msgspec.structs.replace(draft.plan, chains=(untried,)))
    assert "~190" in _shown(said)
