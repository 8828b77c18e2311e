# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a deployment and of a node, and what is never said too early."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.scheduler.desired_state import Fleet
from services.scheduler.liveness import Silence
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.status import deployment_status, node_status, view_places
from shared.contracts.node import ObservedChain, ObservedNode
from shared.contracts.scheduler import DeploymentPlaceStatus
from shared.errors import Reason, Refusal
from tests.fleets import (
    a_fleet,
    a_node,
    a_node_record,
    a_spec,
    all_observing,
    applied,
    observing,
    removed,
)

HEARD = Silence(seconds=1.0, is_silent=False)
SILENT = Silence(seconds=31.0, is_silent=True)
REFUSAL = Refusal(
    code="verifier_rejected",
    message="the verifier refused limiter",
    reasons=(Reason(path="programs[0]", rule="R1 invalid mem access, limiter.bpf.c:12"),),
)


def _place(
    fleet: Fleet, observed: dict[str, ObservedNode], silence: Silence = HEARD
) -> DeploymentPlaceStatus:
    status = deployment_status(
        fleet.deployments["edge"], fleet, observed, silences=dict.fromkeys(fleet.nodes, silence)
    )
    (place,) = status.places
    return place


def test_a_place_runs_when_exactly_the_wanted_revision_was_read_back() -> None:
    """And the chain that was read back is shown."""
    fleet = applied(a_fleet(), a_spec())

    place = _place(fleet, all_observing(fleet))

    assert (place.state, place.observed_version) == ("running", "1.0.0")
    assert place.chain is not None
    assert place.chain.program_id == 7


def test_an_older_revision_read_back_is_pending() -> None:
    """What ran before is not what is wanted, though its version is shown."""
    before = applied(a_fleet(), a_spec(), at=1)
    fleet = applied(before, a_spec(), version="2.0.0", at=2)

    place = _place(fleet, all_observing(before))

    assert (place.state, place.observed_version) == ("pending", "1.0.0")
    assert place.why[0].rule == "the node has not acted upon it yet"


def test_another_archive_under_the_same_revision_does_not_count_as_running() -> None:
    """The digest decides, not the name."""
    fleet = applied(a_fleet(), a_spec())
    observed = observing(fleet.desired["n1"])
    (chain,) = observed.chains
    (program,) = chain.programs
    other = msgspec.structs.replace(program, archive_sha256="0" * 64)
    observed = msgspec.structs.replace(
        observed, chains=(msgspec.structs.replace(chain, programs=(other,)),)
    )

    assert _place(fleet, {"n1": observed}).state == "pending"


def test_a_refusal_of_the_newest_generation_is_failed_with_every_reason() -> None:
    """The verifier's essence reaches whoever asks."""
    fleet = applied(a_fleet(), a_spec())

    place = _place(fleet, {"n1": observing(fleet.desired["n1"], refusal=REFUSAL)})

    assert place.state == "failed"
    assert [reason.rule for reason in place.why] == [
        "the verifier refused limiter",
        "R1 invalid mem access, limiter.bpf.c:12",
    ]


def test_a_fault_of_the_newest_generation_is_pending_and_says_what_is_away() -> None:
    """The node tries again by itself, so nothing has failed."""
    fleet = applied(a_fleet(), a_spec())
    fault = Refusal(code="unavailable", message="the catalog does not answer")

    place = _place(fleet, {"n1": observing(fleet.desired["n1"], refusal=fault)})

    assert (place.state, place.why[0].rule) == ("pending", "the catalog does not answer")


def test_a_refusal_of_an_older_generation_is_pending() -> None:
    """An old failure says nothing about a new revision."""
    before = applied(a_fleet(), a_spec(), at=1)
    observed = {"n1": observing(before.desired["n1"], refusal=REFUSAL)}
    fleet = applied(before, a_spec(), at=2)

    assert _place(fleet, observed).state == "pending"


def test_an_old_refusal_is_not_taken_for_one_of_a_revision_not_told_yet() -> None:
    """Between acceptance and the desired record, nothing is known."""
    before = applied(a_fleet(), a_spec(), at=1)
    observed = {"n1": observing(before.desired["n1"], refusal=REFUSAL)}
    after = applied(before, a_spec(), at=2)
    untold = replace(after, desired=before.desired)

    place = _place(untold, observed)

    assert (place.state, place.why[0].rule) == ("pending", "the node is not told yet")


def test_what_runs_stays_running_when_a_later_change_of_the_chain_failed() -> None:
    """What ran before a refused change still runs."""
    fleet = applied(a_fleet(), a_spec(), at=1)
    observed = observing(fleet.desired["n1"])
    chain = msgspec.structs.replace(observed.chains[0], refusal=REFUSAL)
    fleet = applied(fleet, a_spec("other", order=1), at=2)
    observed = msgspec.structs.replace(observed, desired_generation=2, chains=(chain,))

    assert _place(fleet, {"n1": observed}).state == "running"


@pytest.mark.parametrize("runs", [True, False])
def test_a_silent_node_is_said_to_be_silent_whatever_it_reported(runs: bool) -> None:
    """Nothing it said is the present."""
    fleet = applied(a_fleet(), a_spec())

    place = _place(fleet, all_observing(fleet) if runs else {}, SILENT)

    assert (place.state, place.why[0].rule) == ("node-silent", "has missed three heartbeats")


def test_an_interface_that_is_away_is_pending_and_says_so() -> None:
    """It will run as soon as the interface is back."""
    fleet = applied(a_fleet(), a_spec())
    waiting = ObservedChain(interface="eth0", hook="xdp", state="waiting-for-interface")
    observed = ObservedNode(node="n1", desired_generation=1, chains=(waiting,), at="")

    place = _place(fleet, {"n1": observed})

    assert (place.state, place.why[0].rule) == ("pending", "the interface is away")


def test_a_deployment_left_out_of_a_chain_is_failed_and_names_the_holder() -> None:
    """A contested place is visible without reading logs."""
    fleet = applied(a_fleet(), a_spec())
    told_nothing = replace(fleet, desired={})
    conflict = PlaceConflict(
        node="n1", interface="eth0", hook="xdp", order=500, holder="other", left_out="edge"
    )

    (view,) = view_places(fleet.deployments["edge"], told_nothing, {}, [conflict])

    assert view.state == "failed"
    assert view.why[0].rule == "place 500 of this chain is held by other"


def test_a_removed_deployment_shows_the_places_where_it_still_is() -> None:
    """Gone everywhere: no places."""
    before = applied(a_fleet(), a_spec(), at=1)
    fleet = removed(before, "edge", at=2)

    assert _place(fleet, all_observing(before)).state == "pending"
    status = deployment_status(
        fleet.deployments["edge"], fleet, all_observing(fleet), silences={"n1": HEARD}
    )
    assert (status.removed, status.places) == (True, ())


def test_history_is_shown_without_what_it_resolved_to() -> None:
    """A status stays small."""
    fleet = applied(a_fleet(), a_spec())

    status = deployment_status(fleet.deployments["edge"], fleet, {}, silences={})

    assert [one.resolved for one in status.revisions] == [None]


def test_a_node_is_shown_with_effective_labels_and_both_generations() -> None:
    """Inventory, liveness and chains in one place."""
    fleet = applied(a_fleet(a_node("n1", site="a")), a_spec())

    status = node_status(a_node_record("n1"), fleet, observing(fleet.desired["n1"]), HEARD)

    assert (status.labels, status.alive) == ({"site": "a"}, True)
    assert (status.desired_generation, status.observed_generation) == (1, 1)
    assert [chain.interface for chain in status.chains] == ["eth0"]
