# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs a version is read back, and what a revocation would do is what it does."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.scheduler.audiences import EVERYTHING, Audiences, Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.usage import (
    Replacement,
    concerned,
    fleet_usage,
    package_impact,
    package_users,
    used_places,
)
from shared.contracts.node import REDACTION, ObservedNode
from shared.contracts.usage import PackageImpact, PackageUsers, UsedPlace
from shared.errors import Reason
from tests.fleets import a_fleet, a_node, a_spec, all_observing, applied, removed, told

SECRET = "r_0123456789abcdef"


def _users(
    fleet: Fleet,
    observed: dict[str, ObservedNode],
    *,
    version: str = "",
    after: str = "",
    limit: int = 100,
    sight: Sight = EVERYTHING,
) -> PackageUsers:
    places = used_places("rate-limit", fleet, observed, sight)
    return package_users(places, name="rate-limit", version=version, after=after, limit=limit)


def _impact(
    fleet: Fleet,
    *replacements: Replacement,
    version: str = "1.0.0",
    sight: Sight = EVERYTHING,
) -> PackageImpact:
    hit = concerned(fleet, name="rate-limit", version=version, sight=sight)
    places = used_places("rate-limit", fleet, all_observing(fleet), sight)
    others = replacements or (Replacement(),) * len(hit)
    return package_impact(
        zip(hit, others, strict=True),
        places,
        fleet,
        name="rate-limit",
        version=version,
        sight=sight,
    )


def test_what_runs_is_what_was_read_back() -> None:
    """Beside what shall run, which the nodes have not heard of yet."""
    before = told(applied(a_fleet(a_node("n1"), a_node("n2")), a_spec()))
    after = told(applied(before, a_spec(), version="1.1.0", at=2))

    found = _users(after, all_observing(before))

    assert [(one.node, one.running, one.told) for one in found.places] == [
        ("n1", "1.0.0", "1.1.0"),
        ("n2", "1.0.0", "1.1.0"),
    ]
    assert [(one.version, one.nodes_running, one.nodes_told) for one in found.versions] == [
        ("1.1.0", 0, 2),
        ("1.0.0", 2, 0),
    ]


def test_what_was_removed_is_used_until_the_node_let_go() -> None:
    """And not after that."""
    before = told(applied(a_fleet(), a_spec()))
    after = told(removed(before, "edge", at=2))

    (place,) = _users(after, all_observing(before)).places
    assert (place.running, place.told) == ("1.0.0", "")
    assert _users(after, all_observing(after)).places == ()


def test_pages_follow_one_another_without_gap_or_repeat() -> None:
    """Whatever the length of a page."""
    fleet = applied(a_fleet(*(a_node(f"n{number}") for number in range(7))), a_spec())
    fleet = told(applied(fleet, a_spec("other", order=7), at=2))
    observed = all_observing(fleet)
    whole = _users(fleet, observed).places

    for limit in (1, 3, 7, 14):
        found: list[UsedPlace] = []
        after = ""
        while True:
            page = _users(fleet, observed, after=after, limit=limit)
            found += page.places
            after = page.next
            if not after:
                break
        assert tuple(found) == whole


def test_one_version_is_asked_for_alone() -> None:
    """Where it runs, and where it shall."""
    fleet = told(applied(a_fleet(), a_spec()))

    assert len(_users(fleet, all_observing(fleet), version="1.0.0").places) == 1
    assert _users(fleet, all_observing(fleet), version="2.0.0").places == ()


@pytest.mark.parametrize(
    ("on_revoked", "replacement", "does"),
    [
        ("alarm", Replacement(), "alarm"),
        ("stop", Replacement(), "stop"),
        ("replace:^1.1", Replacement("1.1.0"), "replace"),
        ("replace:^9", Replacement(why_not=(Reason(path="constraint", rule="no"),)), "alarm"),
    ],
)
def test_a_deployment_does_what_it_says(
    on_revoked: str, replacement: Replacement, does: str
) -> None:
    """A replacement that cannot be had is an alarm, with the reasons."""
    fleet = told(applied(a_fleet(), a_spec(on_revoked=on_revoked)))

    (one,) = _impact(fleet, replacement).deployments

    assert (one.does, one.replacement, one.why_not) == (
        does,
        replacement.version,
        replacement.why_not,
    )
    assert (one.nodes, one.emptied) == (("n1",), 1 if does == "stop" else 0)


def test_a_hook_point_with_others_on_it_is_not_emptied() -> None:
    """Only where the version is alone nothing is left."""
    fleet = applied(a_fleet(), a_spec(on_revoked="stop"))
    fleet = told(applied(fleet, a_spec("other", package="port-count", order=7), at=2))

    (one,) = _impact(fleet).deployments

    assert (one.deployment, one.emptied) == ("edge", 0)


def test_what_could_be_brought_back_is_said() -> None:
    """A deployment that moved on cannot go back to a version that is revoked."""
    fleet = applied(a_fleet(), a_spec())
    fleet = told(applied(fleet, a_spec(), version="1.1.0", at=2))

    found = _impact(fleet)

    assert (found.deployments, found.rollbacks) == ((), ("edge",))


def test_what_nobody_runs_breaks_nothing() -> None:
    """Neither another version nor another package counts."""
    fleet = told(applied(a_fleet(), a_spec()))

    assert _impact(fleet, version="2.0.0") == PackageImpact(
        name="rate-limit", version="2.0.0", node_count=0
    )


def test_deployments_that_are_not_seen_are_not_counted() -> None:
    """Neither by name nor in any number."""
    node = replace(a_node(), features={REDACTION: True})
    audiences = Audiences(members={SECRET: ("eve",)})
    fleet = applied(replace(a_fleet(node), audiences=audiences), a_spec("hidden", space=SECRET))
    fleet = replace(fleet, audiences=audiences)
    observed = all_observing(fleet)

    for sight, count in ((Sight(), 0), (fleet.audiences.seen_by("eve"), 1)):
        found = _users(fleet, observed, sight=sight)
        assert (len(found.places), len(found.versions)) == (count, count)
        assert len(_impact(fleet, sight=sight).deployments) == count
        assert _impact(fleet, sight=sight).node_count == count
        assert len(_impact(fleet, sight=sight, version="0.9.0").rollbacks) == 0


def test_the_catalog_is_told_numbers_by_space() -> None:
    """A node counts once for each version."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec(interfaces=("eth0",)))
    fleet = told(applied(fleet, a_spec("other", order=7), at=2))

    (use,) = fleet_usage(all_observing(fleet), after="").uses

    assert msgspec.to_builtins(use) == {"package": "rate-limit", "version": "1.0.0", "nodes": 2}
