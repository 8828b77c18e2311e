# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nothing that is said of deployments speaks of a space that its readers do not see.

Each space has a word that is in every name of it; whatever a reader gets is searched for the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import Sight
from services.scheduler.completion import endings
from services.scheduler.desired_state import Fleet
from services.scheduler.liveness import Silence
from services.scheduler.staging import judge_staging, seen_errors
from services.scheduler.status import deployment_status, node_status
from services.scheduler.unfit import unfit_deployments
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredChain
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.node import ObservedNode
from shared.deployment_keys import space_of
from shared.errors import FaultError, Reason, Refusal, RefusedError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    all_observing,
    observing,
    opened,
    seen_by,
    told,
)

WORDS = {"p_acme": "aardvark", "p_bolt": "bumblebee", "r_0123456789abcdef": "crocodile"}
"""Space to the word that only its members read."""
MEMBERS = {"p_acme": ("ann", "dan"), "p_bolt": ("bob", "dan"), "r_0123456789abcdef": ("eve",)}
SPACES = (PUBLIC, *WORDS)


@dataclass
class Tried:
    """One command, and what was said of it."""

    spec: DeploymentSpec
    said: object


def a_deployment(
    space: Audience, number: int, order: int, interfaces: Iterable[str]
) -> DeploymentSpec:
    """Whose name, package and entries have the word of its space."""
    word = WORDS.get(space, "everybody")
    return a_spec(
        f"{word}-{number}",
        package=f"{word}-package",
        space=space,
        order=order,
        interfaces=tuple(sorted(interfaces)),
    )


specs = st.lists(
    st.builds(
        a_deployment,
        st.sampled_from(SPACES),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sets(st.sampled_from(("eth0", "eth1")), min_size=1),
    ),
    max_size=8,
)


def run(wanted: list[DeploymentSpec]) -> tuple[Fleet, list[Tried]]:
    """Every command was given, one after the other; some were refused."""
    fleet = seen_by(a_fleet(a_node("n1", "eth0", "eth1")), **MEMBERS)
    tried = []
    for number, spec in enumerate(wanted, 1):
        package = a_package(spec.package)
        try:
            draft = draft_application(fleet, spec, package, a_command(number))
        except RefusedError as error:
            tried.append(Tried(spec, error.refusal()))
            continue
        tried.append(Tried(spec, draft.plan))
        tried.append(Tried(spec, staging_refusal(fleet, spec, draft.staging)))
        fleet = told(fleet.with_deployment(draft.record))
    return fleet, tried


def staging_refusal(
    fleet: Fleet, spec: DeploymentSpec, staging: Mapping[str, tuple[DesiredChain, ...]]
) -> Refusal | None:
    """What is said if nodes cannot load the chains, and name all that is in them."""
    errors: dict[str, RefusedError | FaultError] = {}
    for node, chains in staging.items():
        named = " ".join(one.deployment for chain in chains for one in chain.programs)
        errors[node] = RefusedError(named, [Reason(path=named, rule=named)])
    sight = fleet.audiences.seen_in(spec.space)
    try:
        judge_staging(spec.name, seen_errors(errors, staging, sight))
    except RefusedError as error:
        return error.refusal()
    return None


def unseen_words(sight: Sight) -> set[str]:
    """What a reader must not find."""
    return {word for space, word in WORDS.items() if not sight.sees(space)}


def found(shown: object, words: set[str]) -> set[str]:
    """Those that are in what is shown, in whatever field; keys hold the names of spaces, too."""
    text = msgspec.json.encode(shown).decode()
    spaces = {space for space, word in WORDS.items() if word in words}
    return {word for word in words | spaces if word in text}


def reports(fleet: Fleet) -> Iterator[dict[str, ObservedNode]]:
    """Nodes that run what they are told, and nodes that refuse it and name all that is in it."""
    yield all_observing(fleet)
    refused = {}
    for name, node in fleet.desired.items():
        chains = []
        for wanted, seen in zip(node.chains, observing(node).chains, strict=True):
            named = " ".join(one.deployment for one in wanted.programs)
            why = Refusal(
                code="link_refused", message=named, reasons=(Reason(path=named, rule=named),)
            )
            chains.append(msgspec.structs.replace(seen, state="failed", programs=(), refusal=why))
        refused[name] = msgspec.structs.replace(observing(node), chains=tuple(chains))
    yield refused


@given(specs)
def test_what_is_said_of_a_command_names_no_other_space(wanted: list[DeploymentSpec]) -> None:
    """Plans, refusals and what nodes say go where those read it who see the command's space."""
    fleet, tried = run(wanted)

    for one in tried:
        words = unseen_words(fleet.audiences.seen_in(one.spec.space))
        assert not found(one.said, words)


@given(specs, st.sampled_from(("ann", "bob", "dan", "eve", "mallory")))
def test_nobody_is_shown_what_they_do_not_see(wanted: list[DeploymentSpec], name: str) -> None:
    """Status, nodes and what does not fit, whatever the nodes report."""
    fleet, _ = run(wanted)
    sight = fleet.audiences.seen_by(name)
    words = unseen_words(sight)

    node = node_status(
        a_node_record("n1", "eth0", "eth1"),
        fleet,
        all_observing(fleet).get("n1"),
        Silence(1.0, is_silent=False),
        sight,
    )
    assert not found(node, words)
    assert not found(unfit_deployments(fleet.nodes["n1"], fleet, sight), words)
    for observed in reports(fleet):
        for record in fleet.deployments.values():
            if sight.sees(record.space):
                status = deployment_status(record, fleet, observed, silences={}, sight=sight)
                assert not found(status, words)


@given(specs)
def test_events_of_endings_name_no_other_space(wanted: list[DeploymentSpec]) -> None:
    """Whatever the nodes report of a chain in which spaces meet."""
    fleet, _ = run(wanted)

    for observed in reports(fleet):
        for record in fleet.deployments.values():
            sight = fleet.audiences.seen_in(record.space)
            for ending in endings(record, fleet, observed):
                assert not found(ending.body, unseen_words(sight))


@given(specs)
def test_at_most_one_closed_space_is_at_a_hook_point(wanted: list[DeploymentSpec]) -> None:
    """Its members are told what happens there; where there is none, everybody is."""
    fleet, _ = run(wanted)

    for node in fleet.desired.values():
        for chain in node.chains:
            closed = {space_of(one.deployment) for one in chain.programs} - {PUBLIC}
            assert closed == {chain.audience} - {PUBLIC}
        assert node.members == {
            space: MEMBERS[space] for space in {chain.audience for chain in node.chains} - {PUBLIC}
        }


@given(specs)
def test_opening_spaces_touches_no_chain(wanted: list[DeploymentSpec]) -> None:
    """And all is told to everybody from then on; telling it once more changes nothing."""
    fleet, _ = run(wanted)

    after = told(opened(fleet, *WORDS))

    for name, node in after.desired.items():
        before = fleet.desired[name]
        assert node.generation == before.generation
        assert [one.programs for one in node.chains] == [one.programs for one in before.chains]
        assert {one.audience for one in node.chains} <= {PUBLIC}
        assert {one.cause.audience for one in node.chains} <= {PUBLIC}
    assert told(after).desired == after.desired
