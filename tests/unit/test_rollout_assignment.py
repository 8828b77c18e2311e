# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which revision a node has while a newer one is on its way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.rollout.assignment import assignment, at_end, earlier_when_next, is_rolling
from shared.contracts.deployments import DeploymentRecord, EarlierRevision
from shared.contracts.desired import DesiredNode
from shared.contracts.rollouts import RolloutState, RolloutWave
from tests.fleets import a_command, a_node, a_package, a_spec

NODES = {
    name: a_node(name, "eth0", "eth1", blue="eth0", green="eth1") for name in ("n1", "n2", "n3")
}
WAVES = (RolloutWave(nodes=("n2",)), RolloutWave(nodes=("n3", "n1")))
COLOURS = tuple(
    RolloutWave(nodes=("n1", "n2", "n3"), interface_label=one) for one in ("green", "blue")
)


def _fleet(**fields: Any) -> Fleet:
    """The deployment's first revision runs everywhere."""
    fleet = Fleet(deployments={}, nodes=NODES, desired={})
    spec = a_spec(interfaces=("eth*",), **fields)
    fleet = fleet.with_deployment(draft_application(fleet, spec, a_package(), a_command(1)).record)
    return _told(fleet)


def _told(fleet: Fleet) -> Fleet:
    derived = derive_desired(fleet)
    return replace(fleet, desired=derived.desired, known=derived.known)


def _rolling(
    fleet: Fleet, *, waves: tuple[RolloutWave, ...] = WAVES, wave: int = 0, released: int = 0
) -> DeploymentRecord:
    """A next revision is on its way."""
    before = fleet.deployments["edge"]
    spec = a_spec(interfaces=("eth*",))
    package = a_package(version="2.0.0")
    record = draft_application(fleet, spec, package, a_command(2)).record
    number = record.revisions[-1].revision
    return msgspec.structs.replace(
        record,
        rollout=RolloutState(
            revision=number,
            phase="rolling-out",
            base_revision=1,
            waves=waves,
            wave=wave,
            released=released,
        ),
        earlier=earlier_when_next(before, fleet.nodes),
    )


def _has(record: DeploymentRecord, place: str = "") -> dict[str, int]:
    """Node to the revision that it has."""
    now = assignment(record)
    assert now is not None
    found = {name: now.on(node, place) for name, node in NODES.items()}
    return {name: one.revision for name, one in found.items() if one is not None}


def _versions(told: DesiredNode) -> dict[str, str]:
    return {chain.place: one.version for chain in told.chains for one in chain.programs}


def test_nodes_have_the_newest_revision_in_the_order_of_the_waves() -> None:
    """Those of earlier waves, and so many of the one that goes on as were released."""
    fleet = _fleet()

    assert _has(_rolling(fleet)) == {"n1": 1, "n2": 1, "n3": 1}
    assert _has(_rolling(fleet, released=1)) == {"n1": 1, "n2": 2, "n3": 1}
    assert _has(_rolling(fleet, wave=1)) == {"n1": 1, "n2": 2, "n3": 1}
    assert _has(_rolling(fleet, wave=1, released=1)) == {"n1": 1, "n2": 2, "n3": 2}
    assert _has(_rolling(fleet, wave=1, released=2)) == {"n1": 2, "n2": 2, "n3": 2}


def test_without_an_earlier_revision_the_others_have_none() -> None:
    """The first revision ever is on its way."""
    record = msgspec.structs.replace(_rolling(_fleet(), released=1), earlier=())

    assert _has(record) == {"n2": 2}


def test_a_node_that_came_later_gets_what_was_everywhere() -> None:
    """And the newest revision once that is everywhere."""
    record = _rolling(_fleet(), waves=(RolloutWave(nodes=("n2",)),), released=1)

    assert _has(record) == {"n1": 1, "n2": 2, "n3": 1}
    assert record.rollout is not None
    over = msgspec.structs.replace(
        record, rollout=msgspec.structs.replace(record.rollout, phase="complete")
    )
    assert is_rolling(record)
    assert not is_rolling(over)
    assert _has(over) == _has(at_end(record)) == {"n1": 2, "n2": 2, "n3": 2}


