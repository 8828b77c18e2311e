# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics: which numbers of a map they mean, and what the last of them are together."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.aggregation import Window, log2_buckets
from shared.configuration.entries import MapLayout, map_codec
from shared.configuration.metric_selection import UnfitMetricError, select
from shared.contracts.metrics import MAX_SERIES, Aggregation, MetricSource
from shared.contracts.value_types import IntegerType, Member, StructType

U16, U32, U64 = (IntegerType(size) for size in (2, 4, 8))
S32 = IntegerType(4, is_signed=True)
FLAG = IntegerType(1, name="_Bool")
STATS = StructType(
    "stats",
    16,
    (
        Member("packets", 0, U64),
        Member("inner", 64, StructType("inner", 8, (Member("a", 0, U32), Member("b", 32, S32)))),
    ),
)
PLAIN = MapLayout(U16, U32, 64, "hash")
COUNTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=50)


def numbers(source: MetricSource, entries: dict[bytes, bytes], layout: MapLayout) -> dict[str, int]:
    """What the metric means of these entries."""
    return select(source, map_codec(layout)).numbers(entries.items())


@given(st.dictionaries(st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), max_size=40))
def test_a_range_means_the_keys_from_to(held: dict[int, int]) -> None:
    """Both ends included; `*` means all."""
    entries = {
        key.to_bytes(2, "little"): value.to_bytes(4, "little") for key, value in held.items()
    }

    ranged = numbers(MetricSource(map="m", key="100..30000"), entries, PLAIN)
    every = numbers(MetricSource(map="m", key="*"), entries, PLAIN)

    assert ranged == {str(key): value for key, value in held.items() if 100 <= key <= 30000}
    assert every == {str(key): value for key, value in held.items()}


@given(values=st.lists(st.tuples(st.integers(0, 2**63), st.integers(-(2**31), 2**31 - 1))))
def test_a_member_of_every_processor_is_added(values: list[tuple[int, int]]) -> None:
    """Of structs in a per-CPU map, signed where the type is."""
    layout = MapLayout(U32, STATS, 1, "percpu_array")
    stored = b"".join(
        packets.to_bytes(8, "little") + bytes(4) + b.to_bytes(4, "little", signed=True)
        for packets, b in values
    )

    for member, place in (("packets", 0), ("inner.b", 1)):
        found = numbers(MetricSource(map="m", member=member), {bytes(4): stored}, layout)
        assert found == {"0": sum(one[place] for one in values)}


@pytest.mark.parametrize(
    ("source", "layout", "path"),
    [
        (MetricSource(map="m", key="x"), PLAIN, "key"),
        (MetricSource(map="m", key="9..1"), PLAIN, "key"),
        (MetricSource(map="m", key="70000"), PLAIN, "key"),
        (MetricSource(map="m", key="0..1"), MapLayout(FLAG, U32, 2, "hash"), "key"),
        (
            MetricSource(map="m", key="*", aggregation="histogram"),
            MapLayout(FLAG, U32, 2, "hash"),
            "key",
        ),
        (MetricSource(map="m", member="packets"), PLAIN, "member"),
        (MetricSource(map="m"), MapLayout(U16, STATS, 1, "hash"), "member"),
        (MetricSource(map="m", member="inner"), MapLayout(U16, STATS, 1, "hash"), "member"),
        (MetricSource(map="m", member="inner.c"), MapLayout(U16, STATS, 1, "hash"), "member"),
        (MetricSource(map="m", aggregation="histogram"), PLAIN, "key"),
        (
            MetricSource(map="m", key="*", aggregation="histogram", each_key=True),
            PLAIN,
            "each_key",
        ),
    ],
)
def test_what_a_map_cannot_give_is_refused(
    source: MetricSource, layout: MapLayout, path: str
) -> None:
    """By the field that asks for it, before anything is read."""
    with pytest.raises(UnfitMetricError) as caught:
        select(source, map_codec(layout))

    assert [reason.path for reason in caught.value.reasons] == [path]


def test_keys_that_are_series_of_their_own_are_bounded() -> None:
    """A map of a million flows is no million series."""
    entries = {key.to_bytes(2, "little"): bytes(4) for key in range(MAX_SERIES + 1)}

    assert len(numbers(MetricSource(map="m", key="*"), entries, PLAIN)) == MAX_SERIES + 1
    with pytest.raises(UnfitMetricError):
        numbers(MetricSource(map="m", key="*", each_key=True), entries, PLAIN)


def aggregated(aggregation: Aggregation, counts: list[int], samples: int) -> float | int | None:
    """Of numbers that were taken one a second."""
    window = Window(samples)
    for second, count in enumerate(counts):
        window.add(float(second), count)
    return window.aggregated(aggregation)


@given(counts=COUNTS, samples=st.integers(1, 60))
def test_the_last_numbers_are_taken_together(counts: list[int], samples: int) -> None:
    """The mean, the smallest and the largest of the last samples, and of nothing older."""
    last = counts[-samples:]

    assert aggregated("average", counts, samples) == pytest.approx(fmean(last))
    assert aggregated("minimum", counts, samples) == min(last)
    assert aggregated("maximum", counts, samples) == max(last)


@given(counts=COUNTS.map(sorted), samples=st.integers(1, 60))
def test_rates_are_increases_by_time(counts: list[int], samples: int) -> None:
    """Over the window, and the largest within one second of it; one number has no rate."""
    last = counts[-samples - 1 :]
    gains = [after - before for before, after in pairwise(last)]

    if not gains:
        assert aggregated("rate", counts, samples) is None
        assert aggregated("max-rate", counts, samples) is None
        return
    assert aggregated("rate", counts, samples) == pytest.approx(sum(gains) / len(gains))
    assert aggregated("max-rate", counts, samples) == max(gains)


def test_a_number_that_falls_counts_from_zero_again() -> None:
    """A map that was made anew makes no negative rate and no huge one."""
    assert aggregated("rate", [100, 200, 5, 10], 60) == pytest.approx((100 + 5 + 5) / 3)
    assert aggregated("max-rate", [1000, 7], 60) == 7


@given(st.lists(st.integers(0, 2**62), max_size=200))
def test_log2_maps_become_cumulative_buckets(values: list[int]) -> None:
    """Each bucket counts every value that is at most its bound; the last counts all."""
    counts: dict[int, int] = {}
    for value in values:
        counts[value.bit_length()] = counts.get(value.bit_length(), 0) + 1

    buckets = log2_buckets(counts)

    assert all(one.count == sum(value <= one.upper_bound for value in values) for one in buckets)
    assert (buckets[-1].count if buckets else 0) == len(values)
