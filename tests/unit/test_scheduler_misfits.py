# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that would meet in a chain and do not go together: refused with both sides, or told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import Draft, draft_application
from services.scheduler.desired_state import Fleet
from services.scheduler.joint_plan import draft_all
from services.scheduler.labelling import refuse_label_conflicts
from services.scheduler.place_conflicts import ChainConflictError
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.package_facts import MapFacts, ProgramFacts, ProgramRequirements
from shared.contracts.rollout_policy import DeploymentSelector, PolicyRule, RolloutPolicy
from shared.contracts.scheduler import NodeLabels
from shared.errors import RefusedError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    opened,
    rules,
    seen_by,
    told,
)

FLOWS = MapFacts(
    name="flows",
    type="hash",
    key_size_bytes=4,
    value_size_bytes=8,
    max_entries=16,
    is_pinned_by_name=True,
)
MIXED = RolloutPolicy(
    rules=(
        PolicyRule(
            name="apart",
            deployments=DeploymentSelector(packages=("port-count",)),
            mixed_licences="refuse",
        ),
    )
)


def with_maps(package: PackageVersion, *maps: MapFacts) -> PackageVersion:
    """The version, whose object declares these maps too."""
    (facts,) = package.elf
    return msgspec.structs.replace(
        package, elf=(msgspec.structs.replace(facts, maps=(*facts.maps, *maps)),)
    )


def under(package: PackageVersion, licence: str, *, tells: str) -> PackageVersion:
    """The version, under this licence, whose object tells the kernel `tells`."""
    (facts,) = package.elf
    (program,) = package.manifest.programs
    found = ProgramFacts(
        function=program.function,
        section="xdp",
        instructions=2,
        helpers=(),
        requires=ProgramRequirements(licence=tells),
    )
    return msgspec.structs.replace(
        package,
        manifest=msgspec.structs.replace(package.manifest, licence=licence),
        elf=(msgspec.structs.replace(facts, licence=tells, programs=(found,)),),
    )


def draft(fleet: Fleet, spec: DeploymentSpec, package: PackageVersion | None = None) -> Draft:
    """What the deployment would do."""
    number = len(fleet.deployments) + 1
    return draft_application(fleet, spec, package or a_package(spec.package), a_command(number))


def after(fleet: Fleet, spec: DeploymentSpec, package: PackageVersion | None = None) -> Fleet:
    """The fleet once it was accepted and every node told."""
    return told(fleet.with_deployment(draft(fleet, spec, package).record))


def refusal(
    fleet: Fleet, spec: DeploymentSpec, package: PackageVersion | None = None
) -> ChainConflictError:
    """Why it is refused."""
    with pytest.raises(ChainConflictError) as caught:
        draft(fleet, spec, package)
    return caught.value


