# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what packages say of platforms, kernels, features and order, for every fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import Draft, draft_application
from services.scheduler.desired_state import Fleet
from services.scheduler.placement import NodeView
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DEFAULT_ORDER
from shared.contracts.package_manifest import Needs, PlatformKey, ProgramEntry
from shared.errors import RefusedError
from shared.kernel_versions import is_in_range
from tests.fleets import a_command, a_fleet, a_node, a_package, a_program, a_spec, told

PLATFORMS = get_args(PlatformKey)
KERNELS = ("4.18.0-553.el8", "5.15.0-91-generic", "6.18.2", "unknown")

programs = st.builds(
    lambda keys, other, order: a_program(
        objects={key: f"{key}.o" for key in keys},
        object="other.o" if other or not keys else "",
        order=order,
    ),
    st.sets(st.sampled_from(PLATFORMS), max_size=3),
    st.booleans(),
    st.none() | st.integers(0, 1000),
)
fleets = st.lists(
    st.tuples(
        st.sampled_from((*PLATFORMS, "linux-s390x", "")),
        st.sampled_from(KERNELS),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
).map(
    lambda nodes: [
        replace(a_node(f"n{number}"), platform=platform, kernel=kernel, features={"extra": has})
        for number, (platform, kernel, has) in enumerate(nodes)
    ]
)
needs = st.builds(
    Needs,
    kernel=st.sampled_from(("", ">=5", ">=5.15,<6", "<5")),
    features=st.sampled_from(((), ("extra",))),
)


def a_version(program: ProgramEntry, needed: Needs) -> PackageVersion:
    """A published package of one program that needs this."""
    return a_package(programs=[program], maps={}, metrics={}, needs=needed)


def can_run(node: NodeView, program: ProgramEntry, needed: Needs) -> bool:
    """What the rules say, written in another way than the code."""
    has_object = node.platform in program.objects or bool(program.object)
    has_features = all(node.features.get(name) for name in needed.features)
    return has_object and has_features and is_in_range(node.kernel, needed.kernel)


def drafted(
    fleet: Fleet, version: PackageVersion, order: int | None = None
) -> tuple[Draft | None, set[str]]:
    """The change, or the paths of why it is refused."""
    try:
        return draft_application(fleet, a_spec(order=order), version, a_command()), set()
    except RefusedError as error:
        return None, {reason.path for reason in error.reasons}


@given(programs, needs, fleets, st.none() | st.integers(0, 1000))
def test_a_node_gets_what_was_made_for_it(
    program: ProgramEntry, needed: Needs, nodes: list[NodeView], stated: int | None
) -> None:
    """A node that can run it has the object of its platform, and any other is left out by name."""
    fleet, able = a_fleet(*nodes), {one.name for one in nodes if can_run(one, program, needed)}
    draft, refusal = drafted(fleet, a_version(program, needed), stated)
    if draft is None:
        assert refusal == {f"nodes.{one.name}" for one in nodes}
        assert not able
        return

    assert set(draft.desired) == able
    assert {one.node for one in draft.plan.excluded} == {one.name for one in nodes} - able
    packaged = DEFAULT_ORDER if program.order is None else program.order
    for name, desired in draft.desired.items():
        (chain,) = desired.chains
        (placed,) = chain.programs
        wanted = program.object_on(fleet.nodes[name].platform)
        assert placed.object == wanted != ""
        assert placed.order == (packaged if stated is None else stated)
        assert placed.has_packages_order == (stated is None and program.order is not None)


@given(programs, fleets, st.sampled_from(PLATFORMS))
def test_a_node_that_came_back_as_another_platform_never_runs_a_foreign_object(
    program: ProgramEntry, nodes: list[NodeView], other: str
) -> None:
    """A place that is held keeps its program only while there is an object for the node."""
    draft, _ = drafted(a_fleet(*nodes), a_version(program, Needs()))
    if draft is None:
        return
    before = told(a_fleet(*nodes).with_deployment(draft.record))
    changed = {name: replace(node, platform=other) for name, node in before.nodes.items()}

    after = told(replace(before, nodes=changed))

    assert _objects(after) <= {program.object_on(other)} - {""}


def _objects(fleet: Fleet) -> set[str]:
    return {
        program.object
        for node in fleet.desired.values()
        for chain in node.chains
        for program in chain.programs
    }
