# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Places beside others: what they come to, and who says what if they cannot be."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import Audiences
from services.scheduler.chain_order import OrderError, merge
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.revision_facts import entrant_of
from services.scheduler.status import view_places
from shared.contracts.deployments import DeploymentSpec
from shared.errors import RefusedError
from shared.validation import convert_document
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    applied,
    removed,
    rules,
    told,
)


def _fleet(*specs: DeploymentSpec) -> Fleet:
    fleet = a_fleet()
    for number, spec in enumerate(specs, start=1):
        fleet = applied(fleet, spec, at=number)
    return fleet


def _chain(fleet: Fleet) -> list[tuple[str, int]]:
    (chain,) = fleet.desired["n1"].chains
    return [(one.deployment, one.order) for one in chain.programs]


def test_places_beside_others_need_no_numbers() -> None:
    """They are shown with the number of whom they follow."""
    fleet = _fleet(
        a_spec("limit", order=20),
        a_spec("count", package="port-count", order=10),
        a_spec("guard", after=("package:port-count",), before=("deployment:limit",)),
        a_spec("first", before=("package:port-count",)),
    )

    assert _chain(fleet) == [("first", 0), ("count", 10), ("guard", 10), ("limit", 20)]


def test_a_neighbour_that_is_not_there_says_nothing_until_it_comes() -> None:
    """The plan notes it; when it comes, the chain is as was said, and when it goes as before."""
    fleet = _fleet(a_spec("limit", order=20))
    spec = a_spec("guard", before=("deployment:count", "deployment:limit"))
    draft = draft_application(fleet, spec, a_package(), a_command(2))
    fleet = applied(fleet, spec, at=2)
    came = applied(fleet, a_spec("count", order=10), at=3)

    assert any("deployment:count is in no chain with it" in one for one in draft.plan.warnings)
    assert not any("deployment:limit" in one for one in draft.plan.warnings)
    assert _chain(came) == [("guard", 0), ("count", 10), ("limit", 20)]
    assert _chain(removed(came, "count", at=4)) == _chain(fleet)


def test_contradictory_wishes_are_refused_naming_both_sides() -> None:
    """And who says what."""
    fleet = _fleet(a_spec("limit", before=("deployment:guard",)))

    with pytest.raises(ChainConflictError) as caught:
        applied(fleet, a_spec("guard", before=("deployment:limit",)), at=2)

    (reason,) = caught.value.reasons
    assert caught.value.message == (
        "guard and limit cannot be in one chain in the order that is asked for"
    )
    assert reason.path == "before"
    assert reason.rule == (
        "no order of eth0/xdp on n1 is as all say: guard says before deployment:limit, "
        "limit says before deployment:guard"
    )


def test_a_number_and_a_word_can_contradict_one_another() -> None:
    """Both numbers are told."""
    fleet = _fleet(a_spec("limit", order=20))

    with pytest.raises(ChainConflictError) as caught:
        applied(fleet, a_spec("guard", order=30, before=("deployment:limit",)), at=2)

    assert "limit has place 20 and guard place 30" in caught.value.reasons[0].rule
    assert "guard says before deployment:limit" in caught.value.reasons[0].rule


def test_a_circle_of_three_names_all_of_them() -> None:
    """The shortest that there is."""
    fleet = _fleet(a_spec("aa", before=("deployment:bb",)), a_spec("bb", before=("deployment:cc",)))

    with pytest.raises(ChainConflictError) as caught:
        applied(fleet, a_spec("cc", before=("deployment:aa",)), at=3)

    rule = caught.value.reasons[0].rule
    assert all(f"{one} says before" in rule for one in ("aa", "bb", "cc"))


def test_a_circle_that_comes_about_by_itself_leaves_the_newer_one_out() -> None:
    """Who is in the chain stays, and the status of the other says why."""
    fleet = _fleet(a_spec("limit", before=("deployment:guard",)))
    other = applied(
        a_fleet(a_node("n1", role="edge")),
        a_spec("guard", before=("deployment:limit",), labels={"role": "edge"}),
        at=2,
    )
    both = replace(fleet, deployments={**fleet.deployments, **other.deployments})
    labelled = replace(both, nodes={"n1": a_node("n1", role="edge")})

    derived = derive_desired(labelled)
    (view,) = view_places(labelled.deployments["guard"], told(labelled), {}, derived.conflicts)

    assert _chain(told(labelled)) == [("limit", 0)]
    assert view.state == "failed"
    assert "guard says before deployment:limit" in view.why[0].rule


def test_what_is_said_in_a_space_is_not_told_outside() -> None:
    """Only that somebody says otherwise."""
    audiences = Audiences(members={"p_acme": ("somebody",)})
    fleet = replace(_fleet(), audiences=audiences)
    hidden = a_spec("guard", space="p_acme", before=("deployment:limit",))
    draft = draft_application(fleet, hidden, a_package(), a_command(1))
    fleet = told(fleet.with_deployment(draft.record))

    spec = a_spec("limit", before=("package:rate-limit",))

    with pytest.raises(ChainConflictError) as caught:
        draft_application(fleet, spec, a_package(), a_command(2))

    assert "guard" not in f"{caught.value.message} {caught.value.reasons}"
    assert "a restricted deployment says otherwise" in caught.value.reasons[0].rule


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"before": ("deployment:edge",)}, "before[0]"),
        ({"before": ("package:a",), "after": ("package:b", "package:a")}, "after[1]"),
    ],
)
def test_a_deployment_that_contradicts_itself_is_refused(
    fields: dict[str, tuple[str, ...]], path: str
) -> None:
    """Whoever else is there."""
    with pytest.raises(OrderError) as caught:
        applied(a_fleet(), a_spec("edge", **fields))

    assert set(rules(caught.value.reasons)) == {path}


@pytest.mark.parametrize("one", ["limit", "package:", "deployment:A", "deployment:x y", "pack:a\n"])
def test_a_neighbour_is_a_package_or_a_deployment(one: str) -> None:
    """Anything else is refused with how it is written."""
    document = {"name": "a", "package": "p", "hook": "xdp", "interfaces": ["*"], "after": [one]}

    with pytest.raises(RefusedError) as caught:
        convert_document(document, DeploymentSpec, what="file")

    assert caught.value.reasons[0].path == "after[0]"
    assert "package:NAME" in str(caught.value.reasons[0].allowed)


def test_records_of_earlier_releases_have_numbers() -> None:
    """Their own, their package's, or 500."""
    revision = _fleet(a_spec("limit")).deployments["limit"].revisions[-1]
    stored = msgspec.json.encode(revision)

    assert b"before" not in stored
    assert entrant_of(revision).has_number
    assert entrant_of(revision).number == 500
    assert merge((entrant_of(revision),)).keys == ("limit",)
