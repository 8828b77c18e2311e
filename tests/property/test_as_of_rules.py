# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""As-of equals what ran: over 500 steps of a fleet in memory, however its events arrive."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.events import Event
from shared.contracts.inventory import HookReading
from tests.support.inventories import (
    ModelIndex,
    a_reading,
    chain_event,
    deployed,
    snapshot_event,
    time_us,
)

STEPS = 500
MOMENTS = 100
NODES = ("n1", "n2", "n3")
INTERFACES = ("eth0", "eth1", "eth2")

Fleet = dict[tuple[str, str], tuple[str, ...]]


class Step(NamedTuple):
    """What a node said, and what the whole fleet ran then."""

    event: Event
    fleet: Fleet


def history(rng: random.Random) -> Iterator[Step]:
    """Chains that are attached, taken off, found again, lost to somebody else, and read back."""
    fleet: Fleet = {}
    sequences = dict.fromkeys(NODES, 0)
    for seconds in range(1, STEPS + 1):
        node, interface = rng.choice(NODES), rng.choice(INTERFACES)
        sequences[node] += 1
        number = sequences[node]
        kind = rng.choice(["attach", "attach", "detach", "configure", "adopt", "lost", "snapshot"])
        here = (node, interface)
        if kind == "attach":
            names = rng.sample(("a", "b", "c", "d"), rng.randint(1, 4))
            fleet[here] = tuple(f"{name}@{rng.randint(1, 3)}.0.0" for name in names)
        elif kind in {"detach", "lost"}:
            fleet.pop(here, None)
        if kind == "snapshot":
            whole = [reading(fleet, node, each) for each in INTERFACES]
            event = snapshot_event(*whole, node=node, sequence=number, seconds=seconds)
        else:
            action = "chain.drift" if kind == "lost" else f"chain.{kind}"
            event = chain_event(
                action,
                reading(fleet, node, interface),
                node=node,
                sequence=number,
                seconds=seconds,
            )
        yield Step(event, dict(fleet))


def reading(fleet: Fleet, node: str, interface: str) -> HookReading:
    """What the kernel in memory has there."""
    return a_reading(*fleet.get((node, interface), ()), place=(interface, "xdp"))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_as_of_is_what_ran(seed: int) -> None:
    """At 100 moments of each history, with events in order and in none."""
    rng = random.Random(seed)
    steps = list(history(rng))
    events = [step.event for step in steps]
    for arrived in (events, rng.sample(events, len(events))):
        index = ModelIndex(arrived)
        for step in rng.choices(steps, k=MOMENTS // 2):
            runs = index.inventory(time_us(step.event))

            assert deployed(runs) == step.fleet
