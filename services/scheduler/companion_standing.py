# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the companions of a program that runs do their work.

Pure.

Rules:
 * Each companion of the package must be ready, or have ended as it may, with the arguments of the
   revision that the node was told.
 * One that the node gave up, or that ended in a failure and is not started again, is a failure;
   everything else is on its way.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.contracts.deployments import DeploymentRevision
from shared.contracts.node import ObservedChain
from shared.contracts.node_companions import ObservedCompanion
from shared.errors import Reason

PlaceState = Literal["running", "pending", "failed"]
Judgement = tuple[PlaceState, tuple[Reason, ...]]
_RUNNING: Final[Judgement] = ("running", ())
_FAILED: Final = frozenset({"gave-up", "stopped"})


def judge_companions(
    revision: DeploymentRevision, told: int, chain: ObservedChain | None
) -> Judgement:
    """What the companions make of a place where the program itself runs.

    Args:
        revision: That shall run.
        told: The revision that the node was told.
        chain: As it was read back.
    """
    wanted = revision.resolved.companions if revision.resolved is not None else {}
    if not wanted:
        return _RUNNING
    seen = {
        one.companion: one
        for one in (chain.companions if chain is not None else ())
        if one.deployment == revision.spec.key and one.revision == told
    }
    judged = [(name, *_judge(seen.get(name))) for name in sorted(wanted)]
    why = tuple(
        Reason(path=f"companions.{name}", rule=rule)
        for name, state, rule in judged
        if state != "running"
    )
    states = {state for _, state, _ in judged}
    if "failed" in states:
        return "failed", why
    return ("pending", why) if "pending" in states else _RUNNING


def _judge(seen: ObservedCompanion | None) -> tuple[PlaceState, str]:
    """What is so, and why where it is not as it should be."""
    if seen is None:
        return "pending", "the node has not started it yet"
    if seen.state == "ready" or (seen.state == "stopped" and not seen.reason):
        return "running", ""
    said = f"{seen.state}: {seen.reason}" if seen.reason else f"is {seen.state}"
    return ("failed" if seen.state in _FAILED else "pending"), said
