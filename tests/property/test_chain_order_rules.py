# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the order of a chain, for every set of wishes."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.chain_order import Entrant, merge
from services.scheduler.desired_state import Fleet, derive_desired
from shared.contracts.deployments import DeploymentSpec
from shared.errors import RefusedError
from tests.fleets import a_fleet, a_node, a_spec, applied

KEYS = ("aa", "bb", "cc", "dd", "ee")
PACKAGES = ("one", "two")
NEIGHBOURS = (*(f"deployment:{key}" for key in KEYS), *(f"package:{one}" for one in PACKAGES))

said = st.lists(st.sampled_from(NEIGHBOURS), max_size=2, unique=True).map(tuple)


@st.composite
def entrants(draw: st.DrawFn) -> tuple[Entrant, ...]:
    """Some of five deployments, in some precedence."""
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=len(KEYS)))
    return tuple(
        Entrant(
            key=key,
            package=draw(st.sampled_from(PACKAGES)),
            number=draw(st.integers(0, 4)),
            has_number=draw(st.booleans()),
            before=draw(said),
            after=draw(said),
        )
        for key in keys
    )


def _is_as_said(chain: tuple[Entrant, ...]) -> bool:
    """Whether the chain is what everybody in it says, found without the merge."""
    numbers = [one.number for one in chain if one.has_number]
    if numbers != sorted(set(numbers)):
        return False
    for index, one in enumerate(chain):
        for at, other in enumerate(chain):
            if other.key == one.key:
                continue
            if any(other.is_named(name) for name in one.before) and at < index:
                return False
            if any(other.is_named(name) for name in one.after) and at > index:
                return False
    return True


@given(entrants())
def test_a_chain_is_as_everybody_in_it_says(wishes: tuple[Entrant, ...]) -> None:
    """Numbers ascend without a repeat, and before and after hold; nobody is lost."""
    by_key = {one.key: one for one in wishes}

    merged = merge(wishes)

    assert _is_as_said(tuple(by_key[key] for key in merged.keys))
    assert sorted((*merged.keys, *(one.key for one in merged.left_out))) == sorted(by_key)


@given(entrants())
def test_who_is_left_out_could_be_nowhere(wishes: tuple[Entrant, ...]) -> None:
    """No order of those with precedence and of it is as all say; the first is always in."""
    merged = merge(wishes)
    out = {one.key for one in merged.left_out}
    there: list[Entrant] = []

    for one in wishes:
        if one.key in out:
            assert not any(map(_is_as_said, permutations((*there, one))))
        else:
            there.append(one)
    assert not wishes or wishes[0].key in merged.keys


@given(entrants())
def test_a_circle_is_what_they_say_and_closes(wishes: tuple[Entrant, ...]) -> None:
    """Each statement begins where the one before ends, and whoever is left out is part of it."""
    for one in merge(wishes).left_out:
        keys = {entrant.key for entrant in wishes}
        assert one.holder in keys - {one.key}
        if not one.circle:
            continue
        assert all(a.second == b.first for a, b in pairwise((*one.circle, one.circle[0])))
        assert one.key in {said.first for said in one.circle}
        for said in one.circle:
            by = next((entrant for entrant in wishes if entrant.key == said.by), None)
            if by is None:
                assert said.numbers[0] < said.numbers[1]
            else:
                assert said.neighbour in (by.before if said.word == "before" else by.after)
                assert said.by in (said.first, said.second)


@given(entrants())
def test_without_words_numbers_decide_alone(wishes: tuple[Entrant, ...]) -> None:
    """As they did before there were any."""
    numbered = tuple(replace(one, has_number=True, before=(), after=()) for one in wishes)

    merged = merge(numbered)

    by_key = {one.key: one.number for one in numbered}
    assert [by_key[key] for key in merged.keys] == sorted({one.number for one in numbered})
    assert all(not one.circle for one in merged.left_out)


specs = st.builds(
    lambda name, package, order, before, after: a_spec(
        name, package=package, order=order, before=before, after=after
    ),
    st.sampled_from(KEYS),
    st.sampled_from(PACKAGES),
    st.one_of(st.none(), st.integers(0, 3)),
    said,
    said,
)


@given(st.lists(specs, max_size=6), st.randoms(use_true_random=False))
def test_the_order_in_which_records_are_read_does_not_matter(
    wanted: list[DeploymentSpec], rng: random.Random
) -> None:
    """And deriving again from what the nodes were told changes nothing."""
    fleet: Fleet = a_fleet(a_node("n1"), a_node("n2"))
    for number, spec in enumerate(wanted, start=1):
        try:
            fleet = applied(fleet, spec, at=number)
        except RefusedError:
            continue
    items = list(fleet.deployments.items())
    rng.shuffle(items)

    again = derive_desired(replace(fleet, deployments=dict(items)))
    anew = derive_desired(replace(fleet, deployments=dict(items), desired={}))

    assert dict(again.changed) == {}
    assert anew == derive_desired(replace(fleet, desired={}))
    for node in fleet.desired.values():
        for chain in node.chains:
            orders = [program.order for program in chain.programs]
            assert orders == sorted(orders)


@given(st.lists(specs, min_size=1, max_size=5, unique_by=lambda spec: spec.name))
def test_deployments_that_fit_together_make_one_chain_however_they_came(
    wanted: list[DeploymentSpec],
) -> None:
    """Whoever was first: if all are accepted in both orders, the chains are the same."""

    def chain(specs: list[DeploymentSpec]) -> list[str] | None:
        fleet = a_fleet()
        try:
            for number, spec in enumerate(specs, start=1):
                fleet = applied(fleet, spec, at=number)
        except RefusedError:
            return None
        return [one.deployment for one in fleet.desired["n1"].chains[0].programs]

    forth, back = chain(wanted), chain(wanted[::-1])

    assert forth == back
