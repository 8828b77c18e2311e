# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said where a package's platforms, kernels or order decide."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.place_conflicts import ChainConflictError
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentRevision, DeploymentSpec
from shared.contracts.package_manifest import Needs, ProgramEntry
from shared.contracts.scheduler import ExcludedNode
from shared.validation import decode_document
from tests.fleets import a_command, a_fleet, a_node, a_package, a_program, a_spec, told


def a_version(program: ProgramEntry, needed: Needs) -> PackageVersion:
    """A published package of one program that needs this."""
    return a_package(programs=[program], maps={}, metrics={}, needs=needed)


def test_a_node_without_an_object_is_left_out_with_the_platforms_that_have_one() -> None:
    """The reason says what the node is and what the package is for."""
    program = a_program(object="", objects={"linux-x86_64": "a.o", "linux-aarch64": "b.o"})
    nodes = [
        replace(a_node("n1"), platform="linux-x86_64"),
        replace(a_node("n2"), platform="linux-riscv64"),
        a_node("n3"),
    ]

    plan = draft_application(
        a_fleet(*nodes), a_spec(), a_version(program, Needs()), a_command()
    ).plan

    made_for = "and the package is for linux-aarch64 and linux-x86_64"
    assert plan.excluded == (
        ExcludedNode(node="n2", why=f"it is linux-riscv64, {made_for}"),
        ExcludedNode(node="n3", why=f"it is of no known platform, {made_for}"),
    )


def test_a_node_outside_the_range_of_kernels_is_left_out_with_the_range() -> None:
    """The reason names its release and what is needed."""
    nodes = [replace(a_node("n1"), kernel="6.1.0"), replace(a_node("n2"), kernel="5.10.0-28-amd64")]
    needed = Needs(kernel=">=5.15,<7", features=())

    plan = draft_application(
        a_fleet(*nodes), a_spec(), a_version(a_program(), needed), a_command()
    ).plan

    why = "its kernel is 5.10.0-28-amd64, and the package needs >=5.15,<7"
    assert plan.excluded == (ExcludedNode(node="n2", why=why),)


def test_a_package_that_moves_its_program_is_warned_of() -> None:
    """Where the deployment states no order, the plan says that another version has another."""
    old = a_version(a_program(order=100), Needs())
    new = a_version(a_program(order=200), Needs())
    fleet = a_fleet()
    fleet = told(
        fleet.with_deployment(draft_application(fleet, a_spec(), old, a_command(1)).record)
    )

    plan = draft_application(fleet, a_spec(), new, a_command(2)).plan
    stated = draft_application(fleet, a_spec(order=100), new, a_command(2)).plan

    moved = "its place in the chain changes from 100 to 200"
    why = "the deployment states no order, and the package decides"
    assert plan.warnings == (f"{moved}: {why}",)
    assert [place.order for place in plan.chains[0].programs] == [200]
    assert plan.chains[0].programs[0].has_packages_order
    assert stated.warnings == ()


def test_two_packages_of_one_place_are_refused_and_both_deployments_named() -> None:
    """A default place is a place: nobody is put somewhere else in silence."""
    fleet = a_fleet()
    version = a_version(a_program(order=100), Needs())
    fleet = told(
        fleet.with_deployment(
            draft_application(fleet, a_spec("first"), version, a_command(1)).record
        )
    )

    with pytest.raises(ChainConflictError) as caught:
        draft_application(fleet, a_spec("second"), version, a_command(2))

    assert caught.value.message == "second claims a place in a chain that first already has"


def test_records_of_earlier_releases_keep_their_places() -> None:
    """What was stored without a package's order runs where it ran, stated or at 500."""
    fleet = a_fleet()
    stored = {}
    for name, order in (("stated", 7), ("silent", None)):
        spec = a_spec(name, order=order)
        draft = draft_application(fleet, spec, a_version(a_program(), Needs()), a_command(1))
        data = msgspec.json.encode(draft.record.revisions[-1])
        assert b"has_packages_order" not in msgspec.json.encode(draft.desired["n1"])
        stored[name] = msgspec.json.decode(data, type=DeploymentRevision)
        assert decode_document(msgspec.json.encode(spec), DeploymentSpec, what="spec") == spec

    assert {name: revision.order for name, revision in stored.items()} == {
        "stated": 7,
        "silent": 500,
    }