def test_nobody_comes_behind_a_program_that_ends_every_way_unasked() -> None:
    """Whichever of the two comes second; the refusal names both, and what would be taken."""
    closing = a_spec("guard", order=1, proceed_on=("drop",))
    behind = a_spec("limit", order=2)
    said = "guard goes on only after drop, so limit behind it at eth0/xdp on n1 would see no packet"
    second = refusal(after(a_fleet(), closing), behind)
    first = refusal(after(a_fleet(), behind), closing)

    assert second.message == "limit does not go into one chain with guard"
    assert rules(second.reasons)["after"].startswith(said)
    assert rules(first.reasons)["proceed_on"].startswith(said)
    assert second.reasons[0].allowed == 'after = ["deployment:guard"] in limit, if that is meant'


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"order": 1}, {"after": ("deployment:guard",)}),
        ({"before": ("package:port-count",)}, {"order": 2}),
        ({"order": 1, "proceed_on": ("drop", "pass")}, {"order": 2}),
        ({"order": 3}, {"order": 2}),
    ],
    ids=["after", "before", "it goes on after others too", "it is the last"],
)
def test_who_is_meant_to_see_what_is_dropped_does(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Named by either side it is accepted."""
    guard = a_spec("guard", **{"proceed_on": ("drop",), **first})
    fleet = after(a_fleet(), guard)

    assert draft(fleet, a_spec("log", package="port-count", **second)).staging


def test_maps_that_two_packages_declare_to_be_one_must_be_alike() -> None:
    """Else both are named, and what differs; of like ones the plan says that they are not one."""
    fleet = after(a_fleet(), a_spec("one", order=1), with_maps(a_package(), FLOWS))
    spec = a_spec("two", package="port-count", order=2)
    wider = msgspec.structs.replace(FLOWS, value_size_bytes=16, max_entries=32)
    alike = draft(fleet, spec, with_maps(a_package("port-count"), FLOWS))
    (reason,) = refusal(fleet, spec, with_maps(a_package("port-count"), wider)).reasons

    assert reason.path == "package"
    assert reason.rule == (
        "one and two at eth0/xdp on n1 both declare the map flows to be one for all, and differ in"
        " its value_size_bytes, max_entries"
    )
    assert any("none sees what the other writes" in one for one in alike.plan.warnings)


def test_versions_of_one_package_may_lay_their_maps_out_differently() -> None:
    """Or no second deployment of a package could be upgraded after the first."""
    wider = msgspec.structs.replace(FLOWS, value_size_bytes=16)
    fleet = after(a_fleet(), a_spec("one", order=1), with_maps(a_package(), FLOWS))

    newer = with_maps(a_package(version="2.0.0"), wider)
    assert not draft(fleet, a_spec("two", order=2), newer).plan.warnings


def test_licences_that_may_not_combine_are_told_and_refused_by_policy() -> None:
    """The rule concerns either side; the kernel would take both."""
    gpl = under(a_package(), "GPL-2.0-only", tells="GPL")
    closed = under(a_package("port-count"), "LicenseRef-Own", tells="Own")
    fleet = after(a_fleet(), a_spec("open", order=1), gpl)
    spec = a_spec("own", package="port-count", order=2)
    met = "open is under the GPL alone and own is not GPL-compatible; at eth0/xdp on n1 they"
    allowed = draft(fleet, spec, closed)
    refused = refusal(replace(fleet, policy=MIXED), spec, closed)
    turned = refusal(
        replace(after(a_fleet(), spec, closed), policy=MIXED), a_spec("open", order=1), gpl
    )

    assert f"{met} are one chain, as kernel programs of their own" in allowed.plan.warnings
    assert rules(refused.reasons)["package"] == (
        f"{met} would be one chain, which rule apart of the rollout policy refuses"
    )
    assert rules(turned.reasons) == rules(refused.reasons)


@pytest.mark.parametrize("licence", ["GPL-2.0-only OR MIT", "MIT"])
def test_code_that_offers_another_licence_is_beside_any(licence: str) -> None:
    """Only code under the GPL alone is asked about."""
    dual = under(a_package(), licence, tells="Dual MIT/GPL")
    closed = under(a_package("port-count"), "LicenseRef-Own", tells="Own")
    fleet = replace(after(a_fleet(), a_spec("open", order=1), dual), policy=MIXED)

    assert not draft(fleet, a_spec("own", package="port-count", order=2), closed).plan.warnings


def test_what_is_together_already_stays_so() -> None:
    """A policy that is set later, or a chain of an earlier release, makes nobody unchangeable."""
    gpl = under(a_package(), "GPL-2.0-only", tells="GPL")
    closed = under(a_package("port-count"), "LicenseRef-Own", tells="Own")
    fleet = after(a_fleet(), a_spec("open", order=1), gpl)
    fleet = after(fleet, a_spec("own", package="port-count", order=2), closed)
    (told_of,) = draft(a_fleet(), a_spec("open", order=1), gpl).plan.chains
    later = replace(fleet, policy=MIXED)
    changed = draft(later, a_spec("open", order=1, config={"limits": {"80": 5}}), gpl)

    assert told_of.programs
    assert changed.staging
    assert not changed.plan.warnings


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_label_brings_nobody_together_who_does_not_go_together(is_allowed: bool) -> None:
    """The refusal names both, as that of a deployment does."""
    words = ("deployment:guard",) if is_allowed else ()
    fleet = a_fleet(a_node("n1"), a_node("n2", role="edge"))
    fleet = after(fleet, a_spec("guard", order=1, proceed_on=("drop",), names=("n1",)))
    fleet = after(fleet, a_spec("limit", order=2, after=words, labels={"role": "edge"}))
    labels = NodeLabels(node="n1", labels={"role": "edge"})

    if is_allowed:
        refuse_label_conflicts(fleet, a_node_record("n1"), labels)
        return
    with pytest.raises(ChainConflictError) as caught:
        refuse_label_conflicts(fleet, a_node_record("n1"), labels)
    assert caught.value.message == (
        "n1: with these labels two deployments do not go into one chain"
    )
    assert rules(caught.value.reasons)["set"].startswith("guard goes on only after drop, so limit")


def test_each_pair_is_told_once_with_how_many_places() -> None:
    """Also if both come with one command."""
    fleet = a_fleet(*(a_node(f"n{number}") for number in range(1, 6)))
    pair = [
        (a_spec("guard", order=1, proceed_on=("drop",)), a_package()),
        (a_spec("limit", order=2), a_package()),
    ]
    with pytest.raises(RefusedError) as caught:
        draft_all(fleet, pair, a_command())

    (reason,) = caught.value.reasons
    assert (caught.value.refusal_code, reason.path) == ("conflict", "guard.proceed_on")
    assert "eth0/xdp on n1 and 4 more places" in reason.rule


def test_a_restricted_side_is_not_named() -> None:
    """Nor what it is or declares."""
    fleet = seen_by(a_fleet(), p_acme=("ada",))
    fleet = after(fleet, a_spec("one", space="p_acme", order=1, proceed_on=("drop",)))
    spec = a_spec("two", order=2)
    (reason,) = refusal(fleet, spec).reasons

    assert reason.rule == "a restricted deployment and two do not go together at eth0/xdp on n1"
    assert "p_acme" in refusal(opened(fleet, "p_acme"), spec).message
