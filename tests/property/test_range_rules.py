# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran at any moment of a range: as if each moment had been asked about, and as a bill."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from services.auditor.records import render_time_us
from services.auditor.reporting.ranges import chains_in_range, range_page
from services.auditor.timelines import OPEN_US, RanChain
from services.auditor.told_places import Range, RanSpans
from shared.contracts.inventory import MAX_PLACES_NAMED, HookPlace
from shared.sbom.running import RanThen, ran_between
from shared.sbom.running_documents import running_cyclonedx, running_spdx
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.inventories import a_reading

PLACES = {number: HookPlace(node=f"n{number}", interface="eth0", hook="xdp") for number in range(4)}
CHAINS = {
    1: RanChain(tag="a" * 16, running=a_reading("firewall@2.0.0", "limit").running),
    2: RanChain(tag="b" * 16, running=a_reading("limit").running),
    3: RanChain(tag="c" * 16, running=None),
}
MOST = 12
SPANS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, MOST - 1),
        st.integers(1, MOST) | st.just(OPEN_US),
        st.integers(1, 3),
    ),
    max_size=12,
)


def ran(spans: list[tuple[int, int, int, int]]) -> RanSpans:
    """Of spans whose record is their number in the list."""
    placed = [
        (point, begin, begin + length if length < OPEN_US else OPEN_US, chain, record)
        for record, (point, begin, length, chain) in enumerate(spans)
    ]
    return RanSpans(PLACES, placed, CHAINS, 100)


@given(SPANS, st.integers(0, MOST), st.integers(1, MOST), st.randoms(use_true_random=False))
def test_it_is_what_ran_at_its_moments(
    spans: list[tuple[int, int, int, int]], since: int, length: int, rng: object
) -> None:
    """Each moment asked about by itself, whatever the order in which the spans are kept."""
    asked = Range(since, since + length)
    expected: dict[str, tuple[int, int, set[str]]] = {}
    found = ran(spans)
    for moment in range(asked.since_us, asked.until_us):
        for point, begin, end, chain, _ in found.spans:
            if begin <= moment < end:
                tag = CHAINS[chain].tag
                first, _, nodes = expected.get(tag, (moment, 0, set()))
                expected[tag] = first, moment + 1, nodes | {PLACES[point].node}

    shuffled = list(found.spans)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    chains = chains_in_range(found._replace(spans=shuffled), asked)

    assert chains == chains_in_range(found, asked)
    assert {
        one.program_tag: (one.since, one.until, {place.node for place in one.places})
        for one in chains
    } == {
        tag: (
            render_time_us(first),
            render_time_us(last) if last < asked.until_us else "",
            nodes,
        )
        for tag, (first, last, nodes) in expected.items()
    }
    for one in chains:
        _, from_us, _, number, _ = found.spans[one.record]
        assert CHAINS[number].tag == one.program_tag
        assert render_time_us(max(from_us, asked.since_us)) == one.since


def test_pages_have_every_chain_once() -> None:
    """And of many hook points the first are named, and all counted."""
    places = {
        number: HookPlace(node=f"n{number:04d}", hook="xdp")
        for number in range(MAX_PLACES_NAMED + 5)
    }
    wide = {}
    for number in range(1, 40):
        running = a_reading(*(f"p{place}-{number}" for place in range(60))).running
        wide[number] = RanChain(tag=f"{number:016x}", running=running)
    spans = [(point, 1, 9, chain, chain) for chain in wide for point in places]
    found, asked = RanSpans(places, spans, wide, 5), Range(0, 10)
    pages = [range_page(found, asked, after="")]
    while pages[-1].next:
        pages.append(range_page(found, asked, after=pages[-1].next))

    chains = [one for page in pages for one in page.chains]

    assert len(pages) > 1
    assert chains == chains_in_range(found, asked)
    assert {one.hook_points for one in chains} == {len(places)}
    assert {len(one.places) for one in chains} == {MAX_PLACES_NAMED}


def bill(*spans: tuple[int, int, int, int]) -> RanThen:
    """Of everything that ran then."""
    chains = chains_in_range(ran(list(spans)), Range(0, 100))
    return ran_between(
        chains, since="2026-01-01T00:00:00Z", until="2026-02-01T00:00:00Z", tree_size=9
    )


def test_a_bill_of_a_range_has_every_package_and_every_chain() -> None:
    """Both schemas take it; a chain of which nobody said what it was makes it incomplete."""
    known, unknown = bill((0, 1, 5, 1), (1, 2, 5, 2), (0, 7, 5, 2)), bill((0, 1, 5, 3))

    document = json.loads(running_cyclonedx(known))
    parts = {one["bom-ref"]: one for one in document["components"]}
    needs = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    chains = [one for one in parts if one.startswith("chain:")]
    names = [one["name"] for one in parts.values() if one["type"] == "application"]
    assert names == ["firewall", "limit"]
    assert needs["running"] == sorted(chains)
    assert sorted(len(needs[one]) for one in chains) == [1, 2]
    said = [one["value"] for one in parts[chains[0]]["properties"]]
    assert "n0/eth0/xdp" in said
    assert "from 2026-01-01" in document["metadata"]["component"]["name"]
    limit = json.loads(running_spdx(known))["packages"][1]
    assert "ran on: n0/eth0/xdp, n1/eth0/xdp" in limit["comment"]
    for one, aggregate in ((known, "complete"), (unknown, "incomplete"), (bill(), "complete")):
        written = running_cyclonedx(one)
        assert cyclonedx_problems(written) == []
        assert spdx_problems(running_spdx(one)) == []
        assert json.loads(written)["compositions"][0]["aggregate"] == aggregate
