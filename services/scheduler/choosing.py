# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the nodes that a deployment could be on it is on, if it is for so many of them.

Pure.

Rules:
 * A node that was chosen stays so.  Others are taken in an order that a digest of the deployment's
   key and the node's name gives, so that deployments are not all on the same nodes.
 * With a failure domain, each further node is of a domain with the fewest chosen so far; nodes
   without the label are a domain of their own.  A new revision is spread anew, and keeps who has
   room in that; between revisions nobody moves for the sake of the spread.
 * Nodes that are lost or being drained are chosen only if there are too few others.
 * The order in which nodes are given decides nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.scheduler.desired_state import Fleet
from services.scheduler.placement import NodeView, Placing
from services.scheduler.selection import place_in_share
from services.scheduler.wanted_places import current_revision
from shared.contracts.deployments import DeploymentRevision, DeploymentSpec
from shared.contracts.node_choice import NodeChoice
from shared.contracts.scheduler import ExcludedNode
from shared.packed_places import pack_names

PACKED_FROM: Final = 64
"""Nodes of a choice; a record would have no room for ten thousand names."""


@dataclass(frozen=True, slots=True)
class Wish:
    """So many nodes of a deployment."""

    key: str
    count: int
    spread: str | None = None
    """Label of nodes that fail together."""

    def domain(self, node: NodeView) -> str:
        """What else fails when the node does."""
        return node.labels.get(self.spread, "") if self.spread is not None else ""


def wish_of(spec: DeploymentSpec) -> Wish | None:
    """How many nodes the deployment is for; None: all that it means."""
    if spec.nodes.count is None:
        return None
    return Wish(spec.key, spec.nodes.count, spec.nodes.spread)


def choice_of(names: Iterable[str], *, changes: int) -> NodeChoice:
    """The nodes as a record keeps them."""
    ordered = tuple(sorted(names))
    is_long = len(ordered) > PACKED_FROM
    return NodeChoice(
        nodes=() if is_long else ordered,
        packed_nodes=pack_names(ordered) if is_long else "",
        changes=changes,
    )


def with_choice(placing: Placing, spec: DeploymentSpec, fleet: Fleet) -> Placing:
    """Of a deployment for so many nodes, the places on those that are chosen."""
    wish = wish_of(spec)
    if wish is None:
        return placing
    previous = current_revision(fleet.deployments.get(spec.key))
    before = previous.choice if previous is not None else None
    had = _had(spec.key, fleet) if before is None else set(before.names)
    possible = {one.node: wish.domain(fleet.nodes[one.node]) for one in placing.places}
    sound = {name: domain for name, domain in possible.items() if is_sound(fleet, name)}
    names = set(choose(wish, sound, kept=had))
    rest = {name: domain for name, domain in possible.items() if name not in sound}
    names |= set(choose(replace(wish, count=wish.count - len(names)), rest, kept=had))
    others = f"{len(names)} other node{'s were' if len(names) > 1 else ' was'} chosen"
    return replace(
        placing,
        places=tuple(one for one in placing.places if one.node in names),
        excluded=(
            *placing.excluded,
            *(
                ExcludedNode(node=name, why=others)
                for name in sorted(possible)
                if name not in names
            ),
        ),
        kept=tuple(one for one in placing.kept if one.node in names),
        choice=choice_of(names, changes=before.changes + 1 if before is not None else 0),
        missing=wish.count - len(names),
    )


def choice_warnings(spec: DeploymentSpec, placing: Placing) -> list[str]:
    """That there are too few nodes, if so."""
    if placing.missing < 1 or placing.choice is None:
        return []
    chosen = len(placing.choice.names)
    return [
        f"{chosen} of {spec.nodes.count} nodes can run it; others get it as soon as there are any"
    ]


def why_not_chosen(revision: DeploymentRevision, node: str) -> str:
    """Why the revision is not on the node; empty: it was chosen, or nobody chooses."""
    choice = revision.choice
    if choice is None or node in choice.names:
        return ""
    refused = next((one for one in choice.refusals if one.node == node), None)
    if refused is None:
        return f"it was not chosen (count = {revision.spec.nodes.count})"
    times = "once" if refused.times == 1 else f"{refused.times} times"
    return f"it refused it {times} and is not chosen before {refused.until}: {refused.why}"


def is_sound(fleet: Fleet, name: str) -> bool:
    """Whether something may be put on the node for some time to come."""
    return name not in fleet.lost and not fleet.nodes[name].is_draining


def choose(wish: Wish, domains: Mapping[str, str], *, kept: Collection[str] = ()) -> list[str]:
    """So many of the nodes as there are, spread; of each domain those first that are kept.

    Args:
        wish: How many, and of which deployment.
        domains: Of each node that can be chosen.
        kept: Nodes that were chosen before.
    """
    return _taken(wish, domains, set(kept), Counter())


def choose_more(
    wish: Wish, domains: Mapping[str, str], *, number: int, beside: Iterable[str]
) -> list[str]:
    """At most `number` of the nodes, spread as well as can be.

    Args:
        wish: Of which deployment.
        domains: Of each node that can be chosen.
        number: How many.
        beside: The domain of each node that stays chosen.
    """
    return _taken(replace(wish, count=number), domains, frozenset(), Counter(beside))


def _taken(
    wish: Wish, domains: Mapping[str, str], kept: Collection[str], sizes: Counter[str]
) -> list[str]:
    queues: dict[str, list[tuple[bool, float, str]]] = {}
    for name, domain in domains.items():
        order = (name not in kept, place_in_share(wish.key, name), name)
        queues.setdefault(domain, []).append(order)
    due: list[tuple[int, bool, float, str]] = []
    for domain, queue in queues.items():
        heapq.heapify(queue)
        due.append((sizes[domain], queue[0][0], place_in_share(wish.key, domain), domain))
    heapq.heapify(due)
    taken: list[str] = []
    while due and len(taken) < wish.count:
        size, _, place, domain = heapq.heappop(due)
        queue = queues[domain]
        taken.append(heapq.heappop(queue)[-1])
        if queue:
            heapq.heappush(due, (size + 1, queue[0][0], place, domain))
    return taken


def _had(key: str, fleet: Fleet) -> set[str]:
    """The nodes that are told to run it, whoever chose them."""
    return {
        name
        for name, node in fleet.desired.items()
        for chain in node.chains
        if any(one.deployment == key for one in chain.programs)
    }
