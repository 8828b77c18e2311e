# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes get a new revision first, and which after them.

Pure.

Rules:
 * Every node is in exactly one wave; of a blue/green rollout in one for each of its two interfaces.
 * A share in percent is of all nodes, of `one-by-one` of those of the domain, rounded up.  A wave
   takes what is left if that is less, and no wave is empty.
 * Nodes are taken by name.  With a failure domain, `each` takes them so that among the first of any
   number each domain has its part, to less than one node; `one-by-one` takes the domains by name.
   Nodes without the label are a domain of their own.
 * The order in which nodes are given decides nothing.
 * Nodes that came while the rollout went on are its last wave, so that they too are changed no more
   at a time than may be unavailable.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.contracts.rollouts import RolloutSpec, RolloutWave, Share
from shared.packed_places import pack_names

PACKED_FROM: Final = 64
"""Nodes of a wave; a record would have no room for ten thousand names."""


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A node that the revision is for."""

    name: str
    domain: str = ""
    """What else fails when it does; empty: its own label is not set."""


def share_of(share: Share, total: int) -> int:
    """So many of `total`; at least one of any."""
    wanted = share if isinstance(share, int) else -(-total * int(share.removesuffix("%")) // 100)
    return min(wanted, total)


def plan_waves(rollout: RolloutSpec, members: Iterable[Member]) -> tuple[RolloutWave, ...]:
    """The steps in which the members get the revision; of no members none."""
    ordered = sorted(members)
    if rollout.strategy == "blue-green":
        names = _names(_spread(ordered))
        labels = (rollout.green or "", rollout.blue or "")
        return tuple(_wave(names, interface_label=label) for label in labels if names)
    if rollout.failure_domain is None:
        return tuple(map(_wave, _split(_names(ordered), _shares(rollout))))
    if rollout.across == "each":
        return tuple(map(_wave, _split(_names(_spread(ordered)), _shares(rollout))))
    return tuple(_one_by_one(rollout, ordered))


def late_waves(rollout: RolloutSpec, names: Iterable[str]) -> tuple[RolloutWave, ...]:
    """The last steps, of nodes that came after the first ones were made."""
    labels = (rollout.green or "", rollout.blue or "") if rollout.blue else ("",)
    ordered = sorted(names)
    return tuple(_wave(ordered, interface_label=label) for label in labels)


def _shares(rollout: RolloutSpec) -> tuple[Share, ...]:
    match rollout.strategy:
        case "canary":
            return (1 if rollout.canary is None else rollout.canary, *rollout.waves)
        case "waves":
            return rollout.waves
        case _:
            return ()


def _one_by_one(rollout: RolloutSpec, ordered: Sequence[Member]) -> Iterable[RolloutWave]:
    """The waves of one domain after the other; the canary is of the first."""
    shares = _shares(rollout)
    for domain, members in sorted(_by_domain(ordered).items()):
        for names in _split(_names(members), shares):
            yield _wave(names, domain=domain)
        shares = rollout.waves


def _split(names: Sequence[str], shares: Iterable[Share]) -> Iterable[Sequence[str]]:
    """The names in order, by these shares of all of them; what is left is one more."""
    rest = names
    for share in shares:
        size = share_of(share, len(names))
        if rest:
            yield rest[:size]
        rest = rest[size:]
    if rest:
        yield rest


def _spread(ordered: Sequence[Member]) -> list[Member]:
    """The members such that each domain always has its part of those so far.

    Member `i` of a domain that has one of every `n / k` places is due between the places
    `i * n / k` and `(i + 1) * n / k`; the earliest deadline first keeps them all.
    """
    total = len(ordered)
    due: list[tuple[int, int, str, Member]] = []
    for domain, members in _by_domain(ordered).items():
        size = len(members)
        due += [
            (index * total // size, -(-(index + 1) * total // size), domain, member)
            for index, member in enumerate(members)
        ]
    due.sort()
    spread: list[Member] = []
    waiting: list[tuple[int, str, Member]] = []
    released = 0
    for place in range(total):
        while released < total and due[released][0] <= place:
            heapq.heappush(waiting, due[released][1:])
            released += 1
        spread.append(heapq.heappop(waiting)[-1])
    return spread


def _by_domain(ordered: Iterable[Member]) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for member in ordered:
        found.setdefault(member.domain, []).append(member)
    return found


def _names(members: Iterable[Member]) -> list[str]:
    return [member.name for member in members]


def _wave(names: Sequence[str], *, domain: str = "", interface_label: str = "") -> RolloutWave:
    is_long = len(names) > PACKED_FROM
    return RolloutWave(
        nodes=() if is_long else tuple(names),
        packed_nodes=pack_names(names) if is_long else "",
        domain=domain,
        interface_label=interface_label,
    )
