# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How deployments that meet in one chain come to one way of linking and attaching it."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.hook_terms import UnfitTermsError, refuse_unfit_terms
from services.scheduler.link_options import SharedOptions
from services.scheduler.place_conflicts import ChainConflictError
from services.scheduler.status import view_places
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.link_options import LinkOptions, LinkWishes
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_package,
    a_spec,
    applied,
    removed,
    rules,
)


def options(fleet: Fleet, node: str = "n1") -> LinkOptions:
    """Of the one chain of a node."""
    (chain,) = fleet.desired[node].chains
    return chain.link


def with_link(name: str, *, order: int, **wishes: Any) -> DeploymentSpec:
    """A deployment for XDP that wishes this."""
    return a_spec(name, order=order, link=LinkWishes(**wishes))


def test_what_nobody_says_is_the_default() -> None:
    """A chain of deployments without wishes is linked as always."""
    assert options(applied(a_fleet(), a_spec("one"))) == LinkOptions()


def test_what_is_not_said_follows_what_is() -> None:
    """Each option is taken from whoever named it."""
    fleet = applied(a_fleet(), with_link("one", order=1, attach="generic"), at=1)
    fleet = applied(fleet, with_link("two", order=2, counters=False), at=2)

    assert options(fleet) == LinkOptions(attach="generic", counters=False)


def test_options_go_with_the_deployment_that_asked_for_them() -> None:
    """A chain without it is linked as the others wish."""
    fleet = applied(a_fleet(), with_link("one", order=1, attach="generic"), at=1)
    fleet = applied(fleet, a_spec("two", order=2), at=2)

    fleet = removed(fleet, "one", at=3)

    assert options(fleet) == LinkOptions()


def test_a_contradiction_is_refused_and_names_both_deployments() -> None:
    """The refusal says where, which option, and who wants what."""
    fleet = applied(a_fleet(), with_link("one", order=1, attach="native", counters=True), at=1)

    with pytest.raises(ChainConflictError) as caught:
        draft_application(
            fleet,
            with_link("two", order=2, attach="generic", counters=False),
            a_package(),
            a_command(2),
        )

    assert caught.value.refusal_code == "conflict"
    assert caught.value.message == "two wants a chain linked or attached in another way than one"
    agree = "the deployments of eth0/xdp on n1 must agree on"
    assert [one.rule for one in caught.value.reasons] == [
        f"{agree} link.attach, which one wants native and two generic",
        f"{agree} link.counters, which one wants true and two false",
    ]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"attach": "cls_bpf"}, {"position": "first"}, "link.attach, which one wants cls_bpf"),
        ({"position": "first"}, {"attach": "cls_bpf"}, "link.position, which one wants first"),
        ({"attach": "cls_bpf"}, {"end_verdict": "ok"}, "and two link.end_verdict ok"),
        ({"end_verdict": "ok"}, {"attach": "cls_bpf"}, "and two link.attach cls_bpf"),
        ({"counters": False}, {"time_sample_period": 8}, "and two link.time_sample_period 8"),
    ],
)
def test_options_that_exclude_each_other_are_refused_whoever_says_them(
    first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    """None of two deployments' wishes is left out in silence."""
    options = SharedOptions()
    options.join("one", LinkWishes(**first))

    (found,) = options.join("two", LinkWishes(**second))

    assert words in found.told(str)
    assert options.settled() == LinkOptions(**first)


def test_deployments_that_do_not_meet_need_not_agree() -> None:
    """Each node has chains of its own."""
    fleet = a_fleet(a_node("n1", side="a"), a_node("n2", side="b"))
    fleet = applied(fleet, a_spec("one", labels={"side": "a"}, link=LinkWishes(attach="native")))
    fleet = applied(
        fleet, a_spec("two", labels={"side": "b"}, link=LinkWishes(attach="generic")), at=2
    )

    assert options(fleet, "n1").attach == "native"
    assert options(fleet, "n2").attach == "generic"


def test_a_contradiction_that_comes_with_a_node_leaves_the_newer_deployment_out() -> None:
    """Its status says on what they do not agree."""
    fleet = a_fleet(a_node("n1", a="1"), a_node("n2", b="1"))
    older = a_spec("older", order=1, labels={"a": "1"}, link=LinkWishes(attach="native"))
    newer = a_spec("newer", order=2, labels={"b": "1"}, link=LinkWishes(attach="generic"))
    fleet = applied(applied(fleet, older, at=1), newer, at=2)
    meeting = a_node("n3", a="1", b="1")
    fleet = Fleet(deployments=fleet.deployments, nodes={"n3": meeting}, desired={})

    derived = derive_desired(fleet)
    (view,) = view_places(fleet.deployments["newer"], fleet, {}, derived.conflicts)

    (chain,) = derived.desired["n3"].chains
    assert [program.deployment for program in chain.programs] == ["older"]
    assert "link.attach, which older wants native and newer generic" in view.why[0].rule


def test_a_change_of_options_alone_is_no_change_of_configuration_only() -> None:
    """The plan says what the chain gets."""
    fleet = applied(a_fleet(), a_spec("one"), at=1)

    draft = draft_application(
        fleet, a_spec("one", link=LinkWishes(counters=False)), a_package(), a_command(2)
    )

    (chain,) = draft.plan.chains
    assert not chain.configuration_only
    assert chain.link == LinkOptions(counters=False)


@pytest.mark.parametrize(
    ("hook", "wishes", "paths"),
    [
        ("xdp", {"end_verdict": "ok", "position": "first"}, {"link.end_verdict", "link.position"}),
        ("xdp", {"attach": "tcx"}, {"link.attach"}),
        ("tc-ingress", {"frags": "on", "take_over": True}, {"link.frags", "link.take_over"}),
        ("tc-egress", {"attach": "native"}, {"link.attach"}),
        ("tc-egress", {"attach": "cls_bpf", "position": "first"}, {"link.position"}),
        ("tc-egress", {"attach": "cls_bpf", "end_verdict": "ok"}, {"link.end_verdict"}),
        ("tc-egress", {"attach": "cls_bpf", "end_verdict": "unspec"}, {"link.end_verdict"}),
        ("xdp", {"time_sample_period": 100}, {"link.time_sample_period"}),
        ("xdp", {"time_sample_period": 64, "counters": False}, {"link.time_sample_period"}),
    ],
)
def test_options_that_do_not_fit_are_refused_together(
    hook: str, wishes: dict[str, Any], paths: set[str]
) -> None:
    """Every one of them has its reason."""
    with pytest.raises(UnfitTermsError) as caught:
        refuse_unfit_terms(a_spec("one", hook=hook, link=LinkWishes(**wishes)))

    assert set(rules(caught.value.reasons)) == paths