def test_a_removed_deployment_is_nowhere() -> None:
    """However far its rollout was."""
    assert assignment(msgspec.structs.replace(_rolling(_fleet()), removed=True)) is None
    assert assignment(None) is None


def test_a_blue_green_wave_is_about_the_interfaces_that_its_label_names() -> None:
    """A node has two revisions, and each place one."""
    fleet = _fleet()
    record = _rolling(fleet, waves=COLOURS, released=2)

    assert _has(record, "eth1") == {"n1": 2, "n2": 2, "n3": 1}
    assert _has(record, "eth0") == {"n1": 1, "n2": 1, "n3": 1}
    derived = derive_desired(fleet.with_deployment(record))
    assert _versions(derived.desired["n1"]) == {"eth0": "1.0.0", "eth1": "2.0.0"}
    assert set(derived.changed) == {"n1", "n2"}


def test_nodes_that_are_not_released_are_told_nothing() -> None:
    """Their record stays what it is, to the byte."""
    fleet = _fleet()

    derived = derive_desired(fleet.with_deployment(_rolling(fleet, released=1)))

    assert set(derived.changed) == {"n2"}
    for name in ("n1", "n3"):
        assert msgspec.json.encode(derived.desired[name]) == msgspec.json.encode(
            fleet.desired[name]
        )


def test_only_what_a_step_releases_is_derived_anew() -> None:
    """Also if the record was read anew from the store."""
    fleet = _fleet()
    fleet = _told(fleet.with_deployment(_rolling(fleet, released=1)))
    data = msgspec.json.encode(_rolling(replace(fleet, deployments=_fleet().deployments), wave=1))
    stored = msgspec.json.decode(data, type=DeploymentRecord)
    assert stored.rollout is not None
    further = msgspec.structs.replace(
        stored, rollout=msgspec.structs.replace(stored.rollout, released=1)
    )

    assert not derive_desired(fleet.with_deployment(stored)).known.renewed
    assert derive_desired(fleet.with_deployment(further)).known.renewed == {"n3"}


def test_what_nodes_have_when_a_further_revision_comes() -> None:
    """The one on its way as far as it came, and what was everywhere before."""
    fleet = _fleet()
    record = _rolling(fleet, wave=1, released=1)

    earlier = earlier_when_next(record, NODES)

    assert [one.revision.revision for one in earlier] == [2, 1]
    assert earlier[1].packed_places == ""
    further = _third(record, earlier)
    assert _has(further) == _has(record) == {"n1": 1, "n2": 2, "n3": 2}
    assert earlier_when_next(further, NODES) == earlier


def test_what_places_have_when_a_further_revision_comes() -> None:
    """Of a blue/green rollout that goes on."""
    record = _rolling(_fleet(), waves=COLOURS, released=2)

    further = _third(record, earlier_when_next(record, NODES))

    for place in ("eth0", "eth1"):
        assert _has(further, place) == _has(record, place)


def test_a_revision_that_nobody_has_is_not_kept() -> None:
    """The base is: it may come back."""
    earlier = earlier_when_next(_rolling(_fleet()), NODES)

    assert [one.revision.revision for one in earlier] == [1]


def _third(record: DeploymentRecord, earlier: tuple[EarlierRevision, ...]) -> DeploymentRecord:
    """A third revision begins its way."""
    newest = msgspec.structs.replace(record.revisions[-1], revision=3)
    return msgspec.structs.replace(
        record,
        revisions=(*record.revisions, newest),
        rollout=RolloutState(revision=3, phase="waiting", base_revision=1, waves=WAVES),
        earlier=earlier,
    )
