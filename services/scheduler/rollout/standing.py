# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a node of a rollout stands, by its places and whether it is heard.

Pure.

Rules:
 * What a silent node reported is not the present: it is neither confirmed nor failed.
 * A node is confirmed when each of its places runs what it shall have there, failed when one is.
 * A node without a place is idle until it has one; if it will not have one (it was forgotten, or is
   not meant any more) it is gone, and not waited for.
 * Unavailable is a node that failed or is silent, and one that was changed and is not confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.scheduler.status import PlaceView
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ObservedNode
from shared.contracts.rollouts import RolloutState
from shared.errors import Reason

NodeState = Literal["confirmed", "pending", "failed", "idle", "silent", "gone"]
NAMED: Final = 5
"""Nodes in one sentence."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One node, and why it is not confirmed."""

    state: NodeState
    why: tuple[Reason, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether it can say how it is."""
        return self.state not in ("silent", "gone")


GONE: Final = Standing("gone")
IDLE: Final = Standing("idle")
SILENT: Final = Standing("silent", (Reason(path="", rule="is silent"),))
UNHEARD: Final = Standing("silent", (Reason(path="", rule="was not heard yet"),))
"""Nobody knows yet, for whoever listens has only begun to."""


def standing_of(
    views: Sequence[PlaceView], *, silence: Standing | None, is_meant: bool
) -> Standing:
    """How a node stands.

    Args:
        views: Its places.
        silence: SILENT or UNHEARD; None: it is heard.
        is_meant: Whether the newest revision has a place there, once it is everywhere.
    """
    if not views and not is_meant:
        return GONE
    if silence is not None:
        return silence
    if not views:
        return IDLE
    failed = [one for one in views if one.state == "failed"]
    if failed:
        return Standing("failed", _reasons(failed))
    pending = [one for one in views if one.state == "pending"]
    if pending:
        return Standing("pending", _reasons(pending))
    return Standing("confirmed")


def has_settled(desired: DesiredNode | None, observed: ObservedNode | None) -> bool:
    """Whether a node acted upon all that it was told, and refused none of it."""
    if desired is None:
        return True
    if observed is None or observed.desired_generation < desired.generation:
        return False
    return all(one.refusal is None for one in observed.chains)


def released_nodes(state: RolloutState) -> tuple[str, ...]:
    """The nodes that were told the new revision, as far as they were in its waves, in that order.

    Of a blue/green rollout, those that were told of one of their places.
    """
    through = [name for wave in state.waves[: state.wave] for name in wave.names]
    if state.wave < len(state.waves):
        through += state.waves[state.wave].names[: state.released]
    return tuple(dict.fromkeys(through))


def unavailable(
    state: RolloutState, standings: Mapping[str, Standing], released: Collection[str]
) -> set[str]:
    """The nodes of the rollout for whose sake no further one may be changed."""
    told = frozenset(released)
    return {
        name
        for name in {name for wave in state.waves for name in wave.names}
        if (one := standings.get(name, GONE)).state in ("failed", "silent")
        or (one.state == "pending" and name in told)
    }


def named(nodes: Collection[str]) -> str:
    """The nodes in a sentence."""
    found = sorted(nodes)
    rest = len(found) - NAMED
    return ", ".join(found[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _reasons(views: Sequence[PlaceView]) -> tuple[Reason, ...]:
    found: list[Reason] = []
    for view in views:
        at = f"nodes.{view.node}.{view.interface}"
        whys = view.why or (Reason(path="", rule=f"is {view.state}"),)
        found += [
            Reason(path=f"{at}.{one.path}" if one.path else at, rule=one.rule) for one in whys
        ]
    return tuple(found)
