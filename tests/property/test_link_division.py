# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A chain is divided into the fewest segments that the limits allow."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from services.node_executor.linking.planning import plan_link
from tests.support.link_bodies import a_body

MAX_MAPS = 6


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """A body with a few maps, some of them shared, and one of two kinds of licence."""
    maps = draw(st.frozensets(st.integers(0, 12), max_size=MAX_MAPS - 2))
    return a_body(
        map_ids={number: number for number in maps},
        licence=draw(st.sampled_from(["GPL", "GPL", "GPL", "Proprietary"])),
    )


def fits(bodies: Sequence[Body], *, own_maps: int) -> bool:
    """Whether these can be one program, as the kernel sees it."""
    maps = set().union(*(body.map_ids for body in bodies))
    return len({body.licence for body in bodies}) == 1 and len(maps) + own_maps <= MAX_MAPS


def fewest(chain: Sequence[Body], *, has_counters: bool) -> int:
    """The length of the shortest division, all of them considered."""
    best = [0] + [len(chain) + 1] * len(chain)
    for end in range(1, len(chain) + 1):
        own = has_counters + (end < len(chain))
        best[end] = 1 + min(
            best[first] for first in range(end) if fits(chain[first:end], own_maps=own)
        )
    return best[-1]


@given(st.lists(bodies(), min_size=1, max_size=12), st.booleans())
def test_no_division_has_fewer_segments(chain: list[Body], has_counters: bool) -> None:
    """Taking as many bodies as fit, from the first on, is the best that can be done."""
    planned = plan_link(
        chain,
        KernelFacts(max_maps=MAX_MAPS),
        LinkPolicy(hook="xdp", has_counters=has_counters),
    )

    assert len(planned.segments) == fewest(chain, has_counters=has_counters)
