# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a rollout may say, and how it begins.

Pure.

Rules:
 * What the strategy does not use is refused by name, and so is a strategy without what it needs.
 * A rollout that reaches every node at once, and that nothing waits for or looks at, has no state:
   it is over when it is accepted.
 * Of a blue/green rollout, every place must be named by one of the two labels of its node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import ClassVar, Final

import msgspec

from services.scheduler.placement import NodeView
from services.scheduler.rollout.waves import Member, plan_waves
from shared.change_windows import window_problems
from shared.contracts.deployments import Placement
from shared.contracts.errors import ErrorCode
from shared.contracts.rollouts import RolloutSpec, RolloutState
from shared.errors import Reason, RefusedError

REASONS_SHOWN: Final = 100
AT_ONCE: Final = RolloutSpec()


class RolloutTermsError(RefusedError):
    """What is said of the rollout does not go together."""

    code: ClassVar[ErrorCode] = "invalid_request"


def check_rollout(rollout: RolloutSpec, *, name: str) -> None:
    """Nothing, if what is said of the rollout goes together.

    Args:
        rollout: What is said.
        name: Of the deployment.

    Raises:
        RolloutTermsError: It does not; with every reason.
    """
    problems = list(_problems(rollout))
    if problems:
        raise RolloutTermsError(f"{name}: its rollout contradicts itself", problems)


def needs_state(rollout: RolloutSpec) -> bool:
    """Whether anything of it is to be waited for; else every node has the revision at once."""
    plain = msgspec.structs.replace(
        rollout,
        failure_domain=None,
        timeout_seconds=AT_ONCE.timeout_seconds,
        on_failure=AT_ONCE.on_failure,
    )
    return plain != AT_ONCE


def first_state(
    rollout: RolloutSpec,
    places: Iterable[Placement],
    nodes: Mapping[str, NodeView],
    *,
    revision: int,
    at: str,
    base_revision: int = 0,
    is_looked_at: bool = False,
) -> RolloutState | None:
    """How a revision begins; None: there is nothing to wait for.

    Args:
        rollout: How it reaches its nodes.
        places: Where it was accepted for.
        nodes: All, by name.
        revision: Its number.
        at: When it was accepted, RFC 3339.
        base_revision: The one that runs everywhere; 0: none does.
        is_looked_at: Whether its health, or a policy, says more than the rollout itself.

    Raises:
        RolloutTermsError: It is blue/green, and a place is neither blue nor green.
    """
    if not is_looked_at and not needs_state(rollout):
        return None
    placed = tuple(places)
    _refuse_colourless(rollout, placed, nodes)
    domain = rollout.failure_domain
    members = {
        Member(name, nodes[name].labels.get(domain, "") if domain else "")
        for name in {one.node for one in placed}
    }
    return RolloutState(
        revision=revision,
        base_revision=base_revision,
        phase="waiting",
        waves=plan_waves(rollout, members),
        started_at=at,
        why="it begins",
    )


def _problems(rollout: RolloutSpec) -> Iterator[Reason]:
    yield from window_problems(rollout.windows, path="rollout.windows")
    yield from window_problems(rollout.freezes, path="rollout.freezes")
    strategy = rollout.strategy
    if rollout.canary is not None and strategy != "canary":
        yield _unused("canary", strategy, rollout.canary)
    if rollout.waves and strategy not in ("waves", "canary"):
        yield _unused("waves", strategy, list(rollout.waves))
    is_one_by_one = rollout.across == "one-by-one"
    if strategy == "waves" and not rollout.waves and not is_one_by_one:
        yield Reason(path="rollout.waves", rule="the strategy waves needs at least one")
    if is_one_by_one and rollout.failure_domain is None:
        yield Reason(path="rollout.failure_domain", rule="across = one-by-one needs its label")
    if is_one_by_one and strategy not in ("waves", "canary"):
        yield _unused("across", strategy, rollout.across)
    yield from _colour_problems(rollout)
    if rollout.gate != "automatic" and strategy == "all-at-once":
        yield _unused("gate", strategy, rollout.gate)


def _colour_problems(rollout: RolloutSpec) -> Iterator[Reason]:
    strategy = rollout.strategy
    for field in ("blue", "green"):
        said = getattr(rollout, field)
        if strategy != "blue-green" and said is not None:
            yield _unused(field, strategy, said)
        if strategy == "blue-green" and said is None:
            yield Reason(path=f"rollout.{field}", rule="the strategy blue-green needs its label")
    if rollout.blue is not None and rollout.blue == rollout.green:
        yield Reason(path="rollout.green", rule="is the same label as blue", got=rollout.green)


def _unused(field: str, strategy: str, got: object) -> Reason:
    return Reason(path=f"rollout.{field}", rule=f"the strategy {strategy} does not use it", got=got)


def _refuse_colourless(
    rollout: RolloutSpec, places: Collection[Placement], nodes: Mapping[str, NodeView]
) -> None:
    if rollout.blue is None or rollout.green is None:
        return
    problems: list[Reason] = []
    for one in places:
        labels = nodes[one.node].labels
        colours = {labels.get(rollout.blue), labels.get(rollout.green)}
        if one.place not in colours:
            rule = f"is named by neither {rollout.blue} nor {rollout.green}"
            problems.append(Reason(path=f"nodes.{one.node}", rule=rule, got=one.place))
        elif len(colours) == 1:
            rule = f"is named by both {rollout.blue} and {rollout.green}"
            problems.append(Reason(path=f"nodes.{one.node}", rule=rule, got=one.place))
    if problems:
        shown = problems[:REASONS_SHOWN]
        headline = f"{len(problems)} places are not either blue or green"
        raise RolloutTermsError(headline, shown)
