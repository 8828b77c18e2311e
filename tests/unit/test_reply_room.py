# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Statuses of thousands of nodes fit into a message, and what is left out is counted."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cli.rollout import is_over
from cli.status import more_line
from services.scheduler.liveness import Silence
from services.scheduler.placement import view_node
from services.scheduler.reply_room import (
    deployment_with_room,
    list_with_room,
    nodes_with_room,
)
from services.scheduler.status import deployment_status, node_status
from shared.contracts.scheduler import DeploymentStatus, NodeStatus
from shared.errors import Refusal
from tests.fleets import a_fleet, a_node_record, a_spec, all_observing, applied, observing

NODES = 60
FLEET = applied(
    a_fleet(*(view_node(a_node_record(f"n{number:03d}"), None) for number in range(NODES))),
    a_spec(),
)
REFUSAL = Refusal(code="link_refused", message="no")


def a_status(*, failed: int = 0, pending: int = 0) -> DeploymentStatus:
    """The last nodes failed, those before them are pending, the others run it."""
    observed = all_observing(FLEET)
    names = sorted(observed)
    for name in names[NODES - failed :]:
        observed[name] = observing(FLEET.desired[name], refusal=REFUSAL)
    for name in names[NODES - failed - pending : NODES - failed]:
        del observed[name]
    return deployment_status(FLEET.deployments["edge"], FLEET, observed, silences={})


def size(message: msgspec.Struct) -> int:
    """As it is sent."""
    return len(msgspec.json.encode(message))


WHOLE = a_status(failed=2, pending=3)
HEAD_BYTES = size(msgspec.structs.replace(WHOLE, places=())) + 512


def test_what_has_room_is_listed_whole() -> None:
    """Nothing is left out without need, and every place is counted."""
    shown = deployment_with_room(WHOLE, limit_bytes=size(WHOLE) + 1024)

    assert (shown.places, shown.more_places) == (WHOLE.places, 0)
    assert shown.states == {"failed": 2, "pending": 3, "running": NODES - 5}


@given(extra=st.integers(0, size(WHOLE)))
def test_a_reply_fits_and_counts_what_it_leaves_out(extra: int) -> None:
    """Whatever the room is; what runs is left out before what waits, and that before failures."""
    limit = HEAD_BYTES + extra
    shown = deployment_with_room(WHOLE, limit_bytes=limit)
    listed = Counter(place.state for place in shown.places)

    assert size(shown) <= limit
    assert shown.place_count == NODES
    assert shown.count_of("running") == NODES - 5
    assert list(shown.places) == [one for one in WHOLE.places if one in shown.places]
    assert not listed["running"] or (listed["failed"], listed["pending"]) == (2, 3)
    assert not listed["pending"] or listed["failed"] == 2


def test_a_deployment_is_over_by_what_is_counted_and_not_by_what_is_listed() -> None:
    """One node that is pending holds it open although hundreds that run are not listed."""
    short = deployment_with_room(a_status(pending=1), limit_bytes=HEAD_BYTES + 4096)
    done = deployment_with_room(a_status(), limit_bytes=HEAD_BYTES + 4096)

    assert short.more_places > 0
    assert not is_over(short)
    assert is_over(done)
    assert more_line(done) == f"and {done.more_places} more: {done.more_places} running"


def test_deployments_share_the_room_of_a_list() -> None:
    """Each is there, and a small one leaves its share to others."""
    small = msgspec.structs.replace(WHOLE, name="small", places=WHOLE.places[:1])
    limit = 2 * HEAD_BYTES + size(WHOLE) // 2
    listed = list_with_room([small, WHOLE], limit_bytes=limit)

    assert size(listed) <= limit
    assert [one.name for one in listed.deployments] == ["small", "edge"]
    assert len(listed.deployments[1].places) > NODES // 3


def nodes() -> list[NodeStatus]:
    """All of the fleet."""
    silence = Silence(seconds=1.0, is_silent=False)
    records = [a_node_record(name) for name in sorted(FLEET.nodes)]
    return [node_status(one, FLEET, None, silence) for one in records]


@given(limit=st.integers(0, 200_000))
def test_pages_of_nodes_leave_out_none(limit: int) -> None:
    """Asked for again after the last one, every node comes once, and each page has room."""
    left, seen = nodes(), []
    while left:
        page = nodes_with_room(left, limit_bytes=limit)
        assert page.nodes
        assert size(page) <= limit or len(page.nodes) == 1
        seen += [one.node for one in page.nodes]
        left = left[len(page.nodes) :]
        assert page.has_more == bool(left)

    assert seen == sorted(FLEET.nodes)
