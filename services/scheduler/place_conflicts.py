# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Two deployments that cannot be in one chain, and how that is told.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from services.scheduler.audiences import Sight
from services.scheduler.chain_order import Statement
from services.scheduler.link_options import Contradiction
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook


class ChainConflictError(RefusedError):
    """Two deployments claim one place in a chain; both are named."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class PlaceConflict:
    """Two deployments that cannot be in one chain; one of them is."""

    node: str
    interface: str
    """With its network namespace, if that is a named one: `<netns>/<interface>`."""
    hook: Hook
    order: int
    holder: str
    """By its key, as `left_out`: who may be told of it is another question."""
    left_out: str
    contradiction: Contradiction | None = None
    """The link option that they want differently; null: they want the same place."""
    are_apart: bool = False
    """Whether it is their spaces that do not meet."""
    circle: tuple[Statement, ...] = ()
    """What is said of who runs before whom, and cannot all be so; empty: it is something else."""

    @property
    def between(self) -> tuple[str, str]:
        """The keys of the two."""
        return self.holder, self.left_out

    def told(self, sight: Sight, place: str) -> str:
        """Why they cannot both be there; `place` is how the hook point is called."""
        if self.are_apart:
            return f"{place} can have programs of one restricted space only"
        if self.contradiction is not None:
            agreed = self.contradiction.told(sight.named)
            return f"the deployments of {place} must agree on {agreed}"
        if self.circle:
            said = ", ".join(one.told(sight.named) for one in self.circle)
            return f"no order of {place} is as all say: {said}"
        claimants = " and ".join(sorted(map(sight.named, (self.holder, self.left_out))))
        return f"place {self.order} of {place} is claimed by {claimants}"


def refuse_conflicts(
    spec: DeploymentSpec, conflicts: Iterable[PlaceConflict], sight: Sight
) -> None:
    """Nothing, if `spec` claims no place that another deployment has, and contradicts none.

    Raises:
        ChainConflictError: Naming both deployments, as far as `sight` goes, and the hook point of
            every such place.
    """
    mine = [one for one in conflicts if spec.key in one.between]
    if not mine:
        return
    others = (one.holder if one.left_out == spec.key else one.left_out for one in mine)
    reasons = [_conflict_reason(one, sight) for one in mine]
    named = ", ".join(sight.listed(others))
    sentence = f"claims a place in a chain that {named} already has"
    if all(one.contradiction for one in mine):
        sentence = f"wants a chain linked or attached in another way than {named}"
    if all(one.circle for one in mine):
        sentence = f"and {named} cannot be in one chain in the order that is asked for"
    if all(one.are_apart for one in mine):
        sentence = "cannot be where programs of another restricted space are"
    raise ChainConflictError(f"{spec.key} {sentence}", reasons)


def _conflict_reason(one: PlaceConflict, sight: Sight) -> Reason:
    rule = one.told(sight, f"{one.interface}/{one.hook} on {one.node}")
    if one.are_apart:
        return Reason(path="space", rule=rule)
    if one.contradiction:
        return Reason(path="link", rule=rule)
    if one.circle:
        fields = [said.word for said in one.circle if said.by == one.left_out]
        field = fields[0] if fields and fields[0] != "number" else "order"
        return Reason(path=field, rule=rule, allowed="what can be so with all that others say")
    return Reason(
        path="order",
        rule=rule,
        got=one.order,
        allowed="an order of its own, stated in the deployment",
    )
