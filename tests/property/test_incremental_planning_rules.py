# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is derived from what changed alone is what would be derived from everything.

Rollouts come as far as chance will have it.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.audiences import Audiences
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from services.scheduler.unfit import stays
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, DeploymentSpec
from shared.contracts.node_overlays import NodeOverlay
from shared.contracts.rollouts import RolloutSpec
from shared.contracts.selectors import NodeSelector
from shared.errors import FaultError, RefusedError
from shared.packed_places import pack_places, unpack_places
from tests.fleets import a_command, a_node, a_package, a_spec
from tests.support.rollout_progress import WAYS, Progress, progressed

NAMES = ("aa", "bb", "cc")
NODES = ("n1", "n2", "n3")
INTERFACES = ("eth0", "wan0")
OVERLAY = NodeOverlay(
    name="as", nodes=NodeSelector(labels={"a": "1"}), config={"limits": {"80": 1}}
)
COLOURS = {"blue": "eth0", "green": "wan0"}
ROLLOUTS = (
    RolloutSpec(),
    RolloutSpec(strategy="canary"),
    RolloutSpec(strategy="waves", waves=("50%",)),
    RolloutSpec(strategy="blue-green", blue="blue", green="green"),
)

labels = st.dictionaries(st.sampled_from(("a", "b")), st.just("1"))
views = st.builds(
    lambda name, interfaces, found, forgotten, xdp: replace(
        a_node(name, *sorted(interfaces)),
        labels=COLOURS | found,
        is_forgotten=forgotten,
        features={"xdp": xdp},
    ),
    st.sampled_from(NODES),
    st.sets(st.sampled_from(INTERFACES), min_size=1),
    labels,
    st.sampled_from((False, False, False, True)),
    st.sampled_from((True, True, False)),
)
specs = st.builds(
    lambda name, order, interfaces, found, before, overlays, rollout: a_spec(
        name,
        order=order,
        interfaces=interfaces,
        labels=found,
        before=before,
        overlays=overlays,
        rollout=rollout,
    ),
    st.sampled_from(NAMES),
    st.one_of(st.none(), st.integers(0, 2)),
    st.sampled_from([("*",), ("eth*",), ("wan*", "eth0")]),
    st.dictionaries(st.sampled_from(("a", "b")), st.just("1"), max_size=1),
    st.sampled_from(((), ("deployment:aa",), ("package:rate-limit",))),
    st.sampled_from(((), (OVERLAY,))),
    st.sampled_from(ROLLOUTS),
)
audiences = st.sampled_from([Audiences(), Audiences(members={"p_acme": ("somebody",)})])
progress = st.builds(Progress, st.sampled_from(NAMES), st.sampled_from(WAYS))
told = st.sampled_from([1, 2, 3])
steps = st.one_of(
    specs, st.sampled_from(NAMES), views, audiences, told, st.none(), progress, progress
)


def _changed(fleet: Fleet, step: object, number: int) -> Fleet:
    """The fleet after one step; what was derived before goes along."""
    if isinstance(step, DeploymentSpec):
        return fleet.with_deployment(
            draft_application(fleet, step, a_package(), a_command(number)).record
        )
    if isinstance(step, Progress | NodeView):
        return _moved(fleet, step, number)
    if isinstance(step, str):
        return fleet.with_deployment(draft_removal(fleet, step, a_command(number)).record)
    if isinstance(step, Audiences):
        return replace(fleet, audiences=step)
    if step is None:  # everything is read anew from the store
        read = {
            key: msgspec.json.decode(msgspec.json.encode(one), type=DeploymentRecord)
            for key, one in fleet.deployments.items()
        }
        return replace(fleet, deployments=read)
    if not isinstance(step, int):
        raise TypeError(step)
    derived = derive_desired(fleet)  # some nodes are told, and others could not be written yet
    told = dict(list(derived.changed.items())[:step])
    return replace(fleet, desired={**fleet.desired, **told}, known=derived.known)


def _moved(fleet: Fleet, step: Progress | NodeView, number: int) -> Fleet:
    if isinstance(step, Progress):
        return progressed(fleet, step, number)
    return replace(fleet, nodes={**fleet.nodes, step.name: step})


@given(st.lists(steps, max_size=12))
def test_deriving_what_changed_is_deriving_everything(history: list[object]) -> None:
    """After every step of any history: records, changes and conflicts."""
    fleet = Fleet(deployments={}, nodes={"n1": a_node("n1", *INTERFACES)}, desired={})
    for number, step in enumerate(history, start=1):
        try:
            fleet = _changed(fleet, step, number)
        except RefusedError:
            continue

        derived = derive_desired(fleet)

        assert derived == derive_desired(replace(fleet, known=None))
        fleet = replace(fleet, known=derived.known)


@given(st.lists(st.one_of(specs, views), max_size=10))
def test_what_stays_is_found_on_the_nodes_that_changed(history: list[object]) -> None:
    """Looking at those alone, as long as one looks after every change, finds all."""
    fleet = Fleet(deployments={}, nodes={"n1": a_node("n1", *INTERFACES)}, desired={})
    found: dict[str, set[object]] = {}
    for number, step in enumerate(history, start=1):
        try:
            fleet = _changed(fleet, step, number)
        except RefusedError:
            continue
        derived = derive_desired(fleet)
        fleet = replace(fleet, desired=derived.desired, known=derived.known)
        for name in derived.known.renewed:
            found[name] = set(stays(fleet, nodes=(fleet.nodes[name],)))

        assert {one for each in found.values() for one in each} == set(stays(fleet))


places = st.sets(
    st.tuples(
        st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True),
        st.sampled_from(INTERFACES),
        st.sampled_from(("", "blue")),
    ),
    max_size=12,
)


@given(places)
def test_packed_places_are_the_places(found: set[tuple[str, str, str]]) -> None:
    """In their order, and the same ones have one form."""
    packed = pack_places(found)

    assert unpack_places(packed) == tuple(sorted(found))
    assert pack_places(sorted(found, reverse=True)) == packed


@pytest.mark.parametrize("damaged", ["%", "AAAA", pack_places([("n", "e", "")])[:-8] + "AAAA"])
def test_a_damaged_record_is_a_fault(damaged: str) -> None:
    """And is not taken for a deployment without places."""
    with pytest.raises(FaultError):
        unpack_places(damaged)


def test_ten_thousand_places_fit_a_record_many_times() -> None:
    """Also with names that have little in common."""
    names = [f"edge-{number * 7919 % 100_000:05d}-{number % 37}" for number in range(10_000)]

    packed = pack_places((name, "eth0", "") for name in names)

    assert len(packed) < 64 * 1024


def test_a_revision_of_an_earlier_release_has_its_placements() -> None:
    """One by one, as they were kept then."""
    stored = (
        b'{"revision":1,"spec":{"name":"e","package":"p","hook":"xdp","interfaces":["*"]},'
        b'"version":"1.0.0","archive_sha256":"","command_id":"c","actor_key":"","actor_role":"",'
        b'"at":"","placements":[{"node":"n1","interface":"eth0"}]}'
    )

    revision = msgspec.json.decode(stored, type=DeploymentRevision)

    assert [(one.node, one.place) for one in revision.accepted_for] == [("n1", "eth0")]
